"""Converts torch models to OpenVINO models, and keeps the conversions in the cache.

`reidhub.cache.conversions` says where they are kept.

OpenVINO's own function ``convert_model``, and even the import of OpenVINO, send usage data to Google Analytics if the
package ``openvino_telemetry`` is installed. Therefore this module imports OpenVINO without that package, and converts
with the class that ``convert_model`` calls.
"""

import copy
import importlib
import math
import os
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reidhub.cache.conversions import Conversion, read_conversion
from reidhub.cache.partial_file import ROOM
from reidhub.errors import CacheError, ReidhubError
from reidhub.files.atomic import AtomicFile, explain_write_errors, write_atomically
from reidhub.inference.preprocess import PixelSpec
from reidhub.thread_locks import make_fork_safe_lock

_TELEMETRY = "openvino_telemetry"
_REQUEST = ["reidhub", "images_per_request"]  # where a model's own information has this number
_SMALL_MAP = 0.7e6  # bytes of the largest feature map of an image
_LARGE_WEIGHTS = 32e6  # bytes

_importing = make_fork_safe_lock()


class ConversionError(ReidhubError):
    """OpenVINO cannot be imported, or it cannot convert a model."""


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry.

    Returns:
        The module ``openvino``.

    Raises:
        ConversionError: OpenVINO is not installed, or cannot be loaded on this machine.
    """
    with _importing, _hide_telemetry():
        try:
            importlib.import_module("openvino.frontend.pytorch.ts_decoder")
            return importlib.import_module("openvino")
        except (ImportError, OSError, RuntimeError) as error:
            raise ConversionError(f"OpenVINO cannot be imported: {error}") from error


def open_core() -> Any:
    """Return the ``openvino.Core`` of this process; it is never closed.

    Each ``Core`` gives the thread that opens it a stack for signals. When the ``Core`` closes, this memory is freed. If
    two are closed in the order in which they were opened, the thread keeps a stack that is freed already. Then the next
    signal, such as Ctrl-C, ends the process with a segmentation fault (seen with OpenVINO 2026.4.1 on Linux).

    Raises:
        ConversionError: OpenVINO is not installed, or cannot be loaded on this machine; or this process was forked from
            one that had used OpenVINO, and the threads of OpenVINO are missing here.
    """
    core, process = _open_core()
    if process != os.getpid():
        raise ConversionError("the parent of this forked process has used OpenVINO, and its threads are missing here")
    return core


@cache
def _open_core() -> tuple[Any, int]:
    return import_openvino().Core(), os.getpid()


@contextmanager
def _hide_telemetry() -> Iterator[None]:
    """Make imports of the telemetry package fail in the ``with`` block, so that OpenVINO sends nothing."""
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # the documented way to make an import fail
    try:
        yield
    finally:
        if before is None:
            del sys.modules[_TELEMETRY]
        else:
            sys.modules[_TELEMETRY] = before


class _InstanceNorm(nn.Module):
    """Instance normalisation in simple steps.

    OpenVINO's own operation for instance normalisation sums in another order if a single image runs on several
    processors. Then an embedding differs by up to 7e-6 from that of the same image in a batch. The simple steps always
    give the same bits. They are as fast, and were three times as exact (osnet_ain_x0_25).

    Args:
        norm: the original layer; its tensors are shared.
    """

    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each channel of each image: (N, C, h, w) -> (N, C, h, w)."""
        centred = x - x.mean((2, 3), keepdim=True)
        variance = (centred * centred).mean((2, 3), keepdim=True)  # -> (N, C, 1, 1)
        scaled = centred * torch.rsqrt(variance + self.eps)
        return scaled if self.weight is None else scaled * self.weight[:, None, None] + self.bias[:, None, None]


def _replace_instance_norms(model: nn.Module) -> nn.Module:
    """Copy a model and replace each instance normalisation in the copy."""
    copied = copy.deepcopy(model)
    for path, layer in list(copied.named_modules()):
        if isinstance(layer, nn.InstanceNorm2d) and not layer.track_running_stats:
            copied.set_submodule(path, _InstanceNorm(layer))
    return copied


def convert(model: nn.Module, spec: PixelSpec) -> Any:
    """Convert a torch model.

    Args:
        model: a `ReidModel`, or a module that computes the same shapes: float32, in eval mode, on the CPU.
        spec: the size of the images.

    Returns:
        An ``openvino.Model``: normalised float32 (N, 3, H, W) -> (N, D), for any N.

    Raises:
        ConversionError: OpenVINO cannot be imported, or it cannot convert the model.
    """
    import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    images = torch.zeros(1, 3, spec.height, spec.width)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the deprecation of tracing, and about checks of sizes
            traced = torch.jit.trace(_replace_instance_norms(model), images, check_trace=False)  # type: ignore[no-untyped-call]
        frontend = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced)  # must live until the end of the conversion
        converted = frontend.convert(frontend.load(decoder))
        converted.reshape([1, 3, spec.height, spec.width])
        request = choose_request(converted)
        converted.reshape([-1, 3, spec.height, spec.width])
        store_request(converted, request)
    except Exception as error:  # whatever the tracer and OpenVINO raise, torch can still run the model
        raise ConversionError(f"OpenVINO cannot convert the model: {error}") from error
    return converted


def read_request(converted: Any) -> int:
    """Return the number of images in a request that `store_request` has stored in a model."""
    return int(converted.get_rt_info(_REQUEST).value)


def store_request(converted: Any, request: int) -> None:
    """Store the number of images in a request in a model."""
    converted.set_rt_info(request, _REQUEST)


def choose_request(converted: Any) -> int:
    """Choose the number of images in a request: 4 if the model is faster with so many, else 2.

    Larger requests are faster if the feature maps of four images fit into a processor's cache together, or if the
    weights are so large that reading them takes long (measured with benchmarks/embedding.py).

    Args:
        converted: an ``openvino.Model`` for one image.
    """
    maps, weights = [0], 0  # bytes
    for operation in converted.get_ops():
        is_constant = operation.get_type_name() == "Constant"
        for output in operation.outputs():
            if is_constant:
                weights += 4 * math.prod(output.get_shape())
            elif output.get_partial_shape().is_static:
                maps.append(4 * math.prod(output.get_shape()))
    return 4 if max(maps) <= _SMALL_MAP or weights >= _LARGE_WEIGHTS else 2


def read_kept(path: Path) -> Any | None:
    """Read a converted model from the cache; None if it is missing or damaged.

    Args:
        path: a path from `reidhub.cache.conversions.name_conversion`.

    Raises:
        ConversionError: OpenVINO cannot be imported.
    """
    files = read_conversion(path)
    try:
        return files and read_bytes(files)
    except RuntimeError:  # an intact zip file with something else in it
        return None


def read_bytes(files: Conversion) -> Any:
    """Read a converted model; the opposite of `write_bytes`."""
    return open_core().read_model(model=files.xml, weights=files.weights)


def write_bytes(converted: Any) -> Conversion:
    """Return the bytes of a converted model."""
    with tempfile.TemporaryDirectory() as folder:
        xml, weights = Path(folder, "model.xml"), Path(folder, "model.bin")
        import_openvino().serialize(converted, xml, weights)
        return Conversion(xml.read_bytes(), weights.read_bytes())


def keep(converted: Any, path: Path) -> None:
    """Write a converted model into the cache.

    Args:
        converted: an ``openvino.Model``.
        path: a path from `reidhub.cache.conversions.name_conversion`.

    Raises:
        CacheError: the folder is not writable or full.
    """
    openvino, folder = import_openvino(), path.parent
    with (
        explain_write_errors(f"write {path}", hint=ROOM),
        AtomicFile(folder, suffix=".xml") as xml,  # only the zip file that contains both is published
        AtomicFile(folder, suffix=".bin") as weights,
        write_atomically(path) as new,
        zipfile.ZipFile(new, "w") as archive,
    ):
        try:
            openvino.serialize(converted, xml.path, weights.path)
            open_core().read_model(xml.path, weights.path)  # fails if the last bytes had no room on the disk
        except RuntimeError as error:
            raise CacheError(f"cannot write {path}: {error}", hint=ROOM) from error
        archive.write(xml.path, "model.xml")
        archive.write(weights.path, "model.bin")
