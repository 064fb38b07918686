"""The options of ``reidhub download``, and what it shows."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from support.faults import header, slow, spoiled, status
from support.generated_zoo import WEB, File, content, files_below, hosts, reidhub, shell, stored, write_manifest
from support.local_zoos import Entry, file_of, state_of, write_zoo

from reidhub.testing.hosts import Mega
from reidhub.testing.internet import Internet

FILES = [File(f"file{number}", content(300_000 + number)) for number in range(6)]
NAMES = [file.name for file in FILES]


@pytest.fixture
def manifest(tmp_path) -> str:
    return str(write_manifest(tmp_path / "zoo.yaml", FILES))


class Gauge:
    """A host that counts how many requests it answers at the same time."""

    def __init__(self, host, seconds: float) -> None:
        self.host, self.seconds, self.now, self.most = host, seconds, 0, 0

    def __call__(self, request):
        self.now += 1
        self.most = max(self.most, self.now)
        time.sleep(self.seconds)
        self.now -= 1
        return self.host(request)


@pytest.mark.parametrize(("options", "most"), [(("--jobs", "3"), 3), ((), 4), (("-j", "1"), 1)])
def test_so_many_files_come_at_once_and_the_paths_in_the_order_asked_for(options, most, manifest, reidhub_home):
    world = hosts(FILES)
    gauge = Gauge(world[Mega.STORAGE], 0.4)
    with Internet({**world, Mega.STORAGE: gauge}) as internet:
        arguments = ("--manifest", manifest, "download", *NAMES, *options)
        done = reidhub(*arguments, environment=shell(internet, reidhub_home))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no terminal, no progress
    assert [Path(line).read_bytes() for line in done.stdout.splitlines()] == [file.data for file in FILES]
    assert gauge.most == most


def test_no_job_is_a_mistake_of_the_user(manifest, reidhub_home):
    with Internet({}) as internet:
        environment = shell(internet, reidhub_home)
        for wrong in (("--jobs", "0"), ("--source", "ftp")):
            assert (
                reidhub("--manifest", manifest, "download", NAMES[0], *wrong, environment=environment).returncode == 2
            )


def test_a_source_that_is_insisted_on_is_the_only_one(manifest, reidhub_home):
    with Internet(hosts(FILES)) as internet:
        arguments = ("--manifest", manifest, "download", *NAMES, "--source", "https")
        done = reidhub(*arguments, environment=shell(internet, reidhub_home))
    assert done.returncode == 0, done.stderr
    assert {request.host for request in internet.log} == {WEB}


def test_offline_says_what_is_missing_and_hands_out_the_rest(manifest, reidhub_home):
    with Internet(hosts(FILES)) as internet:
        environment = shell(internet, reidhub_home)
        reidhub("--manifest", manifest, "download", NAMES[0], environment=environment)
        seen = len(internet.log)
        done = reidhub("--manifest", manifest, "download", *NAMES[:2], "--offline", "--json", environment=environment)
        environment["REIDHUB_OFFLINE"] = "1"
        same = reidhub("--manifest", manifest, "download", *NAMES[:2], "--json", environment=environment)
    assert done.returncode == same.returncode == 1
    assert len(internet.log) == seen
    assert done.stdout == same.stdout
    there, missing = json.loads(done.stdout)
    assert (there["error"], missing["path"]) == (None, None)
    assert "is not in the cache, and reidhub is offline" in missing["error"]


def test_what_a_killed_download_left_is_gone_on_with_and_fresh_is_not(tmp_path, reidhub_home):
    file = File("big", content(6_000_000), kinds=("https",))
    manifest = str(write_manifest(tmp_path / "zoo.yaml", [file]))
    world = hosts([file])
    arguments = ["--manifest", manifest, "download", file.name]
    ranges = []
    with Internet({WEB: slow(world[WEB], 4_000_000)}) as internet:
        environment = shell(internet, reidhub_home)
        for asked, held in ((0, 2_000_000), (1, 3_000_000)):
            with subprocess.Popen([sys.executable, "-m", "reidhub", *arguments], env=environment) as process:
                wait_for(lambda a=asked, h=held: len(internet.log) > a and partial(reidhub_home) > h)
                process.send_signal(signal.SIGKILL)
            ranges.append(internet.log[-1].headers.get("Range"))
        internet.hosts[WEB] = world[WEB]
        done = reidhub(*arguments, "--fresh", environment=environment)
        ranges.append(internet.log[-1].headers.get("Range"))
    assert done.returncode == 0, done.stderr
    assert [text and "bytes=" in text for text in ranges] == [None, True, None]
    assert list(stored(reidhub_home).values()) == [file.data]
    assert [name for name in files_below(reidhub_home) if name.startswith("partial")] == []


def partial(home: Path) -> int:
    return max((path.stat().st_size for path in (home / "partial").glob("*.part")), default=0)


def wait_for(condition) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_copy_that_the_disk_does_not_take_is_named_and_leaves_nothing(tmp_path, manifest, reidhub_home):
    with Internet(hosts(FILES)) as internet:
        environment = shell(internet, reidhub_home)
        assert reidhub("--manifest", manifest, "download", NAMES[0], environment=environment).returncode == 0
        command = f"{sys.executable} -m reidhub --manifest {manifest} download {NAMES[0]} -o {tmp_path}/out"
        limited = ["bash", "-c", f"ulimit -f 100; {command}"]  # blocks of 1024 bytes
        done = subprocess.run(limited, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"error: cannot write {tmp_path}/out/{NAMES[0]}.pth: File too large\nhint: make room" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_reader_that_goes_away_and_a_full_disk_behind_stdout_give_no_traceback(manifest, reidhub_home):
    with Internet(hosts(FILES)) as internet:
        environment = shell(internet, reidhub_home)
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "reidhub", "--manifest", manifest, "download", NAMES[0]]
        gone = subprocess.run(command, env=environment, stdout=writing, stderr=-1, text=True)
        os.close(writing)
        with Path("/dev/full").open("w") as disk:
            full = subprocess.run(command, env=environment, stdout=disk, stderr=-1, text=True)
    assert (gone.returncode, gone.stderr) == (1, "")
    assert (full.returncode, full.stderr.splitlines()[0]) == (1, "error: cannot write: No space left on device")
    assert "Exception" not in full.stderr


def test_ctrl_c_ends_at_once_and_leaves_beginnings_alone(tmp_path, reidhub_home):
    files = [File(f"big{number}", content(6_000_000, number), kinds=("https",)) for number in range(3)]
    manifest = str(write_manifest(tmp_path / "zoo.yaml", files))
    with Internet({WEB: slow(hosts(files)[WEB], 2_000_000)}) as internet:
        command = [sys.executable, "-m", "reidhub", "--manifest", manifest, "download", *(f.name for f in files)]
        with subprocess.Popen(command, env=shell(internet, reidhub_home), stdout=-1, stderr=-1) as process:
            wait_for(lambda: partial(reidhub_home) > 1_000_000)
            process.send_signal(signal.SIGINT)
            output = process.communicate(timeout=10)[1].decode()
    assert process.returncode == 130
    assert output.strip() == "Aborted!"
    assert {Path(name).parent.name for name in files_below(reidhub_home)} <= {"partial", "locks", "manifest"}


def test_sigterm_removes_what_cannot_be_resumed_and_leaves_no_lock(tmp_path, reidhub_home):
    file = File("big", content(6_000_000), kinds=("https",))
    manifest = str(write_manifest(tmp_path / "zoo.yaml", [file]))
    host = spoiled(hosts([file])[WEB], always=header(ETag=None))  # nothing tells later whether the file is the same
    with Internet({WEB: slow(host, 2_000_000)}) as internet:
        command = [sys.executable, "-m", "reidhub", "--manifest", manifest, "download", file.name]
        with subprocess.Popen(command, env=shell(internet, reidhub_home), stdout=-1, stderr=-1) as process:
            wait_for(lambda: partial(reidhub_home) > 1_000_000)
            process.send_signal(signal.SIGTERM)
            output = process.communicate(timeout=10)
    assert (process.returncode, output) == (128 + signal.SIGTERM, (b"", b""))
    assert [name for name in files_below(reidhub_home) if not name.startswith("manifest/")] == []


def test_a_terminal_sees_a_line_for_each_file_and_one_for_all(manifest, reidhub_home):
    world = hosts(FILES)
    with Internet({**world, Mega.STORAGE: slow(world[Mega.STORAGE], 300_000)}) as internet:
        own, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))
        command = [sys.executable, "-m", "reidhub", "--manifest", manifest, "download", *NAMES[:3]]
        environment = {**shell(internet, reidhub_home), "TERM": "xterm"}
        with subprocess.Popen(command, env=environment, stdout=-1, stderr=other, text=True) as process:
            os.close(other)
            screen = everything(own)
            out = process.communicate()[0]
    assert process.returncode == 0, screen
    assert len(out.splitlines()) == 3
    for text in (*(f"{name} from mega:" for name in NAMES[:3]), "of 3 files:", "3 of 3 files"):
        assert text in screen


def everything(terminal: int) -> str:
    """What is written to a terminal until it is closed."""
    screen = b""
    try:
        while block := os.read(terminal, 4096):
            screen += block
    except OSError:  # Linux's word for closed
        pass
    os.close(terminal)
    return screen.decode("utf-8", "replace")


def test_a_wait_is_told(tmp_path, reidhub_home):
    file = File("busy", content(100_000), kinds=("https",))
    manifest = str(write_manifest(tmp_path / "zoo.yaml", [file]))
    world = hosts([file])
    answers = iter([status(503, Retry_After="2")])
    with Internet({WEB: lambda request: next(answers, lambda response: response)(world[WEB](request))}) as internet:
        arguments = ("--manifest", manifest, "download", file.name)
        done = reidhub(*arguments, environment=shell(internet, reidhub_home))
    assert done.returncode == 0
    assert done.stderr.strip() == (
        f"WARNING: {WEB}: 503 Service Unavailable; try again in 2 s; the next attempt is in 2 s"
    )


def test_a_token_is_never_shown(tmp_path, reidhub_home):
    file = File("token", content(100_000), kinds=("https",))
    file.location = lambda kind: "https://huggingface.co/a/b/resolve/main/token.pth"
    manifest = str(write_manifest(tmp_path / "zoo.yaml", [file]))
    with Internet({"huggingface.co": lambda _: status(401)(None), WEB: hosts(FILES)[WEB]}) as internet:
        environment = shell(internet, reidhub_home, HF_TOKEN="hf_secret")
        done = reidhub("-v", "--manifest", manifest, "download", file.name, "--json", environment=environment)
    assert internet.log[0].headers["Authorization"] == "Bearer hf_secret"
    assert "401 Unauthorized" in done.stderr
    assert "hf_secret" not in done.stderr + done.stdout


@pytest.mark.parametrize("copied", [False, True])
def test_weights_are_handed_out_as_safetensors(copied, tmp_path, reidhub_home):
    own = {**os.environ, "REIDHUB_MANIFEST": write_zoo(tmp_path, Entry("osnet_x0_25.mine", file_of("osnet_x0_25", 5)))}
    output = ["--output", str(tmp_path / "out")] if copied else []

    done = reidhub("download", "osnet_x0_25.mine", "--format", "safetensors", *output, environment=own)

    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    assert path.parent == (tmp_path / "out" if copied else reidhub_home / "files")
    assert path.suffix == ".safetensors" and load_file(path).keys() == state_of("osnet_x0_25", 5).keys()


def test_file_that_holds_no_weights_is_not_handed_out_as_safetensors(tmp_path):
    own = {**os.environ, "REIDHUB_MANIFEST": write_zoo(tmp_path, Entry("osnet_x0_25.mine", bytes(500)))}
    output = ["--output", str(tmp_path / "out")]

    done = reidhub("download", "osnet_x0_25.mine", "--format", "safetensors", *output, environment=own)

    assert (done.returncode, done.stdout) == (1, "")
    assert "error:" in done.stderr and not (tmp_path / "out").exists()
