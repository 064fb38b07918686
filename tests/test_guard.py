"""The guard that keeps the tests off every network."""

import subprocess
import sys

import pytest
import requests


def test_another_host_is_unreachable_for_the_tests_as_on_a_dead_network():
    with pytest.raises(OSError, match="socket guard"):
        requests.get("http://198.51.100.7/", timeout=5)


def test_a_name_is_not_looked_up():
    with pytest.raises(OSError, match="socket guard"):
        requests.get("https://example.com/", timeout=5)


def test_the_guard_holds_in_a_subprocess():
    code = "import socket; socket.create_connection(('198.51.100.7', 80), 5)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "socket guard allows the loopback only" in done.stderr
