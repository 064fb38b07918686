"""The store: nothing wrong or partial ever stands under a final name."""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.damaged_json import DAMAGES, replace_content
from support.full_disks import file_size_limit
from support.generated_zoo import File, files_below, write_manifest
from support.strangers import as_stranger

from reidhub.cache.store import Cache
from reidhub.errors import CacheError, DiskFullError, IntegrityError
from reidhub.files.digest import Digest
from reidhub.zoo.artifact import Artifact, Source

BODY = b"\x80" + os.urandom(299_999)
HOME = (Source("gdrive", "https://drive.google.com/uc?id=1-CaioD9NaqbHK_kzSMW8VE4_3KcsRjEo"),)
PINNED = Artifact(Digest.of_bytes(BODY), len(BODY), HOME)
UNPINNED = Artifact(None, None, HOME)


def put(cache: Cache, body: bytes, artifact: Artifact) -> Path:
    with cache.open_incoming() as incoming:
        for start in range(0, len(body), 65_536):
            incoming.write(body[start : start + 65_536])
        return cache.keep(incoming, artifact, name="a.b", source="somewhere", checked_by=artifact.checked_by)


def test_a_stored_file_is_found_by_its_digest(tmp_path):
    cache = Cache(tmp_path)
    assert cache.find(PINNED) is None
    path = put(cache, BODY, PINNED)
    assert cache.find(PINNED) == path
    assert path.read_bytes() == BODY
    assert path.name == f"{PINNED.digest}.pth"


@pytest.mark.parametrize("body", [BODY[:-1], BODY + b"x", b"\x00" + BODY[1:], b""], ids=["short", "long", "flip", "no"])
def test_bytes_that_are_not_the_files_leave_nothing_behind(tmp_path, body):
    cache = Cache(tmp_path)
    with pytest.raises(IntegrityError, match="expected"):
        put(cache, body, PINNED)
    assert list(cache.files.iterdir()) == []


def test_an_interrupted_write_leaves_nothing_behind(tmp_path):
    cache = Cache(tmp_path)
    with pytest.raises(KeyboardInterrupt), cache.open_incoming() as incoming:
        incoming.write(BODY)
        raise KeyboardInterrupt
    assert list(cache.files.iterdir()) == []


def test_a_process_killed_while_writing_leaves_no_final_name(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from reidhub.cache.store import Cache\n"
        "with Cache(Path(sys.argv[1])).open_incoming() as i:\n"
        "    i.write(b'x' * 100_000); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert [p.name for p in (tmp_path / "files").iterdir() if not p.name.startswith(".incoming-")] == []


def test_a_file_that_was_changed_in_place_is_not_handed_out(tmp_path):
    cache = Cache(tmp_path)
    path = put(cache, BODY, PINNED)
    path.write_bytes(b"\x00" + BODY[1:])
    assert cache.find(PINNED) is None
    assert not path.exists()


def test_a_file_that_was_only_touched_is_hashed_again_and_kept(tmp_path):
    cache = Cache(tmp_path)
    path = put(cache, BODY, PINNED)
    os.utime(path, (1, 1))
    assert cache.find(PINNED) == path


def test_an_unpinned_file_is_remembered_and_a_different_one_refused_later(tmp_path):
    cache = Cache(tmp_path)
    path = put(cache, BODY, UNPINNED)
    assert cache.find(UNPINNED) == path
    assert cache.read_pin(UNPINNED) == Digest.of_bytes(BODY)
    with pytest.raises(IntegrityError, match="the first download had sha256"):
        put(cache, b"another file", UNPINNED)
    assert cache.find(UNPINNED) == path


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"sha256": 3}', '{"sha256": "../x"}'])
def test_a_damaged_memory_of_the_cache_is_not_believed(tmp_path, damage):
    cache = Cache(tmp_path)
    path = put(cache, BODY, UNPINNED)
    for file in [*cache.pins.iterdir(), *cache.files.glob("*.json")]:
        file.write_text(damage)
    assert cache.find(UNPINNED) is None
    assert cache.find(PINNED) == path


def test_of_two_first_downloads_at_once_one_is_remembered_and_the_other_refused(tmp_path):
    cache, other = Cache(tmp_path), Cache(tmp_path)
    with other.open_incoming() as slower:
        slower.write(b"another file")
        path = put(cache, BODY, UNPINNED)
        other.read_pin = lambda artifact: None  # what it saw before the first was through
        with pytest.raises(IntegrityError, match="the first download had sha256"):
            del other.read_pin
            other.keep(slower, UNPINNED, name="a.b", source="s", checked_by="nothing")
    assert cache.find(UNPINNED) == path


def test_the_day_a_file_was_last_used_is_kept(tmp_path):
    cache = Cache(tmp_path)
    entry = put(cache, BODY, PINNED).with_suffix(".json")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(entry, (two_days_ago, two_days_ago))
    cache.find(PINNED)
    used = entry.stat().st_mtime
    assert abs(used - time.time()) < 60
    os.utime(entry, (used - 3600, used - 3600))
    cache.find(PINNED)
    assert entry.stat().st_mtime == pytest.approx(used - 3600)  # once a day is enough


def test_a_file_that_was_only_touched_is_hashed_once(tmp_path, monkeypatch):
    cache = Cache(tmp_path)
    path = put(cache, BODY, PINNED)
    os.utime(path, (1, 1))
    assert cache.find(PINNED) == path
    monkeypatch.setattr(Digest, "of_file", None)
    assert cache.find(PINNED) == path


def test_too_little_room_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(DiskFullError, match=r"expected room for \d+ bytes in .*, \d+ are free\nhint: make room"):
        Cache(tmp_path).check_room(1 << 60)
    Cache(tmp_path / "not made yet").check_room(1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [10, 150], ids=["no room for the pin", "no room for the entry"])
@pytest.mark.parametrize("artifact", [PINNED, UNPINNED], ids=["pinned", "unpinned"])
def test_a_file_whose_pin_or_entry_has_no_room_leaves_nothing_behind(artifact, size, tmp_path):
    cache = Cache(tmp_path)
    with cache.open_incoming() as incoming:
        incoming.write(BODY)
        with pytest.raises(DiskFullError, match=r"cannot write .*: File too large"), file_size_limit(size):
            cache.keep(incoming, artifact, name="a.b", source="somewhere", checked_by=artifact.checked_by)
    assert files_below(tmp_path) == {}


@pytest.mark.parametrize("artifact", [PINNED, UNPINNED], ids=["pinned", "unpinned"])
def test_a_stored_file_stays_with_its_entry_where_it_cannot_be_stored_again(artifact, tmp_path):
    cache = Cache(tmp_path)
    put(cache, BODY, artifact)
    before = files_below(tmp_path)
    with cache.open_incoming() as incoming:
        incoming.write(BODY)
        with pytest.raises(DiskFullError), file_size_limit(10):
            cache.keep(incoming, artifact, name="c.d", source="elsewhere", checked_by=artifact.checked_by)
    assert files_below(tmp_path) == before


READ = """
import os, sys; from pathlib import Path; from reidhub.cache.store import Cache
from reidhub.zoo.manifest import read_manifest
from reidhub.download.fetch import fetch
if os.geteuid() == 0:
    os.setuid(65534)
for checkpoint in read_manifest([Path(sys.argv[2])]).checkpoints:
    print(fetch(checkpoint, Cache(Path(sys.argv[1]))))
"""


def test_a_cache_that_nobody_may_write_to_still_serves(tmp_path):
    files = [File("one", BODY), File("loose", BODY[:9999], pinned=False), File("missing", BODY[:777])]
    with TemporaryDirectory(dir="/tmp") as folder:
        home = Path(folder) / "home"
        cache = Cache(home)
        for file in files[:2]:
            put(cache, file.data, file.checkpoint(tmp_path).artifact)
        manifest = write_manifest(Path(folder) / "zoo.yaml", files[:2])
        Path(folder).chmod(0o755)
        before = files_below(home)
        done = [read_as_somebody_else(home, manifest)]
        done.append(read_as_somebody_else(home, write_manifest(manifest, files)))
        assert files_below(home) == before
    assert done[0].returncode == 0, done[0].stderr
    paths = [cache.path(Digest.of_bytes(file.data)) for file in files[:2]]
    assert [Path(line) for line in done[0].stdout.split()] == paths
    assert "cannot use the cache folder" in done[1].stderr


def read_as_somebody_else(home, manifest):
    for path in [home, *home.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    command = [sys.executable, "-c", READ, str(home), str(manifest)]
    done = subprocess.run(command, capture_output=True, text=True)
    for path in [home, *home.rglob("*")]:
        path.chmod(0o755)
    return done


def test_a_folder_that_cannot_be_used_is_an_error_that_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match=r"cannot use the cache folder .*\nhint: set REIDHUB_HOME"):
        put(Cache(tmp_path / "file"), BODY, PINNED)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_record_with_any_other_content_is_no_record(damage, tmp_path):
    cache = Cache(tmp_path)
    path = put(cache, BODY, UNPINNED)
    for file in [*cache.pins.iterdir(), *cache.files.glob("*.json")]:
        replace_content(file, damage)
    assert cache.find(UNPINNED) is None
    assert cache.read_entry(Digest.of_bytes(BODY)) is None
    assert cache.find(PINNED) == path


def test_the_record_of_another_file_is_not_used(tmp_path):
    cache = Cache(tmp_path)
    entries = [put(cache, body, Artifact(Digest.of_bytes(body), None, HOME)) for body in (BODY, BODY[1:])]
    one, other = (path.with_suffix(".json") for path in entries)
    other.write_bytes(one.read_bytes())
    assert cache.read_entry(Digest.of_bytes(BODY)) is not None
    assert cache.read_entry(Digest.of_bytes(BODY[1:])) is None


FIND = """
import sys; from pathlib import Path; from reidhub.cache.store import Cache
from reidhub.errors import CacheError
from reidhub.files.digest import Digest
from reidhub.zoo.artifact import Artifact, Source
cache, artifact = Cache(Path(sys.argv[1])), Artifact(Digest(sys.argv[2]), None, (Source("local", "file:///x"),))
print(cache.find(artifact))
try:
    cache.check_room(1)
    with cache.open_incoming() as incoming:
        print("written")
except CacheError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("closed", "mode", "wanted"),
    [
        ("files/{digest}.pth", 0, "None\nwritten\n"),
        ("files", 0, "None\ncannot use the cache folder {root}: Permission denied\nhint: set REIDHUB_HOME"),
        (".", 0, "None\ncannot use the cache folder {root}: Permission denied\nhint: set REIDHUB_HOME"),
        ("files", 0o500, "{path}\ncannot use the cache folder {root}: Permission denied\nhint: set REIDHUB_HOME"),
    ],
    ids=["unreadable file", "closed folder", "closed cache", "read-only folder"],
)
def test_an_unreadable_file_is_not_found_and_an_unwritable_folder_is_an_error(closed, mode, wanted, tmp_path):
    cache = Cache(tmp_path / "cache")
    path = put(cache, BODY, PINNED)
    place = cache.root / closed.format(digest=PINNED.digest)
    place.chmod(mode)
    command = as_stranger(sys.executable, "-c", FIND, str(cache.root), str(PINNED.digest))
    done = subprocess.run(command, capture_output=True, text=True)
    place.chmod(0o700)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(wanted.format(root=cache.root, path=path))
    assert path.read_bytes() == BODY


def test_a_folder_whose_name_is_too_long_holds_nothing_and_cannot_be_used(tmp_path):
    cache = Cache(tmp_path / ("a" * 300))
    assert cache.find(PINNED) is None
    with pytest.raises(CacheError, match=r"cannot use the cache folder .*name too long\nhint: set REIDHUB_HOME"):
        put(cache, BODY, PINNED)


def test_a_file_that_is_removed_while_it_is_looked_for_is_not_found(tmp_path, monkeypatch):
    cache = Cache(tmp_path)
    path = put(cache, BODY, PINNED)
    os.utime(path, (1, 1))
    of_file = Digest.of_file
    monkeypatch.setattr(Digest, "of_file", lambda path: path.unlink() or of_file(path))
    assert cache.find(PINNED) is None


@pytest.mark.parametrize("other", ["folder", "pipe"])
def test_something_else_in_the_place_of_a_file_is_not_found(other, tmp_path):
    path = put(Cache(tmp_path), BODY, PINNED)
    path.unlink()
    path.mkdir() if other == "folder" else os.mkfifo(path)
    assert Cache(tmp_path).find(PINNED) is None


def test_a_pin_that_cannot_be_read_is_not_replaced(tmp_path):
    cache = Cache(tmp_path)
    put(cache, BODY, UNPINNED)
    (pin,) = cache.pins.iterdir()
    pin.unlink()
    pin.mkdir()
    with pytest.raises(CacheError, match="not a regular file"):
        put(cache, b"another file", UNPINNED)
    assert pin.is_dir()
