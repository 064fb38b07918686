"""What reaches the terminal, and what happens if the output cannot be written."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.terminals import run_on_terminal
from support.zoo_entries import entry, write_zoo

from reidhub.cli.output import SafeStream
from reidhub.testing.internet import Internet, Response

ESCAPES = {
    "title": "\x1b]0;owned\x07",
    "clear": "\x1b[2J\x1b[H",
    "C1": "\x9b2J",
    "up": "ok\x1b[1A\x1b[2K",
    "return": "bad\rgood",
    "direction": "\u202egood",
    "delete": "\x7f",
}
ALLOWED = {"\n", "\t"}


def run(*arguments: str, **how) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **how.pop("environment", {})}
    command = [sys.executable, "-m", "reidhub", *arguments]
    return subprocess.run(command, text=True, env=environment, **{"stdout": -1, "stderr": -1, **how})


def controls(text: str) -> set[str]:
    return {sign for sign in text if not sign.isprintable()} - ALLOWED - {" "}


@pytest.fixture
def hostile_zoo(tmp_path: Path) -> Path:
    """A manifest whose texts have control characters."""
    texts = ["".join(f"\\u{ord(sign):04x}" for sign in text) for text in ESCAPES.values()]
    one = entry("a.hostile", *(f"local: /none/{text}" for text in texts))
    for value in ("softmax", "free", "made up", "random_flip"):
        one = one.replace(value, f'"{value} {texts[0]}"')
    return write_zoo(tmp_path, one)


@pytest.mark.parametrize(
    "command", ["list", "show a.hostile", "links a.hostile", "download a.hostile", "pin a.hostile"]
)
def test_control_characters_of_a_manifest_do_not_reach_a_pipe(command: str, hostile_zoo: Path) -> None:
    done = run("--manifest", str(hostile_zoo), *command.split())

    assert "Traceback" not in done.stderr
    assert not controls(done.stdout + done.stderr)
    assert command == "list" or r"\u001b" in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["show a.hostile", "links a.hostile"])
def test_control_characters_of_a_manifest_do_not_reach_a_terminal(command: str, hostile_zoo: Path) -> None:
    shown = run_on_terminal("--manifest", str(hostile_zoo), *command.split(), environment={})

    if command.startswith("links"):
        shown = shown.replace("\x1b[A", "").replace("\r", "")  # the progress bar moves the cursor
    assert r"\u001b" in shown and not controls(shown)


def test_an_error_shows_the_answer_of_a_host_without_escape_sequences(tmp_path: Path) -> None:
    file = write_zoo(tmp_path, entry("a.a", "https: https://web.org/a"))
    answer = Response(404, headers={"Location": "https://\x1b[2J.org/", "Content-Type": "text/\x1b]0;owned\x07"})
    with Internet({"web.org": lambda request: answer}) as internet:
        done = run("--manifest", str(file), "-v", "download", "a.a", environment=internet.environment)

    assert done.returncode == 1 and not controls(done.stdout + done.stderr)


def test_json_keeps_the_meaning_of_control_characters(hostile_zoo: Path) -> None:
    done = run("--manifest", str(hostile_zoo), "show", "a.hostile", "--json")

    (shown,) = json.loads(done.stdout)
    assert shown["loss"] == f"softmax {ESCAPES['title']}"


def test_a_cache_entry_with_escape_sequences_is_shown_as_text(tmp_path: Path, reidhub_home: Path) -> None:
    (reidhub_home / "files").mkdir(parents=True)
    (reidhub_home / "files" / "a\x1b[2Jb.pth").write_bytes(b"x")
    (tmp_path / "c\x1b[2Jd.pth").write_bytes(b"x")

    for command in (
        ["cache", "list"],
        ["cache", "check"],
        ["cache", "prune"],
        ["doctor", str(tmp_path / "c\x1b[2Jd.pth")],
    ):
        done = run(*command)
        assert "Traceback" not in done.stderr and not controls(done.stdout + done.stderr), command


def test_progress_bars_still_move_the_cursor() -> None:
    stream = io.StringIO()
    safe = SafeStream(stream, required=True)

    for text in ("\r 50%|", "\x1b[A", "\x1b[A\x1b[A", "\n\n", "\r name \x1b[2J", "text \r\x1b[A", "\x1b[A text"):
        safe.write(text)

    assert stream.getvalue() == ("\r 50%|\x1b[A\x1b[A\x1b[A\n\n\r name \\u001b[2Jtext \\u000d\\u001b[A\\u001b[A text")


CLOSE = """
import os, sys
os.close(int(sys.argv[1]))
os.execv(sys.executable, [sys.executable, "-m", "reidhub", *sys.argv[2:]])
"""


@pytest.mark.parametrize("number", [0, 1, 2], ids=["stdin", "stdout", "stderr"])
@pytest.mark.parametrize("command", ["list", "links a.a", "download a.a"])
def test_a_closed_stream_is_no_reason_for_a_traceback(command: str, number: int, tmp_path: Path) -> None:
    file = write_zoo(tmp_path, entry("a.a", "local: no-such-file"))
    arguments = [sys.executable, "-c", CLOSE, str(number), "--manifest", str(file), *command.split()]

    done = subprocess.run(arguments, capture_output=True, text=True)

    code = 0 if command == "list" else 1
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert not done.stdout or number != 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is a thing of Linux")
@pytest.mark.parametrize("command", ["list", "--help", "--version", "list --help", "links a.a", "cache list --json"])
def test_a_full_disk_at_standard_output_is_reported_once(command: str, tmp_path: Path) -> None:
    file = write_zoo(tmp_path, entry("a.a", "local: no-such-file"))
    with Path("/dev/full").open("w") as full:
        done = run("--manifest", str(file), *command.split(), stdout=full)

    assert done.returncode == 1
    assert done.stderr == "error: cannot write: No space left on device\nhint: make room on that disk\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is a thing of Linux")
@pytest.mark.parametrize(("command", "code"), [("list", 0), ("show nothing", 2), ("download a.a", 1)])
def test_messages_that_cannot_be_written_do_not_stop_the_work(command: str, code: int, tmp_path: Path) -> None:
    file = write_zoo(tmp_path, entry("a.a", "local: no-such-file"))
    with Path("/dev/full").open("w") as full:
        done = run("--manifest", str(file), *command.split(), stderr=full)

    assert done.returncode == code
    assert command != "list" or "a.a" in done.stdout


def test_no_error_is_printed_if_the_reader_of_the_output_has_ended(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = run("list", stdout=pipe)

    assert (done.returncode, done.stderr) == (1, "")


def test_standard_output_that_cannot_be_written_at_all_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "only-reading").touch()
    with (tmp_path / "only-reading").open() as file:
        done = run("list", stdout=file)

    assert (done.returncode, done.stderr) == (1, "error: cannot write: Bad file descriptor\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_character_that_the_encoding_lacks_is_shown_as_text(encoding: str, tmp_path: Path) -> None:
    file = write_zoo(tmp_path, entry("a.a", r"local: Ω\u001b[2J"))

    done = run("--manifest", str(file), "show", "a.a", environment={"PYTHONIOENCODING": encoding})

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and not controls(done.stdout)
