"""Hashcash: the puzzle (proof of work) that Mega's API asks for if too many requests come from one IP address."""

import base64
import hashlib
import re
import time
from collections.abc import Callable

from reidhub.download.sources.patience import format_duration
from reidhub.errors import SourceError

_REPEATS = 262144  # copies of the token; they follow the 4 bytes that have to be found
_LATER = "Mega finds this address too busy; try again in some hours"
_HEADER = re.compile(r"1:(\d{1,3}):\d+:([A-Za-z0-9_-]{64})")


def solve(challenge: str, limit_s: float, check: Callable[[], object]) -> str:
    """Solve the puzzle in an ``X-Hashcash`` header.

    The number of tries is random. Its mean depends on the ``easiness``, a number in the header. A higher easiness means
    fewer tries; for an easiness of 192, the mean is 256 tries. Each try takes about 8 ms.

    Args:
        challenge: the header, ``1:easiness:time:token``.
        limit_s: longest time to compute, in seconds.
        check: called before each try; raises an error if the download must end.

    Returns:
        The ``X-Hashcash`` header for the next request.

    Raises:
        SourceError: the challenge is malformed, or was not solved in time.
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
