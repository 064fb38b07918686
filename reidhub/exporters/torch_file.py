"""Files for PyTorch: a program of `torch.export`, or the weights alone as safetensors. Another process runs them."""

import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reidhub.errors import ExportError
from reidhub.exporters.module import IMAGES, ExportModule
from reidhub.inference.export_metadata import ExportMetadata
from reidhub.weights.safetensors_file import serialise

METADATA = "reidhub.json"
"""Name of the extra file with the metadata in a ``.pt2`` file; `torch.export.load` reads it with ``extra_files``."""

_RUN_PROGRAM = "import numpy, sys, torch; run = torch.export.load(sys.argv[1]).module()"
_RUN_WEIGHTS = "import numpy, reidhub, sys, torch; run = reidhub.load(sys.argv[1], architecture=sys.argv[4])"
_EMBED = """
with torch.no_grad(), numpy.load(sys.argv[2]) as batches:
    numpy.savez(sys.argv[3], *[run(torch.from_numpy(images)).numpy() for images in batches.values()])
"""


def write_program(module: ExportModule, example: Tensor, metadata: ExportMetadata) -> dict[str, bytes]:
    """Export a module with `torch.export`.

    Args:
        module: the module.
        example: images, (N, 3, H, W).
        metadata: what the file says about itself.

    Returns:
        Suffix -> content of the file.

    Raises:
        ExportError: torch cannot export the module.
    """
    shapes = {IMAGES: {0: torch.export.Dim("batch")}} if metadata.batch_size == "dynamic" else None
    content = io.BytesIO()
    try:
        program = torch.export.export(module, (example,), dynamic_shapes=shapes)
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # it has paths of this machine
        torch.export.save(program, content, extra_files={METADATA: json.dumps(metadata.to_texts())})
    except Exception as error:  # torch raises many types
        raise ExportError(f"torch cannot export {metadata.architecture}: {error}") from error
    return {".pt2": content.getvalue()}


def write_weights(module: ExportModule, example: Tensor, metadata: ExportMetadata) -> dict[str, bytes]:
    """Return the weights of a module as a safetensors file, under their published names; see `write_program`."""
    return {".safetensors": b"".join(serialise(module.model.state_dict(), metadata.to_texts()))}


def run_program(files: dict[str, Path], batches: list[Tensor]) -> list[Tensor]:
    """Compute the embeddings of batches, (N, 3, H, W) -> (N, D), in another process, without reidhub."""
    return _run(_RUN_PROGRAM, files[".pt2"], batches)


def run_weights(files: dict[str, Path], batches: list[Tensor]) -> list[Tensor]:
    """Load the weights in another process as users do, and compute the embeddings of batches."""
    from safetensors import safe_open

    with safe_open(files[".safetensors"], framework="np") as header:
        architecture = header.metadata()["architecture"]
    return _run(_RUN_WEIGHTS, files[".safetensors"], batches, architecture)


def _run(load: str, file: Path, batches: list[Tensor], *arguments: str) -> list[Tensor]:
    """Start a Python process that runs the code ``load``, and computes the embeddings of batches."""
    places = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryDirectory() as folder:
        images, embeddings = Path(folder, "images.npz"), Path(folder, "embeddings.npz")
        np.savez(images, *[batch.numpy() for batch in batches])
        done = subprocess.run(
            [sys.executable, "-P", "-c", load + _EMBED, file, images, embeddings, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise ExportError(f"PyTorch cannot run the exported file: {reason}")
        with np.load(embeddings) as arrays:
            return [torch.from_numpy(array) for array in arrays.values()]


def name_runtime() -> str:
    """Return name and version of the runtime, such as ``torch 2.14.1``."""
    return f"torch {torch.__version__}"
