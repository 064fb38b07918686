"""ONNX files: `torch.onnx` writes them, onnxruntime runs them."""

import tempfile
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reidhub.devices import count_processors
from reidhub.errors import ExportError, UsageError
from reidhub.exporters.module import EMBEDDINGS, IMAGES, OPSET, ExportModule
from reidhub.inference.export_metadata import ExportMetadata
from reidhub.inference.onnx_engine import import_onnxruntime
from reidhub.inference.onnx_file import EXTRA

EARLIEST = 9
"""The first opset in which weights are not among the inputs of a graph."""

OPSET_HINT = f"leave the opset out for opset {OPSET}"
"""Hint of an error about an opset."""


def write(module: ExportModule, example: Tensor, metadata: ExportMetadata) -> dict[str, bytes]:
    """Export a module to ONNX.

    Args:
        module: the module.
        example: images, (N, 3, H, W).
        metadata: what the file says about itself; the opset is one of its fields.

    Returns:
        Suffix -> content of the file.

    Raises:
        UsageError: torch cannot write this opset.
        ExportError: torch cannot export the module.
    """
    import onnx

    opset, latest = metadata.opset or OPSET, onnx.defs.onnx_opset_version()
    if not EARLIEST <= opset <= latest:
        raise UsageError(f"opset {opset} was asked for; there are {EARLIEST} to {latest}", hint=OPSET_HINT)
    try:
        model = _export(module, example, opset, dynamic=metadata.batch_size == "dynamic")
    except OSError:  # the disk is full
        raise
    except Exception as error:  # torch raises many types
        raise ExportError(
            f"torch cannot export {metadata.architecture} to ONNX with opset {opset}: {_shorten(error)}",
            hint=OPSET_HINT,
        ) from error
    written = next(entry.version for entry in model.opset_import if not entry.domain)
    if written != opset:
        raise UsageError(
            f"torch cannot write ONNX files of opset {opset}; it wrote opset {written} instead",
            hint=OPSET_HINT,
        )
    _strip(model.graph)
    onnx.helper.set_model_props(model, metadata.to_texts())
    return {".onnx": model.SerializeToString()}


def _export(module: ExportModule, example: Tensor, opset: int, *, dynamic: bool) -> Any:
    """Return the ``onnx.ModelProto`` of a module; torch's current exporter does not write opsets before 18."""
    import onnx

    names: dict[str, Any] = {"input_names": [IMAGES], "output_names": [EMBEDDINGS], "opset_version": opset}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about details of torch's own code
        if opset >= OPSET:
            shapes = {IMAGES: {0: torch.export.Dim("batch")}} if dynamic else None
            program: Any = torch.onnx.export(
                module, (example,), dynamo=True, dynamic_shapes=shapes, verbose=False, **names
            )
            return program.model_proto
        with tempfile.TemporaryDirectory() as folder:
            axes = {name: {0: "batch"} for name in (IMAGES, EMBEDDINGS)} if dynamic else None
            torch.onnx.export(module, (example,), f"{folder}/model", dynamo=False, dynamic_axes=axes, **names)
            return onnx.load(f"{folder}/model")


def _strip(graph: Any) -> None:
    """Remove the notes of torch's exporter from a graph: they have paths of this machine, and are half of the file."""
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def run(files: dict[str, Path], batches: list[Tensor]) -> list[Tensor]:
    """Compute the embeddings of batches, (N, 3, H, W) -> (N, D), with onnxruntime on the CPU."""
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = count_processors()
    options.log_severity_level = 3  # errors; warnings would go to stderr
    session = runtime.InferenceSession(files[".onnx"], options, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(session.run([EMBEDDINGS], {IMAGES: images.numpy()})[0]) for images in batches]


def name_runtime() -> str:
    """Return name and version of the runtime, such as ``onnxruntime 1.32.0``.

    Raises:
        ExportError: a package of the extra ``onnx`` is missing.
    """
    try:
        runtime = import_onnxruntime()  # before the others, which could import it with its telemetry
        for package in ("onnx", "onnxscript"):
            import_module(package)
    except ImportError as error:
        raise ExportError(f"ONNX files need a package that cannot be imported: {error}", hint=EXTRA) from error
    return f"onnxruntime {runtime.__version__}"


def _shorten(error: Exception) -> str:
    """Return the first line of an error's message."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
