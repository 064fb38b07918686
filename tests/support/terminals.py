"""Runs commands whose output is a terminal."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios


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
