"""Hashcash: the proof of work that Mega's API asks for before it answers an address that asks too often."""

import base64
import hashlib
import re
import time
from collections.abc import Callable

from reidhub.download.sources.patience import format_duration
from reidhub.errors import SourceError

_REPEATS = 262144  # how often the token follows the 4 bytes that have to be found
_LATER = "Mega finds this address too busy; try again in some hours"
_HEADER = re.compile(r"1:(\d{1,3}):\d+:([A-Za-z0-9_-]{64})")


def solve(challenge: str, limit_s: float, check: Callable[[], object]) -> str:
    """Solve the challenge of an ``X-Hashcash`` header.

    The number of tries is chance: 256 on average at an easiness of 192, of about 8 ms each.

    Args:
        challenge: ``1:easiness:time:token``.
        limit_s: seconds of computing.
        check: called before each try; raises an error where the download has to end.

    Returns:
        The ``X-Hashcash`` header of the next request.

    Raises:
        SourceError: the challenge cannot be read, or was not solved in time.
    """
    found = _HEADER.fullmatch(challenge.strip())
    if found is None or int(found[1]) > 255:
        raise SourceError("Mega asks for a proof of work of a kind not known here")
    threshold = _compute_threshold(int(found[1]))
    buffer = bytearray(4) + base64.urlsafe_b64decode(found[2]) * _REPEATS
    end = time.monotonic() + limit_s
    for prefix in range(1 << 32):
        check()
        buffer[:4] = prefix.to_bytes(4)
        if int.from_bytes(hashlib.sha256(buffer).digest()[:4]) <= threshold:
            return f"1:{found[2]}:{base64.urlsafe_b64encode(buffer[:4]).decode().rstrip('=')}"
        if time.monotonic() > end:
            break
    raise SourceError(f"Mega asks for a proof of work that was not found in {format_duration(limit_s)}", hint=_LATER)


def _compute_threshold(easiness: int) -> int:
    return (((easiness & 63) << 1) + 1) << ((easiness >> 6) * 7 + 3)
