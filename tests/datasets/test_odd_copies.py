"""Copies that were unpacked, renamed or saved in other ways than usual are read all the same, or named in an error."""

import os
from pathlib import Path

import pytest
from support.dataset_copies import MSMT_QUERY, labels, write, write_msmt

from reidhub.datasets import RetrievalSet, read_dataset
from reidhub.datasets.market1501 import read_layout
from reidhub.errors import DatasetError, DatasetNotFoundError
from reidhub.files.atomic import write_text

MARKET = {"query": ["0001_c1s1_001051_00.jpg"], "bounding_box_test": ["0001_c2s1_001976_02.jpg"]}
DUKE = {"query": ["0005_c2_f0046985.jpg"], "bounding_box_test": ["0005_c8_f0000001.jpg"]}
LATIN1 = os.fsdecode("0001_c3s1_001051_00 Übung.jpg".encode("latin1"))


def read(name: str, root: Path) -> RetrievalSet:
    found = read_dataset(name, root, allow_partial=True)
    assert isinstance(found, RetrievalSet)
    return found


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("market1501", "Market1501"),
        ("market1501", "market-1501"),
        ("market1501", "Market-1501-v15.09.15/Market-1501-v15.09.15"),
        ("market1501", "market1501/Market-1501-v15.09.15/Market-1501-v15.09.15"),
        ("dukemtmcreid", "dukemtmcreid"),
        ("dukemtmcreid", "DukeMTMC-reID/DukeMTMC-reID"),
        ("msmt17", "MSMT17"),
        ("msmt17", "MSMT17/MSMT17_V1"),
        ("msmt17", "MSMT17_V2/MSMT17_V2"),
    ],
)
def test_renamed_folders_and_those_unpacked_twice_are_found(tmp_path: Path, name: str, folder: str) -> None:
    if name == "msmt17":
        write_msmt(tmp_path / folder, "mask_test_v2" if "V2" in folder else "test")
    else:
        write(tmp_path / folder, MARKET if name == "market1501" else DUKE)

    assert read(name, tmp_path).root == tmp_path / folder


def test_class_folders_unpacked_twice_are_found(tmp_path: Path) -> None:
    write(tmp_path / "ImageNet/val/val", {"n01440764": ["a.JPEG"]})

    with pytest.raises(DatasetError, match=r"expected 1000 class folders in .*ImageNet/val/val, got 1"):
        read_dataset("imagenet", tmp_path)


def test_folder_of_another_dataset_is_never_taken_for_this_one(tmp_path: Path) -> None:
    write(tmp_path / "DukeMTMC-reID", DUKE)

    with pytest.raises(DatasetNotFoundError):
        read_dataset("market1501", tmp_path)


def test_usual_place_is_preferred_to_a_similar_one(tmp_path: Path) -> None:
    for folder in ("MARKET1501", "market1501", "market1501/Market-1501-v15.09.15/Market-1501-v15.09.15"):
        write(tmp_path / folder, MARKET)

    assert read("market1501", tmp_path).root == tmp_path / "market1501"


def test_error_says_what_is_in_the_data_root(tmp_path: Path) -> None:
    for name in ("videos", "Market_1501", *(f"set{n}" for n in range(9))):
        (tmp_path / name).mkdir()

    with pytest.raises(DatasetNotFoundError) as missing:
        read_dataset("market1501", tmp_path)

    lines = str(missing.value).splitlines()
    assert f"  {tmp_path / 'Market_1501'}: no query, no bounding_box_test" in lines
    assert f"  {tmp_path} contains Market_1501, set0, set1, set2, set3, set4, set5, set6, and 3 more" in lines


def test_error_says_that_the_data_root_is_empty(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=f"{tmp_path} contains nothing"):
        read_dataset("imagenet", tmp_path)


def test_images_of_every_usual_ending_are_read(tmp_path: Path) -> None:
    names = [f"0001_c1s1_00000{n}_00{end}" for n, end in enumerate((".jpg", ".JPG", ".jpeg", ".PNG", ".bmp", ".WebP"))]

    found = read_layout(write(tmp_path, MARKET | {"query": names}), name="small", title="Small")

    assert [name for name, _, _ in labels(found.query)] == names


def test_names_that_are_not_utf8_are_read_and_have_a_fingerprint(tmp_path: Path) -> None:
    write(tmp_path / "a", MARKET)
    plain = read_layout(tmp_path / "a", name="small", title="Small")
    write(tmp_path / "a", {"query": [LATIN1]})

    found = read_layout(tmp_path / "a", name="small", title="Small")

    assert labels(found.query) == [("0001_c1s1_001051_00.jpg", 1, 0), (LATIN1, 1, 2)]
    assert found.fingerprint != plain.fingerprint
    write(tmp_path / "b", MARKET)
    write(tmp_path / "b", {"query": [LATIN1]})
    assert read_layout(tmp_path / "b", name="small", title="Small").fingerprint == found.fingerprint


def test_names_that_are_not_utf8_can_be_written_into_a_report(tmp_path: Path) -> None:
    write_text(tmp_path / "report.md", f"{LATIN1} and Übung")

    assert (tmp_path / "report.md").read_text(encoding="utf-8") == "0001_c3s1_001051_00 \\udcdcbung.jpg and Übung"


def test_list_that_an_editor_of_windows_saved_names_the_same_files(tmp_path: Path) -> None:
    want = read("msmt17", write_msmt(tmp_path))
    for name in ("list_query.txt", "list_gallery.txt"):
        content = (tmp_path / name).read_text()
        (tmp_path / name).write_text(content.replace("\n", "\r\n"), encoding="utf-8-sig", newline="")

    assert read("msmt17", tmp_path) == want


def test_list_with_names_that_are_not_utf8_finds_their_files(tmp_path: Path) -> None:
    odd = os.fsdecode(b"0002/0002_000_03_\xdcbung_0.jpg")
    write_msmt(tmp_path)
    write(tmp_path, {"test": [odd]})
    (tmp_path / "list_query.txt").write_bytes(os.fsencode(f"{odd} 2\n"))
    assert labels(read("msmt17", tmp_path).query) == [(Path(odd).name, 2, 2)]

    (tmp_path / "list_query.txt").write_bytes(os.fsencode(f"{MSMT_QUERY} 1\n{odd}.jpg 2\n"))
    partial = read("msmt17", tmp_path).partial
    assert partial is not None and "1 of 2 listed files are missing" in partial
    partial.encode()


@pytest.mark.parametrize("line", [f"0001/0001_000_01_{'x' * 300}.jpg 1", f"{MSMT_QUERY} {'9' * 5000}"])
def test_list_with_a_name_or_a_number_that_is_too_long_is_an_error_of_ours(tmp_path: Path, line: str) -> None:
    write_msmt(tmp_path)
    (tmp_path / "list_query.txt").write_text(f"{line}\n")

    with pytest.raises(DatasetError):
        read("msmt17", tmp_path)


def test_number_of_a_person_that_no_dataset_has_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, MARKET | {"query": [f"{'9' * 30}_c1s1_001051_00.jpg"]})

    with pytest.raises(DatasetError, match="expected a name like"):
        read_layout(tmp_path, name="small", title="Small")
