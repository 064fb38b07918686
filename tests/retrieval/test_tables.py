import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import reidhub
from reidhub.errors import DatasetError
from reidhub.retrieval.tables import Part, make_table, read_part, write


def _write(path: Path, part: Part) -> None:
    with path.open("wb") as file:
        write(make_table(part, {"checkpoint": "tiny"}), file)


def test_a_table_gives_back_paths_boxes_labels_and_every_bit_of_the_embeddings(tmp_path):
    embeddings = np.random.default_rng(3).standard_normal((3, 7)).astype(np.float32)
    part = Part(["a.jpg", "b.jpg", "b.jpg"], [None, (0.0, 1.5, 2.0, 3.25), None], ["12", None, None], embeddings)

    _write(tmp_path / "a.parquet", part)
    found = read_part(tmp_path / "a.parquet")

    assert (found.paths, found.boxes, found.ids) == (part.paths, part.boxes, part.ids)
    assert found.embeddings.tobytes() == embeddings.tobytes()


def test_a_table_without_rows_can_be_read(tmp_path):
    _write(tmp_path / "a.parquet", Part([], [], [], np.empty((0, 7), np.float32)))

    assert read_part(tmp_path / "a.parquet").embeddings.shape == (0, 7)


def test_another_table_is_an_error_that_names_the_file(tmp_path):
    table = make_table(Part(["a"], [None], [None], np.ones((1, 4), np.float32)), {})
    for name, wrong in {"other": table.drop_columns(["embedding"]), "text": table.rename_columns(list("abcd"))}.items():
        pq.write_table(wrong, tmp_path / f"{name}.parquet")
        with pytest.raises(DatasetError, match=f"{name}.parquet is no table of embeddings"):
            read_part(tmp_path / f"{name}.parquet")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DatasetError, match=r"cut\.parquet cannot be read"):
        read_part(tmp_path / "cut.parquet")


def test_embeddings_take_four_bytes_a_value_on_the_disk(tmp_path):
    file = io.BytesIO()

    write(make_table(Part(["a"] * 1000, [None] * 1000, [None] * 1000, np.ones((1000, 512), np.float32)), {}), file)

    assert 4 * 512 * 1000 < len(file.getvalue()) < 1.05 * 4 * 512 * 1000


def test_a_file_name_that_is_not_utf8_is_embedded_and_printed_with_its_bytes(tmp_path, drawn):
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "a\udcff.jpg").write_bytes(drawn[0])

    reidhub.embed("tiny.corridor", tmp_path / "crops", tmp_path / "out", device="cpu")

    table = pq.read_table(tmp_path / "out")
    assert table.column("path").to_pylist() == [f"{tmp_path}/crops/a\\xff.jpg"]
