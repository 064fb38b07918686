"""Reading datasets from folders as their authors pack them, and refusing what is not a whole copy."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from support.dataset_copies import labels, write, write_msmt

from reidhub.datasets import (
    DATASETS,
    ClassificationSet,
    Counts,
    RetrievalSet,
    describe_folder,
    find_published_counts,
    read_dataset,
)
from reidhub.datasets import imagenet as imagenet_reader
from reidhub.datasets.market1501 import read_layout
from reidhub.errors import DatasetError, DatasetNotFoundError

MARKET = "market1501/Market-1501-v15.09.15"
DUKE = "dukemtmc-reid/DukeMTMC-reID"
SMALL_MARKET = {
    "query": ["0001_c1s1_001051_00.jpg", "0002_c3s2_000451_03.jpg"],
    "bounding_box_test": [
        "-1_c1s1_000401_03.jpg",
        "0000_c2s1_000151_01.jpg",
        "0001_c2s1_001976_02.jpg",
        "0002_c6s1_000776_01.jpg",
    ],
}


def read_small(root: Path, **given: object) -> RetrievalSet:
    return read_layout(root, name="small", title="Small", **given)  # type: ignore[arg-type]


def test_market_names_become_records_without_junk_and_with_distractors(tmp_path: Path) -> None:
    read = read_small(write(tmp_path, SMALL_MARKET))
    assert labels(read.query) == [("0001_c1s1_001051_00.jpg", 1, 0), ("0002_c3s2_000451_03.jpg", 2, 2)]
    assert labels(read.gallery) == [
        ("0000_c2s1_000151_01.jpg", 0, 1),
        ("0001_c2s1_001976_02.jpg", 1, 1),
        ("0002_c6s1_000776_01.jpg", 2, 5),
    ]
    assert (read.name, read.title, read.version, read.root, read.partial) == ("small", "Small", None, tmp_path, None)


def test_what_other_systems_leave_in_folders_is_no_image(tmp_path: Path) -> None:
    write(tmp_path, SMALL_MARKET)
    clean = read_small(tmp_path)
    write(tmp_path, {"query": ["Thumbs.db", "._0001_c1s1_001051_00.jpg", ".DS_Store", "readme.txt", "inner.jpg/x.txt"]})
    assert read_small(tmp_path) == clean


def test_a_name_that_does_not_fit_is_named(tmp_path: Path) -> None:
    write(tmp_path, SMALL_MARKET | {"query": ["0001_c1s1_001051_00.jpg", "holiday.jpg"]})
    with pytest.raises(DatasetError, match=r"query/holiday\.jpg: expected a name like 0002_c1s1_000451_03\.jpg"):
        read_small(tmp_path)


def test_cameras_count_from_one_in_names(tmp_path: Path) -> None:
    write(tmp_path, SMALL_MARKET | {"query": ["0001_c0s1_001051_00.jpg"]})
    with pytest.raises(DatasetError, match="cameras counted from 1"):
        read_small(tmp_path)


def test_another_dataset_in_the_same_folders_is_refused(tmp_path: Path) -> None:
    write(tmp_path, SMALL_MARKET)
    with pytest.raises(DatasetError, match=r"expected a name like 0005_c2_f0046985\.jpg"):
        read_dataset("dukemtmcreid", tmp_path)


WHOLE = {"query": Counts(2, 2, 2), "gallery": Counts(3, 3, 2)}


def test_a_whole_copy_is_held_to_its_counts_and_found_whole(tmp_path: Path) -> None:
    assert read_small(write(tmp_path, SMALL_MARKET), counts=WHOLE).partial is None


@pytest.mark.parametrize(
    ("lacking", "difference"),
    [
        ({"query": Counts(3, 2, 2)}, "query: expected 3 images of 2 identities from 2 cameras, got 2 images"),
        ({"query": Counts(2, 3, 2)}, "query: expected 2 images of 3 identities"),
        ({"gallery": Counts(3, 3, 4)}, "got 3 images of 3 identities from 2 cameras"),
    ],
)
def test_a_partial_copy_is_refused_or_taken_as_partial(
    tmp_path: Path, lacking: dict[str, Counts], difference: str
) -> None:
    write(tmp_path, SMALL_MARKET)
    with pytest.raises(DatasetError) as refused:
        read_small(tmp_path, counts=WHOLE | lacking)
    assert difference in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert refused.value.hint
    taken = read_small(tmp_path, counts=WHOLE | lacking, allow_partial=True)
    assert taken.partial is not None
    assert difference in taken.partial


def test_an_empty_split_is_refused_even_where_partial_copies_are_allowed(tmp_path: Path) -> None:
    write(tmp_path, SMALL_MARKET | {"query": []})
    with pytest.raises(DatasetError, match="query: no images"):
        read_small(tmp_path, allow_partial=True)


SMALL_MARKET_LINES = (
    "gallery\tbounding_box_test/0000_c2s1_000151_01.jpg\t0,1\t11\n"
    "gallery\tbounding_box_test/0001_c2s1_001976_02.jpg\t1,1\t12\n"
    "gallery\tbounding_box_test/0002_c6s1_000776_01.jpg\t2,5\t13\n"
    "query\tquery/0001_c1s1_001051_00.jpg\t1,0\t10\n"
    "query\tquery/0002_c3s2_000451_03.jpg\t2,2\t11\n"
)


def test_fingerprint_is_of_names_labels_and_sizes_and_of_nothing_else(tmp_path: Path) -> None:
    here = read_small(write(tmp_path / "here", SMALL_MARKET)).fingerprint
    assert read_small(write(tmp_path / "there", SMALL_MARKET)).fingerprint == here
    assert here == hashlib.sha256(SMALL_MARKET_LINES.encode()).hexdigest()
    (tmp_path / "there/query/0001_c1s1_001051_00.jpg").write_bytes(b"another size")
    assert read_small(tmp_path / "there").fingerprint != here
    moved = tmp_path / "here/query/0002_c3s2_000451_03.jpg"
    moved.rename(moved.with_name("0002_c4s2_000451_03.jpg"))
    assert read_small(tmp_path / "here").fingerprint != here


def full_market(root: Path) -> None:
    """Names as in Market-1501, as many as there are."""
    write(
        root,
        {
            "query": [f"{1 + n % 750:04d}_c{1 + n % 6}s1_{n:06d}_00.jpg" for n in range(3368)],
            "bounding_box_test": [f"{n % 751:04d}_c{1 + n % 6}s1_{n:06d}_01.jpg" for n in range(15913)]
            + [f"-1_c{1 + n % 6}s1_{n:06d}_02.jpg" for n in range(3819)],
        },
    )


def test_market_is_found_in_its_own_folder_and_below_a_data_root(tmp_path: Path) -> None:
    full_market(tmp_path / MARKET)
    roots = (tmp_path, tmp_path / "market1501", tmp_path / MARKET)
    sets = [read_dataset("market1501", root) for root in roots]
    assert len({(s.root, s.fingerprint) for s in sets}) == 1
    assert isinstance(sets[0], RetrievalSet)
    assert (len(sets[0].query), len(sets[0].gallery), sets[0].partial) == (3368, 15913, None)
    (tmp_path / MARKET / "query/0001_c1s1_000000_00.jpg").unlink()
    with pytest.raises(DatasetError, match=r"the copy in .* is not Market-1501 as published\n  query: expected 3368"):
        read_dataset("market1501", tmp_path)


def test_missing_dataset_is_an_error_that_lists_where_it_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / MARKET / "query").mkdir(parents=True)
    with pytest.raises(DatasetNotFoundError) as missing:
        read_dataset("market1501", tmp_path)
    assert f"{tmp_path / MARKET}: no bounding_box_test" in str(missing.value)
    assert f"{tmp_path / 'Market-1501-v15.09.15'}: no such folder" in str(missing.value)


def test_data_root_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="nowhere is not a folder"):
        read_dataset("market1501", tmp_path / "nowhere")


def test_duke_names_become_records(tmp_path: Path) -> None:
    write(tmp_path / DUKE, {"query": ["0005_c2_f0046985.jpg"], "bounding_box_test": ["0005_c8_f0000001.jpg"]})
    read = read_dataset("dukemtmcreid", tmp_path, allow_partial=True)
    assert isinstance(read, RetrievalSet)
    assert labels(read.query + read.gallery) == [("0005_c2_f0046985.jpg", 5, 1), ("0005_c8_f0000001.jpg", 5, 7)]
    assert read.partial is not None
    assert "expected 2228 images of 702 identities from 8 cameras, got 1 images" in read.partial


WNIDS = ("n01440764", "n01443537", "n15075141")


def write_classes(root: Path) -> Path:
    write(root, {WNIDS[2]: ["ILSVRC2012_val_00000003.JPEG"], WNIDS[0]: ["b.JPEG", "a.JPEG"], WNIDS[1]: ["c.JPEG"]})
    (root / "LOC_synset_mapping.txt").write_text("")
    return root


def test_class_folders_become_labels_in_the_order_of_their_names(tmp_path: Path) -> None:
    read = imagenet_reader.read_layout(write_classes(tmp_path), name="small", title="Small", counts=Counts(4, 3))
    assert [(image.path.name, image.label) for image in read.images] == [
        ("a.JPEG", 0),
        ("b.JPEG", 0),
        ("c.JPEG", 1),
        ("ILSVRC2012_val_00000003.JPEG", 2),
    ]
    assert isinstance(read, ClassificationSet)
    assert read.partial is None


def test_a_missing_class_is_refused_even_where_partial_copies_are_allowed(tmp_path: Path) -> None:
    """Every label behind it would be wrong."""
    write_classes(tmp_path / "imagenet/val")
    with pytest.raises(DatasetError, match=r"expected 1000 class folders in .*imagenet/val, got 3"):
        read_dataset("imagenet", tmp_path, allow_partial=True)


def test_missing_images_of_a_class_make_a_partial_copy(tmp_path: Path) -> None:
    counts = Counts(50, 3)
    with pytest.raises(DatasetError, match="val: expected 50 images of 3 classes, got 4 images of 3 classes"):
        imagenet_reader.read_layout(write_classes(tmp_path), name="small", title="Small", counts=counts)
    read = imagenet_reader.read_layout(tmp_path, name="small", title="Small", counts=counts, allow_partial=True)
    assert read.partial == "val: expected 50 images of 3 classes, got 4 images of 3 classes"


def test_validation_images_in_one_heap_are_not_found(tmp_path: Path) -> None:
    write(tmp_path, {"imagenet/val": ["ILSVRC2012_val_00000001.JPEG"]})
    with pytest.raises(DatasetNotFoundError, match="no folder with class folders"):
        read_dataset("imagenet", tmp_path)


def test_unknown_dataset_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="known are market1501") as unknown:
        read_dataset("market1510", tmp_path)
    assert unknown.value.hint == "did you mean market1501?"


@pytest.mark.parametrize("name", DATASETS)
def test_every_registered_dataset_says_what_it_looks_for(name: str, tmp_path: Path) -> None:
    assert describe_folder(name)
    with pytest.raises(DatasetNotFoundError, match=name):
        read_dataset(name, tmp_path)


def test_published_counts_are_those_of_the_dataset_papers() -> None:
    versions = {"cuhk03": ("detected", "labeled")}
    sizes = {
        " ".join(filter(None, (name, version))): {
            split: (counts.images, counts.identities, counts.cameras) for split, counts in published.items()
        }
        for name in DATASETS
        for version in versions.get(name, (None,))
        if (published := find_published_counts(name, version))
    }
    assert sizes == {
        "market1501": {"query": (3368, 750, 6), "gallery": (15913, 751, 6)},
        "dukemtmcreid": {"query": (2228, 702, 8), "gallery": (17661, 1110, 8)},
        "msmt17": {"query": (11659, 3060, 15), "gallery": (82161, 3060, 15)},
        "imagenet": {"val": (50000, 1000, None)},
        "cuhk03 detected": {"train": (7365, 767, None), "query": (1400, 700, 2), "gallery": (5332, 700, 2)},
        "cuhk03 labeled": {"train": (7368, 767, None), "query": (1400, 700, 2), "gallery": (5328, 700, 2)},
    }


def test_a_dataset_of_the_users_own_is_a_line_in_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_cameras.py").write_text(
        "from reidhub.datasets.market1501 import read_layout\n"
        "FOLDER = 'corridor'\n"
        "def read(data_root, *, allow_partial=False):\n"
        "    root = data_root / FOLDER\n"
        "    return read_layout(root, name='mine', title='My cameras', allow_partial=allow_partial)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(DATASETS, "mine", "my_cameras:read")
    write(tmp_path / "corridor", SMALL_MARKET)
    read = read_dataset("mine", tmp_path)
    assert isinstance(read, RetrievalSet)
    assert (read.title, len(read.gallery), describe_folder("mine")) == ("My cameras", 3, "corridor")


def test_reading_a_dataset_needs_neither_torch_nor_numpy(tmp_path: Path) -> None:
    write_msmt(tmp_path)
    program = (
        "import sys; from pathlib import Path; from reidhub.datasets import read_dataset\n"
        f"read_dataset('msmt17', Path({str(tmp_path)!r}), allow_partial=True)\n"
        "sys.exit(bool({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
