"""`reidhub.compat.FeatureExtractor` gives the features of torchreid's own extractor for every kind of input."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reidhub.compat import FeatureExtractor
from reidhub.demo import DATA, FILE_NAME, world

pytestmark = pytest.mark.filterwarnings("ignore")  # of torchreid


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    paths = [tmp_path / shot.file_name for shot in world.list_shots("query")[:4]]
    for path, shot in zip(paths, world.list_shots("query"), strict=False):
        path.write_bytes(world.photograph(shot))
    return [str(path) for path in paths]


@pytest.mark.parametrize(
    "options",
    [{}, {"image_size": (192, 96)}, {"pixel_norm": False}, {"pixel_mean": [0.5] * 3, "pixel_std": [0.25] * 3}],
)
def test_features_are_torchreids(options, paths, package):
    torchreid = package("torchreid.reid.utils")
    arguments = {"model_name": "osnet_x0_25", "model_path": str(DATA / FILE_NAME), "device": "cpu", **options}
    own, ours = torchreid.FeatureExtractor(**arguments, verbose=False), FeatureExtractor(**arguments)
    arrays = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    tensors = torch.stack([own.preprocess(Image.fromarray(array)) for array in arrays])

    for given in (paths, arrays, paths[0], arrays[0], tensors, tensors[0]):
        got, want = ours(given), own(given)
        assert got.device == want.device and got.dtype == want.dtype
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
