"""The embedder: numbers of images, files, threads, errors."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.architectures import EVERY
from support.contract import LAYOUTS, contract_model, input_batch
from support.small_model import make_small_model, relative_error, run_plainly, spec_of
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

import reidhub
from reidhub.devices import count_processors, has_bf16
from reidhub.errors import UsageError
from reidhub.inference import Embedder
from reidhub.inference.preprocess import normalise
from reidhub.models.base import ReidModel
from reidhub.torch_settings import Arithmetic, limit_threads

FLOAT32 = 1e-4


@pytest.fixture(scope="module", params=EVERY)
def architecture(request: pytest.FixtureRequest) -> tuple[ReidModel, Tensor, Tensor]:
    """A model, two images, and the plain module's embeddings of them."""
    model = contract_model(request.param)
    images = torch.from_numpy(input_batch(*model.input_size))
    return model, images, run_plainly(model, images)


def test_exact_gives_the_bits_of_the_plain_module(architecture) -> None:
    model, images, want = architecture

    assert torch.equal(Embedder.of_model(model, spec_of(model), precision="exact", batch=2)(images), want)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("precision", ["exact", pytest.param("fp32", marks=pytest.mark.long)])
def test_gpu_gives_the_plain_embedding(architecture, precision) -> None:
    model, images, want = architecture
    there = contract_like(model).cuda()

    got = Embedder.of_model(there, spec_of(model), precision=precision, batch=2)(images)

    assert got.device.type == "cpu" and relative_error(got, want) < FLOAT32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(
    ("precision", "bound"), [("exact", FLOAT32), ("fp32", FLOAT32), ("tf32", 0.01), ("bf16", 0.05), ("fp16", 0.05)]
)
def test_gpu_graphs_leave_the_rows_of_earlier_batches_alone(small, tmp_path: Path, precision, bound: float) -> None:
    paths, pixels = small_files(tmp_path)
    with torch.no_grad():
        want = small(normalise(pixels, spec_of(small)))
    embedder = Embedder.of_model(small.cuda(), spec_of(small), precision=precision, batch=3)

    for _ in range(3):  # a graph is recorded when a size comes for the second time
        got = embedder(pixels)
        assert relative_error(got, want) < bound
        assert torch.equal(embedder.embed_files(paths), got)


def contract_like(model: ReidModel) -> ReidModel:
    """Another model with the same weights."""
    name = next(
        name for name, layout in LAYOUTS.items() if list(layout) == list(model.state_dict()) and fits(model, layout)
    )
    return contract_model(name)


def fits(model: ReidModel, layout: dict[str, list[int]]) -> bool:
    return all(list(tensor.shape) == layout[key] for key, tensor in model.state_dict().items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(("precision", "timed"), [("exact", False), ("fp32", True)])
def test_cudnn_times_its_algorithms_while_a_fast_embedder_runs(small, precision, timed: bool) -> None:
    seen: list[bool] = []
    hook = register_module_forward_hook(lambda *_: seen.append(torch.backends.cudnn.benchmark))

    Embedder.of_model(small.cuda(), spec_of(small), precision=precision)(torch.rand(2, 3, 16, 8))
    hook.remove()

    assert set(seen) == {timed} and not torch.backends.cudnn.benchmark


@pytest.mark.parametrize("precision", ["exact", "fp32"])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
def test_any_number_of_images_gives_the_same_rows(small, images, precision, count: int) -> None:
    embedder = Embedder.of_model(small, spec_of(small), precision=precision, batch=4)

    got = embedder(images[:count])

    assert got.shape == (count, 4)
    assert torch.allclose(got, run_plainly(small, images)[:count], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("precision", ["exact", "fp32"])
def test_pixels_are_normalised_first(small, precision, layout: torch.memory_format) -> None:
    pixels = torch.randint(0, 256, (5, 3, 16, 8), dtype=torch.uint8).contiguous(memory_format=layout)
    embedder = Embedder.of_model(small, spec_of(small), precision=precision, batch=4)

    assert relative_error(embedder(pixels), embedder(normalise(pixels, spec_of(small)))) < 1e-6


def small_files(folder: Path) -> tuple[list[Path], Tensor]:
    """Seven images of the size that `Small` wants, and their pixels, uint8 (7, 3, 16, 8)."""
    pixels = np.random.default_rng(0).integers(0, 256, (7, 16, 8, 3)).astype(np.uint8)
    paths = [folder / f"{number}.png" for number in range(7)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    return paths, torch.from_numpy(pixels).permute(0, 3, 1, 2)


def test_files_are_embedded_in_their_order(small, tmp_path: Path) -> None:
    paths, pixels = small_files(tmp_path)
    embedder = Embedder.of_model(small, spec_of(small), precision="exact", batch=3)

    assert torch.equal(embedder.embed_files(paths), embedder(pixels))
    assert torch.equal(embedder.embed_files([str(path) for path in paths]), embedder.embed_files(paths))
    assert torch.equal(embedder.embed_files(path for path in paths), embedder.embed_files(paths))
    assert embedder.embed_files([]).shape == (0, 4)


@pytest.mark.parametrize(
    ("paths", "workers", "what"), [("one.jpg", 2, "a list"), (Path("one.jpg"), 2, "a list"), ([], 0, "workers")]
)
def test_a_single_path_or_no_workers_is_an_error_that_says_so(small, paths, workers: int, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        Embedder.of_model(small, spec_of(small)).embed_files(paths, workers)


def test_files_are_embedded_in_inference_mode_too(small, tmp_path: Path) -> None:
    paths, pixels = small_files(tmp_path)
    for name, size in (("big.jpg", (32, 64)), ("small.jpg", (4, 8))):
        Image.new("RGB", size, "red").save(tmp_path / name)
        paths.append(tmp_path / name)
    embedder = Embedder.of_model(small, spec_of(small), precision="exact", batch=3)
    want = embedder.embed_files(paths)

    with torch.inference_mode():
        got = embedder.embed_files(paths)

    assert torch.equal(got, want) and relative_error(got[:7], embedder(pixels)) < 1e-6


@pytest.mark.parametrize("setting", ["device", "dtype"])
def test_a_users_defaults_are_not_those_of_an_embedder(small, tmp_path: Path, setting: str) -> None:
    paths, pixels = small_files(tmp_path)
    embedder = Embedder.of_model(small, spec_of(small))
    want = embedder(pixels)
    try:
        torch.set_default_device("meta") if setting == "device" else torch.set_default_dtype(torch.float64)
        got = embedder(pixels), embedder.embed_files(paths)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)

    for embeddings in got:
        assert embeddings.dtype == torch.float32 and torch.equal(embeddings, want)


def test_threads_with_settings_of_their_own_can_share_an_embedder(small, images) -> None:
    embedder = Embedder.of_model(small, spec_of(small), batch=4)
    want = embedder(images)
    got: list[Tensor] = []

    def work() -> None:
        for _ in range(20):
            with Arithmetic(tf32=True).on(torch.device("cpu")):
                got.append(embedder(images))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(got) == 40 and all(torch.equal(rows, want) for rows in got)


def test_embeddings_can_be_learnt_from(small, images) -> None:
    layer = nn.Linear(4, 1)

    layer(Embedder.of_model(small, spec_of(small))(images)).sum().backward()

    assert layer.weight.grad is not None


def test_what_does_not_fit_is_refused(small, images) -> None:
    embedder = Embedder.of_model(small, spec_of(small))
    for wrong in (images[0], images[:, :2], images[:, :, :8], images.double(), images.long()):
        with pytest.raises(UsageError, match=r"images are float32 or uint8 \(N, 3, 16, 8\), got"):
            embedder(wrong)
    for wrong, way in ((images[0], "None"), (images.permute(0, 2, 3, 1), "permute"), (images.half(), "float")):
        with pytest.raises(UsageError) as caught:
            embedder(wrong)
        assert way in str(caught.value.hint)
    for wrong, way in ((images.numpy(), "from_numpy"), ([images[0]], "torch.stack")):
        with pytest.raises(UsageError, match=r"images\[0\] is ") as caught:
            embedder(wrong)
        assert way in str(caught.value.hint)
    with pytest.raises(UsageError, match=r"batch above 0, got 0$"):
        Embedder.of_model(small, spec_of(small), batch=0)
    with pytest.raises(UsageError, match="unknown precision 'fp8'; there are exact, fp32, tf32, bf16, fp16"):
        Embedder.of_model(small, spec_of(small), precision="fp8")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"float32, got torch\.float64"):
        Embedder.of_model(small.double(), spec_of(small))
    exact = Embedder.of_model(small.float(), spec_of(small), precision="exact")
    with pytest.raises(UsageError, match="eval mode"):
        Embedder.of_model(small.train(), spec_of(small))
    before = small.bn1.running_mean.clone()
    with pytest.raises(UsageError, match="eval mode"):
        exact(images)
    assert torch.equal(small.bn1.running_mean, before)


@pytest.mark.skipif(has_bf16(torch.device("cpu")), reason="this processor has bfloat16")
def test_bf16_without_the_hardware_is_refused(small) -> None:
    with pytest.raises(UsageError, match="does not compute in bfloat16"):
        Embedder.of_model(small, spec_of(small), precision="bf16")


@pytest.mark.parametrize(
    ("quota", "most"),
    [("100000 100000", 1), ("10000 100000", 1), ("max 100000", 10**6), ("99900000 100000", 10**6), ("", 10**6)],
)
def test_processors_are_no_more_than_the_container_may_use(tmp_path: Path, quota: str, most: int) -> None:
    (tmp_path / "cpu.max").write_text(quota)

    assert count_processors(tmp_path / "cpu.max") == min(most, count_processors(tmp_path / "none"))


def test_threads_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr("reidhub.torch_settings.count_processors", lambda: 1)
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError), limit_threads():
            assert torch.get_num_threads() == 1
            1 / 0  # noqa: B018
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


_MANIFEST = """
checkpoints:
  - name: osnet_x0_5.mine
    model: osnet_x0_5
    trained_on: [market1501]
    num_classes: 1000
    file: {}
    sources: [{local: weights.pth}]
    input: {height: 256, width: 128, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], interpolation: bilinear}
    distance: euclidean
    params_m: null
    gflops: null
    loss: null
    transforms: []
    scores: []
    licence: none
"""


def test_embedder_of_a_name_gives_what_the_loaded_model_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(contract_model("osnet_x0_5").state_dict(), tmp_path / "weights.pth")
    (tmp_path / "mine.yaml").write_text(_MANIFEST)
    monkeypatch.setenv("REIDHUB_MANIFEST", str(tmp_path / "mine.yaml"))
    images = torch.from_numpy(input_batch(256, 128))

    embedder = reidhub.embedder("osnet_x0_5.mine", precision="exact", batch=2)

    assert torch.equal(embedder(images), run_plainly(reidhub.load("osnet_x0_5.mine"), images))
    named = reidhub.embedder("osnet_x0_5", "mine", precision="exact", batch=2)
    assert torch.equal(named(images), embedder(images))
    assert reidhub.embedder("osnet_x0_5.mine", precision="exact", batch=5).batch == 5


def test_embeddings_that_are_not_finite_are_an_error_and_never_returned() -> None:
    model = make_small_model()
    spec = spec_of(model)
    embed = Embedder.of_model(model, spec, precision="exact")
    with torch.no_grad():
        next(model.parameters()).fill_(3e38)
    images = np.full((3, spec.height, spec.width, 3), 200, np.uint8)

    for given in (list(images), torch.from_numpy(images).permute(0, 3, 1, 2)):
        with pytest.raises(UsageError, match="3 of 3 embeddings have NaN or infinity") as caught:
            embed(given)
        assert "bf16" in caught.value.hint
