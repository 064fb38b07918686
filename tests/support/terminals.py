"""Runs commands whose output is a terminal."""

import os
import pty
import subprocess
import sys


def run_on_terminal(*arguments: str, environment: dict[str, str], with_messages: bool = True) -> str:
    """Run a command of reidhub, and return what the terminal got.

    Args:
        arguments: arguments of the command.
        environment: variables that are set in addition.
        with_messages: show standard error too.
    """
    master, slave = pty.openpty()
    messages = slave if with_messages else subprocess.DEVNULL
    command = [sys.executable, "-m", "reidhub", *arguments]
    with subprocess.Popen(command, stdout=slave, stderr=messages, env={**os.environ, **environment}):
        os.close(slave)
        shown = b""
        try:
            while block := os.read(master, 65536):
                shown += block
        except OSError:  # the other side is closed
            pass
    os.close(master)
    return shown.decode().replace("\r\n", "\n")
