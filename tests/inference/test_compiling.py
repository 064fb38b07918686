"""Models that torch compiles in their first call."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from support.small_model import relative_error, run_plainly, spec_of
from torch import Tensor, nn

from reidhub.inference import Embedder
from reidhub.inference.compiling import Compiled
from reidhub.inference.engine import TorchEngine
from reidhub.inference.preprocess import normalise
from reidhub.models.base import ReidModel
from reidhub.torch_settings import Arithmetic


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("reidhub")]


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


@pytest.fixture
def no_recompile() -> Iterator[None]:
    """Compiling a second time is an error."""
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield


def make_compiled_embedder(model: ReidModel, batch: int, backend: str = "aot_eager") -> Embedder:
    """An embedder as a GPU has it: it is compiled for full batches. The backend takes no time."""
    torch.compiler.reset()
    engine = TorchEngine(
        Compiled(model, torch.device("cpu"), backend=backend),
        model,
        spec_of(model),
        Arithmetic(),
        batch=batch,
        memory_format=torch.channels_last,
        fills_up=True,
    )
    return Embedder(engine, spec_of(model))


@pytest.mark.usefixtures("no_recompile")
def test_no_number_of_images_and_no_layout_compiles_again(small, images, caplog) -> None:
    caplog.set_level(logging.INFO, "reidhub")
    embedder = make_compiled_embedder(small, 4)
    want = run_plainly(small, images)

    for count in (7, 4, 1, 5):
        assert relative_error(embedder(images[:count]), want[:count]) < 1e-6
    embedder(images.contiguous(memory_format=torch.channels_last))
    embedder(torch.zeros(5, 3, 16, 8, dtype=torch.uint8))

    (said,) = messages(caplog)
    assert said.startswith("the model is compiled after")


@pytest.mark.usefixtures("no_recompile")
@pytest.mark.parametrize("batch", [1, 4])
def test_no_kind_of_tensor_compiles_again(small, batch: int, caplog) -> None:
    embedder = make_compiled_embedder(small, batch)
    pixels = torch.randint(0, 256, (4, 3, 16, 8), dtype=torch.uint8)
    rows = pixels.permute(0, 2, 3, 1).contiguous()  # as images lie in arrays
    want = run_plainly(small, normalise(pixels, spec_of(small)))

    def check(images: Tensor) -> None:
        assert relative_error(embedder(images), want[: len(images)]) < 1e-6

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
    want = run_plainly(small, images)

    with torch.no_grad(), torch._dynamo.config.patch(error_on_recompile=True):
        assert torch.equal(compiled(images), want)
        assert torch.equal(compiled(images[:3]), run_plainly(small, images[:3]))  # other code would be needed

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
    embedder = make_compiled_embedder(small, 4, backend="inductor")

    with torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        got = embedder(images)

    assert relative_error(got, run_plainly(small, images)) < 1e-6
    assert torch.equal(embedder(images), got)
    (said,) = (text for text in messages(caplog) if "without compiled code" in text)
    assert "InvalidCxxCompiler" in said


def test_threads_get_their_own_rows_where_every_batch_is_written_to_one_place(small, images) -> None:
    """As a CUDA graph does it."""
    place = torch.empty(4, 4)

    def graph(module: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
        def replay(batch: Tensor) -> Tensor:
            place.copy_(module(batch))
            time.sleep(0.01)
            return place

        return replay

    settings = {"batch": 4, "fills_up": True}
    engine = TorchEngine(graph(small, torch.device("cpu")), small, spec_of(small), Arithmetic(), **settings)
    embedder = Embedder(engine, spec_of(small))
    want = [embedder(images[first : first + 4]) for first in range(4)]

    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda first: embedder(images[first : first + 4]), list(range(4)) * 5))

    assert all(torch.equal(rows, want[number % 4]) for number, rows in enumerate(got))
