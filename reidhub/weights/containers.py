"""The file formats of checkpoints: zip (PyTorch 1.6 and later), legacy (before 1.6), safetensors.

Each offset or length in a file is compared with the size of the file before it is used for reading.
"""

import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from reidhub.errors import IntegrityError, WeightsError
from reidhub.files.sniff import HEAD, refuse_pages
from reidhub.weights.safetensors_file import is_safetensors, read_safetensors
from reidhub.weights.stand_ins import Storage
from reidhub.weights.storages import AGAIN, Storages, explain_missing
from reidhub.weights.unpickler import read_pickle

_ZIP = b"PK\x03\x04"
_LOCAL_HEADER = 30  # bytes of the header before the file name, section 4.3.7 of the zip specification
_MAGIC = 0x1950A86A20F9469CFC6C  # legacy files: torch.serialization.MAGIC_NUMBER
_PROTOCOL = 1001  # torch.serialization.PROTOCOL_VERSION
_LEGACY_START = 32  # a legacy file has _MAGIC within this number of bytes, in every pickle protocol


@dataclass(frozen=True, slots=True)
class Container:
    """An open checkpoint file.

    Args:
        file: the open file, at any position.
        size: bytes of the file.
        content: the unpickled value; for safetensors, a mapping of names to tensors.
        places: key of a storage -> its byte range in the file; empty for safetensors.
    """

    file: BufferedReader
    size: int
    content: Any
    places: Mapping[str, slice]

    def read_elements(self, storage: Storage, dtype: torch.dtype) -> Tensor:
        """Read the elements of a storage from the file into a new tensor (numel,).

        Raises:
            WeightsError: the file does not contain these bytes.
        """
        place = self.places.get(storage.key, slice(0, 0))
        start = place.start + storage.offset * dtype.itemsize
        length = storage.numel * dtype.itemsize
        if start + length > place.stop:
            raise explain_missing(storage.key)
        elements = torch.empty(storage.numel, dtype=dtype, device="cpu")
        self.file.seek(start)
        if self.file.readinto(elements.view(torch.uint8).numpy().data) < length:
            raise explain_missing(storage.key)
        return elements


@contextmanager
def open_container(path: Path, encoding: str) -> Iterator[Container]:
    """Open a checkpoint file of any format.

    Args:
        path: the checkpoint file.
        encoding: text encoding of byte strings that Python 2 pickled.

    Raises:
        WeightsError: the file has no known format, or is damaged.
        OSError: the file cannot be read.
        Exception: almost any other error, from ``zipfile``, ``pickle`` or ``torch``, if the file is damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(HEAD)
        kind = detect_container(start, size)
        if kind == "zip":
            yield _open_zip(file, size, encoding)
        elif kind == "legacy":
            yield _open_legacy(file, size, encoding)
        elif kind == "safetensors":
            yield Container(file, size, read_safetensors(path), {})
        else:
            raise _explain_unknown(start)


def detect_container(start: bytes, size: int) -> Literal["zip", "legacy", "safetensors"] | None:
    """Recognise the format of a file by its first bytes and its size; None for an unknown format.

    Args:
        start: the first `HEAD` bytes of the file, or all bytes of a shorter file.
        size: bytes of the file.
    """
    if start.startswith(_ZIP):
        return "zip"
    if start.startswith(b"\x80") and _MAGIC.to_bytes(10, "little") in start[:_LEGACY_START]:
        return "legacy"
    return "safetensors" if is_safetensors(start, size) else None


def _open_zip(file: BufferedReader, size: int, encoding: str) -> Container:
    """Open a zip archive, which contains the file ``data.pkl`` and one file for each storage, all uncompressed."""
    with zipfile.ZipFile(file) as archive:
        records = _list_records(archive)
        if is_torchscript(records):
            raise WeightsError("it is a TorchScript program, which is not run", hint=STATE_DICT)
        if "data.pkl" not in records:
            raise WeightsError("it is a zip archive, but not one of torch.save", hint=STATE_DICT)
        _check_records(archive, size)
        if "byteorder" in records and archive.read(records["byteorder"]) != b"little":
            raise WeightsError("it was written on a big-endian machine")
    pickled = _find_record(file, size, records["data.pkl"])
    data = {name.removeprefix("data/"): info for name, info in records.items() if name.startswith("data/")}
    places = {key: _find_record(file, size, info) for key, info in data.items()}
    storages = Storages()
    content = read_pickle(file, pickled.start, encoding, persistent=storages).value
    storages.check_sizes(places)
    return Container(file, size, content, places)


def is_torchscript(records: Collection[str]) -> bool:
    """Return True if these files are those of a TorchScript program.

    Args:
        records: paths of the files in a zip archive, below its top folder.
    """
    return "constants.pkl" in records or any(name.startswith("code/") for name in records)


def _list_records(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """List the files in a zip archive with one top folder: path below this folder -> file."""
    infos = archive.infolist()
    names = [info.filename.partition("/")[2] for info in infos]
    folders = {info.filename.partition("/")[0] for info in infos}
    if len(folders) != 1 or len(set(names)) != len(names):
        raise WeightsError("it is a zip archive, but not one of torch.save", hint=STATE_DICT)
    return dict(zip(names, infos, strict=True))


def _check_records(archive: zipfile.ZipFile, size: int) -> None:
    """Check that all files in a zip archive of ``size`` bytes are intact and uncompressed."""
    infos = archive.infolist()
    if any(info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size for info in infos):
        raise WeightsError("its records are compressed, which torch.save never does")
    if sum(info.file_size for info in infos) > size:
        raise WeightsError("its records are longer than the file")
    if (damaged := archive.testzip()) is not None:
        raise WeightsError(f"record {damaged[:60]!r} is damaged: its CRC-32 is wrong", hint=AGAIN)


def _find_record(file: BufferedReader, size: int, info: zipfile.ZipInfo) -> slice:
    """Return the range of bytes in the zip archive ``file`` that has the content of one file in the archive."""
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER)
    start = info.header_offset + _LOCAL_HEADER + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    if not header.startswith(_ZIP) or start + info.file_size > size:
        raise WeightsError(f"record {info.filename[:60]!r} is damaged", hint=AGAIN)
    return slice(start, start + info.file_size)


def _open_legacy(file: BufferedReader, size: int, encoding: str) -> Container:
    """Open a legacy file, which contains five pickles, then for each storage the number of elements and the bytes."""
    at, parts = 0, []
    storages = Storages()
    for persistent in (None, None, None, storages, None):
        part = read_pickle(file, at, encoding, persistent=persistent)
        parts.append(part.value)
        at = part.end
    magic, protocol, system, content, keys = parts
    if (magic, protocol) != (_MAGIC, _PROTOCOL):
        raise WeightsError(f"it has another version of the legacy format than {_PROTOCOL}")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise WeightsError("it was written on a big-endian machine")
    places = dict(_find_storages(file, slice(at, size), keys, storages.element_sizes))
    storages.check_sizes(places)
    return Container(file, size, content, places)


def _find_storages(
    file: BufferedReader, place: slice, keys: Any, element_sizes: Mapping[str, int]
) -> Iterator[tuple[str, slice]]:
    """Yield the key and the byte range of each storage in a legacy file; ``place`` is the range of all storages.

    Raises:
        WeightsError: the file ends before the last storage does.
    """
    at = place.start
    for key in keys:
        file.seek(at)
        start = at + 8
        at = start + int.from_bytes(file.read(8), "little") * element_sizes[key]
        if at > place.stop:
            raise WeightsError(f"it is cut short: it ends at {place.stop} bytes, within its tensors", hint=AGAIN)
        yield key, slice(start, at)


def _explain_unknown(start: bytes) -> WeightsError:
    try:
        list(refuse_pages(iter([start])))
    except IntegrityError as error:
        return WeightsError(error.message, hint=AGAIN)
    if start.startswith(b"\x80"):
        return WeightsError("it is a pickle, but not one of torch.save", hint=STATE_DICT)
    if start[257:262] == b"ustar":
        return WeightsError("it is a tar archive, which PyTorch wrote before 0.1.10", hint=STATE_DICT)
    return WeightsError("it has none of the formats of checkpoints")


STATE_DICT = "in the program that made the file, save the state dict alone: torch.save(model.state_dict(), path)"
"""Hint for a file with an object that only running code can create."""
