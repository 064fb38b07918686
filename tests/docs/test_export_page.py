"""The program in docs/export.md runs an ONNX file with onnxruntime and NumPy alone."""

import subprocess
import sys
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.paths import ROOT

import reidhub
from reidhub.demo import DATA, FILE_NAME, world

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


def write_packages(folder: Path) -> Path:
    """Make a folder with the packages of `ALLOWED` alone."""
    folder.mkdir()
    for name in ALLOWED:
        package = Path(str(find_spec(name).origin)).parent
        for path in (package, package.with_name(f"{name}.libs")):
            if path.exists():
                (folder / path.name).symlink_to(path)
    return folder


def write_checkpoint(architecture: str, path: Path) -> Path:
    """Write a checkpoint with random weights; of the demo's architecture, its trained weights."""
    if architecture == "osnet_x0_25":
        return DATA / FILE_NAME
    torch.manual_seed(0)
    torch.save(reidhub.build(architecture, 5).state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        pytest.param("osnet_x0_25", {"opset": 17}, id="demo"),  # torch writes this opset in a tenth of the time
        pytest.param("osnet_x0_25", {"opset": 17, "with_preprocessing": True}, id="normalises", marks=pytest.mark.long),
        pytest.param("osnet_x1_0", {}, id="osnet_x1_0", marks=pytest.mark.long),
    ],
)
def test_the_program_without_torch_gives_the_embeddings_of_the_embedder(architecture, options, tmp_path):
    checkpoint = write_checkpoint(architecture, tmp_path / "checkpoint.pth")
    exported = reidhub.export(checkpoint, format="onnx", dynamic=True, path=tmp_path / "model.onnx", **options)
    images = [Image.open(BytesIO(world.photograph(shot))) for shot in world.list_shots("query")[:3]]
    np.save(tmp_path / "crops.npy", np.stack([image.resize((128, 256), resample=2) for image in images]))

    program = BEFORE + read_program(exported.path) + AFTER
    packages = write_packages(tmp_path / "packages")
    command = [sys.executable, "-S", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(packages)}, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    got = torch.from_numpy(np.load(tmp_path / "embeddings.npy"))
    want = reidhub.embedder(checkpoint, precision="exact")(images)
    assert got.shape == want.shape and got.dtype == want.dtype
    assert ((got - want).norm(dim=1) < 1e-5 * want.norm(dim=1)).all()
