"""CUHK03 as torchreid writes it: its two versions, and lists that cannot be meant."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.dataset_copies import CUHK_ENTRIES, labels, write_cuhk

from reidhub.datasets import RetrievalSet, find_published_counts, read_dataset
from reidhub.errors import DatasetError, DatasetNotFoundError


def read(root: Path) -> RetrievalSet:
    found = read_dataset("cuhk03", root, allow_partial=True)
    assert isinstance(found, RetrievalSet)
    return found


@pytest.mark.parametrize("folder", ["/home/somebody/cuhk03/", "C:\\data\\cuhk03\\", "", "../../../"])
def test_only_the_names_of_files_are_taken_from_the_list(tmp_path: Path, folder: str) -> None:
    found = read(write_cuhk(tmp_path / "cuhk03", folder=folder))
    assert labels(found.query) == CUHK_ENTRIES["query"]
    assert labels(found.gallery) == CUHK_ENTRIES["gallery"]
    assert {path.parent for path in found.images} == {tmp_path / "cuhk03/images_detected"}
    assert (found.name, found.title, found.version) == ("cuhk03", "CUHK03", "detected")
    assert found.root == tmp_path / "cuhk03"


def test_the_version_of_published_scores_is_read_where_both_are_there(tmp_path: Path) -> None:
    write_cuhk(tmp_path / "cuhk03", "labeled")
    assert read(tmp_path).version == "labeled"
    write_cuhk(tmp_path / "cuhk03")
    assert read(tmp_path).version == "detected"


def test_a_version_is_chosen_by_naming_its_folder(tmp_path: Path) -> None:
    for version in ("detected", "labeled"):
        write_cuhk(tmp_path / "cuhk03", version)
    for version in ("detected", "labeled"):
        assert read(tmp_path / f"cuhk03/images_{version}").version == version


@pytest.mark.parametrize(("version", "gallery"), [("detected", 5332), ("labeled", 5328)])
def test_each_version_has_its_own_counts(tmp_path: Path, version: str, gallery: int) -> None:
    with pytest.raises(DatasetError) as refused:
        read_dataset("cuhk03", write_cuhk(tmp_path, version))
    assert f"is not CUHK03 {version} as published" in str(refused.value)
    assert "query: expected 1400 images of 700 identities from 2 cameras, got 2 images of 1" in str(refused.value)
    assert f"gallery: expected {gallery} images of 700 identities from 2 cameras" in str(refused.value)


def test_a_whole_copy_is_found_whole(tmp_path: Path) -> None:
    counts = find_published_counts("cuhk03", "labeled") or {}
    entries = {
        split: [
            (f"1_{n // 2 % 700 + 1:03d}_{n % 2 + 1}_{first + n // 1400:02d}.png", n // 2 % 700, n % 2)
            for n in range(counts[split].images)
        ]
        for split, first in (("query", 1), ("gallery", 2))
    }
    found = read_dataset("cuhk03", write_cuhk(tmp_path, "labeled", entries))
    assert isinstance(found, RetrievalSet)
    assert (len(found.query), len(found.gallery), found.partial) == (1400, 5328, None)


def test_files_that_are_missing_are_counted(tmp_path: Path) -> None:
    write_cuhk(tmp_path)
    (tmp_path / "images_detected/5_042_2_10.png").unlink()
    found = read(tmp_path)
    assert len(found.gallery) == 2
    assert "gallery: 1 of 3 listed files are missing, such as " in str(found.partial)


@pytest.mark.parametrize(
    "entry",
    [
        ["secret.png", 1, 0],
        ["..", 1, 0],
        ["images_detected/", 1, 0],
        ["1_001_1_02.png/..", 1, 0],
        ["1_001_1_02.png", 1, 1],
        ["1_001_3_02.png", 1, 2],
        ["1_001_1_02.png", -1, 0],
        ["1_001_1_02.png", 1 << 40, 0],
        ["1_001_1_02.png", "1", 0],
        ["1_001_1_02.png", 1],
        ["1_001_1_02.png", 1, 0, 0],
        {"path": "1_001_1_02.png"},
        "1_001_1_02.png",
        None,
        ["\ud800" * 1000, 1, 0],
    ],
)
def test_an_entry_that_cannot_be_meant_is_named(tmp_path: Path, entry: Any) -> None:
    write_cuhk(tmp_path)
    good = ["1_001_1_01.png", 5, 0]
    (tmp_path / "splits_new_detected.json").write_text(json.dumps([{"query": [good, entry], "gallery": [good]}]))
    with pytest.raises(DatasetError) as refused:
        read(tmp_path)
    message = str(refused.value)
    assert 'splits_new_detected.json: query, entry 2: expected an entry like ["1_001_2_08.png", 0, 1]' in message
    assert len(message.encode()) < 600


def test_a_file_that_is_listed_twice_is_an_error(tmp_path: Path) -> None:
    twice = {split: [*listed, listed[0]] for split, listed in CUHK_ENTRIES.items()}
    with pytest.raises(DatasetError, match=r"query, entry 3: '1_001_1_01\.png' is listed twice"):
        read(write_cuhk(tmp_path, entries=twice))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read: Expecting value"),
        ("[" * 100_000, "cannot be read: JSON nested too deeply"),
        ("{}", "cannot be read: expected a list, got a value of type dict"),
        ("[]", "expected a list of one split, with the lists query and gallery"),
        ('[{"query": []}]', "expected a list of one split"),
        ('[{"query": [], "gallery": {}}]', "expected a list of one split"),
        ('[{"query": [], "gallery": []}, {"query": [], "gallery": []}]', "expected a list of one split"),
        ('[{"query": [], "gallery": []}]', "query: no images"),
        (b"\xff\xfe\xff", "cannot be read: "),
    ],
)
def test_a_list_that_torchreid_did_not_write_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    write_cuhk(tmp_path)
    (tmp_path / "splits_new_detected.json").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DatasetError) as refused:
        read(tmp_path)
    assert message in str(refused.value)


def test_a_list_that_is_far_too_long_is_not_parsed(tmp_path: Path) -> None:
    write_cuhk(tmp_path)
    with (tmp_path / "splits_new_detected.json").open("r+b") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(DatasetError, match="expected a list of one split"):
        read(tmp_path)


def test_the_archive_of_the_authors_alone_is_not_enough_and_the_error_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "cuhk03/cuhk03_release").mkdir(parents=True)
    (tmp_path / "cuhk03/cuhk03_release/cuhk-03.mat").touch()
    (tmp_path / "cuhk03/images_detected").mkdir()
    with pytest.raises(DatasetNotFoundError) as missing:
        read(tmp_path)
    assert f"{tmp_path / 'cuhk03'}: no splits_new_detected.json" in str(missing.value)
    assert f"{tmp_path / 'cuhk03'}: no images_labeled, no splits_new_labeled.json" in str(missing.value)
    assert "hint: torchreid makes these files from cuhk-03.mat" in str(missing.value)
