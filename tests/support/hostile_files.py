"""Makes malicious and damaged checkpoint files; each has a name that describes it."""

import io
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


class Call:
    """An object whose pickle calls a function when it is loaded."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.parts = function, arguments

    def __reduce__(self) -> Any:
        return self.parts


def weights() -> OrderedDict[str, torch.Tensor]:
    """Make a small state dict; it is always the same."""
    generator = torch.Generator().manual_seed(5)
    names = {"conv.weight": (4, 3, 3, 3), "bn.running_mean": (4,), "classifier.weight": (7, 4)}
    tensors = OrderedDict((name, torch.randn(shape, generator=generator)) for name, shape in names.items())
    tensors["bn.num_batches_tracked"] = torch.tensor(12)
    return tensors


def saved(value: Any, *, legacy: bool = False, protocol: int = 2) -> bytes:
    """Return the bytes that `torch.save` writes for a value."""
    file = io.BytesIO()
    torch.save(value, file, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def zip_of(records: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED, folder: str = "archive/") -> bytes:
    """Make a zip archive with some records (name -> content)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in records.items():
            archive.writestr(folder + name, data)
    return file.getvalue()


def zip_with(pickled: bytes, **data: bytes) -> bytes:
    """Make a checkpoint in zip format from a pickle; a keyword ``s0=bytes`` is the content of the storage ``0``."""
    return zip_of({"data.pkl": pickled, **{f"data/{key[1:]}": value for key, value in data.items()}})


def legacy_with(*pickles: bytes, rest: bytes = b"") -> bytes:
    """Make a file in torch's old format, which has five pickles and then ``rest``.

    ``pickles`` are the first of the five; the others are valid ones.
    """
    parts: tuple[Any, ...] = (MAGIC, PROTOCOL, SYSTEM, OrderedDict(), [])
    usual = [pickle.dumps(part, 2) for part in parts]
    return b"".join([*pickles, *usual[len(pickles) :]]) + rest


def tensor_pickle(size: tuple[int, ...], stride: tuple[int, ...], *, offset: int = 0, numel: int = 16) -> bytes:
    """Make the pickle of a state dict with one float32 tensor; its size, stride and other numbers may be wrong."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    parts = [b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n(", storage, _number(numel), b"tQ"]
    shape = [_number(offset), b"(", *map(_number, size), b"t(", *map(_number, stride), b"t\x89"]
    return b"".join([*parts, *shape, b"ccollections\nOrderedDict\n)RtRs."])


def _number(value: int) -> bytes:
    data = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def hostile_files(marker: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each file; if loading a file runs its code, ``marker`` is created."""
    yield from _with_code(marker)
    yield from _bombs()
    yield from _impossible_tensors()
    yield from _other_things()


def _with_code(marker: Path) -> Iterator[tuple[str, bytes]]:
    touch = Call(os.mknod, str(marker))
    code = pickle.dumps(touch, 2)
    yield "code in the pickle of a zip", zip_with(code)
    yield "code beside the weights of a zip", saved({"state_dict": weights(), "args": touch})
    yield "code beside the weights of a legacy file", saved({"state_dict": weights(), "args": touch}, legacy=True)
    yield "code at pickle protocol 4", saved({"state_dict": weights(), "args": touch}, protocol=4)
    for place, part in enumerate(("magic number", "protocol", "system", "content", "list of storages")):
        usual = [pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL, SYSTEM, weights_without_data())]
        yield f"code in the {part} of a legacy file", legacy_with(*usual[:place], code)
    yield "code through exec", zip_with(pickle.dumps(Call(exec, f"open({str(marker)!r}, 'w')"), 2))
    yield "code through getattr", zip_with(b"\x80\x02c__builtin__\ngetattr\ncos\nmknod\nX\x01\x00\x00\x00x\x86R.")
    yield "code named by its path", zip_with(b"\x80\x04\x8c\x0ereidhub.digest\x8c\x0bhashlib.new\x93\x8c\x03md5\x85R.")
    yield "code in an extension", zip_with(b"\x80\x02\x82\x01)R.")
    yield "code in the opcodes of old classes", zip_with(b"(S'x'\nios\nmknod\n.")
    yield "code in a plain pickle", code
    for name in ("FloatStorage", "float32", "Size"):
        changed = b"\x80\x02}X\x01\x00\x00\x00wctorch\n" + name.encode() + b"\nctorch\nfloat64\n\x85bs."
        yield f"a change of the class torch.{name}", zip_with(changed)
    yield "a whole module", saved(nn.Sequential(nn.Linear(2, 2)))
    yield "a whole module in a legacy file", saved(nn.Sequential(nn.Linear(2, 2)), legacy=True)


def weights_without_data() -> Any:
    """Make an empty state dict, which needs no storages."""
    return OrderedDict()


def _bombs() -> Iterator[tuple[str, bytes]]:
    yield "a compressed zip", zip_of({"data.pkl": pickle.dumps({}, 2), "data/0": bytes(3 << 30 >> 4)}, compression=8)
    yield "overlapping records", _overlapping()
    deep = b"\x80\x02}" + b")" + b"\x85" * 1_000_000 + b"K\x01s."
    yield "a tuple of a million levels as a key", zip_with(deep)
    yield "a deep tuple in a legacy file", legacy_with(*(pickle.dumps(p, 2) for p in (MAGIC, PROTOCOL, SYSTEM)), deep)
    yield "a memo of 60 GB", zip_with(b"\x80\x02}r\xff\xff\xff\xff.")
    yield "ten million lists", zip_with(b"\x80\x02(" + b"]" * 10_000_000 + b"t.")
    hexed = b"\x80\x02c_codecs\nencode\nq\x00X\x01\x00\x00\x00aX\x06\x00\x00\x00latin1\x86R"
    again = b"q\x01h\x00h\x01X\x03\x00\x00\x00hex\x86R"
    yield "bytes that double forty times", zip_with(hexed + again * 40 + b".")
    yield (
        "a bytearray of a terabyte",
        zip_with(b"\x80\x02}X\x01\x00\x00\x00wc__builtin__\nbytearray\n" + _number(1 << 40) + b"\x85Rs."),
    )
    pairs = b"]q\x00(" + b"".join(b"X\x05\x00\x00\x00%05dK\x01\x86" % n for n in range(20_000)) + b"e0"
    copies = b"(" + b"h\x02h\x00\x85R" * 20_000 + b"t."
    yield "a mapping copied 20,000 times", zip_with(b"\x80\x02ccollections\nOrderedDict\nq\x020" + pairs + copies)
    one = tensor_pickle((16,), (1,))
    head, tail = one[:-2], b"q\x05"
    names = b"".join(b"X\x06\x00\x00\x00%06dh\x05" % n for n in range(200_000))
    yield "one tensor under 200,000 names", zip_with(head + tail + b"s(" + names + b"u.", s0=bytes(64))
    yield (
        "a name of seven million letters",
        zip_with(
            one.replace(b"X\x01\x00\x00\x00w", b"X" + struct.pack("<I", 7_000_000) + b"module." * 1_000_000),
            s0=bytes(64),
        ),
    )


def _overlapping() -> bytes:
    """Make a zip file whose directory lists the same megabyte a thousand times."""
    data = zip_with(pickle.dumps({}, 2), s0=bytes(1 << 20))
    end = data.rindex(b"PK\x05\x06")
    start = struct.unpack("<I", data[end + 16 : end + 20])[0]
    entry = data[data.rindex(b"PK\x01\x02", start, end) : end]
    longer = entry[:28] + struct.pack("<H", len("archive/data/000")) + entry[30:]
    directory = data[start:end] + b"".join(longer.replace(b"data/0", b"data/%03d" % n) for n in range(998))
    return data[:start] + directory + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1000, 1000, len(directory), start, 0)


def _impossible_tensors() -> Iterator[tuple[str, bytes]]:
    huge = 1 << 38
    yield "a stride of 0", zip_with(tensor_pickle((huge,), (0,)), s0=bytes(64))
    yield "a stride of 0 that fits twice", zip_with(tensor_pickle((32,), (0,)), s0=bytes(64))
    yield "a tensor beyond its storage", zip_with(tensor_pickle((4, 5), (5, 1)), s0=bytes(64))
    yield "a tensor before its storage", zip_with(tensor_pickle((4,), (1,), offset=-8), s0=bytes(64))
    yield "a negative stride", zip_with(tensor_pickle((4,), (-1,), offset=8), s0=bytes(64))
    yield "a negative size", zip_with(tensor_pickle((-4,), (1,)), s0=bytes(64))
    yield "a storage larger than its record", zip_with(tensor_pickle((huge,), (1,), numel=huge), s0=bytes(64))
    yield "a storage that is missing", zip_with(tensor_pickle((16,), (1,)))
    yield "a storage that claims more than its record", zip_with(tensor_pickle((4,), (1,), numel=99), s0=bytes(64))
    yield "33 dimensions", zip_with(tensor_pickle((1,) * 33, (1,) * 33), s0=bytes(64))
    three = [pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, SYSTEM)]
    keys = pickle.dumps(["0"], 2)
    claim = tensor_pickle((huge,), (1,), numel=huge)
    yield "a legacy storage of a terabyte", legacy_with(*three, claim, keys, rest=struct.pack("<q", huge) + bytes(64))
    yield (
        "a legacy storage of negative length",
        legacy_with(*three, claim, keys, rest=struct.pack("<q", -4) + bytes(64)),
    )
    yield "NaN", saved({"w": torch.tensor([1.0, float("nan")])})
    yield "infinity in a legacy file", saved({"w": torch.tensor([float("inf")])}, legacy=True)
    yield "complex numbers", saved({"w": torch.ones(2, dtype=torch.complex64)})
    yield "a sparse tensor", saved({"w": torch.eye(3).to_sparse()})
    yield "a tensor without data", saved({"w": torch.empty(3, device="meta")})
    with warnings.catch_warnings(action="ignore"):  # deprecated since PyTorch 2.14, but old files have them
        yield "a quantized tensor", saved({"w": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)})


def _other_things() -> Iterator[tuple[str, bytes]]:
    code = {"code/__torch__.py": b"def forward(self): ...", "constants.pkl": pickle.dumps((), 2)}
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        program = zip_of({**code, "data.pkl": pickle.dumps({}, 2), "version": b"3"}, compression=compression)
        yield f"TorchScript with compression {compression}", program
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    yield "a tar archive", tar.getvalue()
    yield "nothing", b""
    yield "a page", b"<!DOCTYPE html><html><head><title>Quota exceeded</title></head></html>"
    yield "a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 10910553\n"
    yield "noise", bytes(range(256)) * 40
    yield "zeros", bytes(4096)
    yield "an empty mapping", saved({})
    yield "a list of tensors", saved([torch.ones(2)])
    yield "a single tensor", saved(torch.ones(2))
    yield "numbers alone", saved({"epoch": 3, "rank1": 0.9})
    yield "two mappings of tensors", saved({"student": weights(), "teacher": weights()})
    yield "names that are no texts", saved({3: torch.ones(2)})
    yield "a safetensors header that lies", struct.pack("<Q", 1 << 20) + b'{"w":{' + bytes(1 << 20)
    entry = '"%d":{"dtype":"F32","shape":[%s],"data_offsets":[0,0]}'
    yield "300,000 names in a safetensors header", _safetensors(",".join(entry % (n, 0) for n in range(300_000)))
    yield "20,000 dimensions in a safetensors header", _safetensors(entry % (0, "0" + ",1" * 20_000))
    record = saved(weights())
    yield "another protocol of the legacy format", legacy_with(pickle.dumps(MAGIC, 2), pickle.dumps(1000, 2))
    big = pickle.dumps({**SYSTEM, "little_endian": False}, 2)
    yield "a big-endian legacy file", legacy_with(pickle.dumps(MAGIC, 2), pickle.dumps(PROTOCOL, 2), big)
    yield "a big-endian zip", record.replace(b"little", b"bigend")
    yield "two folders in a zip", zip_of({"a/data.pkl": b"", "b/data.pkl": b""}, folder="")
    yield "a zip of documents", zip_of({"word/document.xml": b"<w/>"}, folder="doc/")


def _safetensors(entries: str) -> bytes:
    """Make a safetensors file without data."""
    header = f"{{{entries}}}".encode()
    return struct.pack("<Q", len(header)) + header
