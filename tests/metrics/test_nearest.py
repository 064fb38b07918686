"""The search is exact for any parts, with ties and long embeddings, and its memory does not grow with the gallery."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from reidhub.errors import EvaluationError
from reidhub.metrics import nearest
from reidhub.metrics.nearest import NearestSearch


def rank_one_by_one(query: Tensor, gallery: Tensor, count: int, distance: str) -> tuple[Tensor, Tensor]:
    """Sort the whole gallery for each query, by distances in float64 that are rounded to float32."""
    wide = query.double(), gallery.double()
    if distance == "cosine":
        wide = normalize(wide[0]), normalize(wide[1])
    rows = []
    for one in wide[0]:
        exact = 1 - (one * wide[1]).sum(1) if distance == "cosine" else (one - wide[1]).square().sum(1)
        rows.append(exact.clamp(min=0).float())
    distances = torch.stack(rows)
    places = distances.argsort(dim=1, stable=True)[:, :count]
    return distances.gather(1, places), places


def search(query: Tensor, gallery: Tensor, count: int, distance: str, part: int) -> NearestSearch:
    found = NearestSearch(query, count, distance)
    for rows in gallery.split(part):
        found.add(rows)
    return found


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("kind", ["random", "equal rows", "all equal", "far from the origin", "sorted, furthest first"])
def test_result_is_the_sorted_gallery_for_any_parts_and_tiles(
    distance: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    query, gallery = torch.randn(9, 24, generator=generator), torch.randn(700, 24, generator=generator)
    if kind == "equal rows":
        gallery = gallery[torch.randint(0, 60, (700,), generator=generator)]
        gallery[::50] = 0
    elif kind == "all equal":
        gallery[:] = gallery[0].clone()
    elif kind == "far from the origin":  # float32 alone cannot tell these distances apart
        query, gallery = query + 3000, gallery + 3000
    elif kind.startswith("sorted"):
        gallery = gallery[(gallery - query[0]).norm(dim=1).argsort(descending=True)]
    want = rank_one_by_one(query, gallery, 12, distance)
    for part, tile, queries in ((700, 8192, 256), (64, 8192, 256), (700, 37, 4)):
        monkeypatch.setattr(nearest, "_TILE_ROWS", tile)
        monkeypatch.setattr(nearest, "_QUERIES", queries)
        found = search(query, gallery, 12, distance, part)
        assert torch.equal(found.distances, want[0])
        assert torch.equal(found.places, want[1])
        assert found.seen == 700


def test_pairs_that_are_left_out_are_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_TILE_ROWS", 2)
    query = torch.eye(2, 4)
    found = NearestSearch(query, 3)
    found.add(query.repeat(2, 1), torch.tensor([[0, 2], [1, 1]]))
    assert found.places.tolist() == [[0, 1, 3], [3, 0, 2]]
    alone = NearestSearch(query, 3)
    alone.add(query[:1], torch.tensor([[1, 0]]))
    assert alone.places.tolist() == [[0], [-1]]
    assert alone.distances.tolist() == [[0.0], [torch.inf]]


def test_small_gallery_gives_fewer_images_than_wanted() -> None:
    found = search(torch.ones(1, 3), torch.tensor([[2.0, 2, 2], [1, 1, 1]]), 10, "euclidean", 1)
    assert found.places.tolist() == [[1, 0]]
    assert found.distances.tolist() == [[0.0, 3.0]]
    assert NearestSearch(torch.ones(2, 3), 5).places.shape == (2, 0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e20])
def test_embedding_without_a_distance_is_named_by_its_row(bad: float) -> None:
    rows = torch.zeros(5, 2)
    rows[3, 1] = bad
    found = NearestSearch(torch.zeros(1, 2), 1)
    found.add(torch.zeros(7, 2))
    with pytest.raises(EvaluationError, match="row 10 of gallery"):
        found.add(rows)
    with pytest.raises(EvaluationError, match="row 3 of query"):
        NearestSearch(rows, 1)


def test_wrong_shapes_and_counts_are_refused() -> None:
    with pytest.raises(EvaluationError, match=r"\(n, 4\)"):
        NearestSearch(torch.ones(1, 4), 1).add(torch.ones(1, 5))
    with pytest.raises(EvaluationError, match="at least 1"):
        NearestSearch(torch.ones(1, 4), 0)
    with pytest.raises(EvaluationError, match=r"\(Q, D\)"):
        NearestSearch(torch.ones(4), 1)
    with pytest.raises(EvaluationError, match="euclidean, cosine, got 'hamming'"):
        NearestSearch(torch.ones(1, 4), 1, "hamming")


def test_search_keeps_no_part_of_the_gallery() -> None:
    found = NearestSearch(torch.randn(3, 8), 2)
    part = torch.randn(100, 8)
    found.add(part)
    kept = [value for name in found.__dict__ if isinstance(value := getattr(found, name), Tensor)]
    assert sum(value.numel() for value in kept) == 3 * 8 + 2 * 3 * 2
