"""Ctrl-C at any moment: exit code 130, and no traceback."""

import random
import signal
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from support.paths import ROOT

COMMAND = [sys.executable, "-X", "importtime", "-m", "reidhub"]
"""Writes the name of each module to stderr after its import."""


def interrupt_after_import(module: str, *arguments: str, wait_s: float = 0.0) -> tuple[int, str]:
    """Send Ctrl-C a moment after a command has imported a module; return its exit code and messages."""
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=-1, text=True) as process:
        assert any(line.rstrip().endswith(f" {module}") for line in process.stderr)
        time.sleep(wait_s)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        return process.wait(), "".join(line for line in said.splitlines(True) if not line.startswith("import time:"))


@pytest.mark.parametrize("module", ["click.globals", "reidhub.cli.output"])
def test_ctrl_c_while_the_command_line_is_imported_ends_without_a_traceback(module: str) -> None:
    code, said = interrupt_after_import(module, "doctor", str(Path(__file__)))

    assert code == 130
    assert said.strip() in ("", "Aborted!")


@pytest.mark.parametrize("module", ["numpy._core.multiarray", "torch._C", "torch.nn.functional"])
def test_ctrl_c_while_torch_is_imported_ends_without_a_traceback(module: str) -> None:
    code, said = interrupt_after_import(module, "doctor", str(Path(__file__)), wait_s=random.uniform(0, 0.1))

    # once in 25 times, Python ends by the signal itself; a shell shows 130 for both
    assert code in (130, -signal.SIGINT)
    assert said.strip() in ("", "Aborted!")


SWALLOW = """
import sys, time
from reidhub import cli
class Trap:
    def __del__(self):
        print("in the destructor", flush=True)
        time.sleep(20)
def work(*arguments, **options):
    {how}
    for _ in range(200):
        time.sleep(0.1)
def convert():
    try:
        print("converting", flush=True)
        time.sleep(20)
    except KeyboardInterrupt as error:
        raise ImportError("a library failed") from error
cli.cli = work
cli.main()
"""


@pytest.mark.parametrize("how", ["Trap()", "convert()"])
def test_ctrl_c_that_a_library_swallows_or_replaces_still_ends_the_command(how: str) -> None:
    program = [sys.executable, "-c", SWALLOW.format(how=how)]
    with subprocess.Popen(program, stdout=-1, stderr=-1, text=True) as process:
        process.stdout.readline()
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)

    assert (process.returncode, said) == (130, "")
    assert time.monotonic() - start < 5


def test_a_job_in_the_background_of_a_shell_ignores_ctrl_c() -> None:
    program = (
        "import signal, os, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, *COMMAND, "list", "--json"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=-1, text=True) as process:
        assert any(line.rstrip().endswith(" click.globals") for line in process.stderr)
        process.send_signal(signal.SIGINT)
        process.stderr.read()

    assert process.wait() == 0


def test_a_program_of_pip_watches_for_ctrl_c_first() -> None:
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.strip().startswith("reidhub = ")]
    point = EntryPoint("reidhub", line.partition("=")[2].strip(), "console_scripts")

    code = f"import sys; import {point.module}; print('click' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert callable(point.load()) and done.stdout.strip() == "False"
