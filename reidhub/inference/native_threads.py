"""Objects of runtimes such as OpenVINO and onnxruntime, which have threads that do not survive a fork."""

import os
from typing import Any
from weakref import WeakSet

from reidhub.errors import UsageError
from reidhub.thread_locks import call_in_forks


class NativeThreads:
    """Ties objects of a runtime to the process that made them.

    In a forked process, the objects are never closed: closing them would wait for threads that are missing there.

    Args:
        runtime: the name of the runtime, for messages.
        objects: what the runtime has made.
    """

    def __init__(self, runtime: str, objects: Any) -> None:
        self._runtime = runtime
        self._objects = objects
        self._process = os.getpid()
        _all.add(self)

    def check(self) -> None:
        """Check that this is the process that made the objects.

        Raises:
            UsageError: this process was forked after the objects were made.
        """
        if os.getpid() != self._process:
            raise UsageError(
                f"this embedder was made before the process was forked, and {self._runtime}'s threads do not survive a "
                "fork",
                hint="start the workers with spawn, or make the embedder in each worker",
            )


_all: "WeakSet[NativeThreads]" = WeakSet()
_never_closed: list[NativeThreads] = []

call_in_forks(lambda: _never_closed.extend(_all))
