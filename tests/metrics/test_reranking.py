"""Re-ranking: against the contract, and against a twin that follows the paper set by set."""

from typing import Any

import numpy as np
import pytest
import torch
from support.contract import METRICS, retrieval_case

from reidhub.metrics import evaluate, reranking
from reidhub.metrics.evaluation import score_tiles
from reidhub.metrics.inputs import read_embeddings, read_labels
from reidhub.metrics.reranking import Reranker, Reranking

CASES = [
    (entry["case"], distance, entry[distance]["reranked"])
    for entry in METRICS
    for distance in ("euclidean", "cosine")
    if "reranked" in entry[distance]
]


@pytest.mark.parametrize(("case", "distance", "expected"), CASES)
def test_contract_figures_are_met(case: dict[str, int], distance: Any, expected: dict[str, float]) -> None:
    result = evaluate(**retrieval_case(**case), distance=distance, rerank=True)
    assert {"rank1": float(result.cmc[0]), "mAP": result.mAP} == pytest.approx(expected, abs=1e-5)


def twin(query: Any, gallery: Any, distance: str, parameters: Reranking) -> Any:
    """Distances (Q, G), with sets as the paper writes them: N, R, R*, V."""
    images = np.concatenate([query, gallery]).astype(np.float64)
    if distance == "cosine":
        images /= np.linalg.norm(images, axis=1, keepdims=True)
        squared = (1 - images @ images.T) ** 2
    else:
        squared = (((images[:, None] - images[None]) ** 2).sum(2)) ** 2
    original = squared / squared.max(1, keepdims=True)
    nearest = original.astype(np.float32).argsort(1, kind="stable")
    everyone = range(len(images))

    def reciprocal(image: int, k: int) -> set[int]:
        return {n for n in nearest[image, : k + 1].tolist() if image in nearest[n, : k + 1]}

    vectors = np.zeros((len(images), len(images)))
    for image in everyone:
        own = reciprocal(image, parameters.k1)
        grown = set(own)
        for neighbour in own:
            other = reciprocal(neighbour, round(parameters.k1 / 2))
            if len(other & own) > 2 / 3 * len(other):
                grown |= other
        for member in grown:
            vectors[image, member] = np.exp(-original[image, member])
        vectors[image] /= vectors[image].sum()
    vectors = np.stack([vectors[nearest[image, : parameters.k2]].mean(0) for image in everyone])
    shared = np.minimum(vectors[: len(query), None], vectors[None, len(query) :]).sum(2)
    jaccard = 1 - shared / (2 - shared)
    return (1 - parameters.blend) * jaccard + parameters.blend * original[: len(query), len(query) :]


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize(
    "parameters",
    [Reranking(), Reranking(7, 3, 0.5), Reranking(5, 1, 0.0), Reranking(1, 9, 0.1), Reranking(60, 60, 0.2)],
)
def test_distances_are_those_of_the_paper(distance: Any, parameters: Reranking) -> None:
    case = retrieval_case(3, 13, 40, 6, 2, dim=8)
    case["gallery"][20:30] = case["gallery"][:10]  # ties
    embeddings = read_embeddings(case["query"], case["gallery"], distance)
    computed = Reranker(embeddings, parameters).distances(torch.arange(13))
    expected = twin(case["query"], case["gallery"], distance, parameters)
    np.testing.assert_allclose(computed.numpy(), expected, rtol=1e-5, atol=1e-7)


def test_original_distances_alone_rank_as_without_re_ranking() -> None:
    case = retrieval_case(5, 30, 200, 15, 3)
    embeddings = read_embeddings(case["query"], case["gallery"], "euclidean")
    names = ("query_pids", "gallery_pids", "query_camids", "gallery_camids")
    labels = read_labels(embeddings, tuple(case[name] for name in names))  # type: ignore[arg-type]
    result = score_tiles(Reranker(embeddings, Reranking(blend=1.0)).tiles(), labels)
    assert torch.equal(result.first_match_rank, evaluate(**case).first_match_rank)
    assert result.mAP == pytest.approx(evaluate(**case).mAP, abs=1e-6)


def test_how_much_is_held_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    case = retrieval_case(6, 20, 150, 9, 2)
    expected = evaluate(**case, rerank=True)
    monkeypatch.setattr(reranking, "_ROWS", 7)
    monkeypatch.setattr(reranking, "_QUERIES", 3)
    monkeypatch.setattr(reranking, "_PAIRS", 5)
    assert torch.equal(evaluate(**case, rerank=True).average_precision, expected.average_precision)


def test_a_world_smaller_than_its_neighbourhoods_is_ranked() -> None:
    result = evaluate(np.zeros((1, 2)), [[0.0, 1.0], [0.0, 3.0]], [1], [1, 2], [0], [1, 1], rerank=True)
    assert result.first_match_rank.tolist() == [1]


def test_equal_images_rank_in_gallery_order() -> None:
    result = evaluate(np.ones((1, 2)), np.ones((30, 2)), [1], [2] * 29 + [1], [0], [1] * 30, rerank=True)
    assert result.first_match_rank.tolist() == [30]
