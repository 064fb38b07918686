"""The embedder in every mode against the plain module, on every architecture; and what it does when it cannot."""

import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.contract import LAYOUTS, contract_model, input_batch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

import reidhub
from reidhub.errors import UsageError
from reidhub.inference import Embedder, EmbedderPlan, plan_for
from reidhub.inference.compiling import Compiled, processor_id
from reidhub.inference.folding import fold_normalisations
from reidhub.inference.preprocess import normalise
from reidhub.models import ARCHITECTURES
from reidhub.models.base import ReidModel
from reidhub.torch_settings import Arithmetic, count_processors, has_bf16, limit_threads
from reidhub.zoo.checkpoint import InputSpec

EAGER = EmbedderPlan(compile=False)
FLOAT32 = 1e-4


def spec_of(model: ReidModel) -> InputSpec:
    return InputSpec(*model.input_size, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")


def error(got: Tensor, want: Tensor) -> float:
    return ((got - want).norm() / want.norm()).item()


@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> tuple[ReidModel, Tensor, Tensor]:
    """A model, two images, and what the plain module makes of them."""
    model = contract_model(request.param)
    images = torch.from_numpy(input_batch(*model.input_size))
    with torch.no_grad():
        return model, images, model(images)


def test_fp32_gives_the_plain_embedding(architecture) -> None:
    model, images, want = architecture

    got = Embedder.of_model(model, spec_of(model), batch=2, plan=EAGER)(images)

    assert got.dtype == torch.float32 and error(got, want) < FLOAT32


def test_exact_gives_the_bits_of_the_plain_module(architecture) -> None:
    model, images, want = architecture

    assert torch.equal(Embedder.of_model(model, spec_of(model), precision="exact", batch=2)(images), want)


def test_every_normalisation_behind_a_layer_is_folded_and_the_model_stays_as_it_is(architecture) -> None:
    model = architecture[0]
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}

    module = fold_normalisations(model)

    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    called = {str(node.target) for node in module.graph.nodes if node.op == "call_module"}
    assert not any(isinstance(module.get_submodule(name), kinds) for name in called)
    assert any(isinstance(child, kinds) for child in model.modules())
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["osnet_x0_25", "osnet_ain_x0_25"])
def test_the_gate_of_a_block_weighs_its_four_streams_in_one_call_of_each_layer(name: str) -> None:
    model = contract_model(name)
    images = torch.from_numpy(input_batch(*model.input_size))
    embedder = Embedder.of_model(model, spec_of(model), batch=2, plan=EAGER)

    less = convolutions_run(partial(plain, model, images)) - convolutions_run(partial(embedder, images))

    assert less == 6 * 2 * (4 - 1)  # blocks, layers, calls


def convolutions_run(work: Callable[[], object]) -> int:
    """How many convolutions are called while ``work`` runs."""
    called: list[nn.Module] = []
    hook = register_module_forward_hook(
        lambda module, _inputs, _outputs: called.append(module) if isinstance(module, nn.Conv2d) else None
    )
    work()
    hook.remove()
    return len(called)


@pytest.mark.long
def test_compiled_code_gives_the_plain_embedding(architecture, caplog: pytest.LogCaptureFixture) -> None:
    model, images, want = architecture
    torch.compiler.reset()

    got = Embedder.of_model(model, spec_of(model), batch=2)(images)

    assert not messages(caplog)  # a warning would mean that it was not compiled
    assert error(got, want) < FLOAT32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("precision", ["exact", "fp32"])
@pytest.mark.parametrize(
    "plan", [EAGER, pytest.param(EmbedderPlan(), marks=pytest.mark.long)], ids=["eager", "compiled"]
)
def test_gpu_gives_the_plain_embedding(architecture, precision, plan: EmbedderPlan) -> None:
    model, images, want = architecture
    there = contract_like(model).cuda()

    got = Embedder.of_model(there, spec_of(model), precision=precision, batch=2, plan=plan)(images)

    assert got.device.type == "cpu" and error(got, want) < FLOAT32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(("precision", "bound"), [("exact", FLOAT32), ("fp32", FLOAT32), ("bf16", 0.05)])
def test_gpu_graphs_leave_the_rows_of_earlier_batches_alone(small, tmp_path: Path, precision, bound: float) -> None:
    paths, pixels = small_files(tmp_path)
    with torch.no_grad():
        want = small(normalise(pixels, spec_of(small)))
    embedder = Embedder.of_model(small.cuda(), spec_of(small), precision=precision, batch=3)

    for _ in range(3):  # a graph is recorded when a size comes for the second time
        got = embedder(pixels)
        assert error(got, want) < bound
        assert torch.equal(embedder.embed_files(paths), got)


@pytest.mark.skipif(not has_bf16(torch.device("cpu")), reason="this processor has no bfloat16")
def test_bf16_keeps_the_direction(architecture) -> None:
    model, images, want = architecture

    got = Embedder.of_model(model, spec_of(model), precision="bf16", batch=2, plan=EAGER)(images)

    assert got.dtype == torch.float32
    assert torch.cosine_similarity(got, want).min() > 0.98


def contract_like(model: ReidModel) -> ReidModel:
    """Another model with the same weights."""
    name = next(
        name for name, layout in LAYOUTS.items() if list(layout) == list(model.state_dict()) and fits(model, layout)
    )
    return contract_model(name)


def fits(model: ReidModel, layout: dict[str, list[int]]) -> bool:
    return all(list(tensor.shape) == layout[key] for key, tensor in model.state_dict().items())


class Small(ReidModel):
    """Convolutions: one that is folded, one that others read too, two called twice, of which one is folded."""

    input_size = (16, 8)

    def __init__(self) -> None:
        super().__init__(4, 1)
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.conv3, self.bn3 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.conv4, self.bn4 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.classifier = nn.Linear(4, 1)

    def feature_maps(self, images: Tensor) -> Tensor:
        x = self.bn1(self.conv1(images)).relu()
        twice_read = self.conv2(x)
        x = self.bn2(twice_read) + twice_read
        x = self.bn3(self.conv3(self.conv3(x)))
        return self.bn4(self.conv4(self.bn4(self.conv4(x))))


@pytest.fixture
def small() -> ReidModel:
    torch.manual_seed(0)
    model = Small()
    for norm in (model.bn1, model.bn2, model.bn3, model.bn4):
        for tensor in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
            tensor.uniform_(0.5, 1.5)
    return model.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(7, 3, 16, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def no_folder_for_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a first call sets is unset again."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")


@pytest.mark.parametrize("before", [None, "torch's own", "the user's"])
def test_compiled_code_is_kept_in_the_cache_folder_unless_the_user_names_another(small, monkeypatch, tmp_path, before):
    """Importing torchvision is enough for torch to write its own folder into the environment."""
    monkeypatch.setenv("REIDHUB_HOME", str(tmp_path))
    named = {"torch's own": Path(tempfile.gettempdir(), "torchinductor_somebody"), "the user's": tmp_path / "mine"}
    if before is not None:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(named[before]))

    Compiled(small, torch.device("cpu"), backend="eager")

    want = tmp_path / "mine" if before == "the user's" else tmp_path / "compiled" / processor_id()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(want)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(("precision", "timed"), [("exact", False), ("fp32", True)])
def test_cudnn_times_its_algorithms_while_a_fast_embedder_runs(small, precision, timed: bool) -> None:
    seen: list[bool] = []
    hook = register_module_forward_hook(lambda *_: seen.append(torch.backends.cudnn.benchmark))

    Embedder.of_model(small.cuda(), spec_of(small), precision=precision, plan=EAGER)(torch.rand(2, 3, 16, 8))
    hook.remove()

    assert set(seen) == {timed} and not torch.backends.cudnn.benchmark


def test_that_tf32_is_not_used_is_nothing_to_warn_of(small, recwarn: pytest.WarningsRecorder) -> None:
    def backend(module: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        warnings.warn("TensorFloat32 tensor cores for float32 matrix multiplication available", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
        return module.forward

    images = torch.rand(2, 3, 16, 8)
    with torch.no_grad():
        Compiled(small, torch.device("cpu"), backend=backend)(images)

    said = " ".join(str(warning.message) for warning in recwarn)
    assert "something else" in said and "TensorFloat32" not in said


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("reidhub")]


def plain(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images)


@pytest.mark.parametrize(
    "plan", [EmbedderPlan(fold=False, compile=False), EmbedderPlan(channels_last=False, compile=False)]
)
def test_each_step_can_be_left_out(small, images, plan: EmbedderPlan) -> None:
    assert error(Embedder.of_model(small, spec_of(small), plan=plan)(images), plain(small, images)) < 1e-6
    assert small.conv1.weight.is_contiguous()


def test_layers_that_others_read_or_call_again_keep_their_normalisation(small, images) -> None:
    module = fold_normalisations(small)

    called = [str(node.target) for node in module.graph.nodes if node.op == "call_module"]
    assert called == ["conv1", "conv2", "bn2", "conv3", "conv3", "bn3", "conv4", "conv4"]
    assert error(plain(module, images), plain(small, images)) < 1e-6


@pytest.mark.parametrize("settings", [{"affine": False}, {"track_running_stats": False}, {"eps": 0.5}])
def test_normalisations_of_every_kind_give_the_same_folded_or_left(small, images, settings) -> None:
    small.bn1 = nn.BatchNorm2d(4, **settings).eval()

    module = fold_normalisations(small)

    called = [str(node.target) for node in module.graph.nodes if node.op == "call_module"]
    assert ("bn1" in called) == ("track_running_stats" in settings)
    assert error(plain(module, images), plain(small, images)) < 1e-6


@pytest.mark.parametrize("precision", ["exact", "fp32"])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
def test_any_number_of_images_gives_the_rows_of_full_batches(small, images, precision, count: int) -> None:
    full = torch.cat((images, torch.zeros(1, 3, 16, 8)))
    want = torch.cat([plain(small, part) for part in full.split(4)])

    got = Embedder.of_model(small, spec_of(small), precision=precision, batch=4, plan=EAGER)(images[:count])

    assert got.shape == (count, 4)
    assert torch.equal(got, want[:count]) if precision == "exact" else torch.allclose(got, want[:count], atol=1e-6)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("precision", ["exact", "fp32"])
def test_pixels_are_normalised_first(small, precision, layout: torch.memory_format) -> None:
    pixels = torch.randint(0, 256, (5, 3, 16, 8), dtype=torch.uint8).contiguous(memory_format=layout)
    embedder = Embedder.of_model(small, spec_of(small), precision=precision, batch=4, plan=EAGER)

    assert torch.equal(embedder(pixels), embedder(normalise(pixels, spec_of(small))))


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
        Embedder.of_model(small, spec_of(small), plan=EAGER).embed_files(paths, workers)


def test_files_are_embedded_in_inference_mode_too(small, tmp_path: Path) -> None:
    paths, pixels = small_files(tmp_path)
    for name, size in (("big.jpg", (32, 64)), ("small.jpg", (4, 8))):
        Image.new("RGB", size, "red").save(tmp_path / name)
        paths.append(tmp_path / name)
    embedder = Embedder.of_model(small, spec_of(small), precision="exact", batch=3)
    want = embedder.embed_files(paths)

    with torch.inference_mode():
        got = embedder.embed_files(paths)

    assert torch.equal(got, want) and torch.equal(got[:7], embedder(pixels))


@pytest.mark.parametrize("setting", ["device", "dtype"])
def test_a_users_defaults_are_not_those_of_an_embedder(small, tmp_path: Path, setting: str) -> None:
    paths, pixels = small_files(tmp_path)
    embedder = Embedder.of_model(small, spec_of(small), plan=EAGER)
    want = embedder(pixels)
    try:
        torch.set_default_device("meta") if setting == "device" else torch.set_default_dtype(torch.float64)
        got = embedder(pixels), embedder.embed_files(paths)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)

    for embeddings in got:
        assert embeddings.dtype == torch.float32 and torch.equal(embeddings, want)


def test_threads_get_their_own_rows_where_every_batch_is_written_to_one_place(small, images, monkeypatch) -> None:
    """As a CUDA graph does it."""
    place = torch.empty(4, 4)

    def graph(module: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
        def replay(batch: Tensor) -> Tensor:
            place.copy_(module(batch))
            time.sleep(0.01)
            return place

        return replay

    monkeypatch.setattr("reidhub.inference.engine.Compiled", graph)
    embedder = Embedder.of_model(small, spec_of(small), batch=4)
    want = [embedder(images[first : first + 4]) for first in range(4)]

    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda first: embedder(images[first : first + 4]), list(range(4)) * 5))

    assert all(torch.equal(rows, want[number % 4]) for number, rows in enumerate(got))


def test_threads_with_settings_of_their_own_can_share_an_embedder(small, images) -> None:
    embedder = Embedder.of_model(small, spec_of(small), batch=4, plan=EAGER)
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


def test_images_run_in_the_batches_of_the_plan_unless_the_caller_says_otherwise(small) -> None:
    assert Embedder.of_model(small, spec_of(small), plan=EmbedderPlan(batch=5, compile=False)).batch == 5
    assert Embedder.of_model(small, spec_of(small), plan=EmbedderPlan(batch=5, compile=False), batch=2).batch == 2
    assert plan_for("osnet_x1_0", "cpu").batch == 8 and plan_for("osnet_x1_0", "cuda").batch == 128


def test_embeddings_can_be_learnt_from(small, images) -> None:
    layer = nn.Linear(4, 1)

    layer(Embedder.of_model(small, spec_of(small), plan=EAGER)(images)).sum().backward()

    assert layer.weight.grad is not None


@pytest.fixture
def any_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What comes before a compiler writes code, which takes no time."""
    torch.compiler.reset()
    monkeypatch.setattr("reidhub.inference.engine.Compiled", partial(Compiled, backend="aot_eager"))
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield


@pytest.mark.usefixtures("any_compiler")
def test_no_number_of_images_and_no_layout_compiles_again(small, images, caplog) -> None:
    caplog.set_level(logging.INFO, "reidhub")
    embedder = Embedder.of_model(small, spec_of(small), batch=4)
    want = plain(small, images)

    for count in (7, 4, 1, 5):
        assert error(embedder(images[:count]), want[:count]) < 1e-6
    embedder(images.contiguous(memory_format=torch.channels_last))
    embedder(torch.zeros(5, 3, 16, 8, dtype=torch.uint8))

    (said,) = messages(caplog)
    assert said.startswith("compiled code is there after")


@pytest.mark.usefixtures("any_compiler")
@pytest.mark.parametrize("batch", [1, 4])
def test_no_kind_of_tensor_compiles_again(small, batch: int, caplog) -> None:
    embedder = Embedder.of_model(small, spec_of(small), batch=batch)
    pixels = torch.randint(0, 256, (4, 3, 16, 8), dtype=torch.uint8)
    rows = pixels.permute(0, 2, 3, 1).contiguous()  # as images lie in arrays
    want = plain(small, normalise(pixels, spec_of(small)))

    def check(images: Tensor) -> None:
        assert error(embedder(images), want[: len(images)]) < 1e-6

    check(normalise(pixels, spec_of(small)).requires_grad_())
    for image in (pixels[:1], rows[0].permute(2, 0, 1)[None], rows.permute(0, 3, 1, 2)):
        check(image)
        with torch.inference_mode():
            check(image.clone())
            check(normalise(image, spec_of(small)))
    check(rows.permute(0, 3, 1, 2).repeat_interleave(2, 0)[::2])

    assert messages(caplog) == []  # it would say that it left the code


def test_code_that_fails_later_is_left_as_well(small, images, caplog) -> None:
    torch.compiler.reset()
    compiled = Compiled(small, torch.device("cpu"), backend="aot_eager")
    want = plain(small, images)

    with torch.no_grad(), torch._dynamo.config.patch(error_on_recompile=True):
        assert torch.equal(compiled(images), want)
        assert torch.equal(compiled(images[:3]), plain(small, images[:3]))  # other code would be needed

    (said,) = messages(caplog)
    assert "without compiled code" in said


def test_a_model_that_fails_without_compiled_code_fails(small, images) -> None:
    compiled = Compiled(small, torch.device("cpu"), backend="aot_eager")

    with torch.no_grad(), pytest.raises(RuntimeError, match="expected input"):
        compiled(images[:, :2])


def test_a_first_call_that_takes_long_says_what_it_does(small, images, caplog, monkeypatch) -> None:
    def backend(module: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        time.sleep(0.5)
        return module.forward

    monkeypatch.setattr("reidhub.inference.compiling._LONG_S", 0.1)
    torch.compiler.reset()
    with torch.no_grad():
        Compiled(small, torch.device("cpu"), backend=backend)(images)

    assert [said for said in messages(caplog) if "takes a minute or more" in said]


def test_without_a_compiler_the_model_runs_and_says_why(small, images, caplog) -> None:
    torch.compiler.reset()
    embedder = Embedder.of_model(small, spec_of(small), batch=4)

    with torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        got = embedder(images)

    assert error(got, plain(small, images)) < 1e-6
    assert torch.equal(embedder(images), got)
    (said,) = messages(caplog)
    assert "without compiled code" in said and "InvalidCxxCompiler" in said


_COMPILE = """
import logging, sys, torch
sys.path.insert(0, {tests!r})
from pathlib import Path, PosixPath
from test_embedder import Small, spec_of
from reidhub.inference import Embedder, compiling
compiling._CPUINFO = {cpuinfo!r}
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
model = Small().eval()
Embedder.of_model(model, spec_of(model), batch=4)(torch.zeros(1, 3, 16, 8))
from torch._dynamo.utils import counters  # importing it sets torch's own folder where none is set
print("hits", counters["inductor"]["fxgraph_cache_hit"])
"""


@pytest.mark.long
@pytest.mark.parametrize("named", [False, True])
def test_a_later_process_on_the_same_kind_of_processor_finds_the_code(
    reidhub_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """Also where the user names a folder, which torch does not divide."""
    if named:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(reidhub_home / "compiled"))
    said = []
    for flags in ("avx2 fma", "avx2 fma", "avx512f"):
        cpuinfo = tmp_path / "cpuinfo"
        cpuinfo.write_text(f"processor : 0\nmodel name : one\nflags : {flags}\n\nprocessor : 1\n")
        program = _COMPILE.format(tests=str(Path(__file__).parent), cpuinfo=cpuinfo)
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        said.append(run.stdout)
    assert str(reidhub_home / "compiled") in said[0]
    assert [text.split()[-1] for text in said] == ["0", "1", "0"]
    written = [path.read_text() for path in (reidhub_home / "compiled").rglob("*.cpp")]
    assert any("inductor_entry_impl" in code for code in written)  # the layers are called from C++


def test_processors_of_other_kinds_have_other_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for flags, mhz in (("avx2", 1), ("avx2", 2), ("avx512f", 1), (None, None)):
        if flags is not None:
            (tmp_path / "cpuinfo").write_text(f"model name : one\ncpu MHz : {mhz}\nflags : {flags}\n\nmodel name : two")
        monkeypatch.setattr("reidhub.inference.compiling._CPUINFO", tmp_path / ("cpuinfo" if flags else "none"))
        processor_id.cache_clear()
        names.append(processor_id())
    processor_id.cache_clear()
    assert names[0] == names[1] and len({*names}) == 3


def test_what_does_not_fit_is_refused(small, images) -> None:
    embedder = Embedder.of_model(small, spec_of(small), plan=EAGER)
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
    with pytest.raises(UsageError, match="unknown precision 'fp8'; there are exact, fp32, bf16"):
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


def test_every_architecture_has_a_recorded_plan() -> None:
    from reidhub.inference.plans import _read_plans

    assert list(_read_plans()) == [(name, device) for name in ARCHITECTURES for device in ("cpu", "cuda")]
    assert plan_for("a_model_of_yours", "cpu") == EmbedderPlan()


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

    assert torch.equal(embedder(images), plain(reidhub.load("osnet_x0_5.mine"), images))
    named = reidhub.embedder("osnet_x0_5", "mine", precision="exact", batch=2)
    assert torch.equal(named(images), embedder(images))
    assert reidhub.embedder("osnet_x0_5.mine").batch == plan_for("osnet_x0_5", "cpu").batch != EmbedderPlan().batch
