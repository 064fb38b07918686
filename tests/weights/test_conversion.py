"""Weights that were read once lie as safetensors beside their file, and are believed only as long as they are whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from support.damaged_json import DAMAGES, replace_content
from support.full_disks import file_size_limit
from support.hostile_files import saved, weights

from reidhub.errors import CacheError, DiskFullError, WeightsError
from reidhub.files.digest import Digest
from reidhub.weights import convert, find_conversion, read_cached_weights
from reidhub.weights.conversion import is_faithful
from reidhub.zoo.artifact import StateDictLayout

LAYOUT = StateDictLayout()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file as the cache has it."""
    content = saved({"state_dict": weights()}, legacy=True)
    path = tmp_path / f"{Digest.of_bytes(content)}.pth"
    path.write_bytes(content)
    return path


def same(got) -> bool:
    return got.keys() == weights().keys() and all(torch.equal(got[name], tensor) for name, tensor in weights().items())


def test_second_read_never_opens_the_pickle(path, monkeypatch):
    convert(path, read_cached_weights(path, LAYOUT), LAYOUT)
    path.write_bytes(b"no longer a checkpoint")

    assert same(read_cached_weights(path, LAYOUT))


def test_converted_file_names_the_original(path):
    converted = convert(path, read_cached_weights(path, LAYOUT), LAYOUT)

    with safe_open(converted, "pt") as file:
        assert file.metadata()["sha256_of_original"] == path.stem
    assert converted.parent == path.parent


def test_weights_of_a_conversion_can_be_changed_without_changing_the_file(path):
    converted = convert(path, read_cached_weights(path, LAYOUT), LAYOUT)
    before = converted.read_bytes()

    read_cached_weights(path, LAYOUT)["conv.weight"].zero_()

    assert converted.read_bytes() == before and same(read_cached_weights(path, LAYOUT))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "missing", "note", "another's"])
def test_converted_file_that_is_not_what_was_written_is_made_anew(path, damage):
    converted = convert(path, read_cached_weights(path, LAYOUT), LAYOUT)
    note = converted.with_suffix(".safetensors.json")
    content = converted.read_bytes()
    if damage == "note":
        note.write_text("{")
    elif damage == "missing":
        converted.unlink()
    elif damage == "another's":
        note.write_text(note.read_text().replace(path.stem, "0" * 64))
    else:
        changed = {"cut": content[:-1], "flip": content[:-1] + bytes([content[-1] ^ 1]), "empty": b""}[damage]
        converted.write_bytes(changed)

    assert find_conversion(path, LAYOUT) is None
    assert same(read_cached_weights(path, LAYOUT))
    assert convert(path, read_cached_weights(path, LAYOUT), LAYOUT).read_bytes() == content
    assert find_conversion(path, LAYOUT) == converted


def test_file_that_was_only_touched_is_hashed_once_and_believed(path, monkeypatch):
    converted = convert(path, read_cached_weights(path, LAYOUT), LAYOUT)
    os.utime(converted)
    hashed = []
    of_file = Digest.of_file
    monkeypatch.setattr(Digest, "of_file", lambda path: hashed.append(path) or of_file(path))

    assert [find_conversion(path, LAYOUT) for _ in range(3)] == [converted] * 3
    assert hashed == [converted]


def test_weights_that_lie_elsewhere_in_the_file_are_not_those_that_were_converted(tmp_path):
    averages = {name: tensor + 1 for name, tensor in weights().items()}
    content = saved({"state_dict": weights(), "ema": averages})
    path = tmp_path / f"{Digest.of_bytes(content)}.pth"
    path.write_bytes(content)
    for layout in (StateDictLayout(root="state_dict"), StateDictLayout(root="ema")):
        convert(path, read_cached_weights(path, layout), layout)

    got = read_cached_weights(path, StateDictLayout(root="ema"))

    assert all(torch.equal(got[name], tensor) for name, tensor in averages.items())


def test_conversion_is_the_same_whoever_makes_it(path):
    first = convert(path, read_cached_weights(path, LAYOUT), LAYOUT).read_bytes()
    find_conversion(path, LAYOUT).unlink()

    assert convert(path, dict(reversed(read_cached_weights(path, LAYOUT).items())), LAYOUT).read_bytes() == first


def test_conversion_has_the_bytes_that_the_safetensors_library_writes(path):
    tensors = read_cached_weights(path, LAYOUT) | {"last": torch.tensor(3)}
    metadata = {"sha256_of_original": path.stem}

    assert convert(path, tensors, LAYOUT).read_bytes() == safetensors.torch.save(tensors, metadata)


def test_tensors_of_every_type_and_of_shared_memory_are_converted(tmp_path):
    kinds = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "uint16", "bool")
    tensors = {kind: torch.arange(3).to(getattr(torch, kind)) for kind in kinds}
    tied = torch.arange(6.0).view(2, 3)
    tensors |= {"none": torch.empty(0, 4), "one": torch.tensor(7), "tied": tied, "tied again": tied, "part": tied[1]}
    content = saved(tensors)
    path = tmp_path / f"{Digest.of_bytes(content)}.pth"
    path.write_bytes(content)

    for given in (tensors, read_cached_weights(path, LAYOUT)):
        converted = convert(path, given, LAYOUT)
        assert is_faithful(path)
        read = safetensors.torch.load_file(converted)
        assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
        converted.unlink()


def test_folder_that_takes_nothing_is_an_error_and_leaves_nothing(path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CacheError, match="No space left"):
        convert(path, read_cached_weights(path, LAYOUT), LAYOUT)

    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("size", [10, 200], ids=["neither fits", "the weights fit, the note on them does not"])
def test_a_full_disk_is_an_error_and_leaves_nothing(size, tmp_path):
    content = saved({"state_dict": {"a": torch.zeros(4)}})
    path = tmp_path / f"{Digest.of_bytes(content)}.pth"
    path.write_bytes(content)
    with pytest.raises(DiskFullError, match="File too large"), file_size_limit(size):
        convert(path, read_cached_weights(path, LAYOUT), LAYOUT)

    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_weights_that_cannot_be_read_are_never_converted(path):
    path.write_bytes(b"<html>")

    with pytest.raises(WeightsError):
        read_cached_weights(path, LAYOUT)


@pytest.mark.parametrize("moment", ["before", "behind"])
def test_conversion_removed_while_it_is_read_leaves_the_original_to_read(path, monkeypatch, moment):
    convert(path, read_cached_weights(path, LAYOUT), LAYOUT)

    def removed(name, *given, **options):
        if moment == "before":
            Path(name).unlink()
        header = safe_open(name, *given, **options)
        Path(name).unlink(missing_ok=True)
        return header

    monkeypatch.setattr(safetensors, "safe_open", removed)

    assert same(read_cached_weights(path, LAYOUT))
    assert find_conversion(path, LAYOUT) is None, "it was removed"


def test_another_file_that_takes_the_place_of_a_conversion_meanwhile_is_not_believed(path, monkeypatch):
    converted = convert(path, read_cached_weights(path, LAYOUT), LAYOUT)
    other = path.with_name("other")
    save_file(dict(zip(weights(), reversed(weights().values()), strict=True)), other)

    def replaced(name, *given, **options):
        other.replace(converted)
        return safe_open(name, *given, **options)

    monkeypatch.setattr(safetensors, "safe_open", replaced)

    assert same(read_cached_weights(path, LAYOUT))


def test_conversion_cut_short_while_it_is_read_leaves_the_original_to_read(path, monkeypatch):
    converted = convert(path, read_cached_weights(path, LAYOUT), LAYOUT)

    def cut(name, *given, **options):
        header = safe_open(name, *given, **options)
        os.truncate(converted, converted.stat().st_size - 8)
        return header

    monkeypatch.setattr(safetensors, "safe_open", cut)

    assert same(read_cached_weights(path, LAYOUT))


def test_weights_outlive_a_conversion_that_is_cut_short_after_it_was_read(path):
    """If the file was mapped into memory, the process would be killed with SIGBUS."""
    converted = convert(path, {"big": torch.ones(100_000)}, LAYOUT)
    code = f"""
import os, sys
from pathlib import Path
from reidhub.weights import read_cached_weights
from reidhub.zoo.artifact import StateDictLayout
tensors = read_cached_weights(Path({str(path)!r}), StateDictLayout())
os.truncate({str(converted)!r}, 100)
print(tensors["big"].sum().item())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "100000.0\n"), done.stderr


def change_value(tensors):
    tensors["conv.weight"][0, 0, 0, 0] += 1


def change_type(tensors):
    tensors["conv.weight"] = tensors["conv.weight"].double()


def remove_tensor(tensors):
    del tensors["bn.running_mean"]


def add_tensor(tensors):
    tensors["more"] = torch.ones(1)


@pytest.mark.parametrize("change", [change_value, change_type, remove_tensor, add_tensor])
def test_a_conversion_forged_together_with_its_note_is_not_faithful(path, change):
    tensors = read_cached_weights(path, LAYOUT)
    convert(path, tensors, LAYOUT)
    assert is_faithful(path)
    find_conversion(path, LAYOUT).unlink()
    change(tensors)
    convert(path, tensors, LAYOUT)

    assert find_conversion(path, LAYOUT), "loading a model believes the note"
    assert not is_faithful(path)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_note_with_any_other_content_is_no_note(path, damage):
    converted = convert(path, read_cached_weights(path, LAYOUT), LAYOUT)
    replace_content(converted.with_suffix(".safetensors.json"), damage)

    assert find_conversion(path, LAYOUT) is None
    assert not is_faithful(path)
    assert same(read_cached_weights(path, LAYOUT))


def test_many_processes_convert_one_file_at_once(path):
    code = f"""
from pathlib import Path
from reidhub.zoo.artifact import StateDictLayout
from reidhub.weights import convert, read_cached_weights
path = Path({str(path)!r})
for _ in range(20):
    convert(path, read_cached_weights(path, StateDictLayout()), StateDictLayout())
    path.with_suffix(".safetensors").unlink(missing_ok=True)
"""
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]

    assert [process.wait() for process in running] == [0, 0, 0]
    assert same(read_cached_weights(path, LAYOUT))
    assert {file.suffix for file in path.parent.iterdir()} <= {".pth", ".json", ".safetensors"}
