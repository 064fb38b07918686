"""Describes exported files: what `reidhub export` wrote into them, and what runs them."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reidhub.errors import ReidhubError
from reidhub.files.sniff import make_printable
from reidhub.files.strict_json import from_json
from reidhub.inference.export_metadata import VERSION_KEY, ExportMetadata
from reidhub.inference.onnx_file import read_onnx_metadata
from reidhub.inference.openvino_file import read_openvino_metadata

EXPORTS = {"onnx": "an ONNX file", "openvino": "an OpenVINO model", "torch-export": "a program of torch.export"}
"""Formats of exported files -> how a message calls such a file."""

_SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}  # what an embedder runs
_LONGEST = 1 << 20  # bytes of the metadata in a program of torch.export
_FOREIGN = (
    "give reidhub the checkpoint from which the file was made; `reidhub export NAME-or-FILE` makes a file that "
    "reidhub.embedder runs"
)


def explain_export(path: Path, form: str) -> tuple[ExportMetadata | None, str, str | None]:
    """Say what an exported file is, and why it is no checkpoint.

    Args:
        path: the file.
        form: a key of `EXPORTS`.

    Returns:
        The metadata, None if reidhub did not export the file or the metadata cannot be read; the problem; and a hint.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        texts = _read_texts(path, form)
        if VERSION_KEY not in texts:
            return None, f"it is {EXPORTS[form]} that reidhub did not export, not a checkpoint", _FOREIGN
        metadata = ExportMetadata.of_texts(texts, "the file")
    except ReidhubError as error:
        return None, f"it is {EXPORTS[form]}, not a checkpoint; {error.message}", error.hint
    source = make_printable(metadata.checkpoint)
    return (
        metadata,
        f"it is {EXPORTS[form]} that reidhub exported from {source}, not a checkpoint",
        _name_runner(path, form),
    )


def list_facts(metadata: ExportMetadata) -> dict[str, str]:
    """Return what a user should know of an exported file: label -> text on one line."""
    scaled = f"normalised with mean {metadata.mean} and std {metadata.std}"
    pixels = scaled if metadata.pixels == "normalised" else "pixels from 0 to 1"
    count = "one at a time" if metadata.batch_size == "1" else "any number"
    resized = f"resized by PIL's {metadata.interpolation} filter"
    facts = {
        "exported": f"from {metadata.checkpoint} ({metadata.architecture}), weights in {metadata.precision}",
        "images": f"{metadata.height}x{metadata.width}, RGB, {pixels}; {count}; {resized}",
        "embeddings": f"{metadata.dimensions} dimensions, compared by {metadata.distance} distance",
        "licence": metadata.licence,
    }
    return {label: make_printable(text, 200) for label, text in facts.items()}


def _name_runner(path: Path, form: str) -> str:
    if form not in _SUFFIXES:
        return "torch.export.load runs it; reidhub.embedder runs the formats onnx and openvino of `reidhub export`"
    if path.suffix != _SUFFIXES[form]:
        return f"reidhub.embedder runs it if its name ends with {_SUFFIXES[form]}"
    return f"reidhub.embedder({str(path)!r}) runs it; reidhub.load takes the checkpoint that it was made from"


def _read_texts(path: Path, form: str) -> Mapping[str, str]:
    readers: Any = {"onnx": read_onnx_metadata, "openvino": read_openvino_metadata, "torch-export": _read_program}
    texts: Mapping[str, str] = readers[form](path)
    return texts


def _read_program(path: Path) -> Mapping[str, str]:
    """Return the extra file ``reidhub.json`` of a program of torch.export; empty if there is none, or it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.partition("/")[2] == "extra/reidhub.json"]
            if not names or archive.getinfo(names[0]).file_size > _LONGEST:
                return {}
            return from_json(dict[str, str], archive.read(names[0]))
    except (ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return {}
