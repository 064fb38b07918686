"""The parsed copy of the manifest: never wrong, never in the way, and one start later back in place."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.zoo_entries import entry, write_zoo

from reidhub.files.digest import Digest
from reidhub.zoo import manifest, parsed_copy
from reidhub.zoo.manifest import Manifest, read_manifest

NAME = "osnet_x1_0.msmt17"


@pytest.fixture
def copy(reidhub_home: Path) -> Callable[[], Path]:
    """The path of the only copy in this test's cache folder."""

    def only() -> Path:
        (path,) = (reidhub_home / "manifest").iterdir()
        return path

    return only


def start() -> Manifest:
    """What a new process reads."""
    manifest._zoo.cache_clear()
    return manifest.zoo()


def parsed() -> Manifest:
    return read_manifest(sorted(manifest.folder().glob("*.yaml")))


def is_from_copy(zoo: Manifest) -> bool:
    return isinstance(zoo.by_name, parsed_copy.StoredCheckpoints)


def fields(zoo: Manifest) -> list[tuple[object, str]]:
    """Every value; the place in the manifest is no part of a checkpoint's comparison."""
    return [(c, c.manifest) for c in (*zoo.checkpoints, *zoo.architectures)]


def test_second_start_reads_the_copy_and_every_value_is_the_parsed_one(copy):
    first = start()
    second = start()

    assert (is_from_copy(first), is_from_copy(second)) == (False, True)
    assert fields(first) == fields(second) == fields(parsed())
    assert list(second.by_name) == [c.name for c in second.checkpoints]
    assert len(second.by_name) == 112


def test_checkpoint_that_is_asked_for_is_the_only_one_that_is_read(copy):
    start()
    lines = copy().read_bytes().split(b"\n")
    kept = [line if NAME.encode() in line else b"{}" for line in lines[5:]]
    write_with_right_header(copy(), b"\n".join([*lines[1:5], *kept]))

    zoo = start()

    assert is_from_copy(zoo)
    assert zoo.find(NAME) == parsed().find(NAME)
    assert is_from_copy(start())  # the other lines were not looked at, or the copy would have been written anew
    assert b"\n{}\n" in copy().read_bytes()


def test_changed_manifest_is_read_even_if_its_size_and_time_are_the_same(tmp_path, monkeypatch):
    file = Path(write_zoo(tmp_path, entry("a.one", "https: https://example.org/1")))
    monkeypatch.setenv("REIDHUB_MANIFEST", str(file))
    state = file.stat()
    assert start().find("a.one")

    file.write_text(file.read_text().replace("a.one", "a.two"))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))

    assert file.stat().st_size == state.st_size
    assert [c.name for c in start().find("a.*")] == ["a.two"]
    assert is_from_copy(start())


def test_lines_that_moved_are_told_as_they_are_now(tmp_path, monkeypatch):
    file = Path(write_zoo(tmp_path, entry("a.one", "https: https://example.org/1")))
    monkeypatch.setenv("REIDHUB_MANIFEST", str(file))
    (before,) = start().find("a.one")
    file.write_text("# a comment\n" + file.read_text())

    (after,) = start().find("a.one")
    (stored,) = start().find("a.one")

    assert before.manifest.endswith(":2")
    assert after.manifest == stored.manifest == f"{file}:3"


def test_mistake_that_is_new_is_told_with_its_line_although_there_is_a_copy(tmp_path, monkeypatch):
    file = Path(write_zoo(tmp_path, entry("a.one", "https: https://example.org/1")))
    monkeypatch.setenv("REIDHUB_MANIFEST", str(file))
    start()
    file.write_text(file.read_text().replace("distance:", "distanse:"))
    line = file.read_text().partition("distanse")[0].count("\n") + 1

    with pytest.raises(manifest.ManifestError, match=rf"{file}:{line}: unknown field 'distanse'"):
        start()


def test_same_manifest_in_another_folder_has_its_own_local_files(tmp_path, monkeypatch):
    found = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "zoo.yaml").write_text(Path(write_zoo(tmp_path, entry("a.a", "local: a.pth"))).read_text())
        monkeypatch.chdir(folder)
        monkeypatch.setenv("REIDHUB_MANIFEST", "zoo.yaml")  # the same relative path
        found.append(start().find("a.a")[0].artifact.sources[0].location)

    assert found == [(tmp_path / name / "a.pth").as_uri() for name in ("one", "two")]


def write_with_right_header(path: Path, content: bytes) -> None:
    """What a careful forger writes: the header fits the changed lines."""
    header = path.read_bytes().partition(b"\n")[0].decode()
    old = header.partition('"content": "')[2][:64]
    path.write_bytes(header.replace(old, Digest.of_bytes(content).hex).encode() + b"\n" + content)


def forge(old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = path.read_bytes().partition(b"\n")[2]
        assert old in content
        write_with_right_header(path, content.replace(old, new))

    return change


def damage(old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new))

    return change


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
    "without its last line": lambda path: path.write_bytes(path.read_bytes().rpartition(b"\n")[0]),
    "one digit changed": damage(b'"74.9"', b'"94.9"'),
    "another link": damage(b"https://mega.nz/", b"https://evil.nz/"),
    "of another version": damage(b'"reidhub": "', b'"reidhub": "9'),
    "nested 100,000 deep": lambda path: path.write_bytes(b"[" * 100_000),
    "huge numbers": lambda path: path.write_bytes(b'{"size": 1e999, "format": ' + b"9" * 10_000 + b"}"),
    "no text": lambda path: path.write_bytes(os.urandom(100_000)),
    "a pipe": replace_by_pipe,
    "forged: a number for a text": forge(b'"74.9"', b"74.9"),
    "forged: null for a text": forge(b'"licence": "research use"', b'"licence": null'),
    "forged: a field less": forge(b'"licence": "research use", ', b""),
    "forged: a digest that is none": forge(b"b7d73dc67c016fd0", b"../../etc/passwd"),
    "forged: nested 100,000 deep": forge(b'"licence": "research use"', b'"licence": ' + b"[" * 100_000),
    "forged: huge numbers": forge(b'"num_classes": 1041', b'"num_classes": ' + b"9" * 10_000),
    "forged: an architecture that is none": forge(b'"paper"', b'"papers"'),
    "forged: names that are none": forge(b'["fastreid_agw_r50.market1501"', b'[["fastreid_agw_r50.market1501"]'),
    "forged: a name too many": forge(b'["fastreid_agw_r50.market1501"', b'["a.a", "fastreid_agw_r50.market1501"'),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_copy_changes_no_value_and_is_replaced(kind, copy):
    start()
    right = copy().read_bytes()
    DAMAGE[kind](copy())

    assert fields(start()) == fields(parsed())
    assert copy().read_bytes() == right
    assert is_from_copy(start())


def test_folder_in_the_place_of_the_copy_does_no_harm(copy):
    start()
    path = copy()
    path.unlink()
    path.mkdir()

    assert fields(start()) == fields(parsed())
    assert copy() == path  # and no temporary file beside it


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_copy_of_another_user_is_ignored_and_replaced(copy):
    start()
    right = copy().read_bytes()
    forge(b'"74.9"', b'"94.9"')(copy())
    os.chown(copy(), 54321, -1)

    assert fields(start()) == fields(parsed())
    assert (copy().read_bytes(), copy().stat().st_uid) == (right, os.geteuid())


def reidhub(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reidhub", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def test_cache_that_cannot_be_written_is_no_obstacle(tmp_path, reidhub_home):
    (tmp_path / "file").write_text("no folder")

    done = reidhub("show", NAME, REIDHUB_HOME=str(tmp_path / "file"))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == reidhub("show", NAME).stdout


def test_full_disk_leaves_nothing_behind(reidhub_home):
    limit = 20_000  # bytes; the copy is larger

    done = subprocess.run(
        [sys.executable, "-m", "reidhub", "show", NAME],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert list((reidhub_home / "manifest").iterdir()) == []


def test_user_without_a_home_folder_can_list(monkeypatch):
    for name in ("REIDHUB_HOME", "TORCH_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])  # a user whom the system does not know

    assert fields(start()) == fields(parsed())


def test_copies_of_many_manifests_do_not_pile_up(tmp_path, monkeypatch, reidhub_home):
    for number in range(12):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.setenv("REIDHUB_MANIFEST", str(write_zoo(folder, entry("a.a", "https: https://example.org/1"))))
        start()

    assert is_from_copy(start())
    assert len(list((reidhub_home / "manifest").iterdir())) == 8
