"""Parquet files with paths or images, and boxes in CSV, Parquet and MOT files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reidhub.errors import DatasetError, UsageError
from reidhub.retrieval.inputs.input import Input
from reidhub.retrieval.inputs.listing import list_inputs

HEADER = "image,x1,y1,x2,y2"


def write(path: Path, /, **columns: list[object] | pa.Array) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_a_parquet_file_with_paths_names_files_below_its_folder(crops: Path) -> None:
    paths = ["b.jpg", str(crops / "a.jpg"), "gone.jpg", "memory://x/a.jpg"]
    write(crops / "list.parquet", path=paths, id=[7, None, 9, 10], more=[0.5] * 4)
    found = list(list_inputs(["crops/list.parquet"]))
    assert [image.path for image in found] == [
        "crops/b.jpg",
        str(crops / "a.jpg"),
        "crops/gone.jpg",
        "memory://x/a.jpg",
    ]
    assert [image.id for image in found] == ["7", None, "9", "10"]
    assert [image.size >= 0 for image in found] == [True, True, False, False]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"1", b"2"]),
        pa.array([b"1", b"2"], pa.large_binary()),
        pa.array([{"bytes": b"1", "path": "x.jpg"}, {"bytes": b"2", "path": None}]),
    ],
    ids=["bytes", "large bytes", "Hugging Face"],
)
def test_a_parquet_file_with_images_gives_its_rows(crops: Path, column: pa.Array) -> None:
    write(crops / "data.parquet", image=column, id=pa.array(["x", None]).dictionary_encode())
    modified = (crops / "data.parquet").stat().st_mtime_ns
    file = "crops/data.parquet"
    assert list(list_inputs([file])) == [
        Input(f"{file}/0", -1, modified, id="x", container=file, position=0),
        Input(f"{file}/1", -1, modified, id=None, container=file, position=1),
    ]


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"file": ["a"]}, r"has no column with images, but the columns file \(string\)\nhint: a Parquet file has"),
        ({"image": ["a.jpg"]}, r"the columns image \(string\)"),
        ({"path": [1]}, r"the columns path \(int64\)"),
        ({"path": ["a.jpg"], "id": [0.5]}, "the column id has texts or integers, got double"),
        ({"path": ["b.jpg", None]}, "row 1 has no path"),
        ({"path": ["b.jpg", ""]}, "row 1 has no path"),
        ({"path": pa.array([], pa.string())}, "has no images"),
    ],
)
def test_a_parquet_file_with_other_columns_is_an_error(crops: Path, columns, what: str) -> None:
    write(crops / "list.parquet", **columns)
    with pytest.raises(DatasetError, match=rf"crops/list\.parquet.*{what}"):
        list(list_inputs(["crops/list.parquet"]))


def test_a_file_that_is_no_parquet_file_is_an_error(crops: Path) -> None:
    (crops / "list.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DatasetError, match=r"list\.parquet cannot be read: "):
        list(list_inputs(["crops/list.parquet"]))


def test_boxes_in_csv_and_parquet_name_images_of_the_input_or_beside_the_table(crops: Path) -> None:
    rows = [("b.jpg", 1, 2.5, 3, 4, "7"), ("gone.jpg", -1, 0, 5, 6, None), ("b.jpg", 0, 0, 9, 9, "8")]
    text = "\n".join(",".join("" if cell is None else str(cell) for cell in row) for row in rows)
    (crops / "boxes.csv").write_text(f"\ufeff{HEADER},note,id\n".replace(",note", "") + text + "\n", encoding="utf-8")
    columns = dict(zip([*HEADER.split(","), "id"], map(list, zip(*rows, strict=True)), strict=True))
    write(crops / "boxes.parquet", **columns)
    size, modified = (crops / "b.jpg").stat().st_size, (crops / "b.jpg").stat().st_mtime_ns
    for boxes in (Path("crops/boxes.csv"), Path("crops/boxes.parquet")):
        expected = [
            Input("crops/b.jpg", size, modified, (1, 2.5, 3, 4), "7"),
            Input("crops/gone.jpg", -1, 0, (-1, 0, 5, 6)),
            Input("crops/b.jpg", size, modified, (0, 0, 9, 9), "8"),
        ]
        assert list(list_inputs([], boxes)) == list(list_inputs(["crops"], boxes)) == expected
        assert [image.path for image in list_inputs(["./crops"], boxes)][:1] == ["./crops/b.jpg"]
        assert [image.path for image in list_inputs(["crops/a"], boxes)][:1] == ["crops/a/b.jpg"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", r"boxes.txt:1: missing columns: image, x1, y1, x2, y2; got an empty line\nhint: a CSV file of boxes has"),
        ("a.jpg,1,2,3,4\n", "boxes.txt:1: missing columns"),
        (f"{HEADER}\n", "boxes.txt has no boxes"),
        (f"{HEADER}\na.jpg,1,2,3\n", "boxes.txt:2: expected 5 columns, got 4"),
        (
            f"{HEADER}\na.jpg,1,2,3,4\na.jpg,1,2,nan,4\n",
            "boxes.txt:3: expected four numbers x1,y1,x2,y2, got 1,2,nan,4",
        ),
        (f"{HEADER}\na.jpg,1,2,1e999,4\n", "boxes.txt:2: expected four numbers"),
        (f"{HEADER}\na.jpg,1,2,three,4\n", "boxes.txt:2: expected four numbers"),
        (f"{HEADER}\n,1,2,3,4\n", "boxes.txt:2: nothing in the column image"),
        (f'{HEADER}\n"a.jpg,1,2,3,4\n', "boxes.txt:2: the line is not CSV"),
        ("1,-1,1,1,5\n", "boxes.txt:1: missing columns"),
        ("1,-1,1,1,5,5\n2,-1,1,1,5,x\n", "boxes.txt:2: expected frame,id,x,y,width,height as numbers, got '2,-1,1,1"),
        ("1,-1,1,1,5,5\n\n2.5,-1,1,1,5,5\n", "boxes.txt:3: expected frame,id,x,y"),
        ("1,-1,1,nan,5,5\n", "boxes.txt:1: expected frame,id,x,y"),
        ("1,-1,1e308,1,1.7e308,5\n", "boxes.txt:1: expected frame,id,x,y"),
        ("1e30,-1,1,1,5,5\n", "boxes.txt:1: expected frame,id,x,y"),
    ],
)
def test_a_line_that_is_no_box_is_an_error_with_its_number(crops: Path, text: str, what: str) -> None:
    (crops / "0001.jpg").write_bytes(b"x")
    (crops / "boxes.txt").write_text(text)
    with pytest.raises(DatasetError, match=what):
        list(list_inputs(["crops"], crops / "boxes.txt"))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"x1": ["1"]}, None),
        ({"x1": [None]}, "row 0: expected image"),
        ({"x1": [float("inf")]}, "row 0: expected image"),
        ({"x1": [b"1"]}, "row 0: expected image"),
        ({"x1": [10**18]}, None),
        ({"image": [3]}, "row 0: expected image"),
        ({"image": [None]}, "row 0: expected image"),
        ({"id": [1.5]}, "row 0: expected image"),
        ({"y2": None}, r"expected one column y2, got the columns image, x1, y1, x2\b"),
    ],
)
def test_a_parquet_row_that_is_no_box_is_an_error_with_its_number(crops: Path, change, what: str | None) -> None:
    columns = {"image": ["b.jpg"], "x1": [1], "y1": [2], "x2": [3], "y2": [4]} | change
    write(crops / "boxes.parquet", **{name: cells for name, cells in columns.items() if cells is not None})
    if what is None:
        assert len(list(list_inputs(["crops"], crops / "boxes.parquet"))) == 1
        return
    with pytest.raises(DatasetError, match=rf"boxes\.parquet.*{what}"):
        list(list_inputs(["crops"], crops / "boxes.parquet"))


@pytest.fixture
def frames(crops: Path) -> Path:
    """Two frames of a MOT sequence, and an image without a number."""
    folder = crops / "img1"
    folder.mkdir()
    for name in ("000001.jpg", "000010.jpg", "poster.jpg"):
        (folder / name).write_bytes(b"x")
    return folder


def test_mot_boxes_count_from_1_and_their_frames_are_found_by_number(frames: Path) -> None:
    lines = [
        "10,3,1,1,20,30,1,1,0.5",
        "1,3,11.5,21,20,30,1,1,1",
        "10,4,0,-9,5,5,0,8,1",
        "1,5,2,2,5,5,1,1,1",
        "7,5,2,2,5,5,1",
    ]
    (frames.parent / "gt.txt").write_text("\n".join(lines))
    found = list(list_inputs(["crops/img1"], frames.parent / "gt.txt"))
    modified = (frames / "000001.jpg").stat().st_mtime_ns
    assert found[1] == Input("crops/img1/000001.jpg", 1, modified, (10.5, 20, 30.5, 50), "3")
    assert [(image.path[-10:], image.box, image.id, image.size) for image in (found[0], *found[2:])] == [
        ("000010.jpg", (0, 0, 20, 30), "3", 1),
        ("000001.jpg", (1, 1, 6, 6), "5", 1),
        ("000007.jpg", (1, 1, 6, 6), "5", -1),
    ]


def test_mot_detections_have_no_id_and_none_is_left_out(frames: Path, memory) -> None:
    (frames.parent / "det.txt").write_text("1,-1,1,1,20,30,0.9,-1,-1,-1\n\n1, -1, 1, 1, 5, 5, 0\n1 -1 1 1 6 6 -3.5\n")
    found = list(list_inputs(["crops/img1"], frames.parent / "det.txt"))
    assert [image.box for image in found] == [(0, 0, 20, 30), (0, 0, 5, 5), (0, 0, 6, 6)]
    assert {image.id for image in found} == {None}
    memory.put(str(frames), "/img1", recursive=True)
    assert list(list_inputs(["memory://img1"], frames.parent / "det.txt"))[2].path == "memory://img1/000001.jpg"


def test_frames_of_mot_need_a_folder_with_one_image_per_number(frames: Path) -> None:
    det = frames.parent / "det.txt"
    det.write_text("1,-1,1,1,20,30,0.9,-1,-1,-1\n")
    with pytest.raises(UsageError, match=r"det.txt is a MOT file(.|\n)*hint: give the folder of the frames"):
        list(list_inputs([], det))
    with pytest.raises(DatasetError, match=r"crops/c has no images whose names are frame numbers(.|\n)*000001.jpg"):
        (frames.parent / "c" / "4.webp").unlink()
        list(list_inputs(["crops/c"], det))
    (frames / "1.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"two images are frame 1: .*000001.jpg and .*1.png"):
        list(list_inputs(["crops/img1"], det))
    with pytest.raises(UsageError, match=r"INPUT is the folder of the images, got crops/b\.jpg"):
        list_inputs(["crops/b.jpg"], det)
    with pytest.raises(UsageError, match="belong to one folder, got 2 INPUTs"):
        list_inputs(["crops", "crops"], det)
    with pytest.raises(DatasetError, match=r"gone.csv cannot be read: there is no such file"):
        list(list_inputs(["crops"], Path("gone.csv")))
