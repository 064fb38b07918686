"""Pixels against the published pipeline: PIL and torchvision's own transforms on real files."""

import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from reidhub.errors import DatasetError
from reidhub.inference.images import load_batches
from reidhub.inference.preprocess import Transform, imagenet_spec, normalise, transform
from reidhub.zoo.checkpoint import InputSpec, Interpolation

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SPEC = InputSpec(256, 128, MEAN, STD, "bilinear")
SIZES = [(64, 128), (48, 100), (128, 256), (200, 77), (1, 1), (31, 300), (500, 375)]  # width, height
MODES = ["RGB", "L", "CMYK", "RGBA", "P", "1", "LA"]


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Noise on a ramp, so that a swapped axis or channel or another filter shows."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 200, height)[:, None, None] + np.array([0, 25, 50])
    return Image.fromarray((ramp + rng.integers(0, 6, (height, width, 3)) + rng.random() * 5).astype(np.uint8))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Images of many sizes and modes."""
    paths = []
    for number, size in enumerate(SIZES):
        paths.append(tmp_path / f"size{number}.jpg")
        picture(*size, seed=number).save(paths[-1], quality=90)
    for number, mode in enumerate(MODES):
        suffix = "jpg" if mode in ("RGB", "L", "CMYK") else "png"
        paths.append(tmp_path / f"mode{number}.{suffix}")
        picture(70, 130).convert(mode).save(paths[-1])
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned by 90 degrees
    picture(64, 128).save(turned, exif=exif)
    return [*paths, turned]


def published(path: Path, spec: Any = SPEC) -> torch.Tensor:
    """The published pipeline itself."""
    resize = transforms.Resize((spec.height, spec.width), transforms.InterpolationMode(spec.interpolation))
    steps = [resize, transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    with Image.open(path) as image:
        return transforms.Compose(steps)(image.convert("RGB"))  # type: ignore[no-any-return]


def published_imagenet(path: Path) -> torch.Tensor:
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    with Image.open(path) as image:
        return transforms.Compose(steps)(image.convert("RGB"))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("height", "width", "interpolation"),
    [
        (256, 128, "bilinear"),
        (160, 64, "bilinear"),
        (128, 64, "bilinear"),
        (384, 128, "bicubic"),
        (256, 128, "bicubic"),
        (256, 256, "bicubic"),
    ],
)
def test_the_published_pipeline_gives_the_pixels_of_transform_and_batches(
    files: list[Path], height: int, width: int, interpolation: Interpolation
) -> None:
    spec = InputSpec(height, width, MEAN, STD, interpolation)
    want = [published(path, spec) for path in files]
    batches = [normalise(pixels, spec) for pixels, _ in load_batches(files * 2, spec, 16)]
    for path, pixels, row, again in zip(files, want, *torch.cat(batches).split(len(files)), strict=True):
        assert torch.equal(transform(spec)(path), pixels), path.name
        assert torch.equal(row, pixels) and torch.equal(again, pixels), path.name


def test_imagenet_transform_gives_the_pixels_of_the_published_pipeline(tmp_path: Path) -> None:
    for number, size in enumerate([(500, 375), (375, 500), (256, 256), (333, 257), (100, 97), (1000, 224), (257, 225)]):
        path = tmp_path / f"{number}.jpg"
        picture(*size, seed=number).save(path)
        assert torch.equal(Transform(imagenet_spec(SPEC))(path), published_imagenet(path)), size


def test_an_image_and_its_file_give_the_same(files: list[Path]) -> None:
    with Image.open(files[0]) as image:
        assert torch.equal(transform(SPEC)(image), transform(SPEC)(str(files[0])))


def test_16_bit_grey_is_divided_by_257(tmp_path: Path) -> None:
    """PIL's own conversion makes every value above 255 white."""
    grey = np.asarray(picture(70, 130).convert("L"))
    wide = Image.fromarray(grey.astype(np.uint16) * 257)
    wide.save(tmp_path / "wide.png")
    want = transform(SPEC)(Image.fromarray(grey))
    assert torch.equal(transform(SPEC)(wide), want) and torch.equal(transform(SPEC)(tmp_path / "wide.png"), want)


def test_transform_refuses_float_images() -> None:
    with pytest.raises(DatasetError, match="the image cannot be decoded: it has float pixels"):
        transform(SPEC)(Image.fromarray(np.ones((20, 10), np.float32)))


def test_transform_travels_to_another_process_and_says_what_it_does(files: list[Path]) -> None:
    there = pickle.loads(pickle.dumps(transform(SPEC)))
    assert torch.equal(there(files[0]), transform(SPEC)(files[0]))
    assert repr(there) == f"Transform(RGB, 256x128 bilinear, mean={MEAN}, std={STD})"
    assert "256x128 bicubic" in repr(transform(replace(SPEC, interpolation="bicubic")))
    assert "short side to 256, centre crop 224x224" in repr(Transform(imagenet_spec(SPEC)))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 5, 100])
def test_batches_normalised_are_what_the_transform_gives(files: list[Path], batch_size: int, workers: int) -> None:
    seen = []
    for pixels, indexes in load_batches(files, SPEC, batch_size, workers):
        assert pixels.dtype == torch.uint8
        assert pixels.shape == (len(indexes), 3, 256, 128)
        for row, index in zip(normalise(pixels, SPEC), indexes.tolist(), strict=True):
            assert torch.equal(row, transform(SPEC)(files[index]))
            seen.append(index)
    assert seen == list(range(len(files)))


def test_batches_follow_the_imagenet_recipe_too(tmp_path: Path) -> None:
    picture(500, 375).save(tmp_path / "a.jpg")
    ((pixels, _),) = load_batches([tmp_path / "a.jpg"], imagenet_spec(SPEC), 8)
    assert torch.equal(normalise(pixels, imagenet_spec(SPEC))[0], published_imagenet(tmp_path / "a.jpg"))


def test_no_images_are_no_batches() -> None:
    assert list(load_batches([], SPEC, 8)) == []


@pytest.mark.parametrize("content", [b"", b"not an image", "truncated", "broken png"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes | str) -> None:
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    picture(64, 128).save(good)
    if isinstance(content, str):
        picture(64, 128).save(bad, format="JPEG" if content == "truncated" else "PNG")
        data = bad.read_bytes()
        content = data[: len(data) // 2] if content == "truncated" else data[:60] + b"\0" * 40 + data[100:]
    bad.write_bytes(content)
    with pytest.raises(DatasetError, match=r"bad\.jpg cannot be decoded"):
        list(load_batches([good, bad, good], SPEC, 2))
    with pytest.raises(DatasetError, match=r"bad\.jpg cannot be decoded") as caught:
        transform(SPEC)(bad)
    assert "object at 0x" not in caught.value.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.jpg cannot be read: No such file or directory$"):
        next(load_batches([tmp_path / "gone.jpg"], SPEC, 2))


@pytest.mark.parametrize(("batch_size", "workers"), [(0, 1), (1, 0)])
def test_batches_of_nothing_and_no_workers_are_errors(batch_size: int, workers: int) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        load_batches([], SPEC, batch_size, workers)


def opened_files(program: str, folder: Path) -> Iterator[str]:
    """Files below ``folder`` that a program opens, in order: one line for each time."""
    audit = (
        "import sys\n"
        "def hook(event, args):\n"
        f"    if event == 'open' and str(args[0]).startswith({str(folder) + '/'!r}):\n"
        "        sys.stdout.write(args[0] + chr(10))\n"
        "sys.addaudithook(hook)\n"
    )
    done = subprocess.run([sys.executable, "-c", audit + program], capture_output=True, text=True, check=True)
    yield from done.stdout.splitlines()


_LOAD = """
import time
from pathlib import Path
from reidhub.zoo.checkpoint import InputSpec
from reidhub.inference.images import load_batches
spec = InputSpec(256, 128, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")
paths = sorted(Path({folder!r}).iterdir()) * {times}
"""


def test_each_file_is_opened_once_and_only_a_few_ahead(tmp_path: Path) -> None:
    """Small batches are decoded 16 images at once: so many are open when the first batch is there."""
    for number in range(70):
        picture(16, 32, seed=number).save(tmp_path / f"{number:02d}.jpg")
    program = _LOAD.format(folder=str(tmp_path), times=1)
    for batch_size in (1, 20):  # one process for both: its imports take most of the time
        program += (
            f"batches = load_batches(paths, spec, {batch_size})\n"
            "for _ in batches: pass\n"
            "print('all', flush=True)\n"
            f"batches = load_batches(paths, spec, {batch_size})\n"
            "next(batches); time.sleep(1); batches.close()\n"
            "print('first', flush=True)\n"
        )
    opened = opened_files(program, tmp_path)
    for least, most in ((16, 48), (20, 60)):
        everything = [*takewhile("all".__ne__, opened)]
        assert sorted(everything) == [str(tmp_path / f"{number:02d}.jpg") for number in range(70)]
        started = [*takewhile("first".__ne__, opened)]
        assert least <= len(started) <= most


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    """Held all at once, 6,000 more images would take 576,000 KiB, as Linux gives the peak; the allocator takes some."""
    picture(16, 32).save(tmp_path / "a.jpg")
    program = (
        _LOAD.format(folder=str(tmp_path), times=8000)
        + """
import resource
def peak(paths):
    for _ in load_batches(paths, spec, 32): pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak(paths[:2000]), peak(paths))
"""
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    few, many = map(int, done.stdout.split())
    assert many - few < 57_600
