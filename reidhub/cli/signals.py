"""How Ctrl-C and SIGTERM end a command: without a traceback, and with exit code 128 plus the number of the signal."""

import os
import signal
import sys
import threading
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

_AGAIN_S = 0.05


class _Signals:
    """Records that a signal has asked the process to end.

    Attributes:
        exit_code: the exit code for the latest signal; None if there was no signal.
    """

    exit_code: int | None = None

    def stop(self, number: int, frame: object) -> NoReturn:
        """Raise KeyboardInterrupt or, for SIGTERM, SystemExit, so that temporary files and locks are removed.

        A second SIGTERM ends the process immediately.
        """
        self.exit_code = 128 + number
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)
        sys.exit(self.exit_code)


@contextmanager
def end_on_signals() -> Iterator[None]:
    """End the process after the ``with`` block if Ctrl-C or SIGTERM has come during the block.

    The exception of the signal can turn into another one, for example into an ImportError, or be ignored by a callback.
    Therefore the exit code depends on whether a signal has come, not on the exception.
    """
    signals = _Signals()
    signal.signal(signal.SIGTERM, signals.stop)
    if callable(signal.getsignal(signal.SIGINT)):  # not for a job in the background of a shell, which ignores Ctrl-C
        signal.signal(signal.SIGINT, signals.stop)
    sys.unraisablehook = _interrupt_again
    try:
        yield
    except BaseException:
        if signals.exit_code is None:
            raise
    finally:
        if callable(signal.getsignal(signal.SIGINT)):
            signal.signal(signal.SIGINT, exit_now)  # nothing is left to clean up
    if signals.exit_code is not None:
        sys.exit(signals.exit_code)


def exit_now(number: int, frame: object) -> NoReturn:
    """End the process immediately, without a traceback."""
    os._exit(128 + number)


def _interrupt_again(ignored: "sys.UnraisableHookArgs") -> None:
    """Repeat Ctrl-C a moment later if Python has ignored it, as it does in a destructor or a callback of an import."""
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        threading.Timer(_AGAIN_S, interrupt_main).start()
    else:
        sys.__unraisablehook__(ignored)
