"""Mega's MAC over a content: what ties plain bytes, wherever they came from, to a Mega link.

It finds accidents, not forgers: whoever knows the link can make another content of the same MAC.
"""

import logging
from typing import Any, Self

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from reidhub.errors import IntegrityError
from reidhub.files.mega_link import Link

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
        link: the Mega link the content is held to.

    Raises:
        SourceError: the link is malformed; permanent.
    """

    def __init__(self, link: Link | str) -> None:
        self._link = Link.parse(link) if isinstance(link, str) else link
        self._done = bytearray()  # the MACs of the complete chunks
        self._boundary = 0  # bytes in those chunks
        self._cbc: CipherContext | None = None
        self._filled = 0  # bytes of the chunk that is being read
        self._last = b""  # its CBC state
        self._scratch = bytearray(_LONGEST + _BLOCK)

    @classmethod
    def resumed(cls, link: Link | str, state: dict[str, Any]) -> Self:
        """A MAC that goes on behind ``state["offset"]`` bytes.

        Raises:
            ValueError: ``state`` is not what `state` gave.
        """
        mac = cls(link)
        macs = bytes.fromhex(str(state.get("chunk_macs")))
        count, rest = divmod(len(macs), _BLOCK)
        boundary = sum(_chunk_length(index) for index in range(count))
        if rest or state.get("offset") != boundary:
            raise ValueError(f"offset {state.get('offset')} does not go with the MACs of {count} chunks")
        mac._done += macs
        mac._boundary = boundary
        return mac

    @property
    def offset(self) -> int:
        """The end of the last complete chunk, bytes."""
        return self._boundary

    @property
    def room(self) -> int:
        """Bytes until the chunk that is being read is complete."""
        return _chunk_length(len(self._done) // _BLOCK) - self._filled

    def state(self) -> dict[str, Any]:
        """Where to go on later, as JSON: the end of the last complete chunk and the MACs up to there."""
        return {"offset": self._boundary, "chunk_macs": self._done.hex()}

    def update(self, data: bytes) -> None:
        """Take in the next bytes, any number of them."""
        view = memoryview(data)
        while view:
            cbc = self._cbc = self._cbc or self._begin_chunk()
            room = self.room
            self._encrypt(cbc, view[:room])
            self._filled += len(view[:room])
            if len(view) >= room:
                self._close_chunk(cbc)
            view = view[room:]

    def value(self) -> bytes:
        """The MAC, 8 bytes, of everything taken in; nothing can be taken in afterwards. Empty content has zeros."""
        if self._cbc is not None:
            self._close_chunk(self._cbc)
        return _folded(_chained(self._link.aes, bytes(self._done))[-_BLOCK:])

    def check(self) -> None:
        """Hold the content, which is complete now, to the link.

        A MAC that leaves out one late run of chunks, as old uploads have it, passes with a warning in the log.

        Raises:
            IntegrityError: the content is not the one the link was made for.
        """
        value = self.value()
        if value == self._link.mac:
            return
        gap = _gap(self._link, bytes(self._done))
        if gap is None:
            raise IntegrityError(f"expected content of MAC {self._link.mac.hex()}, got MAC {value.hex()}")
        _log.warning(
            "the MAC of Mega file %s leaves out chunks %d to %d of %d, an upload fault known of old; the rest agrees",
            self._link.handle,
            gap.start + 1,
            gap.stop,
            len(self._done) // _BLOCK,
        )

    def _begin_chunk(self) -> CipherContext:
        return Cipher(AES(self._link.aes), CBC(self._link.nonce * 2)).encryptor()

    def _encrypt(self, cbc: CipherContext, data: memoryview | bytes) -> None:
        count = cbc.update_into(data, self._scratch)  # whole blocks; the cipher keeps the rest
        if count:
            self._last = bytes(self._scratch[count - _BLOCK : count])

    def _close_chunk(self, cbc: CipherContext) -> None:
        self._encrypt(cbc, bytes(-self._filled % _BLOCK))
        self._boundary += self._filled
        self._done += self._last
        self._cbc, self._filled = None, 0


def _chunk_length(index: int) -> int:
    return min((index + 1) * _FIRST, _LONGEST)


def _chained(aes: bytes, macs: bytes, start: bytes = bytes(_BLOCK)) -> bytes:
    """The CBC states from ``start`` on, one per chunk MAC; ``start`` stands before them."""
    return start + Cipher(AES(aes), CBC(start)).encryptor().update(macs)


def _folded(state: bytes) -> bytes:
    words = [int.from_bytes(state[at : at + 4]) for at in range(0, _BLOCK, 4)]
    return b"".join((words[at] ^ words[at + 1]).to_bytes(4) for at in (0, 2))


def _gap(link: Link, macs: bytes) -> range | None:
    """The run of chunks without which the MACs give the link's; never all of them, for then nothing was checked."""
    end = len(macs) // _BLOCK
    before = _chained(link.aes, macs)
    for start in range(max(0, end - _LATE), end):
        state = before[start * _BLOCK : (start + 1) * _BLOCK]
        for stop in range(start + 1, min(start + _RUN, end) + 1):
            whole = _chained(link.aes, macs[stop * _BLOCK :], state)
            if _folded(whole[-_BLOCK:]) == link.mac and stop - start < end:
                return range(start, stop)
    return None
