"""Runs commands whose output is a terminal."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path
from threading import Timer

_PATIENCE_S = 60


def run_on_terminal(*arguments: str, environment: dict[str, str], with_messages: bool = True, columns: int = 80) -> str:
    """Run a command of reidhub, and return what the terminal got.

    Args:
        arguments: arguments of the command.
        environment: variables that are set in addition.
        with_messages: show standard error too.
        columns: width of the terminal.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    messages = slave if with_messages else subprocess.DEVNULL
    command = [sys.executable, "-m", "reidhub", *arguments]
    own = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(command, stdout=slave, stderr=messages, env={**own, **environment}):
        os.close(slave)
        shown = b""
        try:
            while block := os.read(master, 65536):
                shown += block
        except OSError:  # the other side is closed
            pass
    os.close(master)
    return shown.decode().replace("\r\n", "\n")


def type_lines(shell: list[str], lines: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Start an interactive shell on a terminal, and type lines; each is typed after the one before has ended.

    Args:
        shell: the command that starts the shell.
        lines: what is typed; a tab asks for completion.
        folder: the shell's current folder.
        environment: all environment variables of the shell.

    Returns:
        What the terminal got.
    """
    command = [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])", *shell]
    shown = b""
    with subprocess.Popen(command, cwd=folder, env=environment, stdin=-1, stdout=-1, stderr=-2, bufsize=0) as process:
        assert process.stdin and process.stdout
        (clock := Timer(_PATIENCE_S, process.kill)).start()  # a shell may wait for another key, such as y or n
        for number, line in enumerate(lines):
            process.stdin.write(f"{line}; echo end''{number}\n".encode())
            while f"end{number}".encode() not in shown and (block := process.stdout.read(65536)):
                shown += block
        process.stdin.write(b"exit\n")
        shown += process.stdout.read()
        clock.cancel()
    return shown.decode(errors="replace")
