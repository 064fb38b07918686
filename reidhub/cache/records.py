"""The cache's records of its files, each kept in a JSON file of its own."""

from dataclasses import dataclass

from reidhub.files.digest import Digest


@dataclass(frozen=True, slots=True)
class Entry:
    """The cache's record of a stored file.

    The modification time of its JSON file tells, to within a day, when the stored file was last used.

    Args:
        sha256: sha256 of the stored file.
        size: size of the stored file in bytes.
        mtime_ns: modification time of the stored file; the file is hashed again only if this time or the size changes.
        checked_by: what the file was compared with: ``sha256``, ``mega-mac`` (the checksum in a Mega link), or
            ``nothing``.
        name: the checkpoint that the file was first fetched for.
        source: the location that the file came from.
    """

    sha256: str
    size: int
    mtime_ns: int
    checked_by: str
    name: str
    source: str


@dataclass(frozen=True, slots=True)
class Pin:
    """The cache's record of the first download of an unpinned artifact.

    Args:
        name: the checkpoint that was downloaded.
        sha256: sha256 of the file.
        checked_by: see `Entry`.

    Raises:
        ValueError: ``sha256`` is not 64 lower-case hex digits.
    """

    name: str
    sha256: str
    checked_by: str

    def __post_init__(self) -> None:
        Digest(self.sha256)
