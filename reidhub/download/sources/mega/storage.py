"""Download and decrypt the bytes of a Mega file, with a new connection after each break.

The MAC (the checksum in the link) is not checked here but in `reidhub.download.transfer`, which has all bytes of the
file, including those of an earlier run.
"""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

import requests
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from reidhub.download.sources import Resume, Stream
from reidhub.download.sources.failures import name_status, name_web_host
from reidhub.download.sources.http import Session, describe_refusal, read_length
from reidhub.download.sources.mega.api import Api, Offer, describe_quota
from reidhub.download.sources.patience import PATIENCE, Patience, TransientError
from reidhub.errors import IntegrityError
from reidhub.files.mega_link import MegaLink

_CIPHER_BLOCK = 16  # bytes; the counter of AES-CTR goes up by one for each block


@contextmanager
def open_stream(location: str, *, resume: Resume | None = None, patience: Patience = PATIENCE) -> Iterator[Stream]:
    """Open a Mega link; see `reidhub.download.sources.SourceModule`.

    An interrupted download can resume at any byte, if the file still has the same size.

    Raises:
        SourceError: the link is malformed or the file is gone (permanent errors), or Mega does not give the file now.
    """
    link = MegaLink.parse(location)
    with Session(patience) as http:
        storage = _Storage(http, link)
        can_resume = resume is not None and resume.state.get("size") == storage.size
        offset = resume.offset if resume and can_resume and resume.offset <= storage.size else 0
        with closing(storage.read(offset)) as chunks:
            yield Stream(chunks, size=storage.size, offset=offset, state={"size": storage.size})


def probe(location: str, *, patience: Patience = PATIENCE) -> int | None:
    """Return the size of a Mega link's file in bytes, as Mega's API states it. The storage host is not asked.

    Raises:
        SourceError: the link is malformed or the file is gone (permanent errors), or Mega does not give the file now.
    """
    handle = MegaLink.parse(location).handle
    with Session(patience) as http:
        return Api(http).locate(handle).size


class _Storage:
    """One file in Mega's storage. When its URL expires, the API is asked for a new URL.

    Attributes:
        size: bytes of the file, as the API states it.

    Raises:
        SourceError: Mega's API, which is asked when this object is created, does not give a URL of the file.
    """

    def __init__(self, http: Session, link: MegaLink) -> None:
        self._http = http
        self._link = link
        self._api = Api(http)
        self._offer: Offer | None = self._api.locate(link.handle)
        self.size = self._offer.size

    def read(self, offset: int) -> Generator[bytes, None, None]:
        """Yield the decrypted bytes from ``offset`` to the end.

        Raises:
            SourceError: no further bytes come, and no attempt is left.
            IntegrityError: the storage host sends more bytes than the API stated, or the API now states another size.
        """
        counter = self._link.nonce + (offset // _CIPHER_BLOCK).to_bytes(8)
        decryptor = Cipher(AES(self._link.aes), CTR(counter)).decryptor()
        decryptor.update(bytes(offset % _CIPHER_BLOCK))
        while offset < self.size:
            try:
                with self._http.open("GET", f"{self._find_address()}/{offset}-{self.size - 1}") as response:
                    self._check_answer(response, self.size - offset)
                    for block in self._http.read_blocks(response):
                        offset += len(block)
                        if offset > self.size:
                            raise IntegrityError(f"expected {self.size} bytes, and more keep coming")
                        self._http.attempts.note_progress()
                        yield decryptor.update(block)
                if offset < self.size:
                    raise TransientError("Mega's storage ended the file")
            except TransientError as error:
                error.add_position(offset, self.size)
                self._http.attempts.wait_after(error)

    def _find_address(self) -> str:
        if self._offer is None:
            offer = self._api.locate(self._link.handle)
            if offer.size != self.size:
                raise IntegrityError(f"expected {self.size} bytes, Mega now offers {offer.size}")
            self._offer = offer
        return self._offer.url

    def _check_answer(self, response: requests.Response, expected: int) -> None:
        """Raise an error if the HTTP status means failure, or if the body is longer than ``expected`` bytes."""
        if response.status_code in (403, 404):
            self._offer = None
            words = f"{name_web_host(response.url)}: {name_status(response.status_code)}"
            raise TransientError(f"{words} for one address after another")
        if response.status_code == 509:
            raise describe_quota(response.headers)
        if response.status_code not in (200, 206):
            raise describe_refusal(response)
        length = read_length(response)
        if length is not None and length > expected:
            raise IntegrityError(f"expected {expected} more of {self.size} bytes, the storage host sends {length}")
