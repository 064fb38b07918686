"""Tell which checkpoint a file on this machine belongs to: by its sha256, else by a MAC.

The MAC is the checksum of a file's content that the file's Mega link contains.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reidhub.errors import IntegrityError, SourceError
from reidhub.files.digest import BLOCK, Digest
from reidhub.zoo.checkpoint import Artifact, Checkpoint

if TYPE_CHECKING:
    from reidhub.files.mega_mac import ContentMac


def check_file(path: Path, artifact: Artifact) -> Digest:
    """Compare a file with the known size, sha256 and MAC of an artifact, and return the file's sha256.

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
    """Find the checkpoints that have exactly this file; an empty list if no sha256 and no MAC fits.

    Args:
        path: a file.
        digest: its sha256.
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
    """Find the Mega links whose MAC fits a file's content; the file is read once.

    Raises:
        OSError: the file cannot be read.
    """
    from reidhub.files.mega_mac import ContentMac  # imports cryptography; a file known by its sha256 needs no MAC

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
