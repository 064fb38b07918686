"""Makes a checkout with a small zoo, in which the examples and pages of the documentation run as written.

The zoo has names of the real one, but its files are made here and come from loopback hosts. Compiling is off, because
it takes a minute and changes no result that the tests compare.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from reidhub.demo import DATA, FILE_NAME, world
from reidhub.files.digest import Digest
from reidhub.models import build
from reidhub.testing import Drive, Host, Mega, mega_link
from support.exported_files import write_onnx
from support.hostile_files import saved
from support.paths import GUARD, ROOT

CHECKPOINTS = (
    "osnet_x1_0.imagenet",
    "osnet_x1_0.market1501",
    "osnet_x1_0.msmt17",
    "osnet_x0_25.imagenet",
    "osnet_x0_25.market1501",
    "osnet_x0_25.msmt17",
    "osnet_ain_x1_0.imagenet",
    "osnet_ain_x1_0.market1501",
    "osnet_ain_x1_0.msmt17_combineall",
)
"""The checkpoints of the small zoo: add a name if a page or an example needs it."""

LISTED = tuple(f"fastreid_{name}.{data}" for name in ("sbs_r101_ibn", "bot_r50") for data in ("market1501", "msmt17"))
"""Checkpoints that pages only list: they have their entries of the real zoo, and no files."""

MARKET = Path("market1501", "Market-1501-v15.09.15")
_PEOPLE = world.TEST_PIDS[:4]


def write_checkout(folder: Path) -> None:
    """Write a checkout of the package with the small zoo as its manifest, the zoo's files, and a few images.

    Args:
        folder: the folder in which ``checkout``, ``files`` and ``images`` are created.
    """
    for split, name in world.FOLDERS.items():
        (folder / "images" / name).mkdir(parents=True)
        for shot in _choose_shots(split):
            (folder / "images" / name / shot.file_name).write_bytes(world.photograph(shot))
    (folder / "files").mkdir(parents=True)
    for number, name in enumerate(CHECKPOINTS):
        (folder / "files" / name).write_bytes(_make_file(name, number))
    checkout = folder / "checkout"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("reidhub", "examples"):
        shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
    shutil.copy(ROOT / "hubconf.py", checkout / "hubconf.py")
    (checkout / "manifest").mkdir()
    for path in (ROOT / "manifest").glob("*.yaml"):
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
        names = {*CHECKPOINTS, *LISTED}
        manifest["checkpoints"] = [
            {**entry, **(_describe_file(name, (folder / "files" / name).read_bytes()) if name in CHECKPOINTS else {})}
            for entry in manifest["checkpoints"]
            if (name := entry["name"]) in names
        ]
        manifest["architectures"] = [one for one in manifest.get("architectures", []) if one["default"] in names]
        if manifest["checkpoints"] or "layouts" in manifest:
            (checkout / "manifest" / path.name).write_text(yaml.safe_dump(manifest), encoding="utf-8")


def _make_file(name: str, number: int) -> bytes:
    """Make a checkpoint file; all files differ. The smallest model has the demo's trained weights."""
    model = name.partition(".")[0]
    if model == "osnet_x0_25":
        state = torch.load(DATA / FILE_NAME, weights_only=True)
    else:
        torch.manual_seed(0)
        state = build(model, 2).state_dict()
    return saved({"state_dict": state, "epoch": number})


def _describe_file(name: str, content: bytes) -> dict[str, Any]:
    """Make the fields of a manifest entry that describe the file and its sources."""
    sources = [{"mega": _mega(name, content)}, {"gdrive": f"https://drive.google.com/uc?id={_drive_id(name)}"}]
    file = {"sha256": str(Digest.of_bytes(content)), "size": len(content), "evidence": "made for the tests"}
    return {"file": file, "sources": sources, "num_classes": None}


def _mega(name: str, content: bytes) -> str:
    return mega_link(f"dOcS{CHECKPOINTS.index(name):04d}", content)


def _drive_id(name: str) -> str:
    return f"1{CHECKPOINTS.index(name):032d}"


def make_hosts(folder: Path) -> dict[str, Host]:
    """Make hosts for Mega and Google Drive that offer the files in ``folder / "files"``."""
    files = {name: (folder / "files" / name).read_bytes() for name in CHECKPOINTS}
    mega = Mega({_mega(name, content): content for name, content in files.items()})
    drive = Drive({_drive_id(name): content for name, content in files.items()})
    return {**mega.hosts, **drive.hosts}


@dataclass(frozen=True)
class Desk:
    """A user's home and current folder, in which commands run against the zoo of the documentation.

    Args:
        home: contains ``reid``, a data root with part of a dataset, and a checkpoint that another tool has downloaded.
        folder: the current folder, with a few files that the pages use.
        environment: environment variables for subprocesses.
    """

    home: Path
    folder: Path
    environment: dict[str, str]

    def run(self, command: list[str | Path], **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in `folder`, and return its exit code and output."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )


def set_desk(zoo: Path, place: Path, environment: Mapping[str, str], python: Path) -> Desk:
    """Make a home and a current folder below ``place``.

    Args:
        zoo: folder that `write_checkout` filled.
        place: the folder in which ``home``, ``here`` and ``bin`` are created.
        environment: environment variables from `make_environment`.
        python: what runs as ``python``, and with ``-m reidhub`` as ``reidhub``.
    """
    home, here = place / "home", place / "here"
    root = home / "reid" / MARKET
    shutil.copytree(zoo / "images", root)
    other_tool = home / ".cache" / "torch" / "checkpoints"
    other_tool.mkdir(parents=True)
    shutil.copy(zoo / "files" / "osnet_x1_0.msmt17", other_tool / "osnet_x1_0_msmt17.pth")
    here.mkdir()
    shutil.copy(zoo / "files" / "osnet_x0_25.market1501", here / "model.pth")
    write_onnx(here / "model.onnx")
    shutil.copytree(root / world.FOLDERS["gallery"], here / "gallery")
    (here / "query.jpg").write_bytes(next((root / world.FOLDERS["query"]).iterdir()).read_bytes())
    _write_own_data(here, root)
    programs = place / "bin"
    programs.mkdir()
    for name, words in {"reidhub": "-m reidhub", "python": ""}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{python}" {words} "$@"\n')
        (programs / name).chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    return Desk(home, here, {**environment, "HOME": str(home), "PATH": path})


def make_environment(zoo: Path, internet: Mapping[str, str]) -> dict[str, str]:
    """Make the environment variables of subprocesses.

    Args:
        zoo: folder that `write_checkout` filled.
        internet: environment variables with which a client finds the loopback hosts.
    """
    cleared = ("REIDHUB_", "XDG_", "TORCH_HOME")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(cleared)}
    return {
        **kept,
        **internet,
        "PYTHONPATH": os.pathsep.join([str(GUARD), str(zoo / "checkout")]),
        "TORCHDYNAMO_DISABLE": "1",
        "OMP_NUM_THREADS": "1",
    }


def _write_own_data(here: Path, images: Path) -> None:
    """Write ``my.pth``, which is not in the zoo, ``boxes.csv``, and images for ``shop``, ``people``, ``images.csv``."""
    (here / "my.pth").write_bytes(saved({"model": torch.load(DATA / FILE_NAME, weights_only=True)}))
    rows = ["path,pid,camid,split"]
    for split in ("query", "gallery"):
        (here / "shop" / split).mkdir(parents=True)
        for image in sorted((images / world.FOLDERS[split]).glob("01[23][09]_*.jpg")):  # two people
            shutil.copy(image, here / "shop" / split)
            (here / "people" / image.name[:4]).mkdir(parents=True, exist_ok=True)
            shutil.copy(image, here / "people" / image.name[:4])
            rows.append(f"shop/{split}/{image.name},{image.name[:4]},{image.name[6]},{split}")
    boxed = min(path.name for path in (here / "gallery").iterdir())
    (here / "boxes.csv").write_text(f"image,x1,y1,x2,y2,id\n{boxed},4,0,50.5,120,7\n{boxed},10,8,60,128,9\n")
    (here / "images.csv").write_text("\n".join(rows) + "\n")


def _choose_shots(split: str) -> list[world.Shot]:
    people = world.TRAIN_PIDS[:2] if split == "train" else _PEOPLE
    return [shot for shot in world.list_shots(split) if shot.label in people]
