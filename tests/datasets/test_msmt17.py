"""MSMT17: records in the order of its lists, and lists that cannot be meant."""

from pathlib import Path

import pytest
from support.dataset_copies import MSMT_GALLERY, MSMT_QUERY, labels, write_msmt

from reidhub.datasets import RetrievalSet, read_dataset
from reidhub.errors import DatasetError, DatasetNotFoundError


def read_msmt(root: Path) -> RetrievalSet:
    read = read_dataset("msmt17", root, allow_partial=True)
    assert isinstance(read, RetrievalSet)
    return read


def test_msmt17_records_come_in_the_order_of_its_lists(tmp_path: Path) -> None:
    read = read_msmt(write_msmt(tmp_path))
    assert [(r.path, r.pid, r.camid) for r in (*read.query, *read.gallery)] == [
        (tmp_path / "test" / MSMT_QUERY, 1, 0),
        (tmp_path / "test" / MSMT_GALLERY[0], 1, 13),
        (tmp_path / "test" / MSMT_GALLERY[1], 0, 4),
    ]


@pytest.mark.parametrize(
    ("folder", "images", "version"),
    [("msmt17/MSMT17_V1", "test", "V1"), ("msmt17/MSMT17_V2", "mask_test_v2", "V2"), ("", "mask_test_v2", "V2")],
)
def test_versions_of_msmt17_are_told_apart_by_their_folders(
    tmp_path: Path, folder: str, images: str, version: str
) -> None:
    write_msmt(tmp_path / folder, images)
    assert read_msmt(tmp_path).version == version


def test_the_version_of_published_scores_is_read_where_both_are_there(tmp_path: Path) -> None:
    write_msmt(tmp_path / "msmt17/MSMT17_V2", "mask_test_v2")
    write_msmt(tmp_path / "msmt17/MSMT17_V1")
    assert read_msmt(tmp_path).version == "V1"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("../../secret/0001_000_01_a.jpg 1", "'../../secret/0001_000_01_a.jpg' is not a path below"),
        ("0001/../../0001_000_01_a.jpg 1", "is not a path below"),
        ("/etc/0001_000_01_a.jpg 1", "is not a path below"),
        ("C:/0001_000_01_a.jpg 1", "is not a path below"),
        (r"..\0001_000_01_a.jpg 1", "is not a path below"),
        (MSMT_QUERY, "expected a path and a pid"),
        (f"{MSMT_QUERY} one", "expected a path and a pid"),
        (f"{MSMT_QUERY} 1", "is listed twice"),
        ("0001/holiday.jpg 1", "expected a name like 0000_000_01_0303morning_0015_0.jpg, got 'holiday.jpg'"),
    ],
)
def test_a_line_that_cannot_be_meant_is_named_with_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    write_msmt(tmp_path)
    (tmp_path / "list_query.txt").write_text(f"{MSMT_QUERY} 1\n\n{line}\n")
    with pytest.raises(DatasetError) as refused:
        read_dataset("msmt17", tmp_path, allow_partial=True)
    assert f"{tmp_path / 'list_query.txt'}:3: " in str(refused.value)
    assert message in str(refused.value)


def test_listed_files_that_are_missing_are_counted_and_one_is_named(tmp_path: Path) -> None:
    write_msmt(tmp_path)
    (tmp_path / "test" / MSMT_GALLERY[0]).unlink()
    with pytest.raises(DatasetError, match=r"gallery: 1 of 2 listed files are missing, such as .*_14_0303morning_0022"):
        read_dataset("msmt17", tmp_path)
    partial = read_msmt(tmp_path)
    assert labels(partial.gallery) == [("0000_000_05_0303noon_0015_0.jpg", 0, 4)]
    assert partial.partial is not None
    assert "1 of 2 listed files are missing" in partial.partial


def test_msmt17_lists_without_images_are_said_to_lack_them(tmp_path: Path) -> None:
    write_msmt(tmp_path, "elsewhere")
    with pytest.raises(DatasetNotFoundError, match="has the lists, but neither test nor mask_test_v2"):
        read_dataset("msmt17", tmp_path)
