"""Runs commands as a user whom the system does not know: without an entry in ``/etc/passwd`` and without privileges."""

import subprocess
from functools import cache

import pytest

_ENTER = ["unshare", "--user", "--map-user=54321", "--map-group=54321", "--"]


def as_stranger(*command: str) -> list[str]:
    """Return a command that runs ``command`` as this user; if the system does not allow it, skip the test.

    The files of the tests belong to the user, so their permissions count. Even if the tests run as root, the user
    cannot write to a folder with mode 0555.
    """
    if not _is_allowed():
        pytest.skip("this system does not let a process change its user")
    return [*_ENTER, *command]


@cache
def _is_allowed() -> bool:
    try:
        return subprocess.run([*_ENTER, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
