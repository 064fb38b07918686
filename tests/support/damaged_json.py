"""Contents that a JSON file of reidhub never has, but that a damaged disk or another program can put there."""

import os
from pathlib import Path

DAMAGES = {
    "empty": b"",
    "cut": b'{"name": "a',
    "another type": b"[]",
    "a number": b"3",
    "null": b"null",
    "no fields": b"{}",
    "nested without an end": b"[" * 100_000,
    "fields nested without an end": b'{"name":' * 100_000,
    "an integer of too many digits": b'{"sha256": ' + b"9" * 5000 + b"}",
    "a number without limits": b'{"sha256": 1e999, "size": 1e999, "mtime_ns": -1e999, "offset": 1e999}',
    "not UTF-8": b'{"name": "\xff\xfe\xff"}',
    "binary": bytes(range(256)),
    "a folder": None,
    "a pipe": None,
    "a link to itself": None,
    "16 MiB": b'{"name": "' + b"a" * (1 << 24) + b'"}',
}
"""Name of a damage -> the content; None if it is not a regular file."""


def replace_content(path: Path, damage: str) -> None:
    """Replace a file by something else: a file with other content, a folder, or a pipe without a writer."""
    path.unlink()
    content = DAMAGES[damage]
    if content is not None:
        path.write_bytes(content)
    elif damage == "a folder":
        path.mkdir()
    elif damage == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path)
