"""Runs several commands of ``reidhub`` in one environment: a process starts once, and forks for each command.

    python -m support.forked_commands OUT COMMANDS

``COMMANDS`` is a JSON list of lists of arguments. Command number N writes to ``OUT/N.out`` and ``OUT/N.err``; the exit
codes are printed as a JSON list. If the first argument is ``-c``, the second is Python code.
"""

import json
import os
import sys

from reidhub.cli import main


def _redirect(number: int, folder: str) -> None:
    for stream, name in ((1, "out"), (2, "err")):
        target = os.open(f"{folder}/{number}.{name}", os.O_CREAT | os.O_WRONLY, 0o666)
        os.dup2(target, stream)


def _run(arguments: list[str]) -> None:
    if arguments[0] == "-c":
        exec(arguments[1], {})  # noqa: S102
    else:
        sys.argv = ["reidhub", *arguments]
        main()


def _run_all(folder: str, commands: list[list[str]]) -> None:
    codes = []
    for number, arguments in enumerate(commands):
        child = os.fork()
        if child == 0:
            _redirect(number, folder)
            _run(arguments)
            return  # the child ends like any other program
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    sys.stdout.write(json.dumps(codes))


if __name__ == "__main__":
    _run_all(sys.argv[1], json.loads(sys.argv[2]))
