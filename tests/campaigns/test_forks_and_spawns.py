"""Processes that are forked or spawned while threads of their parent embed, decode and change settings."""

import multiprocessing
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.forks import run_in_fork
from support.small_model import make_images, make_small_model, relative_error, spec_of
from torch.utils.data import DataLoader, Dataset

from reidhub.errors import UsageError
from reidhub.inference import Embedder
from reidhub.torch_settings import Arithmetic

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
CPU = torch.device("cpu")


class Embedded(Dataset[torch.Tensor]):
    """Embeds an image file in a worker of a DataLoader."""

    def __init__(self, embedder: Embedder, paths: list[Path]) -> None:
        self.embedder, self.paths = embedder, paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.embedder(self.paths[index])[0]


@contextmanager
def busy(embedder: Embedder, paths: list[Path]) -> Iterator[None]:
    """Let threads embed tensors, decode files and change settings, until the ``with`` block ends."""
    stop = threading.Event()

    def embed() -> None:
        while not stop.is_set():
            embedder(make_images(random.choice([1, 7, 40])))

    def decode() -> None:
        while not stop.is_set():
            with Image.open(random.choice(paths)) as image:
                embedder([image, image, *paths])

    def change() -> None:
        while not stop.is_set():
            with Arithmetic(tf32=random.random() < 0.5).on(CPU):
                pass

    threads = [threading.Thread(target=work, daemon=True) for work in (embed, decode, change)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def make_embedder(precision: str) -> Embedder:
    model = make_small_model()
    return Embedder.of_model(model, spec_of(model), precision=precision)


def load(embedder: Embedder, paths: list[Path], start: str) -> DataLoader[torch.Tensor]:
    context = multiprocessing.get_context(start)
    return DataLoader(Embedded(embedder, paths), batch_size=3, num_workers=2, multiprocessing_context=context)


def make_files(folder: Path) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 20, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def test_processes_that_are_forked_at_any_moment_embed_the_same_images(tmp_path, long, tell):
    forks = 200 if long else 6
    embedder, paths = make_embedder("exact"), make_files(tmp_path)
    want = torch.cat([embedder(paths), embedder(make_images(40))])

    def embed() -> list[list[float]]:
        with Arithmetic(tf32=True).on(CPU):
            return torch.cat([embedder(paths), embedder(make_images(40))]).tolist()

    with busy(embedder, paths):
        errors = [relative_error(torch.tensor(run_in_fork(embed, 60)), want) for _ in range(forks)]
    tell(f"forks while threads embed: {forks} forks, 0 hung, largest relative error {max(errors):.0e}")
    assert max(errors) < 1e-6


@pytest.mark.parametrize(("precision", "start"), [("exact", "fork"), ("exact", "spawn"), ("fp32", "spawn")])
def test_workers_of_a_data_loader_embed_the_same_images(precision, start, tmp_path, long, tell):
    if not long and (precision, start) == ("exact", "spawn"):
        pytest.skip("one spawn is enough in the short form")
    rounds = (10 if start == "fork" else 3) if long else 1
    embedder, paths = make_embedder(precision), make_files(tmp_path)
    want = embedder(paths)

    with busy(embedder, paths):
        errors = [relative_error(torch.cat(list(load(embedder, paths, start))), want) for _ in range(rounds)]
    tell(f"DataLoader with {start}, {precision}: {2 * rounds} workers, largest relative error {max(errors):.0e}")
    assert max(errors) < 1e-6


def test_forked_workers_are_told_that_openvino_does_not_survive_a_fork(tmp_path, long, tell):
    rounds = 5 if long else 1  # torch takes 5 seconds to end a loader after an error
    embedder, paths = make_embedder("fp32"), make_files(tmp_path)

    with busy(embedder, paths):
        for _ in range(rounds):
            with pytest.raises(UsageError, match="start the workers with spawn"):
                list(load(embedder, paths, "fork"))
    tell(f"DataLoader with fork, fp32: {2 * rounds} workers, none hung")


def test_forked_processes_make_embedders_that_run_in_torch(tmp_path, long, tell):
    forks = 100 if long else 3
    embedder, paths = make_embedder("fp32"), make_files(tmp_path)
    want = embedder(paths)

    with busy(embedder, paths):
        rows = [run_in_fork(lambda: make_embedder("fp32")(paths).tolist(), 60) for _ in range(forks)]
    errors = [relative_error(torch.tensor(row), want) for row in rows]
    tell(f"embedders made in forks: {forks}, 0 hung, largest relative error {max(errors):.0e}")
    assert max(errors) < 1e-5
