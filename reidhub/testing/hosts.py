"""Hosts on this machine that speak the protocols of Mega and Google Drive, and a plain web host.

They follow the descriptions of the protocols, and share no code with the clients in `reidhub.download.sources`. So a
mistake in a client is not repeated in its host, and a test can find it.

`Static` is one host. `Drive` and `Mega` answer under several host names; pass their ``hosts`` to `Internet` or
`online`.
"""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR

from reidhub.testing.internet import Host, Request, Response

KIB = 1024


class Static:
    """A web host that serves files from memory and supports ETag, Range, If-Range and redirects.

    Args:
        files: path on the host, such as ``/weights.pth`` -> content.
        redirects: path -> the URL that a 302 answer redirects to.

    Example:
        >>> import requests
        >>> from reidhub.testing import Static, online
        >>> with online({"example.org": Static({"/a": b"content"}, redirects={"/b": "https://example.org/a"})}):
        ...     requests.get("https://example.org/b", headers={"Range": "bytes=3-"}, timeout=5).content
        b'tent'
    """

    def __init__(self, files: Mapping[str, bytes], *, redirects: Mapping[str, str] | None = None) -> None:
        self.files = dict(files)
        self.redirects = dict(redirects or {})

    def __call__(self, request: Request) -> Response:
        """Answer with the file, a part of the file, a redirect, or the status 404 or 416."""
        path = urlsplit(request.path).path
        if path in self.redirects:
            return Response(302, headers={"Location": self.redirects[path]})
        if path not in self.files:
            return page(404, "404 Not Found")
        content = self.files[path]
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if wanted is None or request.headers.get("If-Range", tag) != tag:
            return Response(200, content, headers)
        start, total = int(wanted[1]), len(content)
        if start >= total:
            return Response(416, headers={**headers, "Content-Range": f"bytes */{total}"})
        last = min(int(wanted[2] or total), total - 1)
        return Response(206, content[start : last + 1], {**headers, "Content-Range": f"bytes {start}-{last}/{total}"})


class Drive:
    """A Google Drive with files that are shared with everybody.

    Args:
        files: id of a file -> content.
        large: ids of files that are too large for Google's virus scan; the first answer for them is a page with a form.
        refused: id of a file that is not sent -> ``quota`` (the answer is a page about too many downloads) or
            ``sign-in`` (the answer is a redirect to the sign-in page).

    Example:
        >>> import requests
        >>> from reidhub.testing import Drive, online
        >>> with online(Drive({"1AbC": b"content"}).hosts):
        ...     requests.get("https://drive.google.com/uc?id=1AbC", timeout=5).content
        b'content'
    """

    FRONT = "drive.google.com"
    CONTENT = "drive.usercontent.google.com"

    def __init__(
        self, files: Mapping[str, bytes], *, large: tuple[str, ...] = (), refused: Mapping[str, str] | None = None
    ) -> None:
        self.files = dict(files)
        self.large = large
        self.refused = dict(refused or {})
        self._token = secrets.token_hex(16)

    @property
    def hosts(self) -> dict[str, Host]:
        """Host name -> function that answers for the host; three hosts take part in a download from Drive."""
        return {
            self.FRONT: self.front,
            self.CONTENT: self.content,
            "accounts.google.com": lambda _: page(200, "Sign in - Google Accounts"),
        }

    def front(self, request: Request) -> Response:
        """Answer ``/uc?id=``: redirect to the content host or to the sign-in page."""
        query = _read_query(request)
        file_id = query.get("id", "")
        if self.refused.get(file_id) == "sign-in":
            return Response(302, headers={"Location": "https://accounts.google.com/ServiceLogin?service=wise"})
        target = f"https://{self.CONTENT}/download?{urlencode({'export': 'download', **query})}"
        return Response(303, headers={"Location": target})

    def content(self, request: Request) -> Response:
        """Answer ``/download?id=`` with the file, the form for a large file, or a page with the reason for refusal."""
        query = _read_query(request)
        file_id = query.get("id", "")
        if self.refused.get(file_id) == "quota":
            return page(200, "Google Drive - Quota exceeded", _QUOTA)
        if file_id not in self.files:
            return page(404, "Error 404 (Not Found)!!1")
        if file_id in self.large and query.get("confirm") != "t":
            return page(200, "Google Drive - Virus scan warning", self._form(file_id))
        headers = {
            "Content-Disposition": 'attachment; filename="../../outside.pth"',  # a client must not write there
            "Content-Type": "application/octet-stream",
        }
        return Response(200, self.files[file_id], headers)

    def _form(self, file_id: str) -> str:
        fields = {"id": file_id, "export": "download", "confirm": "t", "uuid": self._token}
        inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
        action = f"https://{self.CONTENT}/download"
        return f'<form id="download-form" action="{action}" method="get">{inputs}</form>'


_QUOTA = (
    '<p class="uc-error-caption">Sorry, you can&#39;t view or download this file at this time.</p>'
    '<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p>'
)


class Mega:
    """Mega's API and one of its storage hosts.

    Args:
        files: link of the form ``https://mega.nz/#!HANDLE!KEY`` -> content before encryption. Make the link with
            `mega_link`, so that its key contains the checksum (MAC) of the content, as in a published link.

    Example:
        >>> import requests
        >>> from reidhub.testing import Mega, mega_link, online
        >>> link = mega_link("AbCdEfGh", b"content")
        >>> with online(Mega({link: b"content"}).hosts):
        ...     question = [{"a": "g", "g": 1, "ssl": 2, "p": "AbCdEfGh"}]
        ...     requests.post("https://g.api.mega.co.nz/cs?id=1", json=question, timeout=5).json()
        [{'s': 7, 'at': '', 'g': 'https://gfs270n204.userstorage.mega.co.nz/dl/AbCdEfGh'}]
    """

    API = "g.api.mega.co.nz"
    STORAGE = "gfs270n204.userstorage.mega.co.nz"

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._stored: dict[str, bytes] = {}
        for link, content in files.items():
            _, handle, key = link.split("!")
            self._stored[handle] = encrypt(MegaKey.of_text(key), content)

    @property
    def hosts(self) -> dict[str, Host]:
        """Host name -> function that answers for the host: the API and the storage host."""
        return {self.API: self.api, self.STORAGE: self.storage}

    def api(self, request: Request) -> Response:
        """Answer the command ``g`` with the size and URL of one file, or with the error -9 (no such file)."""
        command = json.loads(request.body)[0]
        stored = self._stored.get(command["p"])
        if stored is None:
            return Response(200, b"[-9]")
        scheme = "https" if command.get("ssl") == 2 else "http"
        answer = {"s": len(stored), "at": "", "g": f"{scheme}://{self.STORAGE}/dl/{command['p']}"}
        return Response(200, json.dumps([answer]).encode(), {"Content-Type": "application/json"})

    def storage(self, request: Request) -> Response:
        """Answer with the encrypted bytes; ``/first-last`` at the end of the URL asks for a range of bytes."""
        found = re.fullmatch(r"/dl/([\w-]+)(?:/(\d+)-(\d+))?", request.path)
        if found is None or found[1] not in self._stored:
            return Response(404)
        stored = self._stored[found[1]]
        part = stored if found[2] is None else stored[int(found[2]) : int(found[3]) + 1]
        return Response(200, part, {"Content-Type": "application/octet-stream"})


@dataclass(frozen=True, slots=True)
class MegaKey:
    """The key in a Mega link.

    Args:
        aes: AES key, 16 bytes.
        nonce: first 8 bytes of the AES-CTR counter.
        mac: MAC (checksum) of the content, 8 bytes.
    """

    aes: bytes
    nonce: bytes
    mac: bytes

    @classmethod
    def of_text(cls, text: str) -> "MegaKey":
        """Make a `MegaKey` from the text of the key in a Mega link."""
        raw = base64.urlsafe_b64decode(text + "=")
        return cls(_xor(raw[:16], raw[16:]), raw[16:24], raw[24:])

    @property
    def text(self) -> str:
        """The key as text, as a Mega link contains it."""
        tail = self.nonce + self.mac
        return base64.urlsafe_b64encode(_xor(self.aes, tail) + tail).decode().rstrip("=")


def mega_link(handle: str, content: bytes) -> str:
    """Make a Mega link for a file.

    Args:
        handle: Mega's id of the file, 8 characters of base64. The AES key is derived from the handle, so that the same
            arguments give the same link.
        content: bytes of the file before encryption.

    Returns:
        ``https://mega.nz/#!HANDLE!KEY``; the key contains the MAC of the content.

    Example:
        >>> mega_link("AbCdEfGh", b"content")
        'https://mega.nz/#!AbCdEfGh!Wpk0tgbxHk8WyNw-iqarin-ReW5Ep0mHk0kbjfn9rGk'
    """
    seed = hashlib.sha256(handle.encode()).digest()
    aes, nonce = seed[:16], seed[16:24]
    return f"https://mega.nz/#!{handle}!{MegaKey(aes, nonce, content_mac(aes, nonce, content)).text}"


def encrypt(key: MegaKey, content: bytes) -> bytes:
    """Encrypt the content of a file as Mega does, with AES in counter mode from block 0."""
    return Cipher(AES(key.aes), CTR(key.nonce + bytes(8))).encryptor().update(content)


def content_mac(aes: bytes, nonce: bytes, content: bytes) -> bytes:
    """Compute Mega's MAC (checksum) of a file: a CBC-MAC over the CBC-MACs of its chunks, folded to 8 bytes.

    The chunks grow from 128 KiB to 1 MiB, in steps of 128 KiB.
    """
    macs, start, length = b"", 0, 128 * KIB
    while start < len(content):
        macs += _cbc_mac(aes, nonce + nonce, content[start : start + length])
        start, length = start + length, min(length + 128 * KIB, 1024 * KIB)
    whole = _cbc_mac(aes, bytes(16), macs)
    return _xor(whole[0:4], whole[4:8]) + _xor(whole[8:12], whole[12:16])


def _cbc_mac(aes: bytes, start: bytes, data: bytes) -> bytes:
    padded = data + bytes(-len(data) % 16)
    return (start + Cipher(AES(aes), CBC(start)).encryptor().update(padded))[-16:]


def page(status: int, title: str, body: str = "") -> Response:
    """Make an answer with an HTML page, such as hosts send instead of a file.

    Args:
        status: HTTP status code.
        title: text of the title element.
        body: HTML of the body element.
    """
    text = f"<!DOCTYPE html><html><head><title>{title}</title></head><body>{body}</body></html>"
    return Response(status, text.encode(), {"Content-Type": "text/html; charset=utf-8"})


def _read_query(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
