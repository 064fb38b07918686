"""Compute Mega's MAC: the checksum in a Mega link, which shows whether a file is the one that the link was made for.

The MAC is computed from the decrypted bytes, so files from other sources can be checked too. The MAC detects damaged
files and mixed-up files, but not forged files: anyone who knows the link can make another file with the same MAC.

The file is cut into chunks. Each chunk has a CBC-MAC of 16 bytes. The MAC is a CBC-MAC over the CBC-MACs of all chunks,
shortened to 8 bytes.
"""

import logging

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from reidhub.errors import IntegrityError
from reidhub.files.mega_link import MegaLink

_FIRST = 128 * 1024  # bytes of the first chunk; each later chunk is longer by this number, up to _LONGEST
_LONGEST = 1024 * 1024
_BLOCK = 16

# checkMetaMacWithMissingLateEntries in Mega's official client: some old MACs leave out consecutive chunks.
_LATE = 96  # the first missing chunk is one of the last 96 chunks of the file
_RUN = 64  # largest number of missing chunks

_log = logging.getLogger(__name__)


class ContentMac:
    """Computes the MAC of a file piece by piece. The MAC is the checksum in the file's Mega link.

    Args:
        link: the Mega link that the file should belong to.

    Raises:
        SourceError: the link is malformed. The error is ``permanent``: another attempt cannot help.
    """

    def __init__(self, link: MegaLink | str) -> None:
        self._link = MegaLink.parse(link) if isinstance(link, str) else link
        self._chunk_macs = bytearray()  # MACs of the complete chunks, 16 bytes each
        self._cbc: CipherContext | None = None
        self._filled = 0  # number of bytes in the unfinished chunk
        self._last = b""  # CBC state of the unfinished chunk
        self._scratch = bytearray(_LONGEST + _BLOCK)

    def update(self, data: bytes) -> None:
        """Add the next bytes of the file, in pieces of any size."""
        view = memoryview(data)
        while view:
            cbc = self._cbc = self._cbc or self._begin_chunk()
            room = _measure_chunk(len(self._chunk_macs) // _BLOCK) - self._filled
            self._encrypt(cbc, view[:room])
            self._filled += len(view[:room])
            if len(view) >= room:
                self._close_chunk(cbc)
            view = view[room:]

    def compute(self) -> bytes:
        """Return the MAC (8 bytes) of all added bytes; 8 zero bytes for an empty file. Call this once, at the end."""
        if self._cbc is not None:
            self._close_chunk(self._cbc)
        return _fold(_chain(self._link.aes, bytes(self._chunk_macs))[-_BLOCK:])

    def check(self) -> None:
        """Check that the complete file belongs to the link. Call this once, instead of `compute`.

        In some old links, the MAC was computed without some consecutive chunks near the end of the file. A file that
        fits such a MAC is accepted, with a warning in the log.

        Raises:
            IntegrityError: the link was made for another file.
        """
        mac = self.compute()
        if mac == self._link.mac:
            return
        gap = _find_gap(self._link, bytes(self._chunk_macs))
        if gap is None:
            raise IntegrityError(f"expected content of MAC {self._link.mac.hex()}, got MAC {mac.hex()}")
        _log.warning(
            "the MAC of Mega file %s leaves out chunks %d to %d of %d, a known fault of old uploads; the rest agrees",
            self._link.handle,
            gap.start + 1,
            gap.stop,
            len(self._chunk_macs) // _BLOCK,
        )

    def _begin_chunk(self) -> CipherContext:
        return Cipher(AES(self._link.aes), CBC(self._link.nonce * 2)).encryptor()

    def _encrypt(self, cbc: CipherContext, data: memoryview | bytes) -> None:
        count = cbc.update_into(data, self._scratch)  # whole blocks; the cipher keeps the rest
        if count:
            self._last = bytes(self._scratch[count - _BLOCK : count])

    def _close_chunk(self, cbc: CipherContext) -> None:
        self._encrypt(cbc, bytes(-self._filled % _BLOCK))
        self._chunk_macs += self._last
        self._cbc, self._filled = None, 0


def _measure_chunk(index: int) -> int:
    return min((index + 1) * _FIRST, _LONGEST)


def _chain(aes: bytes, macs: bytes, start: bytes = bytes(_BLOCK)) -> bytes:
    """Compute the CBC-MAC over the MACs of chunks, and return all intermediate results.

    Args:
        aes: the AES key, 16 bytes.
        macs: MACs of the chunks, 16 bytes each.
        start: the result for the chunks before these, 16 bytes; zeros if there are none.

    Returns:
        ``start``, then the result after each MAC, 16 bytes each. The last one is the CBC-MAC.
    """
    return start + Cipher(AES(aes), CBC(start)).encryptor().update(macs)


def _fold(state: bytes) -> bytes:
    """Shorten 16 bytes to 8: bytes 0-3 XOR bytes 4-7, then bytes 8-11 XOR bytes 12-15."""
    words = [int.from_bytes(state[at : at + 4]) for at in range(0, _BLOCK, 4)]
    return b"".join((words[at] ^ words[at + 1]).to_bytes(4) for at in (0, 2))


def _find_gap(link: MegaLink, macs: bytes) -> range | None:
    """Find the chunks of the file that were left out when the link's MAC was computed.

    In some old links, a few consecutive chunks near the end were left out. This function tries different groups of
    consecutive chunks, until the MAC of the remaining chunks equals the link's MAC.

    Args:
        link: the Mega link.
        macs: MACs of all chunks of the file, 16 bytes each.

    Returns:
        Indices of the chunks that were left out, from 0; None if no MAC equals the link's.
    """
    end = len(macs) // _BLOCK
    before = _chain(link.aes, macs)
    for start in range(max(0, end - _LATE), end):
        state = before[start * _BLOCK : (start + 1) * _BLOCK]
        for stop in range(start + 1, min(start + _RUN, end) + 1):
            whole = _chain(link.aes, macs[stop * _BLOCK :], state)
            if _fold(whole[-_BLOCK:]) == link.mac and stop - start < end:
                return range(start, stop)
    return None
