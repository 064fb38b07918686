"""Simulates full disks: a real limit on the size of files, and a real file system of a few kilobytes."""

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Limit the size of all files that this process writes to ``size`` bytes, as ``ulimit -f`` does."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)


def run_on_small_disk(folder: Path, kilobytes: int, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process in which ``folder`` is a file system of some kilobytes.

    If this user may not mount file systems, skip the test. The code gets the folder as ``sys.argv[1]``.
    """
    mount = f'mount -t tmpfs -o size={kilobytes}k none "$1" || exit 99; exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, "sh", str(folder), sys.executable, code],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 99 or "unshare failed" in done.stderr:
        pytest.skip("this user may not mount a file system")
    return done
