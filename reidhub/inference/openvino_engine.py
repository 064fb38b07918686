"""Runs a converted model with OpenVINO on the CPU."""

from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from reidhub.cache.conversions import Conversion, name_conversion
from reidhub.devices import count_processors
from reidhub.errors import CacheError
from reidhub.inference.native_threads import NativeThreads
from reidhub.inference.openvino_model import (
    ConversionError,
    convert,
    import_openvino,
    keep,
    open_core,
    read_bytes,
    read_kept,
    read_request,
    write_bytes,
)
from reidhub.inference.preprocess import PixelSpec, normalise
from reidhub.models.base import ReidModel
from reidhub.thread_locks import Turns
from reidhub.torch_settings import Arithmetic, Precision

_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
_TOLERANCES = {"fp32": 1e-3, "bf16": 0.2}  # relative error; a wrong conversion is off by more than 1


class OpenvinoEngine:
    """Runs an OpenVINO model. The images of a call are split into requests, and several requests run at the same time.

    A compiled model is fast because the number of images in its requests and the type of their pixels are fixed.
    Therefore there are several compiled variants of the model. Each is compiled when it is first needed, which takes
    less than a second:

    - ``THROUGHPUT`` with several images in a request, for many images: each processor runs a request of its own.
    - ``THROUGHPUT`` with one image in a request, for the last images, if they are too few for the variant above.
    - ``LATENCY`` with one image in a request, if the call has only one image, or only one is left: all processors work
      on it together.

    Args:
        model: an ``openvino.Model``: normalised float32 (N, 3, H, W) -> (N, D), for any N.
        dimensions: D, the length of an embedding.
        spec: size and normalisation of the images.
        precision: ``fp32`` or ``bf16``.
    """

    name = "openvino"
    device = torch.device("cpu")

    def __init__(self, model: Any, dimensions: int, spec: PixelSpec, precision: Precision) -> None:
        self._openvino = import_openvino()
        self.version = str(self._openvino.__version__).partition("-")[0]
        self.dimensions = dimensions
        self._model = model
        self._spec = spec
        self._precision: Precision = precision
        self._compile = cache(self._compile_variant)
        self._request = read_request(model)
        self._turns = Turns("this embedder")
        self._threads = NativeThreads("OpenVINO", self._compile)
        self._together = count_processors() * self._request  # images in one request for each processor
        self.batch = 8 * self._together

    @classmethod
    def of_model(cls, model: ReidModel, spec: PixelSpec, precision: Precision, cached: Path | None = None) -> Self:
        """Make the engine of a torch model.

        The converted model is read from the cache. If it is not there, the model is converted. Then the engine and the
        model embed the same image, and if their embeddings agree, the converted model is kept.

        Args:
            model: float32, in eval mode, on the CPU.
            spec: size and normalisation of the images.
            precision: ``fp32`` or ``bf16``.
            cached: the checkpoint file in the cache; the converted model is kept in the same folder. None to keep
                nothing.

        Raises:
            ConversionError: OpenVINO cannot be used in this process, or it cannot convert the model correctly.
        """
        open_core()
        kept = None
        if cached is not None:
            with suppress(PackageNotFoundError):  # an OpenVINO that pip has not installed: its version is not known
                kept = name_conversion(cached, type(model).__name__, (spec.height, spec.width), precision)
        if kept is not None and (converted := read_kept(kept)) is not None:
            return cls(converted, model.embedding_dim, spec, precision)
        converted = convert(model, spec)
        engine = cls(converted, model.embedding_dim, spec, precision)
        engine._compare(model)
        if kept is not None:
            with suppress(CacheError):  # without the kept model, the next start is only slower
                keep(converted, kept)
        return engine

    def _compare(self, model: ReidModel) -> None:
        """Check that the engine and a torch model compute the same embedding of an image of noise."""
        random = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (1, 3, self._spec.height, self._spec.width), dtype=torch.uint8, generator=random)
        got = torch.empty(1, self.dimensions)
        try:
            self(pixels, got)
        except Exception as error:  # whatever OpenVINO raises, torch can still run the model
            raise ConversionError(f"OpenVINO cannot run the converted model: {error}") from error
        with torch.no_grad(), Arithmetic().on(self.device):
            wanted = model(normalise(pixels, self._spec))
        difference = ((got - wanted).norm() / wanted.norm()).item()
        if not difference < _TOLERANCES[self._precision]:
            raise ConversionError(
                f"the converted model computes other embeddings, with a relative error of {difference:.1e}"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (write_bytes(self._model), self.dimensions, self._spec, self._precision)

    def __call__(self, images: Tensor, embeddings: Tensor) -> None:
        """Embed images (N, 3, H, W), and write the result into ``embeddings`` (N, D); see `Engine`.

        Raises:
            UsageError: this process was forked after the engine was made.
        """
        self._threads.check()
        pixels = images.detach().cpu()
        if pixels.dtype == torch.uint8:
            pixels = pixels.permute(0, 2, 3, 1)  # (N, 3, H, W) -> (N, H, W, 3), the order in which decoders store them
        rows, out = pixels.contiguous().numpy(), embeddings.numpy()
        many = len(rows) - len(rows) % self._together
        with self._turns.take():
            self._run(rows[:many], out[:many], "THROUGHPUT", self._request)
            self._run(rows[many:], out[many:], "LATENCY" if len(rows) - many == 1 else "THROUGHPUT", 1)

    def _run(self, rows: NDArray[Any], out: NDArray[Any], hint: str, size: int) -> None:
        """Run requests of ``size`` images each, and write the embeddings into ``out``."""
        if len(rows) == 0:
            return
        queue = self._compile(str(rows.dtype), hint, size)
        queue.set_callback(lambda request, place: _copy(request, out[place : place + size]))
        try:
            for place in range(0, len(rows), size):
                pixels = self._openvino.Tensor(rows[place : place + size], shared_memory=True)
                queue.start_async([pixels], place, share_inputs=True)
        finally:  # after Ctrl-C too: a request that ends while Python exits would abort the process
            queue.wait_all()

    def _compile_variant(self, dtype: str, hint: str, size: int) -> Any:
        """Compile the model for ``size`` images in a request; return the queue that runs the requests."""
        model = self._model.clone()
        model.reshape([size, 3, self._spec.height, self._spec.width])
        if dtype == "uint8":
            model = self._take_pixels(model)
        settings = {
            "PERFORMANCE_HINT": hint,
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self._precision],
            "INFERENCE_NUM_THREADS": count_processors(),
        }
        return self._openvino.AsyncInferQueue(open_core().compile_model(model, "CPU", settings))

    def _take_pixels(self, model: Any) -> Any:
        """Change a model so that it takes uint8 (N, H, W, 3) and normalises the pixels itself."""
        openvino = self._openvino
        steps = openvino.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        steps.input().model().set_layout(openvino.Layout("NCHW"))
        normalise = steps.input().preprocess().convert_element_type(openvino.Type.f32)
        normalise.scale(255.0).mean(list(self._spec.mean)).scale(list(self._spec.std))
        return steps.build()


def _restore(model: Conversion, dimensions: int, spec: PixelSpec, precision: Precision) -> OpenvinoEngine:
    """Make the engine in the process that unpickles it."""
    return OpenvinoEngine(read_bytes(model), dimensions, spec, precision)


def _copy(request: Any, out: NDArray[Any]) -> None:
    out[:] = request.get_output_tensor(0).data
