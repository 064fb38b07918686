"""Embedders in forked and spawned processes, in hooks and in signal handlers."""

import gc
import multiprocessing
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.forks import run_in_fork
from support.small_model import make_images, make_small_model, relative_error, run_plainly, spec_of
from torch import Tensor

from reidhub.errors import UsageError
from reidhub.inference import Embedder
from reidhub.inference.compiling import Compiled
from reidhub.inference.engine import TorchEngine
from reidhub.models.base import ReidModel
from reidhub.torch_settings import Arithmetic

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
PRECISIONS = ["exact", "fp32"]


def make_embedder(precision: str) -> Embedder:
    model = make_small_model()
    return Embedder.of_model(model, spec_of(model), precision=precision)  # type: ignore[arg-type]


@pytest.fixture(params=PRECISIONS)
def embedder(request: pytest.FixtureRequest) -> Embedder:
    return make_embedder(request.param)


@contextmanager
def busy(embedder: Embedder, threads: int = 2) -> Iterator[None]:
    """Let threads embed images without a pause, until the ``with`` block ends."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            embedder(make_images(40))

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stop.set()
        for worker in workers:
            worker.join(20)


def test_a_forked_process_can_use_an_exact_embedder_that_threads_of_its_parent_use() -> None:
    embedder, images = make_embedder("exact"), make_images(40)
    want = embedder(images)

    with busy(embedder):
        for _ in range(3):
            assert relative_error(torch.tensor(run_in_fork(lambda: embedder(images).tolist())), want) < 1e-6


def test_a_forked_process_is_told_that_the_threads_of_openvino_are_missing() -> None:
    embedder = make_embedder("fp32")
    want = embedder(make_images())

    def embed() -> str:
        with pytest.raises(UsageError) as caught:
            embedder(make_images())
        return str(caught.value)

    with busy(embedder):
        for _ in range(3):
            assert "start the workers with spawn, or make the embedder in each worker" in run_in_fork(embed)

    assert torch.equal(embedder(make_images()), want)


def test_an_embedder_that_is_made_in_a_forked_process_runs_in_torch(small) -> None:
    make_embedder("fp32")(make_images())

    def embed() -> tuple[str, list[list[float]]]:
        embedder = make_embedder("fp32")
        gc.collect()
        return embedder.engine, embedder(make_images()).tolist()

    engine, rows = run_in_fork(embed)
    assert engine.startswith("torch ")
    assert relative_error(torch.tensor(rows), run_plainly(small, make_images())) < 1e-6


def test_a_forked_process_decodes_although_a_thread_of_its_parent_was_decoding(tmp_path: Path) -> None:
    embedder = make_embedder("exact")
    for number in range(20):
        Image.fromarray(np.full((200, 300, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
    paths = sorted(tmp_path.glob("*.png"))
    stop = threading.Event()

    def decode() -> None:
        while not stop.is_set():
            for path in paths:
                with Image.open(path) as image:
                    embedder([image, image])

    thread = threading.Thread(target=decode, daemon=True)
    thread.start()
    try:
        with Image.open(paths[3]) as image:
            want = embedder(image)
        for _ in range(3):
            with Image.open(paths[3]) as image:
                assert torch.equal(torch.tensor(run_in_fork(lambda image=image: embedder(image).tolist())), want)
    finally:
        stop.set()
        thread.join(20)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_embedder_can_be_pickled(precision: str) -> None:
    embedder = make_embedder(precision)

    copy = pickle.loads(pickle.dumps(embedder))

    assert torch.equal(copy(make_images()), embedder(make_images()))
    assert (copy.engine, copy.batch, copy.device, copy.dimensions) == (
        *(embedder.engine, embedder.batch, embedder.device, embedder.dimensions),
    )


def test_an_engine_that_runs_in_torch_can_be_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "openvino"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openvino", None)
    embedder = make_embedder("fp32")

    copy = pickle.loads(pickle.dumps(embedder))

    assert copy.engine.startswith("torch ") and torch.equal(copy(make_images()), embedder(make_images()))


def test_a_compiled_engine_can_be_pickled_and_compiles_again(small) -> None:
    run = Compiled(small, torch.device("cpu"), "eager")
    engine = TorchEngine(run, small, spec_of(small), Arithmetic(), batch=4, fills_up=True)
    embedder = Embedder(engine, spec_of(small))

    copy = pickle.loads(pickle.dumps(embedder))

    assert torch.equal(copy(make_images()), embedder(make_images()))


def test_spawned_processes_embed_the_same_images(monkeypatch: pytest.MonkeyPatch) -> None:
    embedders = [make_embedder(precision) for precision in PRECISIONS]

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        got = [pool.apply(embed_array, (embedder, make_images().numpy())) for embedder in embedders]

    for rows, embedder in zip(got, embedders, strict=True):
        assert relative_error(torch.from_numpy(rows), embedder(make_images())) < 1e-6


def embed_array(embedder: Embedder, images: np.ndarray) -> np.ndarray:
    return embedder(torch.from_numpy(images)).numpy()


def test_an_embedder_in_its_own_hook_is_an_error_and_works_afterwards(small: ReidModel) -> None:
    embedder = Embedder.of_model(small, spec_of(small), precision="exact")
    images, want = make_images(), run_plainly(small, make_images())
    hook = small.conv1.register_forward_hook(lambda *_: embedder(images))

    with pytest.raises(UsageError, match="this embedder was called by a hook or a signal handler"):
        embedder(images)
    hook.remove()

    assert torch.equal(embedder(images), want)


def test_another_embedder_in_a_hook_works(small: ReidModel) -> None:
    embedder = Embedder.of_model(small, spec_of(small), precision="exact")
    seen: list[Tensor] = []
    small.conv1.register_forward_hook(lambda *_: seen.append(make_embedder("fp32")(make_images())))

    assert torch.equal(embedder(make_images()), run_plainly(make_small_model(), make_images()))
    assert relative_error(seen[0], run_plainly(make_small_model(), make_images())) < 1e-6


def test_a_signal_handler_that_interrupts_an_embedder_gets_an_error_or_the_embeddings(embedder) -> None:
    images = make_images(400)
    want, answers = embedder(images), []

    def handle(*_: object) -> None:
        try:
            answers.append(torch.equal(embedder(images[:3]), want[:3]) or relative_error(embedder(images), want) < 1e-6)
        except UsageError as error:
            answers.append("signal handler" in error.message)
        signal.setitimer(signal.ITIMER_REAL, 0.01)  # now, so that handlers never interrupt each other

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            assert relative_error(embedder(images), want) < 1e-6
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert len(answers) > 5 and all(answers)
