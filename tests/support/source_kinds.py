"""Makes one source of each kind, and the hosts that offer its file."""

import os
from pathlib import Path

from reidhub.testing import Drive, Host, Mega, Static, mega_link
from reidhub.zoo.artifact import Source

KINDS = ["mega", "gdrive", "https", "local"]
FILE_ID = "1-CaioD9NaqbHK_kzSMW8VE4_3KcsRjEo"
DATA = b"\x80\x02" + os.urandom(700_000)
PAGE = b"<!DOCTYPE html><html><head><title>Quota\nexceeded \x1b[31m</title></head></html>"


def offered(kind: str, content: bytes, folder: Path) -> tuple[Source, dict[str, Host]]:
    """Make a source of a kind, and the hosts (name -> host) that send ``content`` for this source."""
    if kind == "mega":
        link = mega_link("AbCdEfGh", content)
        return Source(kind, link), Mega({link: content}).hosts
    if kind == "gdrive":
        return Source(kind, f"https://drive.google.com/uc?id={FILE_ID}"), Drive({FILE_ID: content}).hosts
    if kind == "https":
        return Source(kind, "https://example.org/a.pth"), {"example.org": Static({"/a.pth": content})}
    path = folder / "a b.pth"
    path.write_bytes(content)
    return Source(kind, path.as_uri()), {}
