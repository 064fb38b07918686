"""Atomic writing: a name stands for a whole file or for none, and nothing else is left in the folder."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.full_disks import file_size_limit, run_on_small_disk
from support.generated_zoo import files_below

from reidhub.errors import CacheError, DiskFullError, UsageError
from reidhub.files import atomic
from reidhub.files.atomic import (
    AtomicFile,
    explain_write_errors,
    remove_leftovers,
    write_atomically,
    write_folder,
    write_json,
    write_text,
)

OLD, NEW = b"what stood there before", b"what comes now"


@pytest.fixture
def target(tmp_path):
    """A file that exists already, alone in its folder."""
    path = tmp_path / "folder" / "target.bin"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def test_the_old_file_stays_until_the_new_one_is_whole(target):
    with write_atomically(target) as file:
        file.write(NEW[:4])
        file.flush()
        assert target.read_bytes() == OLD
        file.write(NEW[4:])
    assert files_below(target.parent) == {"target.bin": NEW}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_nothing_else(error, target):
    with pytest.raises(error), write_atomically(target) as file:
        file.write(NEW)
        raise error
    assert files_below(target.parent) == {"target.bin": OLD}


@pytest.mark.parametrize("size", [100, 1_000_000], ids=["in the buffer", "past the buffer"])
def test_a_limit_on_the_size_of_files_leaves_the_old_file_and_nothing_else(size, target):
    with pytest.raises(OSError, match="File too large"), file_size_limit(50), write_atomically(target) as file:
        file.write(bytes(size))
    assert files_below(target.parent) == {"target.bin": OLD}


def test_a_full_disk_leaves_the_old_files_and_nothing_else(tmp_path):
    code = (
        "import sys; from pathlib import Path; from reidhub.errors import *; from reidhub.files.atomic import *\n"
        "folder = Path(sys.argv[1])\n"
        "write_text(folder / 'a.txt', 'small')\n"
        "try:\n"
        "    with explain_write_errors('write a.txt', UsageError): write_text(folder / 'a.txt', 'x' * 300_000)\n"
        "except DiskFullError as error: print(error)\n"
        "print([(path.name, path.stat().st_size) for path in folder.iterdir()])\n"
        "write_text(folder / 'b.txt', 'x' * 100_000)\n"
    )
    done = run_on_small_disk(tmp_path, 200, code)
    assert done.returncode == 0, done.stderr
    message, hint, left = done.stdout.splitlines()
    assert message == "cannot write a.txt: No space left on device"
    assert (hint, left) == ("hint: make room on that disk", "[('a.txt', 5)]")


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_the_umask_decides_who_may_read_a_file_before_and_after_it_is_complete(mask, mode, target):
    before = os.umask(mask)
    try:
        write_text(target, "text")
        with AtomicFile(target.parent) as unpublished:
            modes = [path.stat().st_mode & 0o777 for path in (target, unpublished.path)]
    finally:
        os.umask(before)
    assert modes == [mode, mode]


def test_a_text_keeps_its_line_ends_and_a_long_name_is_no_trouble(tmp_path):
    path = tmp_path / ("ß" * 120 + ".txt")
    write_text(path, "eins\r\nzwei ß\n")
    assert path.read_bytes() == "eins\r\nzwei ß\n".encode()


def test_an_existing_file_is_never_replaced_where_that_was_not_wanted(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1}, exclusive=True)
    with pytest.raises(FileExistsError):
        write_json(tmp_path / "a.json", {"a": 2}, exclusive=True)
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    assert list(files_below(tmp_path)) == ["a.json"]


def test_of_many_that_create_a_file_at_once_one_succeeds(tmp_path):
    outcomes, start = [], threading.Barrier(8)

    def create(number: int) -> None:
        start.wait()
        try:
            write_json(tmp_path / "a.json", {"number": number}, exclusive=True)
            outcomes.append(number)
        except FileExistsError:
            pass

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files_below(tmp_path) == {"a.json": json.dumps({"number": outcomes[0]}, indent=1).encode()}
    assert len(outcomes) == 1


def test_a_folder_without_hard_links_does_not_replace_an_existing_file_either(target, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(atomic.Path, "hardlink_to", refuse)
    with pytest.raises(FileExistsError):
        write_json(target, {}, exclusive=True)
    write_json(target.with_name("new.json"), {}, exclusive=True)
    assert files_below(target.parent) == {"target.bin": OLD, "new.json": b"{}"}


THREAD = """
import sys, threading, time; from pathlib import Path; from reidhub.files.atomic import write_atomically
def work():
    with write_atomically(Path(sys.argv[1])) as file:
        file.write(b"x"); file.flush(); print("writing", flush=True); time.sleep(60)
threading.Thread(target=work, daemon=True).start()
"""


def test_a_thread_that_still_writes_leaves_nothing_when_the_process_ends_by_ctrl_c(target):
    with subprocess.Popen([sys.executable, "-c", THREAD + "time.sleep(60)", str(target)], stdout=-1, stderr=-1) as run:
        assert run.stdout.readline() == b"writing\n"
        assert len(files_below(target.parent)) == 2
        run.send_signal(signal.SIGINT)
        run.communicate()
    assert files_below(target.parent) == {"target.bin": OLD}


def test_a_forked_process_does_not_remove_the_file_of_its_parent(target):
    with write_atomically(target) as file:
        child = os.fork()
        if not child:
            atomic._remove_unfinished()  # what the child's exit does; the exit itself would end the tests
            os._exit(0)
        os.waitpid(child, 0)
        file.write(NEW)
    assert target.read_bytes() == NEW


def test_what_killed_runs_left_is_removed_once_nobody_writes_to_it(target):
    code = "import os, signal, sys; from pathlib import Path; from reidhub.files.atomic import write_atomically\n"
    code += "with write_atomically(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    assert subprocess.run([sys.executable, "-c", code, str(target)], check=False).returncode == -signal.SIGKILL
    (left,) = target.parent.glob(".incoming-*")
    remove_leftovers(target.parent)
    assert left.exists()
    os.utime(left, (time.time() - 4000,) * 2)
    remove_leftovers(target.parent)
    assert files_below(target.parent) == {"target.bin": OLD}


KILLED = """
import os, signal, sys
from pathlib import Path
from reidhub.files.atomic import write_folder
with write_folder(Path(sys.argv[1]), last="last") as staging:
    for name in ("last", "other"):
        (staging / name).write_text("new")
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
"""


@pytest.mark.parametrize("number", ["SIGKILL", "SIGINT"])
def test_a_killed_process_leaves_no_new_folder_and_an_old_one_as_it_was(tmp_path, number):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "last").write_text("old")
    for name in ("old", "new"):
        done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / name, number], check=False, stderr=-1)
        assert done.returncode == -getattr(signal, number)
    left = list(tmp_path.rglob(".incoming-*"))
    assert len(left) == (2 if number == "SIGKILL" else 0) and not (tmp_path / "new").exists()
    for path in left:
        os.utime(path, (time.time() - 4000,) * 2)
        remove_leftovers(path.parent)
    assert files_below(tmp_path) == {"old/last": b"old"}


def test_the_last_file_of_a_folder_is_there_only_while_the_folder_is_complete(tmp_path, monkeypatch):
    (tmp_path / "last").write_text("old")
    (tmp_path / "kept").write_text("kept")

    def stop(path, target):
        raise OSError(errno.EIO, "broken disk")

    with pytest.raises(OSError, match="broken disk"), write_folder(tmp_path, last="last") as staging:
        for name in ("last", "b"):
            (staging / name).write_text("new")
        monkeypatch.setattr(Path, "replace", stop)
    assert files_below(tmp_path) == {"kept": b"kept"}
    monkeypatch.undo()
    with write_folder(tmp_path, last="last") as staging:
        for name in ("last", "b"):
            (staging / name).write_text("new")
    assert files_below(tmp_path) == {"kept": b"kept", "last": b"new", "b": b"new"}


@pytest.mark.parametrize("exists", [False, True])
def test_files_in_subfolders_arrive_beside_those_that_are_there(tmp_path, exists):
    target = tmp_path / "target"
    if exists:
        (target / "old").mkdir(parents=True)
        (target / "old" / "kept").write_text("kept")
    with write_folder(target, last="last") as staging:
        for name in ("last", "old/new", "fresh/last"):
            (staging / name).parent.mkdir(exist_ok=True)
            (staging / name).write_text(name)
    expected = {"last": b"last", "old/new": b"old/new", "fresh/last": b"fresh/last"}
    assert files_below(target) == (expected | {"old/kept": b"kept"} if exists else expected)
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("failure", [CacheError, UsageError])
def test_a_path_that_cannot_be_written_is_an_error_of_the_wanted_type(failure, target):
    with (
        pytest.raises(failure, match="cannot write a page: Not a directory\nhint: look") as caught,
        explain_write_errors("write a page", failure, hint="look"),
    ):
        write_text(target / "page", "text")
    assert not isinstance(caught.value, DiskFullError)


def test_a_disk_that_is_full_is_no_wrong_usage(target):
    with (
        pytest.raises(DiskFullError, match="cannot write a page: File too large\nhint: make room") as caught,
        file_size_limit(10),
        explain_write_errors("write a page", UsageError),
    ):
        write_text(target, "x" * 11)
    assert caught.value.exit_code == 1
