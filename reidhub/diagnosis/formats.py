"""What kind of file it is, from its bytes alone."""

import re
import zipfile
from pathlib import Path

from reidhub.errors import IntegrityError
from reidhub.files.digest import Digest
from reidhub.files.sniff import HEAD, PAGE, refuse_pages
from reidhub.weights.containers import kind_of

FORMATS = {
    "zip": "zip, as torch.save writes since PyTorch 1.6",
    "legacy": "legacy, as torch.save wrote before PyTorch 1.6",
    "safetensors": "safetensors",
    "torchscript": "TorchScript program",
    "archive": "zip archive, not of torch.save",
    "empty": "empty file",
    "lfs-pointer": "Git LFS pointer, a text in a file's place",
    "page": "web page, or another text that a host sends in a file's place",
    "tar": "tar archive, as PyTorch wrote before 0.1.10",
    "pickle": "pickle, not of torch.save",
    "gzip": "gzip archive",
    "hdf5": "HDF5, as Keras writes",
    "unknown": "no format that checkpoints have",
}
"""Format -> what it is."""

_STARTS = {b"\x1f\x8b": "gzip", b"\x89HDF": "hdf5", b"version https://git-lfs": "lfs-pointer", b"\x80": "pickle"}
_LFS_SHA256 = re.compile(rb"^oid sha256:([0-9a-f]{64})$", re.MULTILINE)


def format_of(path: Path) -> str:
    """The format of a file, a key of `FORMATS`.

    Raises:
        OSError: the file cannot be read.
    """
    start, size = start_of_file(path), path.stat().st_size
    if not start:
        return "empty"
    kind = kind_of(start[:HEAD], size)
    if kind == "zip":
        return _zip_format(path)
    if kind is not None:
        return kind
    if start[257:262] == b"ustar":
        return "tar"
    known = (name for sign, name in _STARTS.items() if start.startswith(sign))
    return next(known, "page" if refusal(start) else "unknown")


def start_of_file(path: Path) -> bytes:
    """As many bytes as a page may have."""
    with path.open("rb") as file:
        return file.read(PAGE)


def refusal(start: bytes) -> str | None:
    """Why the start of a file is no checkpoint's, in words; None where it may be one's."""
    try:
        refuse_pages(iter([start]))
    except IntegrityError as error:
        return error.message
    return None


def pointed_to(start: bytes) -> Digest | None:
    """The sha256 of the file that a Git LFS pointer stands for."""
    found = _LFS_SHA256.search(start)
    return Digest(found[1].decode()) if found else None


def _zip_format(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
    except Exception:  # cut short or damaged, which whoever reads it tells
        return "zip"
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        return "torchscript"
    return "zip" if "data.pkl" in names else "archive"
