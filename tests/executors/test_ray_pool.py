"""A pool of workers on one real raylet: killed workers, errors, Ctrl-C, missing Ray."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from support.processes import is_running

pytest.importorskip("ray")

HEAD = """
import json, os, signal, sys
from functools import partial
from pathlib import Path
from reidhub.executors.ray_pool import open_pool
from support.ray_workers import *
folder = Path(sys.argv[1])
"""


@pytest.fixture(autouse=True)
def ray_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for Ray; the names of its sockets must be short."""
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/reidhub-tests-ray")
    Path("/tmp/reidhub-tests-ray").mkdir(exist_ok=True)


def start(folder: Path, script: str) -> "subprocess.Popen[str]":
    """Run a program that uses a pool; it gets the folder as its argument."""
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + textwrap.dedent(script), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_no_shard_is_lost_or_counted_twice_if_a_worker_is_killed(tmp_path):
    program = start(
        tmp_path,
        """
        with open_pool(partial(Squares, folder)) as pool:
            done = []
            for number, (square, pid) in pool.run(range(30)):
                done.append([number, square, pid])
                if len(done) == 10:
                    os.kill(pid, signal.SIGKILL)
        print(json.dumps(done))
        """,
    )
    out, err = program.communicate(timeout=120)

    assert program.returncode == 0, err
    done = json.loads(out)  # Ray itself prints nothing on stdout
    assert sorted((number, square) for number, square, _ in done) == [(number, number**2) for number in range(30)]
    pids = {pid for _, _, pid in done}
    assert len(pids) == 2  # the killed worker, and the one that Ray has started in its place
    assert not any(is_running(pid) for pid in pids)


@pytest.mark.long
def test_an_error_of_our_own_ends_the_run_with_its_hint(tmp_path):
    program = start(
        tmp_path,
        """
        from reidhub.errors import UsageError
        try:
            with open_pool(refuse) as pool:
                list(pool.run(range(5)))
        except UsageError as error:
            print(json.dumps([error.message, error.hint[:16]]))
        """,
    )
    out, err = program.communicate(timeout=120)
    assert json.loads(out) == ["this worker refuses", "ask another host"], err


@pytest.mark.long
def test_a_shard_that_kills_every_worker_ends_the_run(tmp_path):
    program = start(
        tmp_path,
        """
        from reidhub.errors import ReidhubError
        try:
            with open_pool(make_dying) as pool:
                list(pool.run(range(2)))
        except ReidhubError as error:
            print(error.message)
        """,
    )
    out, err = program.communicate(timeout=240)
    assert "died 3 times" in out, err


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_program_and_all_processes_of_ray(tmp_path, number):
    program = start(
        tmp_path,
        """
        from reidhub.cli.signals import end_on_signals
        with end_on_signals(), open_pool(partial(Squares, folder, 0.5)) as pool:
            for _ in pool.run(range(1000)):
                (folder / "begun").touch()
        """,
    )
    while not (tmp_path / "begun").exists():
        assert program.poll() is None
        time.sleep(0.1)
    workers = {int(path.name.split("-")[1]) for path in tmp_path.glob("*-*-*")}

    program.send_signal(number)
    out, err = program.communicate(timeout=60)

    assert program.returncode == 128 + number
    assert (out, err) == ("", "")
    assert not any(is_running(pid) for pid in workers)


@pytest.mark.long
def test_ray_ends_if_its_driver_is_killed(tmp_path):
    program = start(
        tmp_path,
        """
        with open_pool(partial(Squares, folder, 0.5)) as pool:
            for _ in pool.run(range(1000)):
                (folder / "begun").touch()
        """,
    )
    while not (tmp_path / "begun").exists():
        assert program.poll() is None
        time.sleep(0.1)
    workers = {int(path.name.split("-")[1]) for path in tmp_path.glob("*-*-*")}

    program.kill()
    program.communicate(timeout=60)

    end = time.monotonic() + 60
    while any(is_running(pid) for pid in workers):
        assert time.monotonic() < end
        time.sleep(0.5)


def test_without_ray_the_hint_names_the_extra(tmp_path):
    script = """
        sys.modules["ray"] = None
        from reidhub.errors import UsageError
        try:
            with open_pool(refuse):
                pass
        except UsageError as error:
            print(error)
    """
    out, _ = start(tmp_path, script).communicate(timeout=60)
    assert out == "Ray is not installed\nhint: pip install 'reidhub[ray]'\n"


def test_an_address_where_no_cluster_is_gives_an_error_at_once(tmp_path):
    script = """
        from reidhub.errors import UsageError
        try:
            with open_pool(refuse, "127.0.0.1:9"):
                pass
        except UsageError as error:
            print(error.message)
    """
    out, _ = start(tmp_path, script).communicate(timeout=60)
    assert out.startswith("no Ray cluster answers at 127.0.0.1:9: ")
