"""The user's own mirror in ``$REIDHUB_MIRROR``: a folder or a web address with copies of the zoo's files.

Each file lies directly in the mirror, with the name `Checkpoint.file_name`. A mirror is not trusted more than any other
host: its files must pass the same checks.
"""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from reidhub.errors import UsageError
from reidhub.zoo.artifact import Source
from reidhub.zoo.checkpoint import Checkpoint

ENVIRONMENT = "REIDHUB_MIRROR"
_HINT = "a folder, or an address such as https://host/reidhub"


def find_in_mirror(checkpoint: Checkpoint) -> Source | None:
    """Return the source in the user's mirror for a checkpoint's file; None if no mirror is set.

    Returns:
        A source of kind ``local`` for a folder, ``https`` for an ``https:`` address, ``http`` for an ``http:`` address.

    Raises:
        UsageError: ``$REIDHUB_MIRROR`` is malformed, is an address that cannot be a mirror, such as ``ftp://host``, or
            starts with a home folder that does not exist.
    """
    mirror = os.environ.get(ENVIRONMENT, "").strip()
    if not mirror:
        return None
    kind = _find_kind(mirror)
    if kind == "local" and not mirror.startswith("file:"):
        try:
            folder = Path(mirror).expanduser().absolute()
        except (RuntimeError, OSError) as error:  # no such home folder; or the working directory is gone
            raise UsageError(f"${ENVIRONMENT} leads to no folder: {mirror!r}", hint=_HINT) from error
        return Source(kind, (folder / checkpoint.file_name).as_uri())
    return Source(kind, f"{mirror.rstrip('/')}/{checkpoint.file_name}")


def _find_kind(mirror: str) -> str:
    scheme = re.match(r"([a-z][a-z0-9+.-]+):", mirror, re.IGNORECASE)  # at least two letters, because C: is a disk
    if scheme is None or scheme[1].lower() == "file":
        return "local"
    kind = scheme[1].lower()
    try:
        parts = urlsplit(mirror)
    except ValueError:
        raise UsageError(f"${ENVIRONMENT} is malformed", hint=_HINT) from None
    if kind not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"${ENVIRONMENT} is not a mirror that reidhub can read from", hint=_HINT)
    return kind
