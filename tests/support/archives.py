"""Tar files from names and contents."""

import io
import tarfile
from pathlib import Path
from typing import Literal


def write_tar(path: Path, members: dict[str, bytes], kind: Literal["w", "w:gz"] = "w") -> Path:
    """Write a tar file with members name -> content; a name can come once."""
    with tarfile.open(path, kind) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path
