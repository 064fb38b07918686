"""The bytes of a Mega file: fetched over as many connections as it takes, decrypted and held to the MAC on the way."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

import requests
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from reidhub.download.sources import Claim, Resume, Stream
from reidhub.download.sources.failures import name_status, name_web_host
from reidhub.download.sources.http import Session, describe_refusal, read_length
from reidhub.download.sources.mega.api import Api, Offer, over_quota
from reidhub.download.sources.patience import PATIENCE, Patience, TransientError
from reidhub.errors import IntegrityError
from reidhub.files.mega_link import Link
from reidhub.files.mega_mac import ContentMac
from reidhub.files.sniff import looked_at


@contextmanager
def open_stream(location: str, *, resume: Resume | None = None, patience: Patience = PATIENCE) -> Iterator[Stream]:
    """Open a Mega link; see `Opener`. A resume is granted at the last complete chunk of the MAC.

    Raises:
        SourceError: the link is malformed or the file gone (permanent), or Mega does not give it now.
        IntegrityError: at the end of the chunks: the content is not the one the link was made for.
    """
    link = Link.parse(location)
    with Session(patience) as http:
        storage = Storage(http, link.handle)
        mac = _begun(link, resume, storage.size)
        offset = mac.offset
        with closing(_plain(storage, link, mac)) as chunks:
            yield Stream(
                chunks if offset else looked_at(chunks),
                size=storage.size,
                offset=offset,
                state=lambda: {**mac.state(), "size": storage.size},
            )


class Storage:
    """The encrypted bytes of one file; an address that has expired is asked for anew.

    Attributes:
        size: bytes, as Mega says.

    Raises:
        SourceError: Mega does not give the file.
    """

    def __init__(self, http: Session, handle: str) -> None:
        self._http = http
        self._handle = handle
        self._api = Api(http)
        self._offer: Offer | None = self._api.locate(handle)
        self.size = self._offer.size

    def read(self, offset: int) -> Iterator[bytes]:
        """The bytes from ``offset`` to the end.

        Raises:
            SourceError: they stopped coming for good.
            IntegrityError: the storage host disagrees with Mega on the size.
        """
        at = offset
        while at < self.size:
            try:
                for block in self._connection(at):
                    self._http.attempts.note_progress()
                    at += len(block)
                    yield block
                if at < self.size:
                    raise TransientError("Mega's storage ended the file")
            except TransientError as error:
                error.add_position(at, self.size)
                self._http.attempts.wait_after(error)

    def _connection(self, at: int) -> Iterator[bytes]:
        url = f"{self._address()}/{at}-{self.size - 1}"
        with self._http.open("GET", url) as response:
            self._check(response, self.size - at)
            left = self.size - at
            for block in self._http.read_blocks(response):
                left -= len(block)
                if left < 0:
                    raise IntegrityError(f"expected {self.size} bytes, and more keep coming")
                yield block

    def _address(self) -> str:
        if self._offer is None:
            offer = self._api.locate(self._handle)
            if offer.size != self.size:
                raise IntegrityError(f"expected {self.size} bytes, Mega now offers {offer.size}")
            self._offer = offer
        return self._offer.url

    def _check(self, response: requests.Response, expected: int) -> None:
        if response.status_code in (403, 404):
            self._offer = None
            words = f"{name_web_host(response.url)}: {name_status(response.status_code)}"
            raise TransientError(f"{words} for one address after another")
        if response.status_code == 509:
            raise over_quota(response.headers)
        if response.status_code not in (200, 206):
            raise describe_refusal(response)
        length = read_length(response)
        if length is not None and length > expected:
            raise IntegrityError(f"expected {expected} more of {self.size} bytes, the storage host sends {length}")


def _begun(link: Link, resume: Resume | None, size: int) -> ContentMac:
    """The MAC at the point to go on from: where the resume can be granted, else the beginning."""
    if resume is None or resume.state.get("size") != size:
        return ContentMac(link)
    try:
        mac = ContentMac.resumed(link, resume.state)
    except ValueError:  # a damaged state only costs the bytes already held
        return ContentMac(link)
    return mac if mac.offset <= min(resume.offset, size) else ContentMac(link)


def _plain(storage: Storage, link: Link, mac: ContentMac) -> Generator[bytes, None, None]:
    start = mac.offset // 16  # chunks end on whole blocks of the counter
    decryptor = Cipher(AES(link.aes), CTR(link.nonce + start.to_bytes(8))).decryptor()
    for block in storage.read(mac.offset):
        plain = decryptor.update(block)
        while plain:  # cut where the MAC's chunks end: there a later run can go on
            part, plain = plain[: mac.room], plain[mac.room :]
            mac.update(part)
            yield part
    mac.check()


def probe(location: str, *, patience: Patience = PATIENCE) -> Claim:
    """Ask Mega's API for a link's file; see `reidhub.download.sources.Prober`. Its storage is not asked.

    Raises:
        SourceError: the link is malformed or the file gone (permanent), or Mega does not give it now.
    """
    handle = Link.parse(location).handle
    with Session(patience) as http:
        return Claim(Api(http).locate(handle).size)
