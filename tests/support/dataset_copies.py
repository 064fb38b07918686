"""Writes copies of datasets whose files have the right names but contain no images."""

from pathlib import Path

from reidhub.datasets import Record

MSMT_QUERY = "0001/0001_000_01_0303morning_0015_0.jpg"
MSMT_GALLERY = ("0001/0001_003_14_0303morning_0022_1.jpg", "0000/0000_000_05_0303noon_0015_0.jpg")


def write(root: Path, folders: dict[str, list[str]]) -> Path:
    """Write files below ``root``; the files of a folder have different sizes, and they are not images."""
    for folder, names in folders.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(names):
            path = root / folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"x" * (10 + number))
    return root


def labels(records: tuple[Record, ...]) -> list[tuple[str, int, int]]:
    return [(record.path.name, record.pid, record.camid) for record in records]


def write_msmt(root: Path, folder: str = "test") -> Path:
    write(root, {folder: [MSMT_QUERY, *MSMT_GALLERY]})
    (root / "list_query.txt").write_text(f"{MSMT_QUERY} 1\n")
    (root / "list_gallery.txt").write_text(f"{MSMT_GALLERY[0]} 1\n{MSMT_GALLERY[1]} 0\n")
    return root
