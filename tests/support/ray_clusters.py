"""Starts Ray clusters of several nodes on this machine, and ends all their processes.

Each node has an address of its own on the loopback, 127.0.0.2 and up: Ray replaces 127.0.0.1 by the machine's address.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Self

_MEMORY = 100_000_000  # bytes of a node's object store
_TOKEN = secrets.token_hex(32)  # the same for all clusters: Ray reads the token once in a process
_WORKER = "ray::_Actor"  # how a process of our actors is called
_LIST_NODES = """
import json, ray, sys
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
print(json.dumps([node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]))
"""


class RayCluster:
    """A Ray cluster of nodes; the ``with`` block ends all its processes.

    Attributes:
        homes: the ``REIDHUB_HOME`` of each node that was started.
        address: for ``--address``.
        environment: what nodes and programs need to talk to each other: the token, and no statistics of use.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="reidhub-ray-", dir="/tmp"))  # the names of sockets must be short
        self._leaders: dict[str, subprocess.Popen[bytes]] = {}
        self.homes: list[Path] = []
        self.address = f"127.0.0.2:{_find_port()}"
        self.environment = {
            "RAY_AUTH_MODE": "token",  # the head listens to all networks
            "RAY_AUTH_TOKEN": _TOKEN,
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            self.stop(node)
        for pid, _, command in _list_processes():
            if str(self._folder) in command:
                _kill(pid)
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self, home: Path, cores: Collection[int] | None = None) -> str:
        """Start a node, and wait until it has joined; the first one is the head.

        Args:
            home: the node's ``REIDHUB_HOME``.
            cores: the processors that its processes use; None for one processor, whichever is free.

        Returns:
            The node's address.
        """
        node = f"127.0.0.{len(self.homes) + 2}"
        role = [f"--address={self.address}"]
        if not self.homes:
            port = self.address.partition(":")[2]
            role = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self._folder}"]
        options = [
            *role,
            f"--node-ip-address={node}",
            f"--num-cpus={len(cores or [0])}",
            "--num-gpus=0",
            "--disable-usage-stats",
        ]
        options += ["--disable-usage-stats", f"--object-store-memory={_MEMORY}"]
        options += ["--min-worker-port=0", "--max-worker-port=0"]  # any free port
        pin = ["taskset", "--cpu-list", ",".join(map(str, cores))] if cores else []
        self.homes.append(home)
        without = ("REIDHUB_MANIFEST", "RAY_TMPDIR")  # a node knows only the published zoo
        inherited = {name: value for name, value in os.environ.items() if name not in without}
        with (self._folder / f"{node}.log").open("wb") as log:
            self._leaders[node] = subprocess.Popen(
                [*pin, sys.executable, "-m", "ray.scripts.scripts", "start", *options, "--block"],
                env=inherited | self.environment | {"REIDHUB_HOME": str(home)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait(node)
        return node

    def _wait(self, node: str, timeout_s: float = 60) -> None:
        """Wait until a node has joined; Ray may need 15 s more to find out that another one is lost."""
        end = time.monotonic() + timeout_s
        command = [sys.executable, "-c", _LIST_NODES, self.address]
        while time.monotonic() < end:
            if _is_open(self.address):
                done = subprocess.run(command, env=os.environ | self.environment, capture_output=True, timeout=60)
                if done.returncode == 0 and node in json.loads(done.stdout.splitlines()[0]):
                    return
            time.sleep(0.2)
        raise TimeoutError(f"{node} has not joined: {(self._folder / f'{node}.log').read_text()}")

    @property
    def nodes(self) -> list[str]:
        """The addresses of the nodes that run; the head is the first."""
        return list(self._leaders)

    def list_workers(self, node: str) -> list[int]:
        """List the processes of our actors on a node."""
        return [pid for pid, command in _list_below(self._leaders[node].pid) if command.startswith(_WORKER)]

    def stop(self, node: str) -> None:
        """Kill all processes of a node at once, as a loss of power does."""
        leader = self._leaders.pop(node)
        for pid, _ in _list_below(leader.pid):
            _kill(pid)
        leader.kill()
        leader.wait()


def _list_below(leader: int) -> list[tuple[int, str]]:
    """List the processes that a process has started, and those that these have started."""
    rows = _list_processes()
    found, parents = [], {leader}
    while parents:
        children = [(pid, command) for pid, parent, command in rows if parent in parents]
        found += children
        parents = {pid for pid, _ in children}
    return found


def _find_port() -> int:
    with socket.create_server(("127.0.0.2", 0)) as server:
        return int(server.getsockname()[1])


def _is_open(address: str) -> bool:
    host, _, port = address.partition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
        return True
    return False


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _list_processes() -> list[tuple[int, int, str]]:
    """List id, parent's id and command of all processes."""
    text = subprocess.check_output(["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], text=True)
    rows = (line.split(maxsplit=2) for line in text.splitlines())
    return [(int(pid), int(parent), command) for pid, parent, command in rows]
