"""The program that runs the pages and examples behaves like ``python``."""

import os
import signal
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("raise SystemExit('a reason')", 1, "a reason\n"),
        ("1 / 0", 1, "ZeroDivisionError"),
        (f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})", 256 - signal.SIGKILL, ""),
        ("import atexit; atexit.register(print, 'late')", 0, ""),
    ],
)
def test_the_end_of_a_program_is_that_of_its_process(python: Path, code: str, status: int, error: str):
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)

    assert done.returncode == status and error in done.stderr
    assert done.stdout == ("late\n" if "late" in code else "")


def test_a_program_has_its_own_arguments_folder_environment_and_streams(python: Path, tmp_path: Path):
    (tmp_path / "near.py").write_text("word = 'found'")
    code = "import os, sys, near; print(near.word, __name__, sys.argv[1], os.environ['WORD'], os.getcwd(), input())"
    (tmp_path / "program.py").write_text(code)

    for words in (["program.py"], ["-m", "program"]):
        done = subprocess.run(
            [python, *words, "argument"],
            cwd=tmp_path,
            env={**os.environ, "WORD": "value"},
            input="line",
            capture_output=True,
            text=True,
        )
        assert done.stdout == f"found __main__ argument value {tmp_path} line\n", done.stderr
