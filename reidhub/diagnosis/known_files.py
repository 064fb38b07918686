"""Recognises the files in the manifest's ``known_files``, such as files that are not what their names say."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from reidhub.files.digest import BLOCK, Digest
from reidhub.files.regular_file import open_regular_file
from reidhub.zoo.known_files import KnownFile
from reidhub.zoo.manifest import zoo

_IDS = {"sha256": "sha256", "git_blob": "git blob id"}


def describe_known_file(path: Path, sha256: Digest) -> Iterator[str]:
    """Yield a note for each entry in the manifest's ``known_files`` that has the digits of this file.

    Args:
        path: the file.
        sha256: sha256 of the file.

    Raises:
        OSError: the file cannot be read.
    """
    known = zoo().known_files
    digests = {"sha256": sha256.hex}
    if any(one.kind == "git_blob" for one in known):
        digests["git_blob"] = compute_git_blob(path)
    for one in known:
        if digests[one.kind].startswith(one.digits):
            yield _write_note(one)


def compute_git_blob(path: Path) -> str:
    """Return the id that git gives to the content of a file: the SHA-1 of a header with the size, and the content.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
    """
    with open_regular_file(path) as file:
        state = hashlib.sha1(b"blob %d\0" % os.fstat(file.fileno()).st_size, usedforsecurity=False)
        while block := file.read(BLOCK):
            state.update(block)
    return state.hexdigest()


def _write_note(known: KnownFile) -> str:
    sure = "" if known.likelihood == "surely" else f"{known.likelihood} "
    matches = f"its {_IDS[known.kind]} {'is' if known.complete else 'begins with'} {known.digits}"
    wanted = f"; `reidhub download {known.checkpoint}` gets the published file" if known.checkpoint else ""
    return f"it is {sure}{known.what} ({matches}; {known.evidence}){wanted}"
