"""`reidhub.rank` and ``reidhub rank``: the nearest images of a gallery, from images or from an embeddings folder."""

import csv
import io
import json

import pytest
import torch
from support.verify_runs import run_here

import reidhub
from reidhub.demo import world
from reidhub.errors import DatasetError, UsageError
from reidhub.metrics.inputs import Embeddings
from reidhub.metrics.reranking import Reranker, Reranking
from reidhub.retrieval import ranking
from reidhub.retrieval.marks import mark_image
from reidhub.retrieval.ranking import Neighbour, Ranking, sort_worst_first

NAME, OTHER = "tiny.corridor", "tiny.hall"


@pytest.fixture
def images(tmp_path):
    """Six queries, and a gallery of thirty images, all named as in Market-1501."""
    for split, count in (("query", 6), ("gallery", 30)):
        (tmp_path / split).mkdir()
        for shot in world.list_shots(split)[:count]:
            (tmp_path / split / shot.file_name).write_bytes(world.photograph(shot))
    return tmp_path


def rank(images, **options):
    return reidhub.rank(NAME, images / "query", options.pop("gallery", images / "gallery"), device="cpu", **options)


def embed(paths):
    return reidhub.embedder(NAME)(paths)


def test_rankings_are_the_sorted_distances_of_the_embeddings(images):
    queries, gallery = (sorted((images / split).iterdir()) for split in ("query", "gallery"))
    distances = (embed(queries)[:, None].double() - embed(gallery).double()).square().sum(2)
    nearest = distances.argsort(dim=1)[:, :4]

    found = rank(images, top=4)

    assert [one.query for one in found] == list(map(str, queries))
    for row, one in enumerate(found):
        assert [image.path for image in one.images] == [str(gallery[place]) for place in nearest[row]]
        assert [image.distance for image in one.images] == pytest.approx(
            distances[row, nearest[row]].tolist(), rel=1e-5
        )
        assert [image.place for image in one.images] == [1, 2, 3, 4]
        assert [image.mark for image in one.images] == [mark_image(one.query, image.path) for image in one.images]


def test_embeddings_folder_gives_the_same_rankings_as_its_images(images):
    reidhub.embed(NAME, images / "gallery", images / "out", device="cpu")
    assert rank(images, gallery=images / "out") == rank(images)


def test_cosine_and_reranked_distances_are_those_of_metrics(images):
    queries, gallery = (sorted((images / split).iterdir()) for split in ("query", "gallery"))
    cosine = 1 - torch.nn.functional.normalize(embed(queries)) @ torch.nn.functional.normalize(embed(gallery)).T
    first = rank(images, distance="cosine", top=30)[0].images
    assert [image.distance for image in first] == pytest.approx(cosine[0].sort().values.tolist(), abs=1e-6)

    reranked = Reranker(Embeddings(embed(queries), embed(gallery), "euclidean"), Reranking())
    _, distances = next(reranked.tiles())
    found = rank(images, rerank=True, top=5)
    for row, one in enumerate(found):
        assert [image.distance for image in one.images] == distances[row].sort().values[:5].tolist()
        best = distances[row].argsort(stable=True)[:5]
        assert [image.path for image in one.images] == [str(gallery[place]) for place in best]


def test_folder_of_another_model_or_precision_is_refused(images):
    reidhub.embed(OTHER, images / "gallery", images / "other", device="cpu")
    with pytest.raises(UsageError, match=r"(?s)embeddings of tiny.hall, not of tiny.corridor.*sha256: "):
        rank(images, gallery=images / "other")
    reidhub.embed(NAME, images / "gallery", images / "out", device="cpu")
    with pytest.raises(UsageError, match="precision: fp32 and exact"):
        rank(images, gallery=images / "out", precision="exact")


def test_folder_without_embeddings_or_images_is_refused(images):
    reidhub.embed(NAME, images / "gallery", images / "planned", device="cpu", plan_only=True)
    with pytest.raises(UsageError, match="no embeddings yet"):
        rank(images, gallery=images / "planned")
    (images / "empty").mkdir()
    with pytest.raises(DatasetError, match="empty has no images"):
        rank(images, gallery=images / "empty")
    with pytest.raises(DatasetError, match="no such file or folder"):
        rank(images, gallery=images / "absent")


def test_query_in_the_gallery_is_left_out_of_its_own_ranking_alone(images, monkeypatch):
    monkeypatch.chdir(images)
    names = sorted((images / "gallery").iterdir())
    (images / "link.jpg").symlink_to(names[1])
    queries = [names[0], f"gallery/{names[1].name}", "link.jpg", next((images / "query").iterdir())]

    found = reidhub.rank(NAME, queries, images / "gallery", device="cpu", top=30)

    assert [one.in_gallery for one in found] == [True, True, True, False]
    assert [len(one.images) for one in found] == [29, 29, 29, 30]
    assert str(names[0]) not in [image.path for image in found[0].images]
    assert str(names[0]) in [image.path for image in found[1].images]
    with pytest.raises(UsageError, match="queries that are not in the gallery"):
        reidhub.rank(NAME, queries, images / "gallery", device="cpu", rerank=True)


def test_unreadable_images_are_errors_or_left_out(images, caplog):
    for folder in ("query", "gallery"):
        (images / folder / "zzz.jpg").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"query/zzz.jpg cannot be decoded"):
        rank(images)
    found = rank(images, on_error="skip", top=40)
    assert [len(one.images) for one in found] == [30] * 6
    assert caplog.text.count("image skipped") == 2


def test_gallery_that_is_too_large_for_reranking_is_refused_before_it_is_embedded(images, monkeypatch):
    monkeypatch.setattr(ranking, "RERANKED", 35)
    monkeypatch.setattr("reidhub.api.retrieval.ModelChoice.make", None)
    with pytest.raises(UsageError, match="at most 35, queries included; got 36"):
        rank(images, rerank=True)


def test_names_of_images_that_are_no_longer_near_are_forgotten(images, monkeypatch):
    kept = []
    forget = ranking._Names.forget_all_but
    with monkeypatch.context() as small:
        small.setattr(ranking, "_SPARE", 0)
        small.setattr(ranking, "_BLOCK", 1)
        small.setattr("reidhub.retrieval.galleries._IMAGES", 3)
        small.setattr(
            ranking._Names, "forget_all_but", lambda self, places: (forget(self, places), kept.append(len(self.images)))
        )
        found = rank(images, top=1)
    assert len(kept) == 10
    assert max(kept) <= 6
    assert [one.images[0].path for one in found] == [one.images[0].path for one in rank(images, top=1)]


@pytest.mark.parametrize(
    ("query", "image", "mark"),
    [
        ("a/0002_c1s1_000451_03.jpg", "0002_c3s1_000451_03.jpg", "right"),
        ("0002_c1s1_000451_03.jpg", "0002_c1s2_000451_03.jpg", "same camera"),
        ("0002_c1s1_000451_03.jpg", "0003_c1s1_000451_03.jpg", "wrong"),
        ("0002_c1s1_000451_03.jpg", "-1_c1s1_000451_03.jpg", "junk"),
        ("0005_c2_f0046985.jpg", "0005_c7_f0046985.jpg", "right"),
        ("-1_c1s1_000451_03.jpg", "0003_c1s1_000451_03.jpg", None),
        ("anna.jpg", "0002_c1s1_000451_03.jpg", None),
        ("0002_c1s1_000451_03.jpg", "0002.jpg", None),
    ],
)
def test_file_names_tell_what_an_image_is_for_a_query(query, image, mark):
    assert mark_image(query, image) == mark


def test_worst_queries_come_first():
    def make(query, *images):
        return Ranking(query, tuple(Neighbour(n, "", None, *image) for n, image in enumerate(images, 1)))

    marked = [
        make("first", (1.0, "right"), (9.0, "wrong")),
        make("second", (1.0, "wrong"), (9.0, "right")),
        make("none", (0.5, "wrong"), (9.0, "same camera")),
        make("second, further", (2.0, "wrong"), (3.0, "right")),
    ]
    assert [one.query for one in sort_worst_first(marked)] == ["none", "second, further", "second", "first"]
    unmarked = [make("near", (1.0, None)), make("far", (3.0, None)), make("empty"), make("far too", (3.0, None))]
    assert [one.query for one in sort_worst_first(unmarked)] == ["empty", "far", "far too", "near"]


@pytest.mark.parametrize(
    "options", [{"top": 0}, {"top": 2.0}, {"distance": "manhattan"}, {"order": "best"}, {"on_error": "nan"}]
)
def test_wrong_choices_are_refused(images, options):
    with pytest.raises(UsageError):
        rank(images, **options)


def test_command_prints_the_same_rankings_in_each_form(images, monkeypatch, capsys):
    arguments = ["rank", NAME, str(images / "query"), "--gallery", str(images / "gallery"), "--device", "cpu"]
    want = rank(images)

    done = run_here(monkeypatch, capsys, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert [one["query"] for one in data] == [one.query for one in want]
    assert data[0]["images"][0] == {
        "place": 1,
        "path": want[0].images[0].path,
        "box": None,
        "distance": want[0].images[0].distance,
        "mark": want[0].images[0].mark,
    }
    assert "euclidean distance; queries in the order given" in done.stderr

    done = run_here(monkeypatch, capsys, *arguments, "--top", "2", "--order", "worst", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["place"] for row in rows] == ["1", "2"] * 6
    assert [row["query"] for row in rows[::2]] == [one.query for one in rank(images, top=2, order="worst")]
    assert "worst queries first" in done.stderr


def test_command_reports_unreadable_images_and_queries_in_the_gallery(images, monkeypatch, capsys):
    (images / "gallery" / "zzz.jpg").write_bytes(b"no image")
    query = str(next((images / "gallery").glob("0*.jpg")))
    done = run_here(monkeypatch, capsys, "rank", NAME, query, "--gallery", str(images / "gallery"), "--device", "cpu")
    assert done.returncode == 1
    assert "1 query is in the gallery too" in done.stderr
    assert "zzz.jpg cannot be decoded" in done.stderr
    assert len(done.stdout.splitlines()) == 11
