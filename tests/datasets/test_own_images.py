"""Users' own images in folders: each layout, and what is said about a folder that has another one."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from support.dataset_copies import labels, write

from reidhub.datasets import RetrievalSet, compute_fingerprint, read_dataset
from reidhub.datasets.own_images import OwnImages, read_own_images
from reidhub.errors import DatasetError, EvaluationError, UsageError
from reidhub.metrics import evaluate

MARKET_NAMES = {
    "query": ["0001_c1s1_001051_00.jpg", "0002_c3s2_000451_03.jpg"],
    "gallery": [
        "-1_c1s1_000401_03.jpg",
        "0000_c2s1_000151_01.jpg",
        "0001_c2s1_001976_02.jpg",
        "0002_c6s1_000776_01.jpg",
    ],
}
CAMERAS = r"(?P<pid>-?\d+)_c(?P<camid>\d+)"
PEOPLE = {"anna": ["1.jpg", "2.jpg"], "bert/front": ["3.jpg"], "bert": ["4.PNG"], "carl": ["5.jpg"]}


def read(layout: Any, data: Path | None = None, **given: Any) -> RetrievalSet:
    return read_own_images(OwnImages(layout, data, **given))


def read_pattern(root: Path, pattern: str = CAMERAS, **given: Any) -> RetrievalSet:
    return read("pattern", query=root / "query", gallery=root / "gallery", pattern=pattern, **given)


@pytest.mark.parametrize("gallery", ["gallery", "bounding_box_test"])
def test_market_folders_are_read_as_the_published_dataset_is(tmp_path: Path, gallery: str) -> None:
    root = write(tmp_path / "shop", {"query": MARKET_NAMES["query"], gallery: MARKET_NAMES["gallery"]})
    found = read("market1501", root)
    assert labels(found.query) == [("0001_c1s1_001051_00.jpg", 1, 0), ("0002_c3s2_000451_03.jpg", 2, 2)]
    assert [pid for _, pid, _ in labels(found.gallery)] == [0, 1, 2]
    assert (found.name, found.title, found.version, found.root, found.partial) == (
        "own images",
        "shop",
        None,
        root,
        None,
    )
    assert not found.leave_one_out
    if gallery == "bounding_box_test":
        assert read_dataset("market1501", root, allow_partial=True).fingerprint == found.fingerprint


def test_images_come_in_the_order_of_their_embeddings(tmp_path: Path) -> None:
    found = read("market1501", write(tmp_path, MARKET_NAMES))
    assert found.images == [record.path for record in (*found.query, *found.gallery)]


def test_each_image_of_people_folders_is_a_query_against_all_others(tmp_path: Path) -> None:
    found = read("identities", write(tmp_path, PEOPLE))
    assert found.leave_one_out and found.query == found.gallery
    names = ["anna/1.jpg", "anna/2.jpg", "bert/4.PNG", "bert/front/3.jpg", "carl/5.jpg"]
    assert [path.relative_to(tmp_path).as_posix() for path in found.images] == names
    assert [record.pid for record in found.query] == [0, 0, 1, 1, 2]
    assert len({record.camid for record in found.query}) == 5


def test_leave_one_out_ranks_every_image_but_the_query(tmp_path: Path) -> None:
    found = read("identities", write(tmp_path, PEOPLE))
    places = torch.tensor([0.0, 1.1, 1.0, 5.0, 9.0])  # on a line: anna, anna, bert, bert, carl
    pids, camids = (torch.tensor([getattr(r, name) for r in found.query]) for name in ("pid", "camid"))
    scored = evaluate(places[:, None], places[:, None], pids, pids, camids, camids, "euclidean")
    want = []
    for query in range(5):
        others = sorted((other for other in range(5) if other != query), key=lambda o: abs(places[o] - places[query]))
        ranks = [rank for rank, other in enumerate(others, start=1) if pids[other] == pids[query]]
        want.append(ranks[0] if ranks else 0)
    assert scored.first_match_rank.tolist() == want == [2, 2, 3, 2, 0]


def test_links_to_folders_are_followed_and_one_that_leads_back_is_read_once(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"bert": ["3.jpg"]})
    write(tmp_path / "people", {"anna": ["1.jpg", "2.jpg"]})
    (tmp_path / "people/bert").symlink_to(tmp_path / "elsewhere/bert")
    (tmp_path / "people/anna/again").symlink_to(tmp_path / "people/anna")
    (tmp_path / "people/carl").mkdir()
    (tmp_path / "people/carl/deeper").symlink_to(tmp_path / "elsewhere/bert")
    assert [path.name for path in read("identities", tmp_path / "people").images] == [
        "1.jpg",
        "2.jpg",
        "3.jpg",
        "3.jpg",
    ]


def test_a_pattern_finds_person_and_camera_anywhere_in_the_path(tmp_path: Path) -> None:
    write(tmp_path / "query", {"door": ["anna_1.jpg"], "hall/night": ["bert_2.jpg"]})
    write(tmp_path / "gallery", {"hall": ["anna_3.jpg", ".hidden.jpg", "notes.txt"]})
    found = read_pattern(tmp_path, r"^(?P<camid>\w+)/(.*/)?(?P<pid>[a-z]+)_\d+\.jpg$")
    assert labels(found.query + found.gallery) == [("anna_1.jpg", 0, 0), ("bert_2.jpg", 1, 1), ("anna_3.jpg", 0, 1)]
    assert (found.root, found.title) == (tmp_path, tmp_path.name)


def test_whole_numbers_are_kept_and_junk_is_left_out(tmp_path: Path) -> None:
    found = read_pattern(write(tmp_path, MARKET_NAMES))
    assert [(pid, camid) for _, pid, camid in labels(found.query + found.gallery)] == [
        (1, 1), (2, 3), (0, 2), (1, 2), (2, 6),
    ]  # fmt: skip


def test_numbers_that_no_tensor_holds_are_names(tmp_path: Path) -> None:
    long = "9" * 25
    found = read_pattern(write(tmp_path, {"query": [f"{long}_c1.jpg"], "gallery": [f"{long}_c2.jpg", "7_c2.jpg"]}))
    assert [pid for _, pid, _ in labels(found.query + found.gallery)] == [
        1,
        0,
        1,
    ]  # 7_c2.jpg is the first of the gallery


def test_without_cameras_a_pattern_needs_only_the_person(tmp_path: Path) -> None:
    write(tmp_path, {"query/anna": ["1.jpg"], "gallery/anna": ["2.jpg"], "gallery/bert": ["3.jpg"]})
    found = read_pattern(tmp_path, "^(?P<pid>[^/]+)/", cameras="ignore")
    assert labels(found.query + found.gallery) == [("1.jpg", 0, 0), ("2.jpg", 0, 0), ("3.jpg", 1, 0)]


def test_folders_may_lie_apart_and_be_given_relative_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", {"probe": ["1_c1.jpg"]})
    write(tmp_path / "b", {"all": ["1_c2.jpg", "2_c2.jpg"]})
    monkeypatch.chdir(tmp_path / "a")
    found = read("pattern", query=Path("probe"), gallery=tmp_path / "b/all", pattern=CAMERAS)
    assert (found.root, found.images[0]) == (tmp_path, tmp_path / "a/probe/1_c1.jpg")
    splits = {"query": found.query, "gallery": found.gallery}
    assert found.fingerprint == compute_fingerprint(tmp_path, splits)


def test_files_that_do_not_match_the_pattern_are_counted_and_named(tmp_path: Path) -> None:
    write(tmp_path, MARKET_NAMES | {"gallery": ["1_c1.jpg", *(f"holiday{n}.jpg" for n in range(5))]})
    with pytest.raises(DatasetError, match=r"gallery: 5 of 6 images do not match .*, such as holiday0.jpg, holiday1"):
        read_pattern(tmp_path)


def test_a_group_that_takes_part_in_no_match_is_no_label(tmp_path: Path) -> None:
    write(tmp_path, {"query": ["1_c1.jpg", "2.jpg"], "gallery": ["1_c2.jpg"]})
    with pytest.raises(DatasetError, match=r"1 of 2 images do not match .*, such as 2\.jpg"):
        read_pattern(tmp_path, r"^(?P<pid>\d+)(_c(?P<camid>\d+))?")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"layout": "market", "data": Path()},
            "expected the layout market1501, identities, csv, pattern, got 'market'",
        ),
        ({"layout": "csv", "data": Path(), "cameras": "no"}, "expected cameras use or ignore, got 'no'"),
        ({"layout": "identities", "data": None}, "identities needs data\nhint: --layout identities --data DIR"),
        ({"layout": "csv", "data": Path(), "pattern": "x"}, "the layout csv takes no pattern"),
        (
            {"layout": "pattern", "data": None, "query": Path()},
            "needs gallery and pattern\nhint: --query DIR --gallery",
        ),
        ({"pattern": "(?P<pid>.)"}, "has no group (?P<camid>...)\nhint: an example: (?P<pid>"),
        ({"pattern": "(?P<p>.)"}, "has no group (?P<pid>...) and no group (?P<camid>...)"),
        (
            {"pattern": "(?P<camid>.)", "cameras": "ignore"},
            "has no group (?P<pid>...)\nhint: an example: (?P<pid>[^/]+)/",
        ),
        ({"pattern": "(?P<pid>"}, "the pattern '(?P<pid>' is not a regular expression: missing"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(given: dict[str, Any], message: str) -> None:
    folders = {} if "layout" in given else {"layout": "pattern", "data": None, "query": Path(), "gallery": Path()}
    with pytest.raises(UsageError) as refused:
        OwnImages(**folders | given)
    assert message in str(refused.value)


def test_examples_in_hints_match_what_they_say() -> None:
    for cameras, name in (("use", "0007_c2_000123.jpg"), ("ignore", "anna/000123.jpg")):
        with pytest.raises(UsageError) as refused:
            OwnImages("pattern", None, Path(), Path(), "x", cameras)  # type: ignore[arg-type]
        pattern, _, example = str(refused.value.hint).removeprefix("an example: ").partition(" fits ")
        assert example == name
        given = OwnImages("pattern", None, Path(), Path(), pattern, cameras)  # type: ignore[arg-type]
        assert given.groups


@pytest.mark.parametrize(
    ("layout", "files", "message"),
    [
        ("market1501", PEOPLE, "contains 3 folders and 0 images: anna, bert, carl\nhint: it looks like identities"),
        ("market1501", {"query": ["1.jpg"]}, "contains 1 folders and 0 images: query"),
        ("market1501", {"": ["labels.csv", "1.jpg"]}, "1 images: 1.jpg, labels.csv\nhint: it looks like csv: try "),
        ("market1501", {"query": ["1.jpg"], "gallery": ["2.jpg"]}, "from 1\nhint: for other names of"),
        ("market1501", {"query": [], "gallery": []}, "no images in query and gallery"),
        ("identities", MARKET_NAMES, "for each person\n  "),
        ("identities", MARKET_NAMES, "hint: it looks like market1501: try --layout market1501"),
        ("identities", {"query/anna": ["1.jpg"], "gallery/anna": ["2.jpg"]}, "it has a query and a gallery: try -"),
        ("identities", {"anna": ["1.jpg"], "": ["2.jpg"]}, "1 images are in no person's folder, such as 2.jpg"),
        ("identities", {f"p{n:02d}": [] for n in range(11)}, "contains 11 folders and 0 images: p00, p01"),
        ("csv", {"": ["table.csv"]}, "expected a CSV file\n  "),
        ("identities", {"anna": ["1.jpg", "2.jpg"]}, "all images show one person: there is nobody to confuse with"),
        ("identities", {"anna": ["1.jpg"], "bert": ["2.jpg"]}, "each person has one image: there is no other to find"),
        ("market1501", {"query": ["1_c1s1_0.jpg"], "gallery": ["1_c2s1_0.jpg"]}, "all images show one person"),
    ],
)  # fmt: skip
def test_a_folder_with_another_layout_is_described(
    tmp_path: Path, layout: str, files: dict[str, list[str]], message: str
) -> None:
    write(tmp_path / "given", files)
    with pytest.raises(DatasetError) as refused:
        read(layout, tmp_path / "given")
    assert message in str(refused.value)
    assert "given" in str(refused.value)


def test_every_layout_that_is_suggested_can_be_read(tmp_path: Path) -> None:
    for name, files in {"identities": PEOPLE, "market1501": MARKET_NAMES}.items():
        write(tmp_path / name, files)
        with pytest.raises(DatasetError) as refused:
            read("csv", tmp_path / name)
        assert refused.value.hint == f"it looks like {name}: try --layout {name}"
        assert read(name, tmp_path / name).images


def test_data_that_is_not_there_or_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected a folder\n.*nowhere does not exist"):
        read("identities", tmp_path / "nowhere")
    (tmp_path / "all.csv").touch()
    with pytest.raises(DatasetError, match=r"all\.csv is a file\nhint: it looks like csv: try --layout csv"):
        read("market1501", tmp_path / "all.csv")
    with pytest.raises(DatasetError, match="nowhere cannot be read: No such file"):
        read("pattern", query=tmp_path / "nowhere", gallery=tmp_path, pattern=CAMERAS)
    with pytest.raises(DatasetError, match=r"expected images\n.* contains 0 folders and 0 images: all\.csv"):
        read("pattern", query=tmp_path, gallery=tmp_path, pattern=CAMERAS)


def test_the_same_images_have_the_same_scores_in_each_layout_with_cameras(tmp_path: Path) -> None:
    folders = {
        split: [f"{pid:04d}_c{camera}s1_{pid:06d}_00.jpg" for pid in range(1, 9) for camera in cameras]
        for split, cameras in (("query", (1, 2)), ("gallery", (2, 3, 4)))
    }
    write(tmp_path, folders)
    rows = [f"{split}/{n},{n[:4]},{n[6]},{split}" for split, names in folders.items() for n in names]
    (tmp_path / "table.csv").write_text("\n".join(["path,pid,camid,split", *rows]))
    generator = torch.Generator().manual_seed(1)
    query, gallery = torch.rand(16, 8, generator=generator), torch.rand(24, 8, generator=generator)
    scores = set()
    for found in (read("market1501", tmp_path), read("csv", tmp_path / "table.csv"), read_pattern(tmp_path)):
        ids = [[getattr(r, name) for r in split] for name in ("pid", "camid") for split in (found.query, found.gallery)]
        scored = evaluate(query, gallery, *map(torch.tensor, ids), "cosine")
        scores.add((scored.mAP, *scored.first_match_rank.tolist()))
    assert len(scores) == 1


def test_a_broken_link_is_a_missing_image(tmp_path: Path) -> None:
    write(tmp_path, PEOPLE)
    (tmp_path / "anna/9.jpg").symlink_to(tmp_path / "nowhere.jpg")
    with pytest.raises(DatasetError, match=r"images are missing, such as .*anna/9\.jpg"):
        read("identities", tmp_path)


def test_without_cameras_an_image_must_not_find_itself(tmp_path: Path) -> None:
    write(tmp_path, {"all": ["1_c1.jpg", "1_c2.jpg", "2_c1.jpg"]})
    folders = {"query": tmp_path / "all", "gallery": tmp_path / "all", "pattern": CAMERAS}
    assert len(read("pattern", **folders).query) == 3  # same camera: metrics leave the image out
    with pytest.raises(DatasetError, match=r"3 images are in query and in gallery, such as .*: each would find itself"):
        read("pattern", **folders, cameras="ignore")


def test_images_of_one_camera_have_no_match_that_counts(tmp_path: Path) -> None:
    found = read_pattern(write(tmp_path, {"query": ["1_c1_a.jpg"], "gallery": ["1_c1_b.jpg", "2_c1.jpg"]}))
    ids = [[getattr(r, name) for r in split] for name in ("pid", "camid") for split in (found.query, found.gallery)]
    with pytest.raises(EvaluationError, match="none of 1 queries has a gallery image of its pid from another camera"):
        evaluate(torch.rand(1, 4), torch.rand(2, 4), *map(torch.tensor, ids), "euclidean")


def test_names_that_are_not_utf8_are_read_and_can_be_printed(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xdcbung")
    found = read("identities", write(tmp_path / odd, {"anna": [f"{odd}.jpg", "1.jpg"], odd: ["2.jpg"]}))
    found.title.encode()
    with pytest.raises(DatasetError) as refused:
        read("market1501", tmp_path / odd)
    str(refused.value).encode()
