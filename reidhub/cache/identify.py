"""Find the checkpoint that a file on this machine belongs to: by the file's sha256, else by a MAC.

A MAC is the checksum in a link to a file on Mega. It is computed from the content of the file.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reidhub.errors import IntegrityError, SourceError
from reidhub.files.digest import BLOCK, Digest
from reidhub.zoo.artifact import Artifact
from reidhub.zoo.checkpoint import Checkpoint

if TYPE_CHECKING:
    from reidhub.files.mega_mac import ContentMac


def check_file(path: Path, artifact: Artifact) -> Digest:
    """Compare a file with the size and checksum of an artifact in the manifest, and return the file's sha256.

    The checksum is the sha256. If no sha256 is known, it is the MAC in the artifact's Mega link, if there is one.

    Raises:
        IntegrityError: size, sha256 or MAC differ.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    if artifact.size not in (None, size):
        raise IntegrityError(f"expected {artifact.size} bytes, {path} has {size}")
    digest = Digest.of_file(path)
    if artifact.digest not in (None, digest):
        raise IntegrityError(f"expected sha256 {artifact.digest}, {path} has {digest}")
    if not artifact.pinned and artifact.mega_link and not find_mega_links(path, [artifact.mega_link]):
        raise IntegrityError(f"{path} is not the file of the checkpoint's Mega link: its MAC differs")
    return digest


def identify(path: Path, digest: Digest, checkpoints: Iterable[Checkpoint]) -> list[Checkpoint]:
    """Find the checkpoints whose published file is exactly this file; an empty list if there are none.

    The checkpoints with this sha256 are the result. If there are none, the checkpoints without a known sha256 are
    compared by their MAC, which is the checksum in a Mega link.

    Args:
        path: the file.
        digest: sha256 of the file.
        checkpoints: the candidates.

    Raises:
        OSError: the file cannot be read.
    """
    candidates = list(checkpoints)
    if same := [checkpoint for checkpoint in candidates if checkpoint.artifact.digest == digest]:
        return same
    size = path.stat().st_size
    unpinned = [c for c in candidates if not c.artifact.pinned and c.artifact.size in (None, size)]
    links = find_mega_links(path, {link for c in unpinned if (link := c.artifact.mega_link)})
    return [checkpoint for checkpoint in unpinned if checkpoint.artifact.mega_link in links]


def find_mega_links(path: Path, links: Iterable[str]) -> set[str]:
    """Return the Mega links that belong to a file: the MAC in the link equals the MAC of the file's content.

    A MAC is the checksum in a Mega link. The file is read only once, also for many links.

    Raises:
        OSError: the file cannot be read.
    """
    from reidhub.files.mega_mac import ContentMac  # imports cryptography, which is slow; most files need no MAC

    macs = {}
    for link in links:
        with suppress(SourceError):  # a malformed link has no MAC
            macs[link] = ContentMac(link)
    with path.open("rb") as file:
        while macs and (block := file.read(BLOCK)):
            for mac in macs.values():
                mac.update(block)
    return {link for link, mac in macs.items() if _is_right(mac)}


def _is_right(mac: "ContentMac") -> bool:
    try:
        mac.check()
    except IntegrityError:
        return False
    return True
