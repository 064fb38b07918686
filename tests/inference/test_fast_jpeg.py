"""What is decoded and enlarged without PIL has PIL's bits; what may not have them is left to PIL."""

import importlib.util
import io
import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torch import Tensor

from reidhub.demo import world
from reidhub.errors import DatasetError
from reidhub.inference import fast_jpeg
from reidhub.inference.images import load_batches
from reidhub.zoo.checkpoint import InputSpec

SPEC = InputSpec(256, 128, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")
SIZES = [(64, 128), (63, 127), (1, 1), (2, 3), (17, 33), (128, 256), (9, 24), (211, 140)]  # width, height


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Blots with noise on them: edges for the chroma filters, and coefficients of every frequency."""
    rng = np.random.default_rng(seed)
    blots = Image.fromarray(rng.integers(0, 256, (height // 7 + 2, width // 7 + 2, 3)).astype(np.uint8))
    smooth = np.asarray(blots.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray((smooth + rng.integers(-12, 13, smooth.shape)).clip(0, 255).astype(np.uint8))


@pytest.fixture(autouse=True)
def room_for_progressive_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """PIL's encoder gives up on small noisy images otherwise."""
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 2**20)


def encoded(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def pil(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def array(pixels: Tensor | None) -> np.ndarray:
    assert pixels is not None, "left to PIL"
    return pixels.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0", "grey"])
def test_files_of_every_kind_and_size_have_pils_pixels(sampling: str, progressive: bool) -> None:
    for size, quality in itertools.product(SIZES, (20, 75, 95, 100)):
        image = picture(*size, seed=quality)
        options = {} if sampling == "grey" else {"subsampling": sampling}
        data = encoded(
            image.convert("L") if not options else image, quality=quality, progressive=progressive, **options
        )

        assert np.array_equal(array(fast_jpeg.decode(data)), pil(data)), (size, quality)


def test_orientation_restarts_comments_and_profiles_change_nothing() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned by 90 degrees
    for options in (
        {"exif": exif},
        {"comment": b"\xff\xda"},
        {"icc_profile": b"x" * 70_000},
        {"restart_marker_rows": 1},
    ):
        data = encoded(picture(64, 128), **options)

        assert np.array_equal(array(fast_jpeg.decode(data)), pil(data)), options


def test_photographs_of_the_demo_have_pils_pixels() -> None:
    for shot in itertools.islice(world.list_shots("query"), 20):
        data = world.photograph(shot)

        assert np.array_equal(array(fast_jpeg.decode(data)), pil(data))


@pytest.mark.parametrize("options", [{"format": "PNG"}, {"format": "JPEG", "mode": "CMYK"}])
def test_other_files_are_left_to_pil(options: dict[str, str]) -> None:
    file = io.BytesIO()
    picture(64, 128).convert(options.get("mode", "RGB")).save(file, options["format"])

    assert fast_jpeg.decode(file.getvalue()) is None


def test_colours_that_are_not_ycbcr_and_unusual_sampling_are_left_to_pil() -> None:
    assert fast_jpeg.decode(encoded(picture(64, 128), keep_rgb=True)) is None  # says so in an Adobe segment
    data = bytearray(encoded(picture(64, 128), subsampling="4:2:0"))
    data[data.index(b"\xff\xc0") + 11] = 0x12
    assert fast_jpeg.decode(data) is None


def outcome(data: bytes, path: Path) -> bytes | None:
    """Pixels as a loader gives them; None for a file that is refused."""
    path.write_bytes(data)
    try:
        ((pixels, _),) = load_batches([path], SPEC, 1, 1)
    except DatasetError:
        return None
    return pixels.numpy().tobytes()


@pytest.mark.parametrize("progressive", [False, True])
def test_damaged_files_end_as_they_do_with_pil_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, progressive: bool
) -> None:
    data = encoded(picture(64, 128), quality=80, progressive=progressive)
    rng = np.random.default_rng(0)
    damaged = [data[:cut] for cut in rng.integers(2, len(data), 30)]
    for _ in range(120):
        copy = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            copy[place] = rng.integers(256)
        damaged.append(bytes(copy))
    damaged += [data[:cut] for cut in range(2, data.index(b"\xff\xda"), 7)]
    damaged += [data + b"behind the end", data[:-2], b"\xff\xd8\xff", data[:2] + b"\xff" * 9 + data[2:]]
    got = [outcome(copy, tmp_path / "a.jpg") for copy in damaged]

    monkeypatch.setattr(fast_jpeg, "find_equal_kinds", frozenset)

    assert got == [outcome(copy, tmp_path / "a.jpg") for copy in damaged]
    assert any(pixels is None for pixels in got) and any(pixels is not None for pixels in got)


def enlarged(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    return fast_jpeg.enlarge(pixels, (height, width)).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("wanted", [(256, 128), (160, 64)])
def test_every_size_that_is_enlarged_exactly_has_pils_pixels(wanted: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    exact = 0
    for side in range(1, wanted[0] + 1):
        size = (side, int(rng.integers(1, wanted[1] + 1)))
        if not fast_jpeg.enlarges_exactly(size, wanted):
            continue
        exact += 1
        pixels = rng.integers(0, 256, (1, *size, 3)).astype(np.uint8)
        want = Image.fromarray(pixels[0]).resize(wanted[::-1], Image.Resampling.BILINEAR)
        assert np.array_equal(enlarged(pixels, *wanted)[0], np.asarray(want)), size
    assert exact == (256 if wanted == (256, 128) else 160 // 5)


def test_sizes_whose_weights_are_rounded_are_left_to_pil() -> None:
    assert not fast_jpeg.enlarges_exactly((128, 64), (160, 64))
    assert not fast_jpeg.enlarges_exactly((257, 64), (256, 128))
    assert not fast_jpeg.enlarges_exactly((512, 64), (256, 128))
    assert not fast_jpeg.enlarges_exactly((64, 129), (256, 128))


def test_bicubic_images_are_decoded_fast_and_resized_by_pil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch rounds bicubic weights more than PIL, even to twice the size and for images that shrink by half."""
    sizes = [(64, 128), (32, 64), (128, 256), (256, 512), (50, 117)]  # width, height
    images, paths = [], []
    for number, size in enumerate(sizes * 4):
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(encoded(picture(*size, seed=number)))
        images.append(Image.fromarray(pil(paths[-1].read_bytes())))
    wants = [np.asarray(image.resize((128, 256), Image.Resampling.BICUBIC)) for image in images]
    fast_jpeg.find_equal_kinds()
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("PIL decodes"))

    batches = [pixels for pixels, _ in load_batches(paths, replace(SPEC, interpolation="bicubic"), 8)]

    for want, pixels in zip(wants, torch.cat(batches), strict=True):
        assert np.array_equal(array(pixels), want)


def test_decoder_or_resizer_that_differs_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    picture(64, 128).save(path)
    with Image.open(path) as image:
        want = np.asarray(image.resize((128, 256), Image.Resampling.BILINEAR))
    decode, enlarge = fast_jpeg._decode, fast_jpeg.enlarge

    def off_by_one(data: bytes) -> Tensor | None:
        pixels = decode(data)
        return None if pixels is None else pixels ^ 1

    def inverted(pixels: np.ndarray, size: tuple[int, int]) -> Tensor:
        return enlarge(255 - pixels, size)

    for check in (fast_jpeg.find_equal_kinds, fast_jpeg.resizes_equally):
        check.cache_clear()
    with monkeypatch.context() as other:
        other.setattr(fast_jpeg, "_decode", off_by_one)
        other.setattr(fast_jpeg, "enlarge", inverted)
        ((pixels, _),) = load_batches([path], SPEC, 1)
        assert not fast_jpeg.find_equal_kinds() and not fast_jpeg.resizes_equally()
    for check in (fast_jpeg.find_equal_kinds, fast_jpeg.resizes_equally):
        check.cache_clear()

    assert np.array_equal(array(pixels[0]), want)


_DECODE = """
import sys
from reidhub.inference import fast_jpeg
print(len(fast_jpeg.find_equal_kinds()), "torchvision" in sys.modules)
import torchvision.io
import torch
data = torch.frombuffer(bytearray(fast_jpeg._make_sample(fast_jpeg.KINDS[0], 0)), dtype=torch.uint8)
print(torchvision.io.decode_jpeg(data).shape)
"""


def test_the_decoder_does_not_import_torchvision_which_can_be_imported_later() -> None:
    run = subprocess.run([sys.executable, "-c", _DECODE], capture_output=True, text=True, check=True)

    first, second = run.stdout.splitlines()
    assert first == f"{len(fast_jpeg.find_equal_kinds())} False" and second.startswith("torch.Size([1, ")


def test_without_a_file_of_the_decoder_torchvision_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torchvision" else find(name))
    monkeypatch.delitem(sys.modules, "torchvision.io", raising=False)
    fast_jpeg.find_equal_kinds.cache_clear()

    assert fast_jpeg.find_equal_kinds() and "torchvision.io" in sys.modules
