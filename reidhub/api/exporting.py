"""The public function that exports a model to a file for another runtime."""

import os
from typing import TYPE_CHECKING

from reidhub.api import ModelName, find_for_embedding, load_checkpoint

if TYPE_CHECKING:
    from reidhub.exporters.export import Export
    from reidhub.exporters.module import Format


def export(
    model: ModelName,
    dataset: str | None = None,
    *,
    format: "Format",
    path: str | os.PathLike[str] | None = None,
    dynamic: bool = False,
    half: bool = False,
    opset: int | None = None,
    with_preprocessing: bool = False,
    force: bool = False,
    architecture: str | None = None,
) -> "Export":
    """Export a model to a file for another runtime; the file is kept only if it computes the same embeddings.

    The file computes ``embeddings``, float32 (N, D), from ``images``, float32 (N, 3, H, W), RGB and normalised. Before
    it gets its name, its own runtime (onnxruntime, OpenVINO, or torch in another process) runs it with 1, 2 and 16
    images. The relative error of each embedding must be at most 1e-5, or 1e-2 with ``half``.

    Args:
        model: a full name (``osnet_x1_0.msmt17``), a model's name, or the path of a checkpoint file (``./my.pth``).
        dataset: the training data, if ``model`` is a model's name; None for the model's default checkpoint.
        format: ``onnx``, ``openvino``, ``torch-export`` or ``safetensors`` (weights alone).
        path: the file to write, or a folder; None for the checkpoint's name in the current folder. OpenVINO writes an
            ``.xml`` file and a ``.bin`` file beside it.
        dynamic: the file takes any number of images; else one at a time.
        half: store the weights as float16; ``images`` and ``embeddings`` stay float32.
        opset: version of the ONNX operators; None for 18.
        with_preprocessing: ``images`` are RGB pixels in [0, 1], and the file subtracts the mean and divides by the
            standard deviation itself.
        force: replace an existing file.
        architecture: the architecture of a file, such as ``osnet_x1_0``; None to detect it.

    Raises:
        UnknownCheckpointError: no checkpoint matches, or several match although ``dataset`` is given.
        UsageError: ``path`` exists or has another suffix, the format does not have one of the options, or torch cannot
            write the opset; or see `embedder`.
        FetchError: no source gave the checkpoint's file.
        WeightsError: the checkpoint's file does not hold the weights of this architecture.
        CacheError: the file cannot be written.
        ExportError: the model cannot be exported, the file computes other embeddings, or a package is missing.
    """
    from reidhub.devices import find_device
    from reidhub.exporters.export import choose_files, export_model
    from reidhub.exporters.module import Choices

    choices = Choices(format, dynamic, half, opset, with_preprocessing)
    checkpoint = find_for_embedding(model, dataset, architecture)
    files = choose_files(checkpoint, choices, path, force=force)  # before anything is downloaded
    return export_model(load_checkpoint(checkpoint, find_device("cpu")), checkpoint, choices, files, force=force)
