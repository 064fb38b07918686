"""Workers on the nodes of a Ray cluster, which take shards from a list; a lost worker or node loses no shard.

Each worker is a Ray actor. Ray places the actors, starts a killed one again, and repeats its shards. In addition, when
no new shards are left, an idle worker repeats a shard that another worker has not finished; the first result counts. So
a node that never comes back does not stop the run.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from reidhub.errors import ReidhubError, UsageError
from reidhub.models import ARCHITECTURES

S = TypeVar("S")
R = TypeVar("R")

_QUEUED = 2  # shards that a worker gets at once: while it works on one, the next one is already there
_AHEAD = 8  # per worker, shards that may be begun after the oldest unfinished one; so results do not fill the memory
_RETRIES = 3  # times that Ray repeats a shard whose worker has died
_LOSSES = 3  # times that a shard may be lost despite Ray's repetitions; then it seems to kill its workers
_PORT_S = 10.0
_LOCAL_STORE = 500_000_000  # bytes of shared memory of a Ray on this machine alone

_log = logging.getLogger(__name__)


@contextmanager
def open_pool(
    factory: Callable[[], Callable[[S], R]], address: str | None = None, *, gpus: bool = True
) -> Iterator["RayPool[S, R]"]:
    """Start workers on the nodes of a cluster, until the ``with`` block ends.

    Args:
        factory: makes a worker in the worker's process; a worker turns a shard into a result. Factory, shards and
            results are pickled, so the package must be installed on each node.
        address: address of a cluster, or ``auto`` for the cluster of this machine; None to start Ray on this machine.
            If the program has initialised Ray already, that Ray is used instead.
        gpus: True for one worker for each GPU; nodes without a GPU then have no worker. If this is False, or if the
            cluster has no GPU, there is one worker for each node.

    Raises:
        UsageError: Ray is not installed, there is no cluster at the address, or it has no processor for a worker.
    """
    with _connect(address) as ray:
        actors = _start_actors(ray, factory, gpus=gpus)
        try:
            yield RayPool([_Worker(actor) for actor in actors])
        finally:
            for actor in actors:
                with suppress(Exception):  # the cluster is gone
                    ray.kill(actor)


class RayPool(Generic[S, R]):
    """Workers on the nodes of a Ray cluster; `open_pool` starts them."""

    def __init__(self, workers: "list[_Worker]") -> None:
        self._workers = workers

    def run(self, shards: Iterable[S]) -> Generator[tuple[S, R], None, None]:
        """Yield each shard once with its result, in the order in which they are finished.

        A shard may be computed several times. So a worker must write a file whole or not at all.

        Raises:
            ReidhubError: a worker raised this error; or the workers that had a shard died several times.
        """
        todo = _Todo(iter(shards), _AHEAD * len(self._workers))
        try:
            while self._hand_out(todo):
                for position, result in self._collect(todo):
                    yield todo.unfinished.pop(position), result
        finally:
            for worker in self._workers:
                worker.tasks.clear()

    def _hand_out(self, todo: "_Todo[S]") -> bool:
        """Give shards to workers that have room for them; return False if all shards are finished."""
        for room in range(1, _QUEUED + 1):  # first one shard for each worker
            for worker in self._workers:
                if len(worker.tasks) < room and (position := todo.choose(worker, self._workers)) is not None:
                    worker.tasks[worker.actor.work.remote(todo.unfinished[position])] = position
        return bool(todo.unfinished)

    def _collect(self, todo: "_Todo[S]") -> Iterator[tuple[int, R]]:
        """Wait until a worker has answered; yield the positions of shards that are finished now, and their results."""
        import ray

        tasks = {task: worker for worker in self._workers for task in worker.tasks}
        for task in ray.wait(list(tasks), num_returns=1)[0]:
            position = tasks[task].tasks.pop(task)
            try:
                result, error = ray.get(task)
            except ray.exceptions.RayTaskError:  # an error in the code of the worker
                raise
            except ray.exceptions.RayError as lost:
                todo.count_loss(position, lost)
                continue
            if position in todo.unfinished:
                if error is not None:
                    raise error
                yield position, result


class _Actor(Generic[S, R]):
    """Runs in a process of Ray, and makes its worker when the first shard comes."""

    def __init__(self, factory: Callable[[], Callable[[S], R]], folder: Path, architectures: Mapping[str, str]) -> None:
        ARCHITECTURES.update(architectures)  # those that the driver's program has added
        self._factory = factory
        with suppress(OSError):  # this node lacks the folder; absolute paths work nevertheless
            os.chdir(folder)  # relative paths mean the same files as for the driver
        self._work: Callable[[S], R] | None = None

    def work(self, shard: S) -> tuple[R | None, ReidhubError | None]:
        """Return the result of a shard, or an error of our own: Ray would wrap an error that is raised."""
        try:
            if self._work is None:
                self._work = self._factory()
            return self._work(shard), None
        except ReidhubError as error:
            return None, error


@dataclass(eq=False)
class _Worker:
    """The handle of an actor, and its tasks: future result -> position of the shard."""

    actor: Any
    tasks: dict[Any, int] = field(default_factory=dict)


@dataclass
class _Todo(Generic[S]):
    """The unfinished shards of a list. The position of a shard is its index in the list, from 0.

    Args:
        shards: the shards that no worker has had yet.
        ahead: number of shards that may be begun after the oldest unfinished one.
    """

    shards: Iterator[S]
    ahead: int
    begun: int = 0
    unfinished: dict[int, S] = field(default_factory=dict)
    losses: dict[int, int] = field(default_factory=dict)

    def choose(self, worker: _Worker, workers: list[_Worker]) -> int | None:
        """Choose a shard: a lost one, else a new one, else, for an idle worker, one that another worker still has."""
        given = [position for one in workers for position in one.tasks.values()]
        copies = {position: given.count(position) for position in self.unfinished}
        if lost := [position for position, count in copies.items() if not count]:
            return lost[0]
        if (new := self._begin()) is not None:
            return new
        return None if worker.tasks else min(copies, key=lambda position: copies[position], default=None)

    def _begin(self) -> int | None:
        if self.begun - next(iter(self.unfinished), self.begun) >= self.ahead:
            return None
        for shard in self.shards:
            self.unfinished[self.begun] = shard
            self.begun += 1
            return self.begun - 1
        return None

    def count_loss(self, position: int, error: Exception) -> None:
        """Note that a task was lost.

        Raises:
            ReidhubError: it was lost several times.
        """
        reason = str(error).strip().splitlines()[0]
        _log.warning("a worker of Ray was lost, and its shard is done again: %s", reason)
        self.losses[position] = self.losses.get(position, 0) + 1
        if self.losses[position] >= _LOSSES and position in self.unfinished:
            raise ReidhubError(
                f"the workers that had shard {position} died {_LOSSES} times: {error}",
                hint="Ray's logs say why, in /tmp/ray/session_latest/logs of the node; often its memory is too small",
            )


@contextmanager
def _connect(address: str | None) -> Iterator[Any]:
    """Connect to a cluster, or start a Ray on this machine; yield the module ``ray``."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns of its own change
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "(?s).*")  # else Ray prints lost workers on stdout
    if address is None:  # read when Ray is imported; else Ray listens to the whole network
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError("Ray is not installed", hint="pip install 'reidhub[ray]'") from error
    if ray.is_initialized():  # the caller's program uses Ray itself
        yield ray
        return
    _check_port(address)
    local: dict[str, Any] = {"object_store_memory": _LOCAL_STORE, "include_dashboard": False} if address is None else {}
    with _keep_sigterm():
        try:
            ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UsageError(
                f"cannot use Ray at {address or 'this machine'}: {reason}",
                hint="`ray status` tells the state of a cluster. If it has a token (the default of `ray start` in Ray "
                "2.60), set RAY_AUTH_MODE=token, and bring ~/.ray/auth_token here",
            ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_port(address: str | None) -> None:
    """Raise UsageError if nobody listens at ``HOST:PORT``; Ray itself would wait for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        try:
            socket.create_connection((host, int(port)), _PORT_S).close()
        except OSError as error:
            raise UsageError(
                f"no Ray cluster answers at {address}: {error.strerror or error}", hint="`ray status` tells its address"
            ) from error


@contextmanager
def _keep_sigterm() -> Iterator[None]:
    """Restore the handler of SIGTERM after the ``with`` block: `ray.init` sets its own, with another exit code."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _start_actors(ray: Any, factory: Callable[[], Callable[[S], R]], *, gpus: bool) -> list[Any]:
    """Start one actor for each GPU; without GPUs, one for each node, with all its processors.

    Ray gives OpenMP, and so torch, as many threads as an actor has processors.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    sizes = []
    for node in nodes:
        processors, cards = int(node.get("CPU", 0)), int(node.get("GPU", 0)) if gpus else 0
        sizes += [(processors // max(cards, 1), 1)] * cards
    sizes = sizes or [(int(node["CPU"]), 0) for node in nodes if node.get("CPU", 0) >= 1]
    if not sizes:
        raise UsageError("the Ray cluster has no processor and no GPU for a worker", hint="look at `ray status`")
    _log.info("Ray: %d workers on %d nodes", len(sizes), len(nodes))
    actor = ray.remote(_Actor)
    return [
        actor.options(
            num_cpus=processors,
            num_gpus=cards,
            max_restarts=-1,
            max_task_retries=_RETRIES,
            scheduling_strategy="SPREAD",
        ).remote(factory, Path.cwd(), ARCHITECTURES)
        for processors, cards in sorted(sizes, reverse=True)  # the largest actors first, while all nodes are free
    ]
