"""Folders, globs, single files, lists on stdin and tar files, on the disk and behind addresses."""

import inspect
import io
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from support.archives import write_tar

from reidhub.errors import DatasetError, UsageError
from reidhub.retrieval.inputs.input import Input
from reidhub.retrieval.inputs.listing import list_inputs

ALL = ["crops/a.jpg", "crops/a/1.JPG", "crops/a/2.png", "crops/a/deep/er/3.jpg", "crops/b.jpg", "crops/c/4.webp"]


def names(*inputs: str) -> list[str]:
    return [found.path for found in list_inputs(inputs)]


def give_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_a_folder_gives_the_images_below_it_in_the_order_of_their_paths(crops: Path) -> None:
    assert names("crops") == ALL
    assert names("crops/") == ALL
    assert names(str(crops)) == [str(crops.parent / name) for name in ALL]
    assert names(".") == [f"./{name}" for name in ALL]


def test_size_and_time_of_a_file_are_those_of_the_disk(crops: Path) -> None:
    os.utime(crops / "b.jpg", ns=(1, 1_700_000_000_123_456_789))
    found = {image.path: image for image in list_inputs(["crops"])}
    size = (crops / "b.jpg").stat().st_size
    assert found["crops/b.jpg"] == Input("crops/b.jpg", size, 1_700_000_000_123_456_789)


def test_links_are_followed_and_a_folder_is_listed_once(crops: Path) -> None:
    (crops / "a" / "round").symlink_to(crops)
    (crops / "self.jpg").symlink_to(crops / "self.jpg")
    (crops / "gone.jpg").symlink_to(crops / "nowhere.jpg")
    (crops / "z.jpg").symlink_to(crops / "b.jpg")
    elsewhere = crops.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "6.jpg").write_bytes(b"x")
    (crops / "d").symlink_to(elsewhere)
    found = {image.path: image.size for image in list_inputs(["crops"])}
    assert list(found) == sorted([*ALL, "crops/d/6.jpg", "crops/gone.jpg", "crops/self.jpg", "crops/z.jpg"])
    assert found["crops/gone.jpg"] == found["crops/self.jpg"] == -1
    assert found["crops/z.jpg"] == found["crops/b.jpg"] > 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_in_a_folder_is_left_out(crops: Path) -> None:
    os.mkfifo(crops / "pipe.jpg")
    assert names("crops") == ALL
    with pytest.raises(DatasetError, match=r"crops/pipe.jpg is neither a file nor a folder"):
        list_inputs(["crops/pipe.jpg"])


def test_a_path_of_more_folders_than_python_has_calls_is_listed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    image = Path("d/" * 250, "x.jpg")
    image.parent.mkdir(parents=True)
    image.write_bytes(b"x")
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(len(inspect.stack(0)) + 150)
        assert names("d") == [str(image)]
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize(
    ("glob", "found"),
    [
        ("crops/*.jpg", ["crops/a.jpg", "crops/b.jpg"]),
        ("crops/**/*.jpg", ["crops/a.jpg", "crops/a/deep/er/3.jpg", "crops/b.jpg"]),
        ("crops/**", ALL),
        ("crops/**/*", ALL),
        ("crops/*", ALL),
        ("cro*", ALL),
        ("*/a", ["crops/a/1.JPG", "crops/a/2.png", "crops/a/deep/er/3.jpg"]),
        ("crops/[ab]/?.*", ["crops/a/1.JPG", "crops/a/2.png"]),
        ("**/d*p/**/3.jpg", ["crops/a/deep/er/3.jpg"]),
        ("crops/*.txt", ["crops/notes.txt"]),
    ],
)
def test_a_glob_gives_each_match_once(crops: Path, glob: str, found: list[str]) -> None:
    if glob.endswith(".txt"):
        with pytest.raises(UsageError, match=r"crops/notes.txt is no image, tar or Parquet file"):
            names(glob)
        return
    assert names(glob) == found
    assert names(str(crops.parent / glob)) == [str(crops.parent / name) for name in found]


def test_a_glob_does_not_read_folders_that_cannot_match(crops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: read.append(folder) or scandir(folder))
    assert names("crops/a*/1*") == ["crops/a/1.JPG"]
    assert read == ["crops/", "crops/a"]


def test_a_file_given_by_name_may_have_any_suffix_and_magic_characters(crops: Path) -> None:
    (crops / "odd[1].pic").write_bytes(b"x")
    assert names("crops/odd[1].pic", "crops/b.jpg") == ["crops/odd[1].pic", "crops/b.jpg"]


def test_a_list_on_stdin_keeps_its_order_and_names_that_are_not_utf8(crops: Path, monkeypatch) -> None:
    odd = os.fsencode(crops) + b"/\xff.jpg"
    with open(odd, "wb") as file:  # noqa: PTH123
        file.write(b"12345")
    give_stdin(monkeypatch, b"crops/b.jpg\r\n\n" + odd + b"\ncrops/gone.jpg\ncrops/a\0.jpg\ncrops/a.jpg")
    found = list(list_inputs(["-"]))
    assert [os.fsencode(image.path) for image in found] == [
        b"crops/b.jpg",
        odd,
        b"crops/gone.jpg",
        b"crops/a\0.jpg",
        b"crops/a.jpg",
    ]
    assert found[1].size == 5
    assert found[2] == Input("crops/gone.jpg", -1, 0) and found[3].size == -1


@pytest.mark.parametrize(
    ("inputs", "what"),
    [
        ([], "no INPUT was given"),
        ([""], "an INPUT is empty"),
        (["-", "-"], "more than once"),
        (["crops", "gone"], "gone cannot be read: No such file"),
        (["gone/*.jpg"], "gone/ cannot be read: No such file"),
        (["crops/notes.txt"], r"notes.txt is no image.*\nhint: for a list of files: reidhub embed"),
        (["crops.tar.gz"], "hint: decompress it first"),
        (["foo://bucket/a.jpg"], "fsspec knows no addresses with foo://"),
    ],
)
def test_an_input_that_does_not_exist_is_an_error_before_the_first_image(crops: Path, inputs, what: str) -> None:
    (crops.parent / "crops.tar.gz").write_bytes(b"x")
    with pytest.raises(UsageError, match=what):
        list_inputs(inputs)


def test_an_input_without_images_is_an_error(crops: Path, monkeypatch) -> None:
    (crops.parent / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"empty has no images\nhint: images end with .bmp .jpeg .jpg .png .webp"):
        names("crops", "empty")
    with pytest.raises(DatasetError, match=r"no file matches crops/\*.gif"):
        names("crops/*.gif")
    give_stdin(monkeypatch, b"\n")
    with pytest.raises(DatasetError, match=r"list on stdin .* is empty"):
        names("-")


def test_a_tar_file_gives_its_images_with_their_places(crops: Path, jpeg: Callable[..., bytes]) -> None:
    long = f"{'d' * 90}/{'e' * 90}.jpg"  # longer than a plain header has room for
    members = {
        "./000.jpg": jpeg(1),
        "000.json": b"{}",
        "x/001.png": jpeg(2),
        "x/.002.jpg": b"",
        ".y/3.jpg": b"",
        long: b"7",
    }
    write_tar(crops / "s.tar", members)
    with tarfile.open(crops / "s.tar", "a") as archive:
        folder = tarfile.TarInfo("folder.jpg")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    os.utime(crops / "s.tar", ns=(1, 5))
    found = list(list_inputs(["crops/*.tar"]))
    assert [image.path for image in found] == ["crops/s.tar/000.jpg", "crops/s.tar/x/001.png", f"crops/s.tar/{long}"]
    content = (crops / "s.tar").read_bytes()
    for image, name in zip(found, ["./000.jpg", "x/001.png", long], strict=True):
        assert content[image.position :][: image.size] == members[name]
        assert (image.container, image.modified_ns) == ("crops/s.tar", 5)


@pytest.mark.parametrize("damage", ["compressed", "cut", "overwritten", "no tar", "empty"])
def test_a_damaged_or_compressed_tar_file_is_an_error(crops: Path, jpeg: Callable[..., bytes], damage: str) -> None:
    path = crops / "s.tar"
    write_tar(path, {f"{number}.jpg": jpeg(number) for number in range(5)}, "w:gz" if damage == "compressed" else "w")
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[2000:]
    elif damage == "overwritten":
        with tarfile.open(path) as archive:
            start = archive.getmembers()[3].offset
        content[start : start + 512] = b"x" * 512
    elif damage in ("no tar", "empty"):
        content = bytearray(b"this is no archive" * 99 if damage == "no tar" else b"")
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"s\.tar is (damaged at byte|no plain tar file)"):
        names("crops/s.tar")


@pytest.mark.parametrize("protocol", ["memory", "file"])
def test_addresses_give_folders_globs_files_and_tar_files(
    crops: Path, memory: fsspec.AbstractFileSystem, jpeg: Callable[..., bytes], protocol: str
) -> None:
    write_tar(crops / "s.tar", {"1.jpg": jpeg(1), "2.jpg": jpeg(2)})
    root = f"file://{crops.parent}" if protocol == "file" else "memory://"
    if protocol == "memory":
        memory.put(str(crops), "/crops", recursive=True)
    start = root if root.endswith("/") else f"{root}/"
    assert names(f"{start}crops") == [start + name for name in ALL]
    assert names(f"{start}crops/**/*.jpg") == [start + name for name in ALL if name.endswith(".jpg")]
    assert names(f"{start}crops/*.tar") == [f"{start}crops/s.tar/1.jpg", f"{start}crops/s.tar/2.jpg"]
    (found,) = list_inputs([f"{start}crops/b.jpg"])
    assert found.size == (crops / "b.jpg").stat().st_size and found.modified_ns > 1_600_000_000_000_000_000
    assert [image.modified_ns for image in list_inputs([f"{start}crops"]) if image.path == found.path] == [
        found.modified_ns
    ]
    with pytest.raises(DatasetError, match=r"gone cannot be read: there is no such file"):
        list_inputs([f"{start}gone"])


def test_an_address_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    from reidhub.retrieval.inputs import addresses

    addresses._check_protocol.cache_clear()
    with pytest.raises(UsageError, match=r"s3:// need a package(.|\n)*hint: pip install 'reidhub\[cloud\]'"):
        list_inputs(["s3://bucket/crops"])
    give_stdin(monkeypatch, b"s3://bucket/a.jpg\n")
    with pytest.raises(UsageError, match=r"reidhub\[cloud\]"):
        list(list_inputs(["-"]))
    addresses._check_protocol.cache_clear()
