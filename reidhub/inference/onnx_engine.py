"""Runs an ONNX file with onnxruntime."""

import os
from typing import Any

import torch
from torch import Tensor

from reidhub.devices import count_processors
from reidhub.errors import UsageError, WeightsError
from reidhub.files.sniff import make_printable
from reidhub.inference.export_metadata import EXPORT_AGAIN
from reidhub.inference.native_threads import NativeThreads
from reidhub.inference.onnx_file import EXTRA, OnnxFile
from reidhub.inference.preprocess import normalise
from reidhub.thread_locks import Turns, make_fork_safe_lock
from reidhub.torch_settings import limit_threads

_TELEMETRY = "ORT_DISABLE_TELEMETRY"
_CPU_BATCH = 8  # images; a larger batch does not fit into a processor's cache (osnet_x0_25)
_GPU_BATCH = 128  # images
_FATAL = 4  # onnxruntime prints only what ends the process

_importing = make_fork_safe_lock()


def import_onnxruntime() -> Any:
    """Import onnxruntime without its telemetry.

    The import alone would write an identifier of the machine into the home folder and start a thread that sends data to
    Microsoft. Only an environment variable prevents that, and only if it is set before the import.

    Returns:
        The module ``onnxruntime``.

    Raises:
        ImportError: onnxruntime is not installed, or cannot be loaded on this machine.
    """
    with _importing:
        before = os.environ.get(_TELEMETRY)
        os.environ[_TELEMETRY] = "1"
        try:
            import onnxruntime
        finally:
            if before is None:
                del os.environ[_TELEMETRY]
            else:
                os.environ[_TELEMETRY] = before
    return onnxruntime


class OnnxEngine:
    """Runs an ONNX file in batches; a file that takes one image at a time is run image by image.

    Args:
        file: the checked file.
        device: ``cpu``, or a GPU if this onnxruntime supports it.
        batch: images in a batch, above 0; None for a number that suits the device.

    Raises:
        UsageError: onnxruntime cannot be imported, or it does not support the device.
        WeightsError: onnxruntime cannot run the file.
    """

    name = "onnxruntime"

    def __init__(self, file: OnnxFile, device: torch.device, batch: int | None = None) -> None:
        try:
            onnxruntime = import_onnxruntime()
        except ImportError as error:
            raise UsageError(f"{file.path} needs onnxruntime, which cannot be imported: {error}", hint=EXTRA) from error
        self.version = str(onnxruntime.__version__)
        self.device = device
        self.dimensions = file.metadata.dimensions
        self.batch = batch or (_CPU_BATCH if device.type == "cpu" else _GPU_BATCH)
        self._together = self.batch if file.metadata.batch_size == "dynamic" else 1
        self._file = file
        self._spec = file.metadata.spec
        self._session = _open_session(onnxruntime, file, device)
        self._threads = NativeThreads("onnxruntime", self._session)
        self._turns = Turns("this embedder")

    def __reduce__(self) -> tuple[Any, ...]:
        return OnnxEngine, (self._file, self.device, self.batch)

    def __call__(self, images: Tensor, embeddings: Tensor) -> None:
        """Embed images (N, 3, H, W), and write the result into ``embeddings`` (N, D); see `Engine`.

        Raises:
            UsageError: this process was forked after the engine was made.
            WeightsError: onnxruntime cannot run the file, or the shape of its embeddings contradicts its metadata.
        """
        self._threads.check()
        images = images.detach().cpu()
        with self._turns.take():
            for first in range(0, len(images), self._together):
                rows = slice(first, first + self._together)
                embeddings[rows].copy_(self._embed(images[rows]))

    def _embed(self, images: Tensor) -> Tensor:
        """Embed at most one batch: uint8 or normalised float32 (n, 3, H, W) -> (n, D)."""
        if images.dtype == torch.uint8:
            with limit_threads():
                images = normalise(images, self._spec)
        try:
            (result,) = self._session.run(["embeddings"], {"images": images.contiguous().numpy()})
        except Exception as error:  # the exceptions of onnxruntime have no common base
            raise WeightsError(f"onnxruntime cannot run {self._file.path}: {_shorten(error)}") from error
        if result.shape != (len(images), self.dimensions):
            raise WeightsError(
                f"{self._file.path} gives embeddings of the shape {result.shape} for {len(images)} images, its "
                f"metadata says {self.dimensions} dimensions",
                hint=EXPORT_AGAIN,
            )
        return torch.from_numpy(result)


def _open_session(onnxruntime: Any, file: OnnxFile, device: torch.device) -> Any:
    """Return the ``onnxruntime.InferenceSession`` of a file, with as many threads as this process has processors.

    Raises:
        UsageError: onnxruntime does not support the device.
        WeightsError: onnxruntime cannot run the file.
    """
    provider = _choose_provider(onnxruntime, device)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count_processors()
    options.log_severity_level = _FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning slows down threads that decode
    options.add_session_config_entry("session.load_model_format", "ONNX")  # the format that was checked, no other
    try:
        session = onnxruntime.InferenceSession(file.content, options, providers=[provider])
    except Exception as error:  # the exceptions of onnxruntime have no common base
        raise WeightsError(f"onnxruntime cannot run {file.path}: {_shorten(error)}", hint=EXPORT_AGAIN) from error
    if session.get_providers()[0] != provider[0]:  # onnxruntime falls back to the CPU without an error
        raise UsageError(f"onnxruntime cannot use {device}: its libraries for CUDA do not load", hint="choose cpu")
    return session


def _choose_provider(onnxruntime: Any, device: torch.device) -> tuple[str, dict[str, Any]]:
    if device.type == "cpu":
        return "CPUExecutionProvider", {}
    if device.type != "cuda" or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise UsageError(
            f"this onnxruntime cannot run on {device}",
            hint="choose cpu" + ("; or install onnxruntime-gpu in place of onnxruntime" * (device.type == "cuda")),
        )
    return "CUDAExecutionProvider", {"device_id": device.index or 0, "use_tf32": 0}


def _shorten(error: Exception) -> str:
    return make_printable(str(error), 300)
