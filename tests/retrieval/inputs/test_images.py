"""Images of every kind of input, as the embedder gets them."""

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from support.archives import write_tar
from support.flat_model import make_flat_embedder

from reidhub.inference.images import LazyImage
from reidhub.retrieval.inputs import images as images_module
from reidhub.retrieval.inputs.images import open_images
from reidhub.retrieval.inputs.input import Input
from reidhub.retrieval.inputs.listing import list_inputs

EMBED, _ = make_flat_embedder()
HEADER = "image,x1,y1,x2,y2\n"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that were decoded."""
    names: list[str] = []
    decode = images_module.decode

    def note(content: bytes, name: str) -> object:
        names.append(name)
        return decode(content, name)

    monkeypatch.setattr(images_module, "decode", note)
    return names


def embed(inputs: Iterator[Input]) -> tuple[torch.Tensor, dict[int, str]]:
    embeddings, errors = EMBED.embed_readable(open_images(inputs))
    return embeddings, {index: error.message for index, error in errors.items()}


def test_a_whole_local_file_stays_a_path(crops: Path) -> None:
    found = list(open_images(list_inputs(["crops", str(crops / "b.jpg")])))
    assert found[0] == Path("crops/a.jpg") and found[-1] == crops / "b.jpg"
    assert all(isinstance(image, Path) for image in found)


def test_images_of_every_container_give_the_embeddings_of_their_files(
    crops: Path, jpeg: Callable[..., bytes], memory
) -> None:
    files = {f"{number:02}.jpg": jpeg(7 * number, 5 + number, 40) for number in range(30)}
    folder = crops.parent / "plain"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    expected = EMBED(sorted(folder.iterdir()))
    write_tar(crops / "s.tar", files)
    write_parquet(crops / "bytes.parquet", list(files.values()))
    rows = [{"bytes": content, "path": "x.jpg"} for content in files.values()]
    rows[3] = {"bytes": None, "path": "../plain/03.jpg"}
    write_parquet(crops / "struct.parquet", rows)
    write_parquet(crops / "paths.parquet", [f"../plain/{name}" for name in files], "path")
    memory.put(str(folder), "/plain", recursive=True)
    memory.put(str(crops), "/crops", recursive=True)
    local = ["s.tar", "bytes.parquet", "struct.parquet", "paths.parquet"]
    addresses = [f"memory://crops/{name}" for name in local[:2]]
    for given in [*(f"crops/{name}" for name in local), *addresses, "memory://plain", f"file://{folder}"]:
        embeddings, errors = embed(list_inputs([given]))
        assert not errors and torch.equal(embeddings, expected), given


def write_parquet(path: Path, cells: list[object], column: str = "image", group: int = 7) -> None:
    pq.write_table(pa.table({column: cells, "other": list(range(len(cells)))}), path, row_group_size=group)


def test_parquet_rows_may_be_asked_for_in_any_order(crops: Path, jpeg: Callable[..., bytes]) -> None:
    write_parquet(crops / "x.parquet", [jpeg(8 * number) for number in range(30)])
    inputs = list(list_inputs(["crops/x.parquet"]))
    order = [*range(5, 30, 2), *range(29, -1, -4), 6, 6, 7]
    every, _ = embed(iter(inputs))
    some, errors = embed(inputs[place] for place in order)
    assert torch.equal(some, every[order]) and not errors


def test_rows_in_order_read_each_row_group_once(
    crops: Path, jpeg: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(crops / "x.parquet", [jpeg(8 * number) for number in range(30)])
    asked = []
    iter_batches = pq.ParquetFile.iter_batches

    def note(self: pq.ParquetFile, *args: object, **options: object) -> Iterator[object]:
        asked.append((options.get("row_groups"), options["columns"]))
        return iter_batches(self, *args, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", note)
    inputs = list(list_inputs(["crops/x.parquet"]))
    assert asked == []  # listing reads no images
    embed(iter(inputs))
    assert asked == [([group], ["image"]) for group in range(5)]


def test_memory_does_not_grow_with_the_size_of_a_row_group(crops: Path) -> None:
    image = np.random.default_rng(0).bytes(50_000)
    for count in (100, 500):
        table = pa.table({"image": [image[number:] for number in range(count)]})
        pq.write_table(table, crops / f"{count}.parquet", use_dictionary=False, write_batch_size=8)  # rows of a page
        assert pq.ParquetFile(crops / f"{count}.parquet").num_row_groups == 1

    def peak(count: int) -> int:
        before, most = pa.total_allocated_bytes(), 0
        for image in open_images(list_inputs([f"crops/{count}.parquet"])):
            assert isinstance(image, LazyImage)
            most = max(most, pa.total_allocated_bytes() - before)
        return most

    assert peak(500) < 1.3 * peak(100)


def test_unreadable_images_of_every_kind_are_named_and_the_others_embedded(
    crops: Path, jpeg: Callable[..., bytes], memory
) -> None:
    write_tar(crops / "s.tar", {"1.jpg": b"no image", "2.jpg": jpeg(2), "3.jpg": jpeg(3)})
    write_parquet(crops / "x.parquet", [jpeg(1), None, b"no image", jpeg(4)])
    write_parquet(crops / "y.parquet", [jpeg(1), jpeg(2)])
    memory.pipe("/a.jpg", b"no image")
    (crops / "b.jpg").unlink()
    (crops / "b.jpg").mkdir()
    inputs = [
        *list_inputs(["crops/s.tar", "crops/x.parquet", "crops/y.parquet", "memory://a.jpg", "crops/a.jpg"]),
        *[Input(path, -1, 0) for path in ("memory://gone.jpg", "crops/gone.jpg", "crops/b.jpg", "a\0b")],
    ]
    content = (crops / "s.tar").read_bytes()
    (crops / "s.tar").write_bytes(content[: inputs[2].position + 10])
    (crops / "y.parquet").unlink()
    embeddings, errors = embed(iter(inputs))
    assert len(embeddings) == 4
    expected = {
        0: "crops/s.tar/1.jpg cannot be decoded: it is no image",
        2: f"crops/s.tar ends before byte {inputs[2].position + inputs[2].size}",
        4: "crops/x.parquet: row 1 has no image",
        5: "crops/x.parquet/2 cannot be decoded: it is no image",
        7: "crops/y.parquet cannot be read: No such file or directory",
        8: "crops/y.parquet cannot be read: No such file or directory",
        9: "memory://a.jpg cannot be decoded: it is no image",
        11: "memory://gone.jpg cannot be read: there is no such file",
        12: "crops/gone.jpg cannot be read: No such file or directory",
        13: "crops/b.jpg cannot be read: not a regular file",
        14: "a\0b cannot be read: embedded null byte",
    }
    assert errors == expected


def make_frame(path: Path, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=95)
    return Image.open(path).convert("RGB")


def test_boxes_are_cut_like_those_of_a_video_frame(crops: Path, memory) -> None:
    boxes = [(10, 5, 30, 50), (10.4, 5.6, 29.2, 49.01), (-5, -5, 20, 20), (70, 50, 1e9, 1e9), (0, 0, 80, 60)]
    for name, seed in (("f.jpg", 1), ("g.png", 2)):
        frame = make_frame(crops / name, seed)
        text = HEADER + "".join(f"{name},{','.join(map(str, box))}\n" for box in boxes)
        (crops / "boxes.csv").write_text(text)
        expected = EMBED.boxes(frame, boxes, color="rgb")
        memory.put_file(str(crops / name), f"/{name}")
        for folder in ("crops", "memory://"):
            embeddings, errors = embed(list_inputs([folder], crops / "boxes.csv"))
            assert not errors and torch.equal(embeddings, expected)


def test_a_box_without_pixels_is_an_error_that_names_image_and_box(crops: Path) -> None:
    make_frame(crops / "f.jpg")
    (crops / "boxes.csv").write_text(f"{HEADER}f.jpg,80,0,90,9\nf.jpg,0,0,9,9\nf.jpg,5,5,4,9\ngone.jpg,0,0,1,1\n")
    embeddings, errors = embed(list_inputs(["crops"], crops / "boxes.csv"))
    assert len(embeddings) == 1
    assert errors == {
        0: "crops/f.jpg, box (80, 0, 90, 9) has no pixels in the image of 80 x 60",
        2: "crops/f.jpg, box (5, 5, 4, 9) has no pixels in the image of 80 x 60",
        3: "crops/gone.jpg cannot be read: No such file or directory",
    }


def test_a_frame_is_decoded_once_for_all_its_boxes(crops: Path, decoded: list[str]) -> None:
    for name in ("f.jpg", "g.jpg"):
        make_frame(crops / name)
    (crops / "bad.jpg").write_bytes(b"no image")
    rows = [f"{name},{left},0,{left + 20},40\n" for name in ("f.jpg", "bad.jpg", "g.jpg") for left in range(50)]
    (crops / "boxes.csv").write_text(HEADER + "".join(rows))
    embeddings, errors = embed(list_inputs(["crops"], crops / "boxes.csv"))
    assert len(embeddings) == 100 and list(errors) == list(range(50, 100))
    assert sorted(decoded) == ["crops/bad.jpg", "crops/f.jpg", "crops/g.jpg"]


def test_the_pixels_of_a_frame_are_freed_after_its_last_box(crops: Path) -> None:
    Image.new("RGB", (2000, 2000)).save(crops / "big.jpg")
    rows = [f"big.jpg,{left},0,{left + 10},20\n" for left in range(20)]
    (crops / "boxes.csv").write_text(HEADER + "".join(rows))
    images = list(open_images(list_inputs(["crops"], crops / "boxes.csv")))
    assert isinstance(images[0], images_module._CutImage)
    frame = weakref.ref(images[0]._frame)
    held, cut = [], []
    for image in images:
        assert isinstance(image, LazyImage)
        cut.append(image.load())
        held.append(frame() is not None)
    assert held == [True] * 19 + [False]
    assert {np.asarray(crop).shape for crop in cut} == {(20, 10, 3)}
    assert all(crop.base is None for crop in cut if isinstance(crop, np.ndarray))  # none is a view of the frame
