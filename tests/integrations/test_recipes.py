"""The recipes of docs/recipes.md find the nearest crops, and leave out the images that could not be read."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.paths import ROOT

from reidhub.retrieval.embeddings_folder import EmbeddingsFolder
from reidhub.retrieval.plan import Shard
from reidhub.retrieval.tables import Part, Unreadable

ROWS = (29, 0, 30)  # embeddings in three shards of 30 images; the others are unreadable
SECTIONS = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8").split("\n## ")
RECIPES = {text.splitlines()[0]: text.split("```python\n")[1].split("```")[0] for text in SECTIONS[1:] if "```" in text}

PACKAGES = {
    "pandas": "pandas",
    "DuckDB": "duckdb",
    "LanceDB": "lancedb",
    "Qdrant": "qdrant_client",
    "FAISS": "faiss",
}


@pytest.fixture
def crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, NDArray[np.float32]]:
    """Write a folder ``embeddings`` into the current folder, and return its embeddings by their paths."""
    monkeypatch.chdir(tmp_path)
    generator, written = np.random.default_rng(0), {}
    folder = EmbeddingsFolder(tmp_path / "embeddings")
    for number, rows in enumerate(ROWS):
        shard = Shard(0, number, 30)
        paths = [f"gallery/{number}_{row}.jpg" for row in range(30)]
        values = generator.normal(size=(rows, 512)).astype(np.float32)
        boxes = [None if row % 2 else (4.0, 0.0, 50.5, 120.0) for row in range(rows)]
        unreadable = [Unreadable(paths[row], "it is no image", shard, row) for row in range(rows, 30)]
        folder.write(shard, Part(paths[:rows], boxes, [None] * rows, values), unreadable, {})
        written.update(zip(paths[:rows], values, strict=True))
    folder.write_unreadable()
    return written


def find_nearest(crops: dict[str, NDArray[np.float32]], query: NDArray[np.float32]) -> list[str]:
    return sorted(crops, key=lambda path: float(np.linalg.norm(crops[path] - query)))[:5]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_finds_the_nearest_crops(name: str, crops: dict[str, NDArray[np.float32]], package):
    package(PACKAGES[name])
    for seed in range(3):
        query = np.random.default_rng(100 + seed).normal(size=512).astype(np.float32)
        names = {"query": query}
        exec(RECIPES[name].replace('"crops.lance"', f'"crops{seed}.lance"'), names)  # noqa: S102
        assert names["nearest"] == find_nearest(crops, query)


def test_pandas_reads_the_whole_folder_with_empty_embeddings_for_unreadable_images(
    crops: dict[str, NDArray[np.float32]], package
):
    table = package("pandas").read_parquet("embeddings")
    assert len(table) == 90
    assert table.dropna(subset="embedding")["path"].tolist() == list(crops)


def test_the_page_has_a_recipe_for_each_program():
    assert list(RECIPES) == ["pandas", "DuckDB", "LanceDB", "Qdrant", "FAISS"]
