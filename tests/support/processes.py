"""Asks ``ps`` which processes are running, on Linux and macOS."""

import subprocess

_KEPT = ("multiprocessing.resource_tracker", "support/warm_python.py")  # parts of their commands


def list_children(parent: int) -> list[int]:
    """List the running processes that were started by ``parent``.

    Two processes are not listed, because they run until ``parent`` ends: the resource tracker of multiprocessing, which
    starts together with the first spawned process, and the Python of `support.warm_python`.
    """
    lines = subprocess.check_output(["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,args="], text=True).splitlines()
    rows = [line.split(maxsplit=3) for line in lines]
    return [
        int(pid)
        for pid, of, state, command in rows
        if int(of) == parent
        and "Z" not in state
        and not command.startswith("ps ")
        and not any(part in command for part in _KEPT)
    ]


def is_running(pid: int) -> bool:
    """Return True if a process is running, and False if it has ended, even if its parent has not waited for it."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return bool(state.strip()) and "Z" not in state
