"""Taking turns: waiting while it makes sense, and going on without a lock where there is none to be had."""

import logging
import subprocess
import sys
import threading
import time

import filelock
import pytest

from reidhub.files.lock import take_turn

HOLDER = """
import sys, time; import filelock
lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print("held", flush=True); time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def held_elsewhere(tmp_path):
    """A lock that another process holds until it is killed."""
    path = tmp_path / "a.lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path), "60"], stdout=-1) as process:
        process.stdout.readline()
        yield path, process
        process.kill()


def test_who_waits_says_so_and_goes_on_once_the_other_is_gone(held_elsewhere, caplog):
    path, process = held_elsewhere
    threading.Timer(0.5, process.kill).start()
    start = time.monotonic()
    with caplog.at_level(logging.WARNING, "reidhub"), take_turn(path, "fetching a.b", lambda: True):
        assert process.poll() is not None or time.monotonic() - start >= 0.4
    assert caplog.messages == ["another process is fetching a.b; waiting for it"]
    assert not path.exists()


def test_a_wait_that_makes_no_sense_ends_without_the_lock(held_elsewhere):
    path, process = held_elsewhere
    with take_turn(path, "fetching a.b", lambda: False):
        assert process.poll() is None
    assert path.exists()


def test_threads_of_one_process_take_turns_too(tmp_path):
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        with take_turn(tmp_path / "a.lock", "fetching a.b", lambda: True):
            inside += 1
            most = max(most, inside)
            time.sleep(0.05)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.mark.parametrize("error", [OSError("no locks"), NotImplementedError])
def test_a_folder_that_knows_no_locks_is_no_reason_to_stop(error, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with take_turn(tmp_path / "a.lock", "fetching a.b", lambda: True):
        done = True
    assert done


def test_a_folder_that_cannot_be_made_is_no_reason_to_stop(tmp_path):
    (tmp_path / "file").write_text("")
    with take_turn(tmp_path / "file" / "a.lock", "fetching a.b", lambda: True):
        done = True
    assert done
