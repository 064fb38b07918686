"""The ranked images of a report, held to a ranking in plain Python and to what the metrics counted."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from support.reports import CONDITIONS, Embeddings, embeddings, measured, retrieval

from reidhub.datasets import Record, RetrievalSet
from reidhub.verification.report import RankedQuery, rank_gallery


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RetrievalSet:
    return retrieval(tmp_path_factory.mktemp("data"))


def brute_force(vectors: Embeddings, distance: str, place: int) -> list[int]:
    """The gallery's places, nearest first."""
    query = vectors[0][place].tolist()

    def far(row: list[float]) -> float:
        if distance == "euclidean":
            return math.fsum((a - b) ** 2 for a, b in zip(query, row, strict=True))
        return 1 - math.fsum(a * b for a, b in zip(query, row, strict=True)) / math.hypot(*query) / math.hypot(*row)

    distances = [far(row) for row in vectors[1].tolist()]
    return sorted(range(len(distances)), key=lambda column: (distances[column], column))


def expected(query: Record, order: list[int], gallery: tuple[Record, ...]) -> list[tuple[Record, str, int | None]]:
    """What is to be shown: until ten count, and the first right one."""
    shown: list[tuple[Record, str, int | None]] = []
    rank, right = 0, False
    for column in order:
        image = gallery[column]
        junk = image.pid == query.pid and image.camid == query.camid
        mark = "same camera" if junk else "right" if image.pid == query.pid else "wrong"
        rank += not junk
        if (rank <= 10 and not (junk and rank == 10)) or (mark == "right" and not right):
            shown.append((image, mark, None if junk else rank))
        right = right or mark == "right"
    return shown


def as_tuples(query: RankedQuery) -> list[tuple[Record, str, int | None]]:
    return [(image.record, image.mark, image.rank) for image in query.images]


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("normalized", [False, True])
def test_images_are_ranked_and_marked_as_by_brute_force(data: RetrievalSet, distance: str, normalized: bool) -> None:
    conditions = replace(CONDITIONS, distance=distance, normalize=normalized)
    vectors = embeddings(data, 5, noise=2.0)
    gallery = rank_gallery(vectors, data, measured(data, vectors, conditions), conditions)
    metric = "cosine" if normalized else distance
    marks = set()
    for query in (*gallery.best, *gallery.worst):
        order = brute_force(vectors, metric, query.place)
        assert as_tuples(query) == expected(data.query[query.place], order, data.gallery)
        marks |= {image.mark for image in query.images}
    assert marks == {"right", "wrong", "same camera"}


def test_best_and_worst_are_those_by_average_precision(data: RetrievalSet) -> None:
    vectors = embeddings(data, 5, noise=2.0)
    counts = measured(data, vectors)
    gallery = rank_gallery(vectors, data, counts, CONDITIONS)
    order = sorted(range(10), key=lambda place: counts.average_precision[place])
    assert [query.place for query in gallery.worst] == order[:3]
    assert [query.place for query in gallery.best] == order[:-4:-1]
    assert all(query.average_precision == counts.average_precision[query.place] for query in gallery.worst)


def test_a_query_without_a_match_is_never_shown_and_none_is_shown_twice(data: RetrievalSet) -> None:
    few = replace(data, query=data.query[:3] + data.query[-1:])
    vectors = embeddings(few, 5)
    gallery = rank_gallery(vectors, few, measured(few, vectors), CONDITIONS)
    assert sorted(query.place for query in (*gallery.best, *gallery.worst)) == [0, 1, 2]


@pytest.mark.parametrize("rerank", [False, True])
def test_the_first_right_image_has_the_rank_that_was_counted(data: RetrievalSet, rerank: bool) -> None:
    conditions = replace(CONDITIONS, rerank=rerank)
    vectors = embeddings(data, 8, noise=3.5)
    counts = measured(data, vectors, conditions)
    gallery = rank_gallery(vectors, data, counts, conditions)
    firsts = []
    for query in (*gallery.best, *gallery.worst):
        first = next(image.rank for image in query.images if image.mark == "right")
        assert first == counts.first_match_rank[query.place] == query.first_match_rank
        assert [i.distance for i in query.images] == sorted(i.distance for i in query.images)
        firsts.append(first)
    assert max(firsts) > 1 and (rerank or counts != measured(data, vectors, replace(conditions, rerank=True)))


def test_a_right_image_far_behind_is_shown_last(data: RetrievalSet, tmp_path: Path) -> None:
    vectors = embeddings(data, 5)
    place = 2
    right = [c for c, image in enumerate(data.gallery) if image.pid == 2 and image.camid != data.query[place].camid]
    vectors[1][right] += 100
    gallery = rank_gallery(vectors, data, measured(data, vectors), CONDITIONS)
    query = next(query for query in gallery.worst if query.place == place)
    *near, last = query.images
    assert last.mark == "right" and last.rank == query.first_match_rank > 20
    assert [image.rank for image in near if image.rank] == list(range(1, 11))


def test_many_images_of_one_camera_do_not_fill_the_page(data: RetrievalSet) -> None:
    crowd = tuple(replace(image, pid=1, camid=0) for image in data.gallery[:50]) + data.gallery[50:]
    crowded = replace(data, gallery=(*crowd, replace(data.gallery[0], pid=1, camid=2)))
    vectors = embeddings(crowded, 5, noise=0.1)
    gallery = rank_gallery(vectors, crowded, measured(crowded, vectors), CONDITIONS)
    shown = [query for query in (*gallery.best, *gallery.worst) if query.place == 0]
    assert all(len(query.images) <= 21 for query in (*gallery.best, *gallery.worst)) and len(shown) <= 1


def test_with_ignored_cameras_every_image_of_the_person_is_right(data: RetrievalSet) -> None:
    conditions = replace(CONDITIONS, cameras="ignore")
    vectors = embeddings(data, 5, noise=2.0)
    counts = measured(data, vectors, conditions)
    assert counts.hits != measured(data, vectors).hits
    gallery = rank_gallery(vectors, data, counts, conditions)
    for query in (*gallery.best, *gallery.worst):
        nearest = [data.gallery[column] for column in brute_force(vectors, "euclidean", query.place)]
        marks = ["right" if image.pid == query.record.pid else "wrong" for image in nearest]
        assert as_tuples(query)[:10] == list(zip(nearest, marks, range(1, 11), strict=False))
        assert query.first_match_rank == counts.first_match_rank[query.place] == marks.index("right") + 1
