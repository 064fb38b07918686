"""The file of a checkpoint, as the manifest describes it: digest, size, sources, and how it stores its tensors.

A MAC is a checksum of a file's content. The Mega link of a file contains its MAC.
"""

from dataclasses import dataclass, field
from typing import Literal

from reidhub.files.digest import Digest

GRADES = {
    "proven": "the bytes were at hand, and they have the MAC of the Mega link, or unrelated people host the same bytes",
    "strong": "unrelated people published the same sha256, or the published size is exactly the computed one",
    "single": "one person published it, and another fact agrees",
}
"""How good the evidence for the sha256 or the size of a file is, best first."""

Grade = Literal["proven", "strong", "single"]


@dataclass(frozen=True, slots=True)
class Source:
    """A place from which a file can be downloaded.

    Args:
        kind: kind of the source: ``mega``, ``gdrive``, ``https`` or ``local``.
        location: the full URL; a ``file:`` URL for ``local``.
    """

    kind: str
    location: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """The published file of a checkpoint.

    Args:
        digest: sha256 of the file; None if not known. A file without a known sha256 is called *unpinned*.
        size: bytes; None if not known.
        sources: places to download the file from, in the order in which they are tried.
        evidence: text that says where digest, size and computed sizes come from.
        sha256_prefix: first digits of a sha256, taken from the author's file name. The author may have changed the file
            and kept its name, so a download with other digits causes only a warning.
        original_file: the author's name for the file. Other hosts offer the file under this name.
        grade: how good the evidence is, a key of `GRADES`; None if nobody has graded it.
        expected_size: possible sizes in bytes, computed from the format of the file. Nobody published them, so a
            download of another size causes only a warning. Empty if ``size`` is known, or if nothing is computed.
    """

    digest: Digest | None
    size: int | None
    sources: tuple[Source, ...]
    evidence: str | None = None
    sha256_prefix: str | None = None
    original_file: str | None = None
    grade: Grade | None = None
    expected_size: tuple[int, ...] = ()

    @property
    def pinned(self) -> bool:
        """True if the sha256 of the file is known."""
        return self.digest is not None

    @property
    def mega_link(self) -> str | None:
        """The Mega link among the sources, or None. The MAC (checksum) in the link can check a file from any source."""
        return next((source.location for source in self.sources if source.kind == "mega"), None)

    @property
    def checked_by(self) -> Literal["sha256", "mega-mac", "nothing"]:
        """What every download is compared with: the sha256 if known, else the MAC in the Mega link, else nothing."""
        if self.pinned:
            return "sha256"
        return "mega-mac" if self.mega_link else "nothing"


@dataclass(frozen=True, slots=True)
class StateDictLayout:
    """How a checkpoint file stores its tensors. If a field is None, reidhub works out its value from the file.

    Args:
        root: key under which the file holds the mapping of names to tensors; ``""`` if the whole content of the file
            is this mapping.
        strip_prefix: prefix to remove from every tensor's name; ``""`` if there is none.
        encoding: text encoding of byte strings that Python 2 wrote.
        skip: names of tensors to leave out, as the file has them. A name that ends with a dot stands for all names
            that start with it.
        rename: name of a tensor, without the prefix -> its name in the architecture. A name that ends with a dot stands
            for all names that start with it; only this start is replaced.
        constants: name of a tensor, without the prefix -> the numbers that it must have. The file must have this
            tensor. It is compared and left out.
    """

    root: str | None = None
    strip_prefix: str | None = None
    encoding: Literal["ascii", "latin1"] = "latin1"
    skip: tuple[str, ...] = ()
    rename: dict[str, str] = field(default_factory=dict)
    constants: dict[str, tuple[float, ...]] = field(default_factory=dict)
