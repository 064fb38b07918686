"""Mega's MAC of a content: it ties plain bytes, wherever they came from, to a Mega link.

It finds accidents, not forgers: whoever knows the link can make another content with the same MAC.

The content is cut into chunks. Each has a CBC-MAC of 16 bytes, and one more CBC-MAC runs over those of all chunks.
"""

import logging

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from reidhub.errors import IntegrityError
from reidhub.files.mega_link import MegaLink

_FIRST = 128 * 1024  # bytes of the first chunk; each further one is longer by as much, up to _LONGEST
_LONGEST = 1024 * 1024
_BLOCK = 16

# checkMetaMacWithMissingLateEntries of the official client: old uploads left out the MACs of one run of chunks.
_LATE = 96  # chunks at the end, among which the run starts
_RUN = 64  # chunks, the longest run

_log = logging.getLogger(__name__)


class ContentMac:
    """The running MAC of a content.

    Args:
        link: the Mega link that the content should belong to.

    Raises:
        SourceError: the link is malformed; permanent.
    """

    def __init__(self, link: MegaLink | str) -> None:
        self._link = MegaLink.parse(link) if isinstance(link, str) else link
        self._chunk_macs = bytearray()  # of the complete chunks, 16 bytes each
        self._cbc: CipherContext | None = None
        self._filled = 0  # bytes of the present chunk
        self._last = b""  # its CBC state
        self._scratch = bytearray(_LONGEST + _BLOCK)

    def update(self, data: bytes) -> None:
        """Take in the next bytes, any number of them."""
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
        """Return the MAC, 8 bytes, of everything taken in; call it once, at the end. Empty content has zeros."""
        if self._cbc is not None:
            self._close_chunk(self._cbc)
        return _fold(_chain(self._link.aes, bytes(self._chunk_macs))[-_BLOCK:])

    def check(self) -> None:
        """Check that the content, which is complete now, belongs to the link.

        A MAC that leaves out one late run of chunks, as in old uploads, passes with a warning in the log.

        Raises:
            IntegrityError: the link was made for another content.
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
    """Return the CBC states over the chunk MACs: ``start``, then one state for each MAC."""
    return start + Cipher(AES(aes), CBC(start)).encryptor().update(macs)


def _fold(state: bytes) -> bytes:
    """Shorten 16 bytes to 8: the first four XOR the second four, and so on."""
    words = [int.from_bytes(state[at : at + 4]) for at in range(0, _BLOCK, 4)]
    return b"".join((words[at] ^ words[at + 1]).to_bytes(4) for at in (0, 2))


def _find_gap(link: MegaLink, macs: bytes) -> range | None:
    """Find the run of chunks without which the MAC is the link's; never all chunks, as nothing is checked then."""
    end = len(macs) // _BLOCK
    before = _chain(link.aes, macs)
    for start in range(max(0, end - _LATE), end):
        state = before[start * _BLOCK : (start + 1) * _BLOCK]
        for stop in range(start + 1, min(start + _RUN, end) + 1):
            whole = _chain(link.aes, macs[stop * _BLOCK :], state)
            if _fold(whole[-_BLOCK:]) == link.mac and stop - start < end:
                return range(start, stop)
    return None
