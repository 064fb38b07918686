"""OpenVINO and ONNX Runtime without reidhub, each with several settings.

Every runtime gets normalised float32 images (N, 3, H, W), computes in float32, and uses all processors of the process.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from reidhub.devices import count_processors
from reidhub.inference.openvino_model import convert, import_openvino, open_core
from reidhub.inference.preprocess import PixelSpec
from reidhub.models.base import ReidModel

SIZES = (1, 2, 4, 8)  # images in one request

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(N, 3, H, W) -> (N, D)."""


def openvino_runs(
    model: ReidModel, spec: PixelSpec, hints: tuple[str, ...] = ("THROUGHPUT", "LATENCY")
) -> dict[str, Run]:
    """Return OpenVINO with each hint and each number of images in a request."""
    openvino, converted = import_openvino(), convert(model, spec)

    def make(hint: str, size: int) -> Run:
        fixed = converted.clone()
        fixed.reshape([size, 3, spec.height, spec.width])
        settings = {
            "PERFORMANCE_HINT": hint,
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": count_processors(),
        }
        queue = openvino.AsyncInferQueue(open_core().compile_model(fixed, "CPU", settings))

        def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
            embeddings = np.empty((len(images), model.embedding_dim), np.float32)
            queue.set_callback(lambda request, first: put(request, embeddings[first : first + size]))
            for first in range(0, len(images), size):
                part = images[first : first + size]
                part = part if len(part) == size else np.resize(part, (size, *part.shape[1:]))
                queue.start_async([openvino.Tensor(np.ascontiguousarray(part), shared_memory=True)], first)
            queue.wait_all()
            return embeddings

        return run

    return {f"{hint.lower()}, {size}": make(hint, size) for hint in hints for size in SIZES}


def put(request: object, rows: NDArray[np.float32]) -> None:
    """Copy a request's embeddings into ``rows``; the last request may have more images than are wanted."""
    rows[:] = request.get_output_tensor(0).data[: len(rows)]  # type: ignore[attr-defined]


def onnxruntime_runs(model: ReidModel, spec: PixelSpec, sizes: tuple[int, ...] = (1, 8, 32)) -> dict[str, Run]:
    """Return ONNX Runtime with each number of images in a call."""
    from reidhub.inference.onnx_engine import import_onnxruntime

    onnxruntime = import_onnxruntime()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        example, shapes = torch.zeros(2, 3, spec.height, spec.width), {"images": {0: torch.export.Dim("n")}}
        torch.onnx.export(
            model, (example,), path, dynamo=True, dynamic_shapes=shapes, input_names=["images"], verbose=False
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = count_processors()
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def make(size: int) -> Run:
        def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
            parts = [images[first : first + size] for first in range(0, len(images), size)]
            return np.concatenate([session.run(None, {"images": part})[0] for part in parts])

        return run

    return {str(size): make(size) for size in sizes}
