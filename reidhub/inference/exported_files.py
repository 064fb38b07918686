"""Runs files that ``reidhub export`` has made: ``.onnx``, and OpenVINO's ``.xml`` with its ``.bin`` beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from reidhub.errors import UnknownCheckpointError, UsageError, WeightsError
from reidhub.inference.embedder import Embedder
from reidhub.inference.engine import Engine, check_batch
from reidhub.inference.export_metadata import ExportMetadata
from reidhub.inference.onnx_engine import OnnxEngine
from reidhub.inference.onnx_file import OnnxFile, read_onnx_metadata
from reidhub.inference.openvino_file import make_openvino_engine, read_openvino_metadata

_PRECISIONS = ("fp32", "exact")


def make_embedder(path: Path, device: torch.device, precision: str = "fp32", batch: int | None = None) -> Embedder:
    """Make the embedder of an exported file; the size of the images and the normalisation are in its metadata.

    Args:
        path: a file ``.onnx`` or ``.xml``.
        device: the device that will compute; OpenVINO has only the CPU.
        precision: ``fp32`` or ``exact``; both mean the precision that the file has.
        batch: images in a batch, above 0; only used for ONNX files with a dynamic batch. None for a number that suits
            the device.

    Raises:
        UnknownCheckpointError: there is no such file.
        UsageError: another precision is given, the batch is below 1, the device is not supported, or a package is
            missing.
        WeightsError: the file cannot be read, was not exported by reidhub, is damaged, or does not fit its metadata.
    """
    if precision not in _PRECISIONS:
        raise UsageError(
            f"precision {precision!r} was asked for, but {path} has its own precision",
            hint="leave precision out; `reidhub export --half` makes a file with float16 weights",
        )
    batch = check_batch(batch)
    with _explain_read_errors(path):
        if path.suffix == ".xml":
            engine: Engine
            engine, metadata = make_openvino_engine(path, device)
        else:
            file = OnnxFile.read(path)
            engine, metadata = OnnxEngine(file, device, batch), file.metadata
    return Embedder(engine, metadata.spec, takes_pixels=metadata.pixels == "0..1")


def read_metadata(path: Path) -> ExportMetadata:
    """Read the metadata of a file ``.onnx`` or ``.xml``; nothing else in it is checked.

    Raises:
        UnknownCheckpointError: there is no such file.
        WeightsError: the file cannot be read, was not exported by reidhub, or its metadata is damaged.
        UsageError: it is an ONNX file, and the package onnx is not installed.
    """
    read = read_openvino_metadata if path.suffix == ".xml" else read_onnx_metadata
    with _explain_read_errors(path):
        return ExportMetadata.of_texts(read(path), str(path))


@contextmanager
def _explain_read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not path.exists():
            raise UnknownCheckpointError(
                f"there is no file {path}", hint="check the path; `reidhub export` makes such a file"
            ) from error
        hint = "an OpenVINO model has two files, .xml and .bin" if path.suffix == ".xml" else None
        raise WeightsError(f"{error.filename or path} cannot be read: {error.strerror or error}", hint=hint) from error
