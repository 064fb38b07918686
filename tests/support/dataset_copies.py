"""Writes copies of datasets whose files have the right names but contain no images."""

import json
from collections.abc import Mapping, Sequence
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


CUHK_ENTRIES = {
    "query": [("1_001_1_01.png", 5, 0), ("1_001_2_06.png", 5, 1)],
    "gallery": [("1_001_1_02.png", 5, 0), ("1_001_2_07.png", 5, 1), ("5_042_2_10.png", 1203, 1)],
}


def write_cuhk(
    root: Path,
    version: str = "detected",
    entries: Mapping[str, Sequence[tuple[str, int, int]]] = CUHK_ENTRIES,
    folder: str = "/home/somebody/reid-data/cuhk03/",
) -> Path:
    """Write the list of a version as torchreid writes it, with paths of another machine, and a file for each entry."""
    images = f"images_{version}"
    write(root, {images: [name for listed in entries.values() for name, _, _ in listed]})
    lists = {split: [(f"{folder}{images}/{name}", *labels) for name, *labels in entries[split]] for split in entries}
    counts = {f"num_{split}_{kind}": 1 for split in ("train", *entries) for kind in ("pids", "imgs")}
    split = {"train": [(f"{folder}{images}/2_001_1_01.png", 0, 0)], **lists, **counts}
    (root / f"splits_new_{version}.json").write_text(json.dumps([split], indent=4, separators=(",", ": ")))
    return root
