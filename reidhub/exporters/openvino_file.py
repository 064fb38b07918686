"""OpenVINO files: a pair of ``.xml`` (the network) and ``.bin`` (the weights)."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from reidhub.errors import CacheError
from reidhub.exporters.module import EMBEDDINGS, IMAGES, ExportModule
from reidhub.inference.export_metadata import ExportMetadata
from reidhub.inference.openvino_model import convert, import_openvino, open_core


def write(module: ExportModule, example: Tensor, metadata: ExportMetadata) -> dict[str, bytes]:
    """Convert a module to OpenVINO; with ``fp16``, only the weights are stored as float16.

    Args:
        module: the module, in float32.
        example: images, (N, 3, H, W).
        metadata: what the files say about themselves.

    Returns:
        Suffix -> content of the file.

    Raises:
        ConversionError: OpenVINO cannot convert the module.
        CacheError: the folder for temporary files is full.
    """
    converted = convert(module, metadata.spec)
    if metadata.batch_size == "1":
        converted.reshape([1, *example.shape[1:]])
    converted.input(0).get_tensor().set_names({IMAGES})
    converted.output(0).get_tensor().set_names({EMBEDDINGS})
    for key, text in metadata.to_texts().items():
        converted.set_rt_info(text, ["reidhub", key])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        try:
            import_openvino().save_model(converted, path, compress_to_fp16=metadata.precision == "fp16")
        except RuntimeError as error:
            raise CacheError(f"OpenVINO cannot write into {folder}: {error}", hint="make room on that disk") from error
        return {suffix: path.with_suffix(suffix).read_bytes() for suffix in (".xml", ".bin")}


def run(files: dict[str, Path], batches: list[Tensor]) -> list[Tensor]:
    """Compute the embeddings of batches, (N, 3, H, W) -> (N, D), with OpenVINO on the CPU, in float32."""
    core = open_core()
    model = core.read_model(files[".xml"], files[".bin"])
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [torch.from_numpy(compiled({IMAGES: images.numpy()})[EMBEDDINGS].copy()) for images in batches]


def name_runtime() -> str:
    """Return name and version of the runtime, such as ``openvino 2026.4.1``."""
    return f"openvino {str(import_openvino().__version__).partition('-')[0]}"
