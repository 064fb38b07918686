"""The standard streams of a command: their text cannot control the terminal, and none of them is closed."""

import io
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from reidhub.cli.wrapping import find_width, wrap_line
from reidhub.errors import ReidhubError
from reidhub.files.atomic import is_disk_full

# all control characters but tab and line feed; those from U+061C on change the direction of text, or start a new line
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# tqdm writes one of these to reach the line of a progress bar: the start of the line, or the lines above
_MOVE_TO_BAR = re.compile(r"\r|(\x1b\[A)+\Z")


class OutputError(ReidhubError):
    """The standard output cannot be written.

    Args:
        error: the error of the operating system.

    Attributes:
        is_unread: True if the program that read the output has ended, such as ``head``.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"cannot write: {error.strerror}", hint="make room on that disk" if is_disk_full(error) else None
        )
        self.is_unread = isinstance(error, BrokenPipeError)


class SafeStream:
    r"""A text stream that writes control characters as text, such as ``\u001b`` for the start of an escape sequence.

    Names and messages come from manifests and from hosts. Control characters in them could hide lines, or give commands
    to the terminal. In JSON, the text has the same meaning as the character. After a write has failed, everything is
    discarded.

    Args:
        stream: the stream to write to.
        required: True to raise an `OutputError` if a write fails; False for messages: if one
            cannot be written, the work goes on. On a terminal, long messages are wrapped between words.
    """

    def __init__(self, stream: TextIO, *, required: bool) -> None:
        self._stream = stream
        self._required = required

    def write(self, text: str) -> int:
        """Write text; return the number of characters."""
        move = _MOVE_TO_BAR.match(text)
        start = move.end() if move else 0
        safe = escape_controls(text[start:])
        if not move and not self._required and (room := find_width(self._stream)):
            safe = "\n".join(part for line in safe.split("\n") for part in wrap_line(line, room, hang="  "))
        if text:  # click writes an empty text and ignores the error, to find out what kind of stream it is
            self._try(self._stream.write, text[:start] + safe)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Pass everything that was written to the operating system."""
        self._try(self._stream.flush)

    def _try(self, action: Callable[..., object], *arguments: str) -> None:
        try:
            action(*arguments)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # else Python tries again when it ends
            if self._required:
                raise OutputError(error) from error

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # click would write to it if the encoding is ASCII
            raise AttributeError(name)
        return getattr(self._stream, name)


def escape_controls(text: str) -> str:
    r"""Replace each control character, except tab and line feed, by text such as ``\u001b``."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def protect_streams() -> None:
    """Put `SafeStream` objects in place of standard output and standard error, and open streams that are closed.

    In place of a closed stream, the null device is opened. Otherwise the next opened file would get the stream's file
    descriptor, and libraries and subprocesses would write into this file.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            null = Path(os.devnull).open("r" if name == "stdin" else "w")  # noqa: SIM115
            os.set_inheritable(null.fileno(), True)
            setattr(sys, name, null)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # no error for a character that the encoding lacks
        setattr(sys, name, SafeStream(stream, required=name == "stdout"))
