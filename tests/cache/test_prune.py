"""What lies in the cache, whether it is intact, and what can go."""

import os

import pytest
import torch
from support.hostile_files import saved
from support.stored_files import age, artifact_of, damage, put

from reidhub.cache.prune import check, find_leftovers, find_prunable, find_removal, list_stored
from reidhub.cache.store import Cache
from reidhub.errors import CacheError
from reidhub.inference.copy_check import find_wrong_copies
from reidhub.weights.conversion import convert
from reidhub.zoo.artifact import StateDictLayout

BODIES = {name: os.urandom(1000 * (number + 1)) for number, name in enumerate(["a.a", "a.b", "a.c"])}


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


@pytest.fixture
def paths(cache):
    """Files of 1000, 2000 and 3000 bytes, last used 30, 20 and 10 days ago."""
    return {name: put(cache, name, body, days_ago=30 - 10 * n) for n, (name, body) in enumerate(BODIES.items())}


def names(removals):
    return [removal.name for removal in removals]


def carried_out(removals):
    for removal in removals:
        removal.carry_out()
    return names(removals)


def put_converted(cache, name, tensors):
    """Store a checkpoint's file with its converted copy, and return the path of the file."""
    path = put(cache, name, saved(tensors))
    convert(path, tensors, StateDictLayout())
    return path


def test_a_cache_that_was_never_used_holds_nothing(cache):
    assert list_stored(cache) == find_leftovers(cache) == find_prunable(cache, find_wrong_copies) == []
    assert not cache.root.exists()


def test_each_file_is_listed_with_what_is_remembered_of_it(cache, paths):
    files = list_stored(cache)
    assert [file.name for file in files] == list(BODIES)
    assert [file.path for file in files] == list(paths.values())
    assert files[0].entry.source == "https://example.org/a.a"
    assert files[0].last_used < files[1].last_used < files[2].last_used
    assert not any(file.changed for file in files)


def test_the_size_counts_what_is_kept_beside_a_file(cache, paths):
    before = list_stored(cache)[0].size
    paths["a.a"].with_suffix(".safetensors").write_bytes(bytes(500))
    assert before > len(BODIES["a.a"])
    assert list_stored(cache)[0].size == before + 500


def test_a_file_that_was_touched_is_listed_as_changed(cache, paths):
    os.utime(paths["a.b"], (1, 1))
    assert [file.changed for file in list_stored(cache)] == [False, True, False]


@pytest.mark.parametrize("damaged", ["", "[]", '{"name": 3}'])
def test_a_file_whose_entry_is_damaged_is_listed_without_a_name(damaged, cache, paths):
    paths["a.c"].with_suffix(".json").write_text(damaged)
    assert [file.name for file in list_stored(cache)] == ["?", "a.a", "a.b"]


def test_other_files_in_the_folder_are_let_be(cache, paths):
    (cache.files / "notes.txt").write_text("mine")
    (cache.files / ("g" * 64 + ".pth")).write_text("mine")
    assert len(list_stored(cache)) == 3
    assert find_prunable(cache, find_wrong_copies) == []


@pytest.mark.parametrize("unnoticed", [False, True])
def test_checking_finds_a_turned_bit_even_where_the_files_times_hide_it(unnoticed, cache, paths):
    damage(paths["a.b"], unnoticed=unnoticed)
    results = list(check(list_stored(cache), find_wrong_copies))
    assert [result.state for result in results] == ["intact", "broken", "intact"]
    assert "expected sha256" in results[1].reason
    assert paths["a.b"].exists()


def test_converted_weights_are_checked_as_well_and_go_alone_where_they_are_broken(cache, paths):
    path = put_converted(cache, "a.d", {"weight": torch.ones(100)})
    os.utime(path.with_suffix(".json"), (5, 5))
    assert [(file.name, file.last_used) for file in list_stored(cache) if file.last_used < 10] == [("a.d", 5)]
    assert [result.state for result in check(list_stored(cache), find_wrong_copies)] == ["intact"] * 4
    damage(path.with_suffix(".safetensors"), unnoticed=True)
    reasons = [result.reason for result in check(list_stored(cache), find_wrong_copies)]
    assert reasons == [None, None, None, "its conversion is broken"]
    assert carried_out(find_prunable(cache, find_wrong_copies)) == ["a.d"]
    assert [path.exists() for path in paths.values()] == [True] * 3
    assert len(list(cache.files.iterdir())) == 8


def test_a_conversion_that_was_forged_together_with_its_note_is_found_and_removed(cache):
    path = put_converted(cache, "a.d", {"weight": torch.ones(100)})
    path.with_suffix(".safetensors").unlink()
    convert(path, {"weight": torch.full((100,), 2.0)}, StateDictLayout())
    assert [result.reason for result in check(list_stored(cache), find_wrong_copies)] == ["its conversion is broken"]
    assert carried_out(find_prunable(cache, find_wrong_copies)) == ["a.d"]
    assert [file.name for file in cache.files.iterdir() if file.suffix != ".json"] == [path.name]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_not_called_broken(cache, paths):
    paths["a.b"].chmod(0)
    assert [result.state for result in check(list_stored(cache), find_wrong_copies)] == [
        "intact",
        "unreadable",
        "intact",
    ]
    assert find_prunable(cache, find_wrong_copies) == []


def test_pruning_removes_what_is_broken_and_what_belongs_to_it(cache, paths):
    damage(paths["a.b"], unnoticed=True)
    beside = paths["a.b"].with_suffix(".safetensors")
    beside.write_bytes(b"x")
    assert carried_out(find_prunable(cache, find_wrong_copies)) == ["a.b"]
    assert not beside.exists()
    assert [file.name for file in list_stored(cache)] == ["a.a", "a.c"]
    assert len(list(cache.files.iterdir())) == 4


def test_pruning_removes_what_was_not_used_for_so_long(cache, paths):
    assert carried_out(find_prunable(cache, find_wrong_copies, unused_since_s=25 * 86400)) == ["a.a"]
    assert carried_out(find_prunable(cache, find_wrong_copies, unused_since_s=15 * 86400)) == ["a.b"]
    assert carried_out(find_prunable(cache, find_wrong_copies, unused_since_s=15 * 86400)) == []


def test_a_file_that_is_used_again_stays(cache, paths):
    assert cache.find(artifact_of("a.a", BODIES["a.a"])) == paths["a.a"]
    assert names(find_prunable(cache, find_wrong_copies, unused_since_s=15 * 86400)) == ["a.b"]


def test_pruning_to_a_size_removes_the_least_recently_used_first_and_no_more_than_needed(cache, paths):
    total = sum(file.size for file in list_stored(cache))
    assert names(find_prunable(cache, find_wrong_copies, max_size=total)) == []
    assert names(find_prunable(cache, find_wrong_copies, max_size=total - 1)) == ["a.a"]
    age(paths["a.c"].with_suffix(".json"), 90 * 86400)
    assert names(find_prunable(cache, find_wrong_copies, max_size=total - 1)) == ["a.c"]
    assert names(find_prunable(cache, find_wrong_copies, max_size=0)) == ["a.c", "a.a", "a.b"]


def test_what_is_unused_or_broken_counts_no_longer_towards_the_size(cache, paths):
    damage(paths["a.c"])
    sizes = [file.size for file in list_stored(cache)]
    assert names(find_prunable(cache, find_wrong_copies, unused_since_s=25 * 86400, max_size=sizes[1])) == [
        "a.c",
        "a.a",
    ]


def test_what_killed_runs_left_goes_once_nobody_writes_to_it(cache, paths):
    left = [folder / f".incoming-{number}" for folder in (cache.files, cache.pins) for number in range(2)]
    cache.pins.mkdir()
    cache.partial.mkdir()
    left += [cache.partial / f"key-{number}.part" for number in range(2)]
    orphans = [cache.files / f"{letter * 64}.safetensors" for letter in "ab"]
    for number, path in enumerate([*left, *orphans]):
        path.write_bytes(b"x" * 10)
        age(path, 7200 if number % 2 == 0 else 60)
    (cache.partial / "key-0.notes").write_text("{}")
    removals = find_prunable(cache, find_wrong_copies)
    assert sum(removal.size for removal in removals) == 40
    carried_out(removals)
    assert [path.exists() for path in [*left, *orphans]] == [False, True] * 4
    assert not (cache.partial / "key-0.notes").exists()


def test_one_checkpoints_file_is_removed_with_all_that_belongs_to_it(cache, paths):
    paths["a.a"].with_suffix(".safetensors").write_bytes(b"x")
    artifact = artifact_of("a.a", BODIES["a.a"])
    find_removal(cache, artifact).carry_out()
    assert len(list(cache.files.iterdir())) == 4
    assert find_removal(cache, artifact) is None


def test_an_unpinned_file_is_removed_by_its_pin_which_stays_until_it_is_forgotten(cache):
    put(cache, "u.u", b"\x80first", pinned=False)
    artifact = artifact_of("u.u", b"", pinned=False)
    find_removal(cache, artifact).carry_out()
    assert cache.find(artifact) is None
    assert cache.read_pin(artifact) is not None
    cache.remove_pin(artifact)
    cache.remove_pin(artifact)
    assert cache.read_pin(artifact) is None


def test_a_folder_in_the_place_of_a_file_is_told_and_not_removed(cache, paths):
    (cache.files / f"{'a' * 64}.pth").mkdir()
    (removal,) = [file for file in list_stored(cache) if file.name == "?"]
    assert [result.state for result in check([removal], find_wrong_copies)] == ["unreadable"]
    assert find_prunable(cache, find_wrong_copies) == []
    with pytest.raises(CacheError, match="cannot remove"):
        carried_out(find_prunable(cache, find_wrong_copies, max_size=0))


def test_a_cache_that_is_no_folder_is_told(tmp_path):
    (tmp_path / "files").write_text("")
    with pytest.raises(CacheError, match="cannot read the cache folder"):
        list_stored(Cache(tmp_path))
