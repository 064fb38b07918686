"""Models that run in OpenVINO: the same embeddings, kept conversions, no telemetry, and what happens without it."""

import logging
import os
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from support.architectures import list_architectures
from support.contract import contract_model, input_batch
from support.small_model import make_images, make_small_model, relative_error, run_plainly, spec_of
from torch import Tensor, nn

from reidhub.devices import has_bf16
from reidhub.inference import Embedder
from reidhub.inference import openvino_engine as engines
from reidhub.inference.openvino_engine import OpenvinoEngine
from reidhub.inference.preprocess import normalise
from reidhub.models.base import ReidModel

NAMES = list_architectures(short=("osnet_x0_25", "osnet_ain_x0_25", "hacnn"))  # a conversion takes seconds


@pytest.fixture(scope="module", params=NAMES)
def converted(request: pytest.FixtureRequest) -> tuple[ReidModel, Tensor, Embedder]:
    """A model with the contract's weights, two images, and the embedder that runs the model in OpenVINO."""
    model = contract_model(request.param)
    embedder = Embedder.of_model(model, spec_of(model))
    assert embedder.engine.startswith("openvino ")
    return model, torch.from_numpy(input_batch(*model.input_size)), embedder


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    """A path like that of a checkpoint's file in the cache."""
    return tmp_path / f"{'ab' * 32}.pth"


def kept(cached: Path) -> list[Path]:
    return sorted(cached.parent.glob("*.zip"))


def test_the_embeddings_are_as_exact_as_those_of_the_plain_module(converted) -> None:
    model, images, embedder = converted
    plain = run_plainly(model, images)
    truth = run_plainly(model.double(), images.double())
    model.float()

    # MLFN's plain module is 2e-5 off with one thread and 6e-5 with two: its weights here amplify every rounding
    assert relative_error(embedder(images), truth) < max(1e-5, 4 * relative_error(plain, truth))


def test_an_embedding_does_not_depend_on_the_other_images_of_a_call(converted) -> None:
    _, images, embedder = converted
    alone = torch.cat([embedder(image[None]) for image in images])

    for count in (2, 3, 7, 12):
        rows = [place % len(images) for place in range(count)]
        for got, want in zip(embedder(images[rows]), alone[rows], strict=True):
            assert relative_error(got, want) < 1e-6


@pytest.mark.skipif(not has_bf16(torch.device("cpu")), reason="this processor has no bfloat16")
@pytest.mark.parametrize("name", list_architectures(short=["osnet_x0_25"]))
def test_bf16_keeps_the_direction(name: str) -> None:
    model = contract_model(name)
    images = torch.from_numpy(input_batch(*model.input_size))

    got = Embedder.of_model(model, spec_of(model), precision="bf16")(images)

    assert got.dtype == torch.float32
    assert torch.cosine_similarity(got, run_plainly(model, images)).min() > 0.98


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_pixels_are_normalised_as_published(small, layout: torch.memory_format) -> None:
    pixels = torch.randint(0, 256, (5, 3, 16, 8), dtype=torch.uint8).contiguous(memory_format=layout)

    got = Embedder.of_model(small, spec_of(small))(pixels)

    assert relative_error(got, run_plainly(small, normalise(pixels, spec_of(small)))) < 1e-6


def test_threads_can_share_an_embedder(small) -> None:
    images, embedder = make_images(21), Embedder.of_model(small, spec_of(small))
    want = run_plainly(small, images)

    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda count: embedder(images[:count]), [1, 2, 21, 9, 5] * 8))

    assert all(torch.allclose(rows, want[: len(rows)], atol=1e-6) for rows in got)


def test_after_an_interruption_no_request_is_still_running(small, monkeypatch) -> None:
    engine, images = OpenvinoEngine.of_model(small, spec_of(small), "fp32"), make_images(21)
    out = torch.full((21, engine.dimensions), torch.nan)
    started: list[object] = []
    copy, tensor = engines._copy, engine._openvino.Tensor

    def copy_late(request, rows) -> None:
        time.sleep(0.2)
        copy(request, rows)

    def interrupt_the_second(*arguments, **keywords):
        started.append(arguments)
        if len(started) == 2:
            raise KeyboardInterrupt
        return tensor(*arguments, **keywords)

    monkeypatch.setattr(engines, "_copy", copy_late)
    monkeypatch.setattr(engine._openvino, "Tensor", interrupt_the_second)

    with pytest.raises(KeyboardInterrupt):
        engine(images, out)

    assert not out[: len(started[0][0])].isnan().any()


def test_openvino_uses_the_processors_of_the_process_and_torch_keeps_its_threads(small, monkeypatch) -> None:
    monkeypatch.setattr("reidhub.inference.openvino_engine.count_processors", lambda: 1)
    before = torch.get_num_threads()
    engine = OpenvinoEngine.of_model(small, spec_of(small), "fp32")

    Embedder(engine, spec_of(small))(make_images())

    queue = engine._compile("float32", "THROUGHPUT", 1)
    assert queue[0].get_compiled_model().get_property("INFERENCE_NUM_THREADS") == 1
    assert torch.get_num_threads() == before


def test_a_kept_conversion_is_used_again(small, cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    want = Embedder.of_model(small, spec_of(small), cached=cached)(make_images())
    (path,) = kept(cached)
    assert path.name.startswith(f"{cached.stem}.openvino-") and "Small-16x8-fp32" in path.name
    monkeypatch.delattr(engines, "convert")

    assert torch.equal(Embedder.of_model(small, spec_of(small), cached=cached)(make_images()), want)


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "another"])
def test_a_damaged_conversion_is_made_again(small, cached: Path, damage: str) -> None:
    want = Embedder.of_model(small, spec_of(small), cached=cached)(make_images())
    (path,) = kept(cached)
    intact = path.read_bytes()
    place = intact.index(b"model.bin") + 40  # in the weights
    changed = intact[:place] + bytes([intact[place] ^ 255]) + intact[place + 1 :]
    path.write_bytes({"cut": intact[:-100], "changed": changed}.get(damage, b""))
    if damage == "another":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.xml", "layers")
            archive.writestr("model.bin", "weights")

    got = Embedder.of_model(small, spec_of(small), cached=cached)(make_images())

    assert torch.equal(got, want)
    with zipfile.ZipFile(path) as archive:
        assert kept(cached) == [path] and archive.testzip() is None and archive.read("model.xml").startswith(b"<?xml")


def test_another_size_or_precision_does_not_use_the_kept_conversion(small, cached: Path) -> None:
    Embedder.of_model(small, spec_of(small), cached=cached)
    small.input_size = (24, 8)

    assert Embedder.of_model(small, spec_of(small), cached=cached)(torch.rand(2, 3, 24, 8)).shape == (2, 4)

    assert len(kept(cached)) == 2


def test_a_cache_that_cannot_be_written_only_makes_the_next_start_slower(small, tmp_path: Path) -> None:
    cached = tmp_path / "no-such-folder" / f"{'ab' * 32}.pth"

    got = Embedder.of_model(small, spec_of(small), cached=cached)(make_images())

    assert relative_error(got, run_plainly(small, make_images())) < 1e-6


def test_without_openvino_the_folded_module_runs_and_a_warning_says_why(small, monkeypatch, caplog) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "openvino"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openvino", None)

    embedder = Embedder.of_model(small, spec_of(small))

    assert embedder.engine.startswith("torch ")
    assert relative_error(embedder(make_images()), run_plainly(small, make_images())) < 1e-6
    assert "more slowly than in OpenVINO: OpenVINO cannot be imported" in caplog.text


class Sorts(ReidModel):
    """A model with an operation that OpenVINO does not know."""

    input_size = (16, 8)

    def __init__(self) -> None:
        super().__init__(3, 1)
        self.classifier = nn.Linear(3, 1)

    def embed(self, images: Tensor) -> Tensor:
        return torch.special.bessel_j0(images).mean((2, 3))


def test_a_model_that_openvino_cannot_convert_runs_in_torch(caplog: pytest.LogCaptureFixture) -> None:
    model = Sorts().eval()

    embedder = Embedder.of_model(model, spec_of(model))

    assert embedder.engine.startswith("torch ")
    assert torch.allclose(embedder(make_images()), run_plainly(model, make_images()))
    assert "cannot" in caplog.text and caplog.records[0].levelno == logging.WARNING


def test_a_conversion_that_gives_other_embeddings_is_not_used(small, cached: Path, monkeypatch, caplog) -> None:
    other = make_small_model()
    nn.init.ones_(other.conv1.weight)
    convert = engines.convert
    monkeypatch.setattr(engines, "convert", lambda model, spec: convert(other, spec))

    embedder = Embedder.of_model(small, spec_of(small), cached=cached)

    assert embedder.engine.startswith("torch ") and "computes other embeddings" in caplog.text
    assert kept(cached) == []


_EMBED = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import socket
tried = []
def refuse(*arguments, **keywords):
    tried.append(arguments)
    raise OSError("no connection in this test")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
from support.small_model import make_images, make_small_model, spec_of
from reidhub.inference import Embedder
model = make_small_model()
embedder = Embedder.of_model(model, spec_of(model), cached=Path({cached!r}))
embedder(make_images())
import atexit, threading, time
time.sleep(0.5)
print(embedder.engine.split()[0], tried, [path.name for path in Path.home().rglob("*")])
"""


def test_nothing_is_sent_and_nothing_is_written_outside_the_cache(tmp_path: Path) -> None:
    """OpenVINO sends usage data when it is imported and when it converts a model, but not if ``CI`` is set."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "REIDHUB_HOME")}
    environment |= {"HOME": str(home), "REIDHUB_OFFLINE": "1"}
    program = _EMBED.format(tests=str(Path(__file__).parents[1]), cached=str(tmp_path / f"{'ab' * 32}.pth"))

    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "openvino [] []"
    assert list(home.iterdir()) == []


_INTERRUPT = """
import faulthandler, gc, signal, sys
faulthandler.enable()  # as pytest does
sys.path.insert(0, {tests!r})
from support.small_model import make_images, make_small_model, spec_of
from reidhub.inference import Embedder
model = make_small_model()
for _ in range(2):
    embedder = Embedder.of_model(model, spec_of(model))
    embedder(make_images())
del embedder
gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_still_interrupts_after_embedders_are_gone() -> None:
    program = _INTERRUPT.format(tests=str(Path(__file__).parents[1]))

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (run.returncode, run.stdout) == (0, "interrupted\n"), run.stderr
