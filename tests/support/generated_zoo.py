"""Generates zoos for tests: manifests, checkpoint files, hosts that offer the files, and calls of `reidhub`."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reidhub.files.digest import Digest
from reidhub.testing.hosts import Drive, Mega, Static, mega_link
from reidhub.testing.internet import Host, Internet
from reidhub.zoo.artifact import Source
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.manifest import read_manifest

WEB = "files.example.org"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def content(size: int, seed: int = 0) -> bytes:
    """Make ``size`` random bytes that start like a checkpoint file."""
    return (b"\x80\x02" + random.Random(f"{size} {seed}").randbytes(size))[:size]


@dataclass
class File:
    """One checkpoint of a generated zoo.

    Args:
        tag: second part of the name ``osnet_x0_25.<tag>``.
        data: the file as published; the hosts may send other bytes.
        kinds: the kinds of its sources, in the order of the manifest.
        pinned: True if the manifest has the sha256 and the size; False if it has neither.
        fields: further fields in the manifest's ``file``.
    """

    tag: str
    data: bytes
    kinds: tuple[str, ...] = ("mega", "gdrive", "https")
    pinned: bool = True
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"osnet_x0_25.{self.tag}"

    @property
    def drive_id(self) -> str:
        return f"1{self.tag:x>31}_"

    def location(self, kind: str) -> str:
        return {
            "mega": mega_link(f"{self.tag:A>8}"[:8], self.data),
            "gdrive": f"https://drive.google.com/uc?id={self.drive_id}",
            "https": f"https://{WEB}/{self.tag}.pth",
        }[kind]

    def checkpoint(self, folder: Path) -> Checkpoint:
        """Write a manifest with only this checkpoint, and return the checkpoint that is read from it."""
        (only,) = read_manifest([write_manifest(folder / f"{self.tag}.yaml", [self])]).checkpoints
        return only


def hosts(files: list[File], given: Mapping[str, bytes] | None = None) -> dict[str, Host]:
    """Make hosts of all kinds, each with all files.

    Args:
        files: the files.
        given: tag of a file -> bytes that all hosts send instead of the file.
    """
    data = {file.tag: (given or {}).get(file.tag, file.data) for file in files}
    mega = Mega({file.location("mega"): data[file.tag] for file in files})
    drive = Drive({file.drive_id: data[file.tag] for file in files})
    return {**mega.hosts, **drive.hosts, WEB: Static({f"/{file.tag}.pth": data[file.tag] for file in files})}


def write_manifest(path: Path, files: list[File]) -> Path:
    """Write a manifest of the files, and return its path."""
    path.write_text("checkpoints:\n" + "".join(_entry(file) for file in files))
    return path


def _entry(file: File) -> str:
    known = {"sha256": str(Digest.of_bytes(file.data)), "size": str(len(file.data)), "evidence": "generated"}
    fields = {**(known if file.pinned else {}), **file.fields}
    sources = "".join(f'      - {kind}: "{file.location(kind)}"\n' for kind in file.kinds)
    return _ENTRY.format(name=file.name, file=json.dumps(fields).replace('"', ""), sources=sources)


_ENTRY = """\
  - name: {name}
    model: osnet_x0_25
    trained_on: [market1501]
    num_classes: 751
    file: {file}
    sources:
{sources}\
    input: {{height: 256, width: 128, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], interpolation: bilinear}}
    distance: euclidean
    params_m: null
    gflops: null
    loss: softmax
    transforms: []
    scores: []
    licence: MIT
"""


def shell(internet: Internet, home: Path, **variables: str) -> dict[str, str]:
    """Make the environment of a user behind a proxy: the two standard variables, and no other proxy variables."""
    own = {name: text for name, text in os.environ.items() if name.upper() not in PROXIES}
    for name in ("HTTPS_PROXY", "REQUESTS_CA_BUNDLE"):
        own[name] = internet.environment[name]
    return {**own, "REIDHUB_HOME": str(home), **variables}


def reidhub(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run ``reidhub`` in its own process, and return its exit code and output."""
    command = [sys.executable, "-m", "reidhub", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def files_below(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder: relative path -> bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stored(home: Path) -> dict[str, bytes]:
    """Read the complete files in the cache: sha256 -> bytes."""
    return {path.stem: path.read_bytes() for path in (home / "files").glob("*.pth")}


def source_of(file: File, kind: str) -> Source:
    return Source(kind, file.location(kind))
