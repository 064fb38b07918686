"""Times and sizes as people write them on a command line."""

import re

import click

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BYTES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?) *([a-z]*)", re.IGNORECASE | re.ASCII)


def duration(text: str) -> int:
    """Seconds of a text such as ``30d``.

    Raises:
        BadParameter: it is no such text.
    """
    return _parsed(text, _SECONDS, "a time such as 30d, 12h or 2w")


def size(text: str) -> int:
    """Bytes of a text such as ``2GB`` (10^9) or ``2GiB`` (2^30).

    Raises:
        BadParameter: it is no such text.
    """
    return _parsed(text, _BYTES, "a size such as 2GB or 500MB")


def _parsed(text: str, units: dict[str, int], what: str) -> int:
    found = _QUANTITY.fullmatch(text.strip())
    if found is None or found[2].lower() not in units:
        raise click.BadParameter(f"{text!r} is not {what}")
    return int(float(found[1]) * units[found[2].lower()])
