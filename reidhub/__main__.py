"""Run the command ``reidhub``, as ``python -m reidhub`` or as the installed program."""

import os
import signal


def main() -> None:
    """Run the command line. Ctrl-C ends it without a traceback, also while modules are imported."""
    if callable(signal.getsignal(signal.SIGINT)):  # not for a job in the background of a shell, which ignores Ctrl-C
        signal.signal(signal.SIGINT, lambda number, _: os._exit(128 + number))
    from reidhub.cli import main as run

    run()


if __name__ == "__main__":
    main()
