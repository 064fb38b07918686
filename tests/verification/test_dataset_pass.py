"""Files of rows that are cut off anywhere, passes that open each image once, models that take turns."""

import gc
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.verify_runs import make_model
from torch import Tensor

from reidhub.inference.preprocess import imagenet_spec
from reidhub.verification import dataset_pass
from reidhub.verification.dataset_pass import DatasetPass, PassMember
from reidhub.verification.journal import RowLog
from reidhub.verification.movable_embedder import MovableEmbedder, best_classes
from reidhub.verification.settings import Settings
from reidhub.zoo.checkpoint import InputSpec

SPEC = InputSpec(64, 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bilinear")
DIMENSIONS = 3


def log(path: Path) -> RowLog:
    return RowLog(path, total=7, dimensions=DIMENSIONS, batch_size=3)


def test_rows_cut_off_at_any_byte_are_taken_up_at_the_last_whole_batch(tmp_path: Path) -> None:
    rows, path = torch.randn(7, DIMENSIONS), tmp_path / "rows"
    whole = log(path)
    for part in rows.split(3):
        whole.append(part)
    whole.close()
    content = path.read_bytes()
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        resumed = log(path)
        assert resumed.rows == min(3 * (size // 68), 6) + (size == len(content))  # 3 x 3 floats, 32 bytes of digest
        for start in range(resumed.rows, 7, 3):
            resumed.append(rows[start : start + 3])
        resumed.close()
        assert resumed.complete and torch.equal(resumed.read(), rows) and path.read_bytes() == content


def test_a_damaged_block_and_all_behind_it_are_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    whole = log(path)
    for part in torch.randn(7, DIMENSIONS).split(3):
        whole.append(part)
    whole.close()
    content = bytearray(path.read_bytes())
    content[75] ^= 1  # in the second block
    path.write_bytes(content)
    damaged = log(path)
    assert (damaged.rows, damaged.complete) == (3, False)
    damaged.close()


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    generator = torch.Generator().manual_seed(1)
    paths = [tmp_path / f"{number}.jpg" for number in range(10)]
    for path in paths:
        pixels = torch.randint(256, (8, 4, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).resize((32, 64)).save(path)
    return paths


def embedders(folder: Path, count: int = 3, architecture: str = "tiny") -> list[MovableEmbedder]:
    """Models whose conversions are kept in a folder, as for files in the cache."""
    torch.manual_seed(7)
    return [
        MovableEmbedder(make_model(architecture, 5).eval(), SPEC, classify=False, cached=folder / f"{place:064}.pth")
        for place in range(count)
    ]


def embedded(models: list[MovableEmbedder], images: list[Path], folder: Path) -> list[Tensor]:
    """The rows of some models from one pass."""
    folder.mkdir(exist_ok=True)
    logs = [RowLog(folder / str(place), len(images), m.dimensions, 4) for place, m in enumerate(models)]
    members = [PassMember(model, log) for model, log in zip(models, logs, strict=True)]
    told: list[int] = []
    start = DatasetPass(images, SPEC, members).start
    DatasetPass(images, SPEC, members).run(Settings(folder, torch.device("cpu"), batch_size=4, workers=1), told.append)
    assert sum(told) == len(images) - start
    for log in logs:
        log.close()
    return [log.read() for log in logs]


_listening: list[list[str]] = []


def _hear(event: str, given: tuple[object, ...]) -> None:
    if event == "open" and _listening and str(given[0]).endswith(".jpg"):
        _listening[-1].append(Path(str(given[0])).name)


sys.addaudithook(_hear)  # hears every opening, whichever library reads the file; it cannot be taken off again


@pytest.fixture
def opened(images: list[Path]) -> Iterator[list[str]]:
    """Names of the image files that were opened, in order."""
    _listening.append([])
    yield _listening[-1]
    _listening.clear()


def test_a_pass_opens_each_image_once_and_gives_each_model_what_it_gets_alone(images, opened, tmp_path) -> None:
    models = embedders(tmp_path)
    together = embedded(models, images, tmp_path / "together")
    assert sorted(opened) == sorted(path.name for path in images)
    alone = [embedded([model], images, tmp_path / f"alone{i}")[0] for i, model in enumerate(models)]
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))
    assert not torch.equal(together[0], together[1])


def test_models_that_do_not_fit_take_turns_and_still_open_each_image_once(
    images, opened, tmp_path, monkeypatch
) -> None:
    models = embedders(tmp_path)
    together = embedded(models, images, tmp_path / "together")
    opened.clear()
    monkeypatch.setattr(dataset_pass, "_group_by_memory", lambda members, device: [[member] for member in members])
    monkeypatch.setattr(dataset_pass, "_CHUNK", 2)
    in_turns = embedded(models, images, tmp_path / "turns")
    assert sorted(opened) == sorted(path.name for path in images)
    assert all(torch.equal(a, b) for a, b in zip(together, in_turns, strict=True))


def test_models_are_grouped_by_what_fits_into_half_of_the_free_memory(tmp_path, monkeypatch) -> None:
    models = embedders(tmp_path, 4)
    members = [PassMember(model, log(tmp_path / str(place))) for place, model in enumerate(models)]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(5 * models[0].size), 0))
    groups = dataset_pass._group_by_memory(members, torch.device("cuda"))
    assert groups == [members[:2], members[2:]]
    for member in members:
        member.log.close()


def test_on_a_cpu_models_are_grouped_by_the_memory_of_their_compiled_form(tmp_path) -> None:
    models = embedders(tmp_path, 26, "osnet_x0_25")  # 26 times 155 MB
    members = [PassMember(model, log(tmp_path / str(place))) for place, model in enumerate(models)]
    groups = dataset_pass._group_by_memory(members, torch.device("cpu"))
    assert [len(group) for group in groups] == [12, 12, 2]
    for member in members:
        member.log.close()


def test_after_a_pass_no_model_is_kept_compiled(images, tmp_path) -> None:
    models = embedders(tmp_path, 2)
    kept = [weakref.ref(model.make_embedder()) for model in models]
    embedded(models, images, tmp_path)
    gc.collect()
    assert [one() for one in kept] == [None, None]


def test_a_model_that_is_ahead_waits_until_the_others_have_caught_up(images, opened, tmp_path) -> None:
    models = embedders(tmp_path, 2)
    expected = embedded(models, images, tmp_path / "whole")
    ahead = tmp_path / "resumed"
    embedded(models[:1], images, ahead)
    (ahead / "0").write_bytes((ahead / "0").read_bytes()[:-1])
    (ahead / "1").write_bytes((tmp_path / "whole" / "1").read_bytes()[: 4 * 4 * 512 + 32])
    opened.clear()
    assert all(torch.equal(a, b) for a, b in zip(embedded(models, images, ahead), expected, strict=True))
    assert sorted(opened) == [f"{number}.jpg" for number in range(4, 10)]


def test_best_classes_are_in_order_and_equal_logits_in_the_order_of_the_classes() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0, 3.0, 2.0, 1.0, 5.0]])
    assert best_classes(logits).tolist() == [[6, 1, 3, 4, 2]]
    assert best_classes(torch.zeros(3, 5000)).tolist() == 3 * [[0, 1, 2, 3, 4]]
    assert best_classes((logits, -10 * logits)).tolist() == [[0, 2, 5, 4, 1]]


def test_a_classifier_gives_classes_of_the_middle_of_the_image(images) -> None:
    torch.manual_seed(1)
    model = make_model("tiny", 9).eval()
    pixels = torch.randint(256, (2, 3, 224, 224), dtype=torch.uint8)
    spec = imagenet_spec(SPEC)
    rows = MovableEmbedder(model, spec, classify=True)(pixels)
    with torch.no_grad():
        logits = model.classify(model((pixels / 255 - 0.5) / 0.25))
    assert rows.tolist() == logits.topk(5).indices.tolist()
