"""Mutates checkpoint files at random, and reads each mutated file in this process under watch.

``python -m support.mutated_files SEED COUNT FOLDER`` prints a line of JSON for each file that did not end as it
should, and a last line with the counts. ``FOLDER`` keeps the file that is being read, also if the process dies.
"""

import argparse
import codecs
import io
import json
import os
import pickletools
import random
import resource
import sys
import time
import warnings
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

import reidhub
from reidhub.errors import WeightsError
from support.hostile_files import saved, weights, zip_of
from support.paths import SHARED

MOST_MB = 512  # above a process with torch loaded
MOST_SECONDS = 5
HARMLESS = ("builtins.id", "object.__getattr__", "mmap.__new__")  # events of reading itself
OPEN_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

NUMBERS = (0, 1, 2, 31, 33, 255, 1 << 15, (1 << 31) - 1, 1 << 32, (1 << 62) - 1, (1 << 63) - 1, (1 << 64) - 1)
GLOBALS = (
    *("posix system", "builtins eval", "builtins getattr", "builtins bytearray", "__main__ Net", "builtins dict"),
    *("collections OrderedDict", "torch FloatStorage", "torch DoubleStorage", "torch QInt8Storage", "torch float64"),
    *("torch.storage UntypedStorage", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3"),
    *("torch._utils _rebuild_parameter", "torch._tensor _rebuild_from_type_v2", "torch._utils _rebuild_qtensor"),
    *("torch Size", "_codecs encode", "numpy dtype", "numpy.core.multiarray _reconstruct", "pathlib PosixPath"),
)
OPCODES = (
    b"0",
    b"1",
    b"2",
    b"(",
    b")",
    b"}",
    b"]",
    b"R",
    b"b",
    b"a",
    b"e",
    b"s",
    b"u",
    b"t",
    b"\x81",
    b"\x85",
    b"N",
    b"Q",
)


@dataclass
class Trainer:
    """An object that a trainer saves beside the weights."""

    name: str
    options: dict[str, Any]


def make_bases() -> list[bytes]:
    """Make files of every format and content; they are small, so that a mutation hits each part of them."""
    beside = {"epoch": 3, "rank1": np.float64(0.9), "where": Path("/x"), "args": argparse.Namespace(lr=0.1)}
    trained = {"state_dict": weights(), **beside, "trainer": Trainer("a", {"b": [1, (2, {3})]})}
    arrays = {"w": np.arange(6, dtype="<f4").reshape(2, 3), "f": np.asfortranarray(np.ones((2, 2)))}
    views = {"t": torch.arange(24.0).view(4, 6).T, "part": torch.arange(24.0)[3:9], "one": torch.tensor(2)}
    made = [
        saved(content, legacy=legacy) for content in (weights(), trained, arrays, views) for legacy in (False, True)
    ]
    made += [saved(trained, protocol=4), saved(trained, legacy=True, protocol=5), save(dict(weights()))]
    return [*made, *(path.read_bytes() for path in sorted((SHARED / "checkpoint_files").glob("*.tar")))]


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Return a mutated copy of a file: of any of its bytes, or of the part that describes the tensors."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        data = chance.choice((_mutate_bytes, _mutate_description, _mutate_description))(data, chance)
    return data


def _mutate_bytes(data: bytes, chance: random.Random) -> bytes:
    """Flip, overwrite, cut out, repeat or insert bytes, or cut the end."""
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + chance.choice((1, 1, 2, 4, 8, 64, 1000)))
    number = chance.choice(NUMBERS).to_bytes(8, "little")
    return chance.choice(
        (
            data[:at] + bytes(byte ^ (1 << chance.randrange(8)) for byte in data[at:end]) + data[end:],
            data[:at] + chance.randbytes(end - at) + data[end:],
            data[:at] + number + data[at + 8 :],
            data[:at] + data[end:],
            data[:end] + data[at:],
            data[:at] + chance.randbytes(4) + data[at:],
            data[:at],
        )
    )


def _mutate_description(data: bytes, chance: random.Random) -> bytes:
    """Mutate the pickle of a zip, with a right checksum, a pickle of a legacy file, or the header of a safetensors."""
    if data.startswith(b"PK"):
        return _mutate_zip(data, chance)
    if data[8:9] == b"{":
        length = int.from_bytes(data[:8], "little")
        header = _mutate_header(data[8 : 8 + length], chance)
        return len(header).to_bytes(8, "little") + header + data[8 + length :]
    return _mutate_pickle(data, chance)


def _mutate_zip(data: bytes, chance: random.Random) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            records = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # an earlier mutation has broken the archive
        return _mutate_bytes(data, chance)
    name = next((name for name in records if name.endswith("data.pkl")), None)
    if name is None:
        return _mutate_bytes(data, chance)
    if chance.random() < 0.1:  # another record, or another name for one
        name = chance.choice(list(records))
        records[chance.choice([name, name + "x", "archive/code/x.py"])] = records.pop(name)[: chance.randrange(100)]
    else:
        records[name] = _mutate_pickle(records[name], chance)
    with warnings.catch_warnings(action="ignore"):  # of names that occur twice
        return zip_of(records, folder="")


def _mutate_pickle(data: bytes, chance: random.Random) -> bytes:
    """Delete, repeat, insert or exchange whole opcodes of the pickles at the start of the data."""
    starts = _find_opcodes(data)
    if len(starts) < 3:
        return _mutate_bytes(data, chance)
    first, last = sorted(chance.sample(range(len(starts) - 1), 2))
    at, end = starts[first], starts[first + 1]
    other, other_end = starts[last], starts[last + 1]
    named = b"c" + chance.choice(GLOBALS).replace(" ", "\n").encode() + b"\n"
    number = b"\x8a\x09" + chance.choice(NUMBERS).to_bytes(9, "little", signed=True)
    return chance.choice(
        (
            data[:at] + data[end:],
            data[:end] + data[at:],
            data[:at] + data[other:other_end] + data[end:],
            data[:at] + data[other:other_end] + data[end:other] + data[at:end] + data[other_end:],
            data[:at] + chance.choice((named, number, chance.choice(OPCODES))) + data[end:],
            data[:at] + chance.choice((named, number, chance.choice(OPCODES))) + data[at:],
            data[:at] + named + b")\x85b" + data[at:],  # changes the object of this name
            data[:at] + named + b"N}X\x0c\x00\x00\x00__defaults__)s\x86b" + data[at:],
        )
    )


def _find_opcodes(data: bytes) -> list[int]:
    starts: list[int] = []
    stream = io.BytesIO(data)
    try:
        while stream.tell() < len(data):
            starts += [at for _, _, at in pickletools.genops(stream) if at is not None]
    except Exception:  # behind the last pickle of a legacy file, or in a broken one
        pass
    return starts


def _mutate_header(header: bytes, chance: random.Random) -> bytes:
    try:
        entries = json.loads(header)
        name = chance.choice([name for name in entries if name != "__metadata__"])
        entry, other = entries[name], chance.choice(list(entries))
        change: Callable[[], Any] = chance.choice(
            (
                lambda: entry["shape"].append(chance.choice(NUMBERS)),
                lambda: entry.update(shape=[1] * chance.choice((0, 32, 33, 5000))),
                lambda: entry.update(dtype=chance.choice(("F64", "F8_E4M3", "C64", "BOOL", "X", 3))),
                lambda: entry.update(data_offsets=chance.choice(([0, 0], [-1, 4], [4, 0], [0, 1 << 60], entries))),
                lambda: entries.pop(name),
                lambda: entries.update({other: entry, "x" * chance.choice((1, 1001)): entry}),
            )
        )
        change()
        return json.dumps(entries).encode()
    except Exception:  # no longer JSON, or without entries
        return _mutate_bytes(header, chance)


class Watch:
    """Lists what Python does while it is active, except reading files."""

    def __init__(self) -> None:
        self.active = False
        self.events: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        reads = event == "open" and not (isinstance(arguments[2], int) and arguments[2] & OPEN_TO_WRITE)
        if not reads and event not in HARMLESS:
            self.events.append(f"{event} {arguments!r}"[:200])


def find_faults(path: Path, watch: Watch, size: int) -> tuple[str, list[str]]:
    """Read a file.

    Returns:
        ``read``, ``refused`` or another error; and all that is wrong with the result, with what happened meanwhile, or
        with the time it took.
    """
    watch.events.clear()
    start = time.process_time()
    tensors, outcome = {}, "read"
    watch.active = True
    try:
        tensors = reidhub.read_weights(path)
    except WeightsError:
        outcome = "refused"
    except BaseException as error:
        outcome = f"wrong error {error!r}"[:300]
    watch.active = False
    faults = [*watch.events, *(_find_flaws(tensors, size) if outcome == "read" else ())]
    if outcome not in ("read", "refused"):
        faults.append(outcome)
    if (seconds := time.process_time() - start) > MOST_SECONDS:
        faults.append(f"took {seconds:.1f} s")
    return outcome, faults


def _find_flaws(tensors: dict[str, torch.Tensor], size: int) -> Iterator[str]:
    if not tensors or any(type(name) is not str for name in tensors):
        yield "no names"
    if sum(tensor.nbytes for tensor in tensors.values()) > 2 * size + (1 << 20):
        yield "more bytes than the file can have"
    for name, tensor in tensors.items():
        if tensor.stride() != torch.empty(tensor.shape, device="meta").stride():
            yield f"{name!r} has the strides {tensor.stride()}"
        if tensor.is_floating_point() and not tensor.double().isfinite().all():
            yield f"{name!r} is not finite"


def main(seed: int, count: int, folder: Path) -> None:
    """Read ``count`` mutated files."""
    bases, chance = make_bases(), random.Random(seed)
    file, good = folder / "mutated.pth", [folder / "zip.pth", folder / "legacy.pth"]
    for path, legacy in zip(good, (False, True), strict=True):
        path.write_bytes(saved(OrderedDict(state_dict=weights(), epoch=1), legacy=legacy))
    codecs.lookup("cp437")  # zipfile decodes names with it; its module is imported at the first use
    watch, counts = Watch(), Counter[str]()
    for base in bases:  # the first read of each format imports modules
        file.write_bytes(base)
        counts["bases read"] += find_faults(file, watch, len(base))[0] == "read"
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    counts["bases"] = len(bases)
    for number in range(count):
        data = mutate(chance.choice(bases), chance)
        file.write_bytes(data)
        outcome, faults = find_faults(file, watch, len(data))
        faults += [f"{path.name} is read wrongly afterwards" for path in good if not _is_whole(path)]
        counts[outcome.partition(" ")[0]] += 1
        if faults:
            (folder / f"fault{number}.pth").write_bytes(data)
            sys.stdout.write(json.dumps({"number": number, "faults": faults}) + "\n")
    counts["mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 - most
    sys.stdout.write(json.dumps(counts) + "\n")


def _is_whole(path: Path) -> bool:
    got, want = reidhub.read_weights(path), weights()
    return got.keys() == want.keys() and all(torch.equal(got[name], want[name]) for name in want)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
