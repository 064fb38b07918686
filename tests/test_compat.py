"""`reidhub.compat.FeatureExtractor` against torchreid's definition: resize, normalise, run the model."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import tiny_model
from support.hostile_files import saved
from support.local_zoos import INPUT, Entry, file_of, replace_zoo, state_of
from torch import Tensor
from torchvision import transforms

import reidhub
from reidhub.compat import FeatureExtractor
from reidhub.errors import DatasetError, StateDictError, UsageError, WeightsError
from reidhub.models import ARCHITECTURES, build

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = (64, 32)
TORCHREIDS = ["model_name", "model_path", "image_size", "pixel_mean", "pixel_std", "pixel_norm", "device", "verbose"]


@pytest.fixture(autouse=True)
def _architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "tiny", tiny_model.ENTRY)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A checkpoint as torchreid's training writes it, of 7 people and from several GPUs."""
    tensors = {f"module.{name}": tensor for name, tensor in state_of("tiny", 7).items()}
    path = tmp_path / "model.pth.tar-60"
    path.write_bytes(saved({"state_dict": tensors, "epoch": 60, "rank1": 0.5}))
    return path


@pytest.fixture
def crops() -> list[np.ndarray]:
    """Two RGB images of different sizes."""
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((90, 40), (50, 60))]


@pytest.fixture
def paths(crops, tmp_path: Path) -> list[str]:
    names = [str(tmp_path / f"{number}.png") for number in range(len(crops))]
    for name, crop in zip(names, crops, strict=True):
        Image.fromarray(crop).save(name)
    return names


def embed_as_torchreid(crops, *, size=SIZE, mean=MEAN, std=STD, norm: bool = True) -> tuple[Tensor, Tensor]:
    """What torchreid does with the weights of ``file``: the input of the model, and its embeddings."""
    model = build("tiny", 7).eval()
    model.load_state_dict(state_of("tiny", 7))
    steps = [transforms.Resize(size), transforms.ToTensor(), *([transforms.Normalize(mean, std)] if norm else [])]
    images = torch.stack([transforms.Compose(steps)(Image.fromarray(crop)) for crop in crops])
    with torch.no_grad():
        return images, model(images)


def close(got: Tensor, want: Tensor) -> bool:
    assert got.dtype == torch.float32 and not got.requires_grad
    return got.shape == want.shape and ((got - want).norm() / want.norm()).item() < 1e-5


def test_every_kind_of_input_gives_torchreids_embeddings(file, crops, paths):
    images, want = embed_as_torchreid(crops)
    extract = FeatureExtractor("tiny", str(file), SIZE, device="cpu")

    for several in (paths, crops, [Path(path) for path in paths], images):
        assert close(extract(several), want)
    for single in (paths[1], crops[1], Path(paths[1]), images[1], images[1:]):
        assert close(extract(single), want[1:])
    assert extract([]).shape == (0, 512)


@pytest.mark.parametrize(
    "how",
    [{"pixel_mean": [0.1, 0.2, 0.3], "pixel_std": [0.5, 0.6, 0.7]}, {"pixel_norm": False}, {"image_size": [80, 48]}],
)
def test_pixels_are_prepared_as_the_arguments_say(file, crops, how):
    names = {"pixel_mean": "mean", "pixel_std": "std", "pixel_norm": "norm", "image_size": "size"}
    _, want = embed_as_torchreid(crops, **{names[name]: value for name, value in how.items()})

    got = FeatureExtractor("tiny", str(file), **{"image_size": SIZE, **how}, device="cpu")(crops)

    assert close(got, want)


def test_images_are_resized_with_the_filter_of_the_architecture(tmp_path, monkeypatch, file, crops):
    monkeypatch.setattr("support.local_zoos.INPUT", INPUT.replace("bilinear", "bicubic"))
    replace_zoo(tmp_path, monkeypatch, Entry("tiny.own", None), Entry("tiny.start", None))
    resized = [Image.fromarray(crop).resize(SIZE[::-1], Image.Resampling.BICUBIC) for crop in crops]

    got = FeatureExtractor("tiny", str(file), SIZE, device="cpu")(crops)

    assert close(got, embed_as_torchreid([np.asarray(image) for image in resized])[1])


def test_the_arguments_are_torchreids_in_its_order():
    parameters = inspect.signature(FeatureExtractor).parameters

    assert list(parameters) == TORCHREIDS
    assert parameters["image_size"].default == (256, 128) and parameters["device"].default == "cuda"


def test_a_tensor_is_used_as_it_is_even_if_pixels_are_not_normalised(file, crops):
    images, want = embed_as_torchreid(crops)
    assert images.min() < -0.5 and images.max() > 1.5

    assert close(FeatureExtractor("tiny", str(file), SIZE, pixel_norm=False, device="cpu")(images), want)


def test_the_class_is_found_without_an_import_of_its_module():
    assert reidhub.compat.FeatureExtractor is FeatureExtractor


def test_a_file_without_a_classifier_loads(tmp_path, crops):
    tensors = {n: t for n, t in state_of("tiny", 7).items() if not n.startswith("classifier")}
    (tmp_path / "model.pth").write_bytes(saved(tensors))

    got = FeatureExtractor("tiny", tmp_path / "model.pth", SIZE, device="cpu")(crops)

    assert close(got, embed_as_torchreid(crops)[1])


def test_without_a_file_the_weights_are_those_of_the_default_checkpoint(tmp_path, monkeypatch, crops, reidhub_home):
    default, start = Entry("tiny.own", file_of("tiny", 7)), Entry("tiny.start", None)
    replace_zoo(tmp_path, monkeypatch, default, start)

    for _ in range(2):  # the second one reads the conversion that the first one kept
        got = FeatureExtractor("tiny", image_size=SIZE, device="cpu")(crops)

        assert close(got, embed_as_torchreid(crops)[1])
        assert len(list(reidhub_home.rglob("*.openvino-*"))) == 1


def test_imagenet_weights_are_refused_as_a_default(tmp_path, monkeypatch):
    start = Entry("tiny.start", file_of("tiny", 7), trained_on="imagenet")
    replace_zoo(tmp_path, monkeypatch, start, Entry("tiny.own", None))

    with pytest.raises(
        UsageError, match=r"tiny\.start: ImageNet weights, which cannot tell people apart\n.*model_path"
    ):
        FeatureExtractor("tiny", device="cpu")


@pytest.mark.parametrize("name", ["", "osnet_*", "osnet_x2_0"])
def test_what_is_no_architecture_is_an_error_without_a_file(name):
    with pytest.raises(UsageError, match=f"no architecture is called '{re.escape(name)}'"):
        FeatureExtractor(name, device="cpu")


def test_a_file_of_another_architecture_is_an_error(file):
    with pytest.raises(StateDictError, match=r"model\.pth\.tar-60: .* tensors do not fit"):
        FeatureExtractor("osnet_x0_5", str(file), device="cpu")


def test_a_missing_file_is_an_error_and_not_imagenet_weights(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        FeatureExtractor("tiny", str(tmp_path / "model.pth"), device="cpu")


def test_an_unknown_architecture_is_an_error(file):
    with pytest.raises(UsageError, match="no architecture is called 'osnet_x2_0'"):
        FeatureExtractor("osnet_x2_0", str(file), device="cpu")


@pytest.mark.parametrize(
    ("size", "message"),
    [((4, 4), "the model cannot take images of 4 x 4 pixels"), (256, r"image_size is \(height, width\), got 256")],
)
def test_a_size_that_the_model_cannot_take_is_an_error(tmp_path, size, message):
    (tmp_path / "osnet.pth").write_bytes(saved(state_of("osnet_x0_25", 7)))
    with pytest.raises(UsageError, match=message):
        FeatureExtractor("osnet_x0_25", tmp_path / "osnet.pth", size, device="cpu")


def test_hacnn_needs_images_of_its_own_size(tmp_path):
    (tmp_path / "hacnn.pth").write_bytes(saved(state_of("hacnn", 3)))
    with pytest.raises(UsageError, match="hacnn takes images of 160 x 64 pixels, got 256 x 128"):
        FeatureExtractor("hacnn", tmp_path / "hacnn.pth", device="cpu")


def test_a_tensor_of_another_size_is_an_error(file):
    with pytest.raises(UsageError, match=r"\(N, 3, 64, 32\), got float32 \(1, 3, 64, 64\)"):
        FeatureExtractor("tiny", str(file), SIZE, device="cpu")(torch.zeros(1, 3, 64, 64))


def test_a_file_that_is_no_image_is_an_error_that_names_it(file):
    with pytest.raises(DatasetError, match=r"model\.pth\.tar-60 cannot be decoded"):
        FeatureExtractor("tiny", str(file), SIZE, device="cpu")([str(file)])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_torchreids_default_device_is_an_error_without_a_gpu(file):
    with pytest.raises(UsageError, match=r"no device 'cuda': .*\nhint: choose cpu"):
        FeatureExtractor("tiny", str(file))
