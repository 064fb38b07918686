"""Users' own images in a CSV file: what is read, what is refused and where, and how much memory a row takes."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from support.dataset_copies import labels, write

from reidhub.datasets import RetrievalSet
from reidhub.datasets.own_images import OwnImages, read_own_images
from reidhub.errors import DatasetError

IMAGES = {"images": ["a.jpg", "b.jpg", "c.jpg"]}
HEADER = "path,pid,camid,split\n"
ROWS = "images/a.jpg,7,1,query\nimages/c.jpg,8,-2,gallery\nimages/b.jpg,7,2,gallery\n"


def read(root: Path, text: str | bytes, **given: str) -> RetrievalSet:
    """Write images and a table, and read them."""
    write(root, IMAGES)
    (root / "table.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_own_images(OwnImages("csv", root / "table.csv", **given))  # type: ignore[arg-type]


def test_rows_become_records_in_their_order(tmp_path: Path) -> None:
    found = read(tmp_path, HEADER + ROWS)
    assert labels(found.query + found.gallery) == [("a.jpg", 7, 1), ("c.jpg", 8, -2), ("b.jpg", 7, 2)]
    assert (found.title, found.root) == ("table.csv", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + (HEADER + ROWS).encode(),
        (HEADER + ROWS).replace("\n", "\r\n"),
        HEADER + "\n" + ROWS.replace("\n", "\n\n"),
        (HEADER + ROWS).replace(",", " , "),
        'split,note,camid,pid,path\nquery,,1,7,images/a.jpg\ngallery,"x, y",-2,8,"images/c.jpg"\n'
        "gallery,,2,7,images/b.jpg",
    ],
    ids=["byte order mark", "Windows", "empty lines", "spaces", "other order and columns"],
)  # fmt: skip
def test_tables_of_other_programs_say_the_same(tmp_path: Path, text: str | bytes) -> None:
    assert read(tmp_path, text) == read(tmp_path, HEADER + ROWS)


def test_labels_that_are_names_are_numbered_in_sorted_order(tmp_path: Path) -> None:
    found = read(tmp_path, HEADER + ROWS.replace(",7,", ",zoe,").replace(",8,", ",7,"))
    assert labels(found.query + found.gallery) == [("a.jpg", 1, 1), ("c.jpg", 0, -2), ("b.jpg", 1, 2)]


def test_without_cameras_the_column_is_not_needed(tmp_path: Path) -> None:
    text = "path,pid,split\nimages/a.jpg,7,query\nimages/b.jpg,7,gallery\nimages/c.jpg,8,gallery\n"
    found = read(tmp_path, text, cameras="ignore")
    assert labels(found.query + found.gallery) == [("a.jpg", 7, 0), ("b.jpg", 7, 0), ("c.jpg", 8, 0)]


def test_images_may_lie_anywhere_and_have_a_fingerprint(tmp_path: Path) -> None:
    write(tmp_path, {"far": ["x.jpg"], "tables": []})
    rows = f"{tmp_path}/far/x.jpg,1,1,query\n../far/x.jpg,1,1,gallery\nimages/a.jpg,2,1,gallery\n"
    found = read(tmp_path / "tables", HEADER + rows)
    assert [path.name for path in found.images] == ["x.jpg", "x.jpg", "a.jpg"]
    before = found.fingerprint
    (tmp_path / "far/x.jpg").write_bytes(b"another size")
    assert read(tmp_path / "tables", HEADER + rows).fingerprint != before


def test_a_path_below_the_folder_counts_the_same_however_it_is_written(tmp_path: Path) -> None:
    absolute = ROWS.replace("images/", f"{tmp_path}/images/")
    assert read(tmp_path, HEADER + absolute) == read(tmp_path, HEADER + ROWS)


def test_names_that_are_not_utf8_find_their_files(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xdcbung.jpg")
    write(tmp_path, {"images": ["a.jpg", odd]})
    found = read(tmp_path, os.fsencode(f"{HEADER}images/{odd},1,1,query\nimages/a.jpg,2,1,gallery\n"))
    assert found.images[0].name == odd


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,person\n", "table.csv:1: missing columns: pid, camid, split; got path, person\nhint: the first line"),
        ("", "table.csv:1: missing columns: path, pid, camid, split; got an empty line"),
        (HEADER.replace(",", ";"), "missing columns: path, pid, camid, split; got path;pid;camid;split\nhint: "),
        ("path,pid,camid,split,pid\n", "columns that are there twice: pid; got path, pid, camid, split, pid"),
        (HEADER + ROWS + "images/a.jpg,9,9,query\n", "table.csv:5: 'images/a.jpg' is in query twice"),
        (HEADER + ROWS + "images//b.jpg,9,9,gallery\n", "table.csv:5: 'images//b.jpg' is in gallery twice"),
        (HEADER + "images/a.jpg,1,1,train\n", "table.csv:2: expected the split query or gallery, got 'train'"),
        (HEADER + "images/a.jpg,1,,query\n", "table.csv:2: nothing in the column camid"),
        (HEADER + "\nimages/a.jpg,1,query\n", "table.csv:3: expected 4 columns, got 3"),
        (HEADER + "images/a,b.jpg,1,2,query\n", "table.csv:2: expected 4 columns, got 5"),
        (HEADER + 'images/a.jpg,1,2,"query\n', "table.csv:2: the line is not CSV: unexpected end of data"),
        (HEADER + "x" * 200_000 + ",1,2,query\n", "table.csv:2: the line is not CSV: field larger than field limit"),
        (HEADER + "images/a.jpg,1,1,query\n", "table.csv: no images in gallery"),
        (HEADER, "table.csv: no images in query and gallery"),
        (HEADER + ROWS.replace("8", "7"), "table.csv: all images show one person"),
        (HEADER + ROWS + "images/a.jpg,7,9,gallery\n", "1 images are in query and in gallery, such as /"),
        (HEADER + ROWS + "x.jpg,1,1,query\nimages,2,2,gallery\n", "2 of 5 images are missing, such as /"),
        (HEADER + "\0.jpg,1,1,query\nimages/b.jpg,2,2,gallery\n", "1 of 2 images are missing"),
        (HEADER + "x" * 300 + ".jpg,1,1,query\nimages/b.jpg,2,2,gallery\n", "cannot be read: File name too long"),
        ("\ufeff".join((HEADER, ROWS)).encode("utf-16"), "table.csv:1: missing columns: path, pid, camid, split"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_meant_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DatasetError) as refused:
        read(tmp_path, text)
    assert message in str(refused.value)
    str(refused.value).encode()


def test_each_image_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []
    stat = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path, **given: (looked_at.append(path.name), stat(path, **given))[1])
    read(tmp_path, HEADER + ROWS)
    assert sorted(name for name in looked_at if name.endswith(".jpg")) == ["a.jpg", "b.jpg", "c.jpg"]


def write_long_table(root: Path, folders: int, files: int) -> Path:
    """Write a table with ``folders`` x ``files`` rows; the folders are links to one folder."""
    write(root, {"images/cam00": [f"{n:05d}_c1s1_{n:06d}_00.jpg" for n in range(files)]})
    for number in range(1, folders):
        (root / f"images/cam{number:02d}").symlink_to(root / "images/cam00")
    with (root / "table.csv").open("w") as table:
        table.write(HEADER)
        for n in range(folders * files):
            name = f"images/cam{n // files:02d}/{n % files:05d}_c1s1_{n % files:06d}_00.jpg"
            table.write(f"{name},{n % files},{n // files},{'gallery' if n % 10 else 'query'}\n")
    return root / "table.csv"


def test_a_million_rows_would_fit_in_two_gigabytes(tmp_path: Path) -> None:
    table = write_long_table(tmp_path, folders=20, files=200)
    read_own_images(OwnImages("csv", table))  # what is made once
    tracemalloc.start()
    try:
        found = read_own_images(OwnImages("csv", table))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.images) == 4000
    assert peak / 4000 < 1400  # bytes; torch and Python take 400 MB of the 2 GB


@pytest.mark.long
def test_a_million_rows_fit_in_two_gigabytes(tmp_path: Path) -> None:
    table = write_long_table(tmp_path, folders=1000, files=1000)
    program = (
        "import sys, torch; from pathlib import Path\n"
        "from reidhub.datasets.own_images import OwnImages, read_own_images\n"
        "assert len(read_own_images(OwnImages('csv', Path(sys.argv[1]))).images) == 1_000_000\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(status.partition('VmHWM:')[2].split()[0])"  # ru_maxrss would count the memory of the parent too
    )
    done = subprocess.run([sys.executable, "-c", program, str(table)], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 2_000_000  # kB
