"""Whether a file of this machine is a checkpoint's, and which one's: by sha256, else by the MAC of its Mega link."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reidhub.errors import IntegrityError, SourceError
from reidhub.files.digest import BLOCK, Digest
from reidhub.zoo.checkpoint import Artifact, Checkpoint

if TYPE_CHECKING:
    from reidhub.files.mega_mac import ContentMac


def hold(path: Path, artifact: Artifact) -> Digest:
    """Hold a file to all that is known of an artifact; its digest.

    Raises:
        IntegrityError: its size, sha256 or MAC is not the artifact's.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if artifact.size not in (None, size):
        raise IntegrityError(f"expected {artifact.size} bytes, {path} has {size}")
    digest = Digest.of_file(path)
    if artifact.digest not in (None, digest):
        raise IntegrityError(f"expected sha256 {artifact.digest}, {path} has {digest}")
    if not artifact.pinned and artifact.mega_link and not links_of(path, [artifact.mega_link]):
        raise IntegrityError(f"{path} has not the content that the checkpoint's Mega link was made for")
    return digest


def recognised(path: Path, digest: Digest, checkpoints: Iterable[Checkpoint]) -> list[Checkpoint]:
    """The checkpoints whose file this is, as sha256 or MAC say; none where neither does.

    Args:
        path: a file.
        digest: its sha256.
        checkpoints: among which to look.

    Raises:
        OSError: the file cannot be read.
    """
    known = list(checkpoints)
    if same := [checkpoint for checkpoint in known if checkpoint.artifact.digest == digest]:
        return same
    size = path.stat().st_size
    open_ones = [c for c in known if not c.artifact.pinned and c.artifact.size in (None, size)]
    links = links_of(path, {link for c in open_ones if (link := c.artifact.mega_link)})
    return [checkpoint for checkpoint in open_ones if checkpoint.artifact.mega_link in links]


def links_of(path: Path, links: Iterable[str]) -> set[str]:
    """Those of the Mega links whose MAC the content of a file has; the file is read once.

    Raises:
        OSError: the file cannot be read.
    """
    from reidhub.files.mega_mac import ContentMac  # needs cryptography, and a file known by its sha256 does not

    macs = {}
    for link in links:
        with suppress(SourceError):  # a malformed one has no MAC
            macs[link] = ContentMac(link)
    with path.open("rb") as file:
        while macs and (block := file.read(BLOCK)):
            for mac in macs.values():
                mac.update(block)
    return {link for link, mac in macs.items() if _agrees(mac)}


def _agrees(mac: "ContentMac") -> bool:
    try:
        mac.check()
    except IntegrityError:
        return False
    return True
