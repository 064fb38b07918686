"""The user's own mirror, ``$REIDHUB_MIRROR``: a folder, or a web address, where the zoo's files lie side by side.

Each file lies directly in it under the `Checkpoint.file_name`, beside ``index.json``. Nothing in a mirror is trusted
more than any other host: its bytes are held to the same digests and MACs.
"""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from reidhub.errors import UsageError
from reidhub.zoo.checkpoint import Checkpoint, Source

ENVIRONMENT = "REIDHUB_MIRROR"


def mirror_source(checkpoint: Checkpoint) -> Source | None:
    """Where the user's mirror has a checkpoint's file; None where no mirror is set.

    Returns:
        Of kind ``local`` for a folder, ``https`` for a web address, ``http`` for one without TLS.

    Raises:
        UsageError: ``$REIDHUB_MIRROR`` is neither a folder nor such an address.
    """
    mirror = os.environ.get(ENVIRONMENT, "").strip()
    if not mirror:
        return None
    kind = _kind(mirror)
    if kind != "local":
        return Source(kind, f"{mirror.rstrip('/')}/{checkpoint.file_name}")
    if mirror.startswith("file:"):
        return Source(kind, f"{mirror.rstrip('/')}/{checkpoint.file_name}")
    return Source(kind, (Path(mirror).expanduser().absolute() / checkpoint.file_name).as_uri())


def _kind(mirror: str) -> str:
    scheme = re.match(r"([a-z][a-z0-9+.-]+):", mirror, re.IGNORECASE)  # two letters at least: C: is a disk
    if scheme is None or scheme[1].lower() == "file":
        return "local"
    kind, hint = scheme[1].lower(), "a folder, or an address such as https://host/reidhub"
    try:
        parts = urlsplit(mirror)
    except ValueError:
        raise UsageError(f"${ENVIRONMENT} is malformed", hint=hint) from None
    if kind not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"${ENVIRONMENT} is no mirror that reidhub can read from", hint=hint)
    return kind
