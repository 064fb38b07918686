"""The program in docs/export.md runs an ONNX file with onnxruntime and NumPy alone."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from support.exported_files import write_onnx
from support.paths import ROOT
from support.small_model import make_small_model, spec_of

import reidhub
from reidhub.demo import world
from reidhub.inference import Embedder

PAGE = ROOT / "docs" / "export.md"
ALLOWED = ("numpy", "onnxruntime")
"""The packages that the process finds beside Python's own modules."""
BEFORE = "import importlib.util; assert not importlib.util.find_spec('torch')\n"
AFTER = "np.save('embeddings.npy', embed(np.load('crops.npy')))\n"


def read_program(file: Path) -> str:
    """The program of the page, with the name of another file."""
    (code,) = (part.split("```")[0] for part in PAGE.read_text().split("```python\n") if "import onnxruntime" in part)
    assert code.count('"osnet_x1_0.msmt17.onnx"') == 1
    return code.replace('"osnet_x1_0.msmt17.onnx"', repr(str(file)))


def resize(images: list[Image.Image], file: Path) -> np.ndarray:
    """Resize images with the lines of the page that do so: uint8 (N, height, width, 3)."""
    (code,) = (part.split("```")[0] for part in PAGE.read_text().split("```python\n") if "image.resize" in part)
    facts = onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map
    names = {"np": np, "facts": facts, "height": int(facts["height"]), "width": int(facts["width"]), "embed": len}
    crops = []
    for image in images:
        exec(code, names | {"image": image}, made := {})  # noqa: S102
        crops.append(made["crops"])
    return np.concatenate(crops)


def write_packages(folder: Path) -> Path:
    """Make a folder with the packages of `ALLOWED` alone."""
    folder.mkdir()
    for name in ALLOWED:
        package = Path(str(find_spec(name).origin)).parent
        for path in (package, package.with_name(f"{name}.libs")):
            if path.exists():
                (folder / path.name).symlink_to(path)
    return folder


def export_small(path: Path, **changes: Any) -> Embedder:
    """Write the ONNX file of a small model in no time; return the embedder of this model."""
    write_onnx(path, **changes)
    model = make_small_model()
    spec = replace(spec_of(model), interpolation=changes.get("interpolation", "bilinear"))
    return Embedder.of_model(model, spec, precision="exact")


def export_osnet(path: Path) -> Embedder:
    """Export osnet_x1_0 with random weights; return its embedder."""
    torch.manual_seed(0)
    checkpoint = path.with_suffix(".pth")
    torch.save(reidhub.build("osnet_x1_0", 5).state_dict(), checkpoint)
    reidhub.export(checkpoint, format="onnx", dynamic=True, path=path)
    return reidhub.embedder(checkpoint, precision="exact")


@pytest.mark.parametrize(
    "export",
    [
        pytest.param(export_small, id="small"),
        pytest.param(partial(export_small, pixels="0..1"), id="file-normalises"),
        pytest.param(partial(export_small, interpolation="bicubic"), id="bicubic"),
        pytest.param(export_osnet, id="osnet_x1_0", marks=pytest.mark.long),
    ],
)
def test_the_program_without_torch_gives_the_embeddings_of_the_embedder(export, tmp_path):
    embed = export(tmp_path / "model.onnx")
    images = [Image.open(BytesIO(world.photograph(shot))) for shot in world.list_shots("query")[:3]]
    np.save(tmp_path / "crops.npy", resize(images, tmp_path / "model.onnx"))

    program = BEFORE + read_program(tmp_path / "model.onnx") + AFTER
    environment = {"PYTHONPATH": str(write_packages(tmp_path / "packages")), "ORT_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-S", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    got, want = torch.from_numpy(np.load(tmp_path / "embeddings.npy")), embed(images)
    assert got.shape == want.shape and got.dtype == want.dtype
    assert ((got - want).norm(dim=1) < 1e-5 * want.norm(dim=1)).all()
