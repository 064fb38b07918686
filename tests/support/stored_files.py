"""Puts files into caches, and changes them."""

import os
import time
from pathlib import Path

from reidhub.cache.store import Cache
from reidhub.files.digest import Digest
from reidhub.zoo.artifact import Artifact, Source

DAY_S = 86400


def artifact_of(name: str, body: bytes, *, pinned: bool = True) -> Artifact:
    source = Source("https", f"https://example.org/{name}")
    return Artifact(Digest.of_bytes(body) if pinned else None, len(body) if pinned else None, (source,))


def put(cache: Cache, name: str, body: bytes, *, pinned: bool = True, days_ago: float = 0) -> Path:
    """Store a file as a download does, as if it was last used some days ago, and return its path."""
    artifact = artifact_of(name, body, pinned=pinned)
    with cache.open_incoming() as incoming:
        incoming.write(body)
        source = artifact.sources[0].location
        path = cache.keep(incoming, artifact, name=name, source=source, checked_by=artifact.checked_by)
    age(path.with_suffix(".json"), days_ago * DAY_S)
    return path


def age(path: Path, seconds: float) -> None:
    """Set the times of a file to some seconds ago."""
    os.utime(path, (time.time() - seconds,) * 2)


def damage(path: Path, *, unnoticed: bool = False) -> None:
    """Change one bit of a file. If ``unnoticed``, keep the file's times, as after an error of the disk."""
    info = path.stat()
    body = path.read_bytes()
    path.write_bytes(bytes([body[0] ^ 1]) + body[1:])
    if unnoticed:
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
