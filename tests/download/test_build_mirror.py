"""A folder that others can serve: whole files, a true index, and nothing done twice."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from support.damaged_json import DAMAGES, replace_content
from support.faults import flip, spoiled
from support.full_disks import file_size_limit
from support.zoo_entries import DRIVE, FILE_ID, checkpoints, entry, reidhub, write_zoo

from reidhub.cache.store import Cache
from reidhub.download.build_mirror import INDEX, SUMS, Mirror, read_index
from reidhub.download.fetch import Fetcher, FetchOptions
from reidhub.errors import CacheError, CancelledError, DiskFullError
from reidhub.files.digest import Digest
from reidhub.testing.hosts import Drive, Mega, Static, mega_link
from reidhub.testing.internet import Internet, online

PINNED = b"\x80\x02pinned" + os.urandom(200_000)
MACED = b"\x80\x02mac" + os.urandom(300_000)
LOOSE = b"\x80\x02loose" + os.urandom(100_000)
MEGA = mega_link("AbCdEfGh", MACED)
WEB = "https://example.org/a.pth"
ENTRIES = (
    entry("a.pinned", f"https: {WEB}", pinned=PINNED, file="original: some_name.pth.tar"),
    entry("a.maced", f"mega: {MEGA}"),
    entry("a.loose", f"gdrive: {DRIVE}"),
)
FILES = {"a.pinned.pth.tar": PINNED, "a.maced.pth": MACED, "a.loose.pth": LOOSE}


def hosts():
    return {**Mega({MEGA: MACED}).hosts, **Drive({FILE_ID: LOOSE}).hosts, "example.org": Static({"/a.pth": PINNED})}


@pytest.fixture
def zoo(tmp_path):
    return checkpoints(tmp_path, *ENTRIES)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "shared" / "mirror"


def mirror(folder, zoo, cache):
    with Mirror(folder, cache) as mirror:
        return [mirror.add(checkpoint) for checkpoint in zoo]


def fill(folder, zoo, home):
    return [outcome.state for outcome in mirror(folder, zoo, Cache(home))]


def state(folder):
    """Every file with what would change if it were written again."""
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.iterdir()}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in (INDEX, SUMS)}


def test_every_file_lies_in_it_under_its_checkpoints_name(folder, zoo, tmp_path):
    with online(hosts()):
        assert fill(folder, zoo, tmp_path / "c") == ["written"] * 3
    assert contents(folder) == FILES
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_the_index_says_what_each_file_was_held_to_and_where_it_came_from(folder, zoo, tmp_path):
    with online(hosts()):
        fill(folder, zoo, tmp_path / "c")
    listed = json.loads((folder / INDEX).read_text())["files"]
    assert [(file["name"], file["file"], file["checked_by"], file["source"]) for file in listed] == [
        ("a.loose", "a.loose.pth", "nothing", DRIVE),
        ("a.maced", "a.maced.pth", "mega-mac", MEGA),
        ("a.pinned", "a.pinned.pth.tar", "sha256", WEB),
    ]
    for file in listed:
        content = FILES[file["file"]]
        assert (file["sha256"], file["size"]) == (Digest.of_bytes(content).hex, len(content))
        assert (file["licence"], file["notices"]) == ("free", ["made up"])


def test_the_sums_are_those_that_sha256sum_checks(folder, zoo, tmp_path):
    with online(hosts()):
        fill(folder, zoo, tmp_path / "c")
    done = subprocess.run(["sha256sum", "-c", SUMS], cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout == "a.loose.pth: OK\na.maced.pth: OK\na.pinned.pth.tar: OK\n"


@pytest.mark.parametrize("home", ["c", "another"])
def test_a_second_run_downloads_and_writes_nothing(home, folder, zoo, tmp_path):
    with online(hosts()):
        fill(folder, zoo, tmp_path / "c")
    before = state(folder)
    with online({}) as internet:
        assert fill(folder, zoo, tmp_path / home) == ["intact"] * 3
    assert internet.log == []
    assert state(folder) == before
    assert read_index(folder)[0].source == DRIVE


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [lambda body: body[:-1], lambda body: b"\x81" + body[1:], lambda body: b""])
def test_a_file_that_was_damaged_is_replaced_and_the_others_are_not(name, damage, folder, zoo, tmp_path):
    with online(hosts()):
        fill(folder, zoo, tmp_path / "c")
        before = state(folder)
        (folder / name).write_bytes(damage(FILES[name]))
        assert sorted(fill(folder, zoo, tmp_path / "c")) == ["intact", "intact", "written"]
    assert contents(folder) == FILES
    assert {n: s for n, s in state(folder).items() if n != name} == {n: s for n, s in before.items() if n != name}


def test_a_file_of_unknown_origin_is_only_believed_where_sha256_or_mac_say_so(folder, zoo, tmp_path):
    folder.mkdir(parents=True)
    for name, body in FILES.items():
        (folder / name).write_bytes(body)
    with online(hosts()):
        assert fill(folder, zoo, tmp_path / "c") == ["intact", "intact", "written"]


def test_a_file_of_unknown_origin_that_is_another_is_replaced(folder, zoo, tmp_path):
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_bytes(b"\x80\x02of somebody")
    with online(hosts()):
        assert fill(folder, zoo, tmp_path / "c") == ["written"] * 3
    assert contents(folder) == FILES


def test_what_fails_is_told_and_the_rest_is_done(folder, zoo, tmp_path):
    own = {**hosts(), "example.org": spoiled(Static({"/a.pth": PINNED}), always=flip(0))}
    with online(own):
        outcomes = mirror(folder, zoo, Cache(tmp_path / "c"))
    assert [outcome.state for outcome in outcomes] == ["failed", "written", "written"]
    assert "did not give a.pinned" in outcomes[0].error
    assert [copy.name for copy in read_index(folder)] == ["a.loose", "a.maced"]
    assert set(contents(folder)) == {"a.maced.pth", "a.loose.pth"}


def test_a_broken_file_that_cannot_be_replaced_is_listed_no_longer(folder, zoo, tmp_path):
    with online(hosts()):
        fill(folder, zoo, tmp_path / "c")
    (folder / "a.pinned.pth.tar").write_bytes(b"\x80broken")
    with online({}):
        assert fill(folder, zoo, tmp_path / "another") == ["failed", "intact", "intact"]
    assert [copy.name for copy in read_index(folder)] == ["a.loose", "a.maced"]


def test_a_run_for_other_checkpoints_keeps_what_is_listed_and_still_there(folder, zoo, tmp_path):
    with online(hosts()):
        fill(folder, zoo[:2], tmp_path / "c")
        (folder / "a.maced.pth").unlink()
        fill(folder, zoo[2:], tmp_path / "c")
    assert [copy.name for copy in read_index(folder)] == ["a.loose", "a.pinned"]


@pytest.mark.parametrize("damage", ["", "[]", '{"files": [{}]}', '{"files": 3}', '{"files": [{"file": "../x"}]}'])
def test_a_damaged_index_is_written_anew(damage, folder, zoo, tmp_path):
    with online(hosts()):
        fill(folder, zoo, tmp_path / "c")
    whole = (folder / INDEX).read_text()
    (folder / INDEX).write_text(damage)
    assert fill(folder, zoo, tmp_path / "c") == ["intact"] * 3
    assert (folder / INDEX).read_text() == whole


def test_an_index_that_leads_out_of_the_folder_is_not_followed(folder, zoo, tmp_path):
    with online(hosts()):
        fill(folder, zoo, tmp_path / "c")
    (folder.parent / "outside.pth").write_bytes(PINNED)
    data = json.loads((folder / INDEX).read_text())
    data["files"].append({**data["files"][0], "name": "b.b", "file": "../outside.pth", "size": len(PINNED)})
    (folder / INDEX).write_text(json.dumps(data))
    fill(folder, zoo, tmp_path / "c")
    assert "outside" not in (folder / INDEX).read_text() + (folder / SUMS).read_text()


@pytest.mark.parametrize("damage", sorted(set(DAMAGES) - {"a folder"}))
def test_an_index_with_any_other_content_is_written_anew(damage, folder, tmp_path):
    (tmp_path / "own.pth").write_bytes(PINNED)
    zoo = checkpoints(tmp_path, entry("a.own", "local: own.pth", pinned=PINNED))
    fill(folder, zoo, tmp_path / "c")
    whole = (folder / INDEX).read_text()
    replace_content(folder / INDEX, damage)
    assert fill(folder, zoo, tmp_path / "c") == ["intact"]
    assert (folder / INDEX).read_text() == whole


def test_a_folder_in_the_place_of_the_index_is_an_error(folder, tmp_path):
    (folder / INDEX).mkdir(parents=True)
    with pytest.raises(CacheError, match=r"cannot write the mirror .*Is a directory"):
        fill(folder, [], tmp_path / "c")


@pytest.mark.parametrize("name", ["", "..", "../outside.pth", "a\nb", "a\0b", "a\ud800b", "a\x1b[1mb"])
def test_a_name_that_is_no_plain_file_name_is_not_taken_from_an_index(name, folder, tmp_path):
    folder.mkdir(parents=True)
    with suppress(OSError, ValueError):  # not every one of them can exist
        (folder / name).write_bytes(bytes(4096))
    fields = {"name": "b.b", "sha256": "a" * 64, "size": 4096, "checked_by": "nothing", "source": None}
    (folder / INDEX).write_text(json.dumps({"files": [{**fields, "file": name, "licence": "free", "notices": []}]}))
    fill(folder, [], tmp_path / "c")
    assert (folder / SUMS).read_text() == ""


def test_no_path_of_this_machine_gets_into_the_index(folder, tmp_path):
    (tmp_path / "private.pth").write_bytes(PINNED)
    fill(folder, checkpoints(tmp_path, entry("a.own", "local: private.pth", pinned=PINNED)), tmp_path / "c")
    assert read_index(folder)[0].source is None
    assert str(tmp_path) not in (folder / INDEX).read_text()


def test_a_file_that_broke_in_the_cache_unnoticed_does_not_get_into_the_mirror(folder, zoo, tmp_path):
    cache = Cache(tmp_path / "c")
    with online(hosts()):
        fill(tmp_path / "first", zoo[:1], cache.root)
    path = cache.path(zoo[0].artifact.digest)
    time_before = path.stat().st_mtime_ns
    path.write_bytes(b"\x81" + PINNED[1:])
    os.utime(path, ns=(time_before, time_before))  # as a disk does it
    (outcome,) = mirror(folder, zoo[:1], cache)
    assert outcome.state == "failed"
    assert "is broken\nhint: `reidhub cache check" in outcome.error
    assert contents(folder) == {}


def test_a_folder_that_cannot_be_made_is_told(zoo, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="cannot write the mirror"):
        mirror(tmp_path / "file" / "mirror", zoo, Cache(tmp_path / "c"))


def test_copies_that_the_disk_does_not_take_are_named_and_leave_nothing(folder, zoo, tmp_path):
    cache = Cache(tmp_path / "c")
    with online(hosts()):
        mirror(tmp_path / "another", zoo, cache)
    with file_size_limit(10_000):
        outcomes = mirror(folder, zoo, cache)
    assert ["File too large" in str(outcome.error) for outcome in outcomes] == [True] * 3
    assert sorted(path.name for path in folder.iterdir()) == sorted([INDEX, SUMS])


def test_an_index_that_the_disk_does_not_take_is_told_and_leaves_nothing(folder, zoo, tmp_path):
    with online(hosts()):
        fill(folder, zoo, tmp_path / "c")
    for name in (INDEX, SUMS):
        (folder / name).unlink()
    message = r"cannot write the mirror .*: File too large\nhint: make room"
    with pytest.raises(DiskFullError, match=message), file_size_limit(100):
        fill(folder, zoo, tmp_path / "c")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_what_a_killed_run_left_is_cleared_once_nobody_writes_to_it(folder, tmp_path):
    folder.mkdir(parents=True)
    for name, age in (("old", 7200), ("new", 0)):
        (folder / f".incoming-{name}").write_bytes(b"x")
        os.utime(folder / f".incoming-{name}", (time.time() - age,) * 2)
    mirror(folder, [], Cache(tmp_path / "c"))
    assert [path.name for path in folder.glob(".incoming-*")] == [".incoming-new"]


# --- the command -------------------------------------------------------------------------------------------------


def test_the_command_prints_the_files_and_fails_where_one_is_missing(folder, tmp_path):
    file = write_zoo(tmp_path, *ENTRIES, entry("a.gone", "https: https://gone.org/a"))
    with Internet(hosts()) as internet:
        done = reidhub("--manifest", file, "mirror", folder, "a.*", **internet.environment)
        again = reidhub("--manifest", file, "mirror", folder, "a.*", "--json", **internet.environment)
    assert done.returncode == again.returncode == 1
    assert done.stdout.splitlines() == [str(folder / name) for name in FILES]
    assert "error: the only source did not give a.gone" in done.stderr
    assert done.stderr.splitlines()[-2:] == ["3 written, 0 intact already, 1 failed", "failed: a.gone"]
    data = json.loads(again.stdout)
    assert [(item["file"], item["state"], item["checked_by"]) for item in data] == [
        ("a.pinned.pth.tar", "intact", "sha256"),
        ("a.maced.pth", "intact", "mega-mac"),
        ("a.loose.pth", "intact", "nothing"),
        ("a.gone.pth", "failed", None),
    ]


def test_another_machine_gets_every_file_from_it_without_an_internet(folder, zoo, tmp_path):
    with online(hosts()):
        fill(folder, zoo, tmp_path / "c")
    file = write_zoo(tmp_path, *ENTRIES)
    own = {"REIDHUB_MIRROR": str(folder), "REIDHUB_OFFLINE": "1", "REIDHUB_HOME": str(tmp_path / "another")}
    done = reidhub("--manifest", file, "download", "a.*", **own)
    assert done.returncode == 0, done.stderr
    assert [Path(line).read_bytes() for line in done.stdout.splitlines()] == list(FILES.values())


def test_a_run_that_is_killed_leaves_whole_files_alone_and_the_next_one_goes_on(folder, tmp_path):
    """Killed at moments spread over the whole run; nothing partial is ever seen under a final name."""
    contents_ = {f"/{number}": b"\x80" + os.urandom(2_000_000) for number in range(8)}
    entries = [
        entry(f"a.n{path[1:]}", f"https: https://example.org{path}", pinned=body) for path, body in contents_.items()
    ]
    file = write_zoo(tmp_path, *entries)
    wanted = {f"a.n{path[1:]}.pth": body for path, body in contents_.items()}
    with Internet({"example.org": Static(contents_)}) as internet:
        environment = {**os.environ, **internet.environment}
        command = [sys.executable, "-m", "reidhub", "--manifest", str(file), "mirror", str(folder), "a.*"]
        for asked in (1, 3, 5, 7):
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
            while len(internet.log) < asked and process.poll() is None:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            process.wait()
            for path in folder.iterdir() if folder.exists() else ():
                assert path.name.startswith(".incoming-") or path.read_bytes() == wanted[path.name]
        assert reidhub("--manifest", file, "mirror", folder, "a.*", **internet.environment).returncode == 0
    assert {n: b for n, b in contents(folder).items() if not n.startswith(".")} == wanted
    assert len(internet.log) <= 8 + 4 * 4  # the 4 files that a killed run had in its hands are asked for again
    assert Path(folder / SUMS).read_text().count("\n") == 8


def test_cancellation_is_no_failure_of_a_file(folder, zoo, tmp_path):
    terms = FetchOptions()
    terms.stop.set()
    cache = Cache(tmp_path / "cache")
    with online(hosts()), Mirror(folder, cache, Fetcher(cache, terms)) as mirror, pytest.raises(CancelledError):
        mirror.add(zoo[0])
    assert read_index(folder) == []
