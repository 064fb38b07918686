"""The file formats of checkpoints: zip (PyTorch 1.6 and later), legacy (before 1.6), safetensors.

Each offset or length in a file is compared with the size of the file before it is used for reading.
"""

import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from torch import Tensor

from reidhub.errors import IntegrityError, WeightsError
from reidhub.files.sniff import HEAD, refuse_pages
from reidhub.weights.unpickler import Storage, StorageType, read_pickle

_ZIP = b"PK\x03\x04"
_LOCAL_HEADER = 30  # bytes of the header before the file name, section 4.3.7 of the zip specification
_MAGIC = 0x1950A86A20F9469CFC6C  # legacy files: torch.serialization.MAGIC_NUMBER
_PROTOCOL = 1001  # torch.serialization.PROTOCOL_VERSION
_LEGACY_START = 32  # a legacy file has _MAGIC within this number of bytes, in every pickle protocol
_LONGEST_HEADER = 100_000_000  # bytes; the limit in the safetensors format
_SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True, slots=True)
class Container:
    """An open checkpoint file.

    Args:
        file: the open file, at any position.
        size: bytes of the file.
        content: the unpickled value; for safetensors, a mapping of names to tensors.
        places: key of a storage -> its byte range in the file; empty for safetensors.
    """

    file: BinaryIO
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
        if place.stop > self.size:
            raise WeightsError(f"it is cut short: it ends at {self.size} bytes, within its tensors", hint=_AGAIN)
        if start + length > place.stop:
            raise WeightsError(f"the bytes of storage {storage.key[:40]!r} are missing, or too few", hint=_AGAIN)
        self.file.seek(start)
        return torch.frombuffer(bytearray(self.file.read(length)), dtype=dtype)


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
    return "safetensors" if _is_safetensors(start, size) else None


def _open_zip(file: BinaryIO, size: int, encoding: str) -> Container:
    """Open a zip archive, which contains the file ``data.pkl`` and one file for each storage, all uncompressed."""
    with zipfile.ZipFile(file) as archive:
        records = _read_records(archive, size)
        if "constants.pkl" in records or any(name.startswith("code/") for name in records):
            raise WeightsError("it is a TorchScript program, which is not run", hint=_STATE_DICT)
        if "data.pkl" not in records:
            raise WeightsError("it is a zip archive, but not one of torch.save", hint=_STATE_DICT)
        if "byteorder" in records and archive.read(records["byteorder"]) != b"little":
            raise WeightsError("it was written on a big-endian machine")
    pickled = _find_record(file, size, records["data.pkl"])
    content = read_pickle(file, pickled.start, encoding, persistent=_parse_storage).value
    data = {name.removeprefix("data/"): info for name, info in records.items() if name.startswith("data/")}
    return Container(file, size, content, {key: _find_record(file, size, info) for key, info in data.items()})


def _read_records(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Check that all files in a zip archive are intact and uncompressed; return path below the top folder -> file."""
    infos = archive.infolist()
    names = [info.filename.partition("/")[2] for info in infos]
    folders = {info.filename.partition("/")[0] for info in infos}
    if len(folders) != 1 or len(set(names)) != len(names):
        raise WeightsError("it is a zip archive, but not one of torch.save", hint=_STATE_DICT)
    if any(info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size for info in infos):
        raise WeightsError("its records are compressed, which torch.save never does")
    if sum(info.file_size for info in infos) > size:
        raise WeightsError("its records are longer than the file")
    if (damaged := archive.testzip()) is not None:
        raise WeightsError(f"record {damaged[:60]!r} is damaged: its CRC-32 is wrong", hint=_AGAIN)
    return dict(zip(names, infos, strict=True))


def _find_record(file: BinaryIO, size: int, info: zipfile.ZipInfo) -> slice:
    """Return the range of bytes in the zip archive ``file`` that has the content of one file in the archive."""
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER)
    start = info.header_offset + _LOCAL_HEADER + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    if not header.startswith(_ZIP) or start + info.file_size > size:
        raise WeightsError(f"record {info.filename[:60]!r} is damaged", hint=_AGAIN)
    return slice(start, start + info.file_size)


def _open_legacy(file: BinaryIO, size: int, encoding: str) -> Container:
    """Open a legacy file, which contains five pickles, then for each storage the number of elements and the bytes."""
    at, parts = 0, []
    storages = _LegacyStorages()
    for persistent in (None, None, None, storages, None):
        part = read_pickle(file, at, encoding, persistent=persistent)
        parts.append(part.value)
        at = part.end
    magic, protocol, system, content, keys = parts
    if (magic, protocol) != (_MAGIC, _PROTOCOL):
        raise WeightsError(f"it has another version of the legacy format than {_PROTOCOL}")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise WeightsError("it was written on a big-endian machine")
    return Container(file, size, content, dict(_find_storages(file, at, keys, storages.widths)))


class _LegacyStorages:
    """Converts a legacy file's references to storages into `Storage`, and records the size of their elements.

    Attributes:
        widths: key of a storage -> bytes of one element.
    """

    def __init__(self) -> None:
        self.widths: dict[str, int] = {}

    def __call__(self, pid: Any) -> Storage:
        if isinstance(pid, tuple) and pid and pid[0] == "module":
            raise WeightsError("it holds a whole module, which only running code can create", hint=_STATE_DICT)
        storage = _parse_storage(pid[:5])
        if storage.dtype is None:
            raise WeightsError("a storage has no dtype")
        self.widths[storage.key] = storage.dtype.itemsize
        view = pid[5] if len(pid) > 5 else None
        if view is None:
            return storage
        _, offset, numel = view
        if not (_is_count(offset) and _is_count(numel) and offset + numel <= storage.numel):
            raise WeightsError("a view lies outside its storage")
        return Storage(storage.key, storage.dtype, offset, numel)


def _parse_storage(pid: Any) -> Storage:
    """Convert a pickle's reference ``("storage", type, key, device, elements)`` into a `Storage`."""
    kind, storage_type, key, _, numel = pid
    fits = kind == "storage" and isinstance(storage_type, StorageType) and isinstance(key, str) and _is_count(numel)
    if not fits:
        raise WeightsError("the pickle refers to bytes in an unknown way")
    return Storage(key, storage_type.dtype, 0, numel)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _find_storages(file: BinaryIO, at: int, keys: Any, widths: Mapping[str, int]) -> Iterator[tuple[str, slice]]:
    for key in keys:
        file.seek(at)
        numel = int.from_bytes(file.read(8), "little")
        place = slice(at + 8, at + 8 + numel * widths[key])
        yield key, place
        at = place.stop


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file; they share one block of memory.

    Raises:
        WeightsError: the file is damaged, or cannot be read, for example because it was removed meanwhile.
    """
    from safetensors import SafetensorError

    try:
        return _read_tensors(path)
    except SafetensorError as error:
        raise WeightsError(f"it is damaged: {error}", hint=_AGAIN) from error
    except (OSError, ValueError, RuntimeError) as error:  # the last two are raised if the file was changed meanwhile
        raise WeightsError(f"it cannot be read: {error}", hint=_AGAIN) from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the same as ``safetensors.torch.load_file``, in a quarter of the time.

    ``offset_keys`` of the safetensors library gives the names of the tensors in the order of the file. The tensors
    follow the header without gaps; the library checks this.
    """
    from safetensors import safe_open

    tensors = {}
    with path.open("rb") as file, safe_open(path, framework="np") as header:
        state = os.fstat(file.fileno())
        if not os.path.samestat(state, path.stat()):
            raise WeightsError("another file replaced it while it was read", hint="read it again")
        memory = bytearray(state.st_size)
        if file.readinto(memory) < len(memory):
            raise WeightsError("it became shorter while it was read", hint="read it again")
        at = 8 + int.from_bytes(memory[:8], "little")
        for name in header.offset_keys():
            entry = header.get_slice(name)
            shape, kind = entry.get_shape(), entry.get_dtype()
            dtype = _SAFETENSORS_DTYPES.get(kind)
            if dtype is None:
                raise WeightsError(f"tensor {name!r} is of the type {kind}, which no weights of the zoo have")
            numel = math.prod(shape)
            empty = torch.empty(0, dtype=dtype, device="cpu")
            tensor = torch.frombuffer(memory, dtype=dtype, count=numel, offset=at) if numel else empty
            tensors[name] = tensor.view(shape)
            at += numel * dtype.itemsize
    return tensors


def _is_safetensors(start: bytes, size: int) -> bool:
    length = int.from_bytes(start[:8], "little")
    return start[8:9] == b"{" and 2 <= length <= min(size - 8, _LONGEST_HEADER)


def _explain_unknown(start: bytes) -> WeightsError:
    try:
        list(refuse_pages(iter([start])))
    except IntegrityError as error:
        return WeightsError(error.message, hint=_AGAIN)
    if start.startswith(b"\x80"):
        return WeightsError("it is a pickle, but not one of torch.save", hint=_STATE_DICT)
    if start[257:262] == b"ustar":
        return WeightsError("it is a tar archive, which PyTorch wrote before 0.1.10", hint=_STATE_DICT)
    return WeightsError("it has none of the formats of checkpoints")


_STATE_DICT = "save the state dict alone with the program it came from: torch.save(model.state_dict(), path)"
_AGAIN = "fetch the file again"
