"""On a terminal of 80 columns, every name, address and path stays whole."""

import json
from pathlib import Path

import pytest
from support.terminals import run_on_terminal
from support.zoo_entries import entry, reidhub, write_zoo

OFFLINE = {"REIDHUB_OFFLINE": "1"}


def check(shown: str, words: set[str]) -> None:
    """Check that each word is there as a whole, and that a line that is too long is one word."""
    assert words <= set(shown.split()), sorted(words - set(shown.split()))
    assert [line for line in shown.splitlines() if len(line) > 80 and len(line.split()) > 1] == []


@pytest.mark.parametrize("columns", [80, 140])
def test_show_keeps_the_words_of_every_checkpoint_whole(columns: int) -> None:
    piped = reidhub("show", "*")
    shown = run_on_terminal("show", "*", environment={}, with_messages=False, columns=columns)

    assert shown.split() == piped.stdout.split()
    assert [line for line in shown.splitlines() if len(line) > columns and len(line.split()) > 1] == []
    assert any(len(line) > 80 for line in piped.stdout.splitlines())


def test_doctor_keeps_paths_whole(tmp_path: Path) -> None:
    folder = tmp_path / "with-a-rather-long-name-for-a-folder"
    folder.mkdir()
    file = folder / "osnet_x1_0_market_256x128_amsgrad_ep150.pth"
    file.write_bytes(b"nothing")

    shown = run_on_terminal("doctor", str(file), str(folder / "missing.pth"), environment={})

    check(shown, {str(file)})
    assert str(folder / "missing.pth") in shown


def test_messages_keep_names_whole(tmp_path: Path) -> None:
    names = [f"osnet_ibn_x1_0.msmt17_combineall_{number}" for number in range(6)]
    zoo = write_zoo(tmp_path, *(entry(name, "https: https://web.org/a") for name in names))

    shown = run_on_terminal("--manifest", str(zoo), "download", "*.msmt17_combineall_*", environment=OFFLINE)

    failed = shown[shown.index("6 of 6 checkpoints failed") :]
    check(failed, {f"{name}," for name in names[:-1]} | {names[-1]})
    assert len(failed.splitlines()) > 1


def test_the_cache_is_listed_with_whole_names(tmp_path: Path) -> None:
    (tmp_path / "file.pth").write_bytes(b"weights")
    name = "a_checkpoint_of_my_own.with_a_name_of_more_than_sixty_letters"
    zoo = write_zoo(tmp_path, entry(name, "local: file.pth", pinned=b"weights"))
    assert reidhub("--manifest", zoo, "download", name).returncode == 0

    check(run_on_terminal("cache", "list", environment={}, with_messages=False), {name, "sha256"})


def test_data_is_not_wrapped() -> None:
    shown = run_on_terminal("show", "osnet_x1_0.dukemtmcreid", "--json", environment={}, with_messages=False)
    assert json.loads(shown)[0]["name"] == "osnet_x1_0.dukemtmcreid"
    assert max(map(len, shown.splitlines())) > 80
