"""A Python that has imported torch already, so that a program which needs torch starts in a tenth of a second.

`serve` starts a process that imports torch and nothing of this project, and writes a program that is used like
``python``. The program sends its arguments, folder, environment and standard streams to the process. The process forks,
and the fork runs the file, the module (``-m``) or the code (``-c``) in the arguments.
"""

import atexit
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

CLIENT = """\
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({path!r})
socket.send_fds(server, [b"start"], [0, 1, 2])
server.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
server.shutdown(socket.SHUT_WR)
sys.exit((server.recv(1) or b"?")[0])
"""


@contextmanager
def serve(environment: Mapping[str, str]) -> Iterator[Path]:
    """Start the process that has imported torch, and end it on exit.

    Args:
        environment: environment variables with which torch is imported.

    Yields:
        The program that is used like ``python``.
    """
    with tempfile.TemporaryDirectory() as folder:  # its path is short: that of a socket has at most 107 bytes
        program, path = Path(folder, "python"), str(Path(folder, "socket"))
        program.write_text(f"#!{sys.executable} -SE\n{CLIENT.format(path=path)}")
        program.chmod(0o755)
        command = [sys.executable, __file__, path]
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield program
            server.communicate()  # closes its standard input


def _serve(path: str) -> None:
    """Answer requests until standard input is closed; a fork for a request never returns."""
    import torchvision  # noqa: F401

    assert "reidhub" not in sys.modules
    with socket.socket(socket.AF_UNIX) as requests:
        requests.bind(path)
        requests.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while 0 not in select.select([0, requests.fileno()], [], [])[0]:
            request, _ = requests.accept()
            if os.fork() == 0:
                _answer(request)
            request.close()
            with suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)  # the fork of an earlier request


def _answer(request: socket.socket) -> NoReturn:
    """Run the program that a request asks for in another fork, and send its exit code."""
    _, streams, _, _ = socket.recv_fds(request, len(b"start"), 3)
    arguments, folder, environment = json.loads(request.makefile().read())
    child = os.fork()
    if child:
        request.send(bytes([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) % 256]))
        os._exit(0)
    request.close()
    for stream, descriptor in enumerate(streams):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(stream, mode) for stream, mode in enumerate("rww"))
    os.chdir(folder)
    old, new = (values.get("PYTHONPATH", "").split(os.pathsep) for values in (os.environ, environment))
    sys.path[:] = new + [place for place in sys.path[1:] if place not in old]
    os.environ.clear()
    os.environ.update(environment)
    _end(_run(arguments))


def _run(arguments: list[str]) -> int:
    """Run what the arguments of ``python`` say, and return the exit code."""
    sys.argv = arguments[arguments[0] in ("-m", "-c") :]
    try:
        if arguments[0] == "-m":
            sys.path.insert(0, str(Path.cwd()))
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        elif arguments[0] == "-c":
            sys.path.insert(0, "")
            exec(arguments[1], {"__name__": "__main__"})  # noqa: S102
        else:
            sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """End the process as Python does, but without freeing each object, which takes half a second."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
