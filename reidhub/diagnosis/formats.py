"""Detect the format of a file from its bytes; the file name does not matter."""

import re
import zipfile
from pathlib import Path

from reidhub.errors import IntegrityError
from reidhub.files.digest import Digest
from reidhub.files.sniff import HEAD, PAGE, refuse_pages
from reidhub.weights.containers import detect_container, is_torchscript

FORMATS = {
    "zip": "zip, as torch.save writes since PyTorch 1.6",
    "legacy": "legacy, as torch.save wrote before PyTorch 1.6",
    "safetensors": "safetensors",
    "torchscript": "TorchScript program",
    "onnx": "ONNX",
    "openvino": "OpenVINO model; its weights are in a second file",
    "torch-export": "program of torch.export",
    "archive": "zip archive, not of torch.save",
    "empty": "empty file",
    "lfs-pointer": "Git LFS pointer, a text instead of the file",
    "page": "web page or other text that a host sent instead of the file",
    "tar": "tar archive, as PyTorch wrote before 0.1.10",
    "pickle": "pickle, not of torch.save",
    "gzip": "gzip archive",
    "hdf5": "HDF5, as Keras writes",
    "unknown": "not a format of checkpoints",
}
"""Name of a format -> description for users."""

_STARTS = {b"\x1f\x8b": "gzip", b"\x89HDF": "hdf5", b"version https://git-lfs": "lfs-pointer", b"\x80": "pickle"}
_ONNX = re.compile(
    rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42]"
)  # field 1, a small number; then one of the next fields
_OPENVINO = re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]{0,100}\?>\s*)?<net\s")
_LFS_SHA256 = re.compile(rb"^oid sha256:([0-9a-f]{64})$", re.MULTILINE)


def detect_format(path: Path) -> str:
    """Detect the format of a file.

    Returns:
        A key of `FORMATS`.

    Raises:
        OSError: the file cannot be read.
    """
    start, size = read_start(path), path.stat().st_size
    if not start:
        return "empty"
    kind = detect_container(start[:HEAD], size)
    if kind == "zip":
        return _detect_zip_format(path)
    if kind is not None:
        return kind
    if start[257:262] == b"ustar":
        return "tar"
    if _ONNX.match(start):
        return "onnx"
    if _OPENVINO.match(start):
        return "openvino"
    known = (name for sign, name in _STARTS.items() if start.startswith(sign))
    return next(known, "page" if explain_refusal(start) else "unknown")


def read_start(path: Path) -> bytes:
    """Read the first `PAGE` bytes of a file: enough for a whole web page that a host sent instead of the file."""
    with path.open("rb") as file:
        return file.read(PAGE)


def explain_refusal(start: bytes) -> str | None:
    """Return why a file that starts with these bytes cannot be a checkpoint; None if it can be one."""
    try:
        refuse_pages(iter([start]))
    except IntegrityError as error:
        return error.message
    return None


def read_pointer(start: bytes) -> Digest | None:
    """Read the sha256 in a Git LFS pointer; None if the bytes are not such a pointer."""
    found = _LFS_SHA256.search(start)
    return Digest(found[1].decode()) if found else None


def _detect_zip_format(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
    except Exception:  # incomplete or damaged; `read_weights` raises an error that explains it
        return "zip"
    if is_torchscript(names):
        return "torchscript"
    if {"archive_format", "models/model.json"} <= names:
        return "torch-export"
    return "zip" if "data.pkl" in names else "archive"
