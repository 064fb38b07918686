"""Images of every kind through the embedder, against PIL and the published preprocessing."""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.flat_model import make_flat_embedder

from reidhub.errors import DatasetError, UsageError
from reidhub.inference.images import LazyImage
from reidhub.inference.preprocess import normalise, transform

EMBED, SPEC = make_flat_embedder()
MODES = ["RGB", "L", "CMYK", "RGBA", "P", "1", "LA", "YCbCr", "HSV", "LAB", "PA"]
SIZES = st.integers(1, 40)


def published(*images: Image.Image) -> torch.Tensor:
    """The embeddings that PIL's pixels give: (N, D)."""
    rows = []
    for image in images:
        pixels = np.asarray(image.convert("RGB").resize((SPEC.width, SPEC.height), Image.Resampling.BILINEAR))
        rows.append(normalise(torch.tensor(pixels).permute(2, 0, 1)[None], SPEC).flatten(1))
    return torch.cat(rows)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def picture(seed: int = 0, width: int = 12, height: int = 25) -> Image.Image:
    return Image.fromarray(noise(height, width, 3, seed=seed))


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Nine files, PNG and JPEG."""
    paths = [tmp_path / f"{number}.{'png' if number % 2 else 'jpg'}" for number in range(9)]
    for number, path in enumerate(paths):
        picture(number, 7 + number, 40 - 3 * number).save(path)
    return paths


@given(SIZES, SIZES, st.sampled_from(MODES), st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_a_pil_image_of_any_mode_gives_the_published_pixels(width: int, height: int, mode: str, seed: int) -> None:
    image = picture(seed, width, height).convert("L" if mode == "PA" else "RGB").convert(mode)
    assert torch.equal(EMBED(image), published(image))


@given(SIZES, SIZES, st.sampled_from([(), (1,), (3,), (4,)]), st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_an_array_gives_the_pixels_of_its_pil_image(
    width: int, height: int, channels: tuple[int, ...], seed: int
) -> None:
    pixels = noise(height, width, *channels, seed=seed)
    image = Image.fromarray(pixels[..., 0] if channels == (1,) else pixels)
    assert torch.equal(EMBED(pixels), published(image))


@pytest.mark.parametrize(
    "view",
    [
        lambda pixels: pixels[..., ::-1],
        lambda pixels: pixels[::-1],
        lambda pixels: pixels[:, ::-1],
        lambda pixels: pixels[::2, 1::3],
        lambda pixels: pixels.transpose(1, 0, 2),
        np.asfortranarray,
    ],
    ids=["channels", "rows", "columns", "every second", "transposed", "Fortran"],
)
@pytest.mark.parametrize("size", [(60, 50), (9, 6)], ids=["shrunk", "enlarged"])
def test_an_array_may_be_a_view_with_any_strides(view: Callable[[np.ndarray], np.ndarray], size) -> None:
    pixels = view(noise(*size, 3))
    before = pixels.copy()
    assert torch.equal(EMBED(pixels), published(Image.fromarray(np.ascontiguousarray(pixels))))
    assert np.array_equal(pixels, before)


def test_16_bit_grey_is_divided_by_257_in_arrays_pil_images_and_files(tmp_path: Path) -> None:
    wide = np.random.default_rng(0).integers(0, 65536, (20, 10)).astype(np.uint16)
    wide[0, :3] = 0, 256, 65535
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(wide).save(tmp_path / "wide.tif")
    want = published(Image.fromarray((wide // 257).astype(np.uint8)))

    (tmp_path / "wide.pgm").write_bytes(b"P5 10 20 65535 " + wide.astype(">u2").tobytes())  # PIL gives mode I

    images = [wide, wide[..., None], wide.astype(">u2"), Image.fromarray(wide)]
    for image in [*images, *(tmp_path / f"wide.{ending}" for ending in ("png", "tif", "pgm"))]:
        assert torch.equal(EMBED(image), want)
    assert torch.equal(transform(SPEC)(Image.fromarray(wide)).flatten()[None], want)


def test_files_pil_images_and_arrays_of_one_picture_give_one_embedding(tmp_path: Path) -> None:
    for image in (picture(), picture(1, 90, 33)):
        path = tmp_path / "image.png"
        image.save(path)
        with Image.open(path) as opened:
            kinds = [path, str(path), opened, image, np.asarray(image)]
            assert torch.equal(EMBED(kinds), published(*[image] * 5))
            for kind in kinds:
                assert torch.equal(EMBED(kind), published(image))


def test_cmyk_jpeg_and_palette_files_give_the_published_pixels(tmp_path: Path) -> None:
    images = []
    for mode, ending in (("CMYK", "jpg"), ("P", "png"), ("LA", "png"), ("1", "png"), ("RGBA", "webp"), ("L", "bmp")):
        images.append(tmp_path / f"{mode}.{ending}")
        picture().convert(mode).save(images[-1])
    want = []
    for path in images:
        with Image.open(path) as image:
            want.append(published(image))
    assert torch.equal(EMBED(images), torch.cat(want))


@pytest.mark.parametrize("count", [1, 3, 4, 5, 16, 17, 70])
def test_lists_and_generators_keep_their_order(count: int) -> None:
    images = [picture(seed, 5 + seed % 20, 5 + seed % 31) for seed in range(count)]
    want = published(*images)
    for given_as in (images, tuple(images), (image for image in images), map(np.asarray, images)):
        got = EMBED(given_as)
        assert torch.equal(got, want)
    assert got.dtype == torch.float32 and got.device.type == "cpu"


def test_arrays_of_images_and_of_paths_are_collections(paths: list[Path]) -> None:
    stack = noise(5, 20, 10, 3)
    assert torch.equal(EMBED(stack), published(*map(Image.fromarray, stack)))
    assert torch.equal(EMBED(np.array([str(path) for path in paths])), EMBED(paths))
    assert torch.equal(EMBED(np.array(paths)), EMBED(paths))


def test_no_images_give_no_rows() -> None:
    for nothing in ([], (), iter([]), np.empty((0, 20, 10, 3), np.uint8), torch.empty(0, 3, 16, 8)):
        assert EMBED(nothing).shape == (0, 384)
    assert EMBED([], on_error="skip").shape == (0, 384)


def test_an_image_that_pil_has_opened_but_not_read_may_come_several_times(paths: list[Path]) -> None:
    for _ in range(5):
        with Image.open(paths[1]) as image:
            got = EMBED([image] * 40)
            assert torch.equal(got, published(image).expand(40, -1))


def test_a_generator_is_only_read_a_few_batches_ahead() -> None:
    most, embedded = 0, 0
    embed, _ = make_flat_embedder(batch=20)
    inner = embed.embed_on_device

    def count(pixels: torch.Tensor) -> torch.Tensor:
        nonlocal embedded
        embedded += len(pixels)
        return inner(pixels)

    def images() -> Iterator[np.ndarray]:
        nonlocal most
        for number in range(300):
            most = max(most, number + 1 - embedded)
            yield noise(20, 10, 3, seed=number)

    embed.embed_on_device = count  # type: ignore[method-assign]
    assert embed(images()).shape == (300, 384)
    assert most <= 3 * 20


def test_memory_does_not_grow_with_the_length_of_a_generator() -> None:
    """All at once, 2,700 more images of 300 kB would take 800,000 KiB."""
    program = """
import resource
import numpy as np
from support.flat_model import make_flat_embedder
embed, _ = make_flat_embedder()
def peak(count):
    embed(np.full((500, 200, 3), number % 256, np.uint8) for number in range(count))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak(300), peak(3000))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[1], check=True
    )
    few, many = map(int, done.stdout.split())
    assert many - few < 40_000


@pytest.mark.parametrize("place", [0, 4, 20])
@pytest.mark.parametrize("kind", ["truncated", "missing", "text", "empty"])
def test_an_unreadable_file_is_named_or_skipped(
    paths: list[Path], tmp_path: Path, kind: str, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    good = [*paths, *paths, *paths]
    bad = tmp_path / "bad.jpg"
    contents = {"truncated": paths[0].read_bytes()[:200], "text": b"not an image", "empty": b""}
    if kind in contents:
        bad.write_bytes(contents[kind])
    mixed: list[Path] = [*good[:place], bad, *good[place:]]

    with pytest.raises(DatasetError, match=r"bad\.jpg cannot be (read|decoded)"):
        EMBED(mixed)
    assert EMBED.skipped == {}

    with caplog.at_level(logging.WARNING):
        got = EMBED((path for path in mixed), on_error="skip")
    assert torch.equal(got, EMBED(good))
    (record,) = caplog.records
    assert record.levelname == "WARNING" and str(bad) in record.getMessage()


def test_the_skipped_images_are_told_by_index_until_the_next_call(paths: list[Path], tmp_path: Path) -> None:
    gone = tmp_path / "gone.jpg"
    mixed = [gone, *paths, gone]

    rows = EMBED(mixed, on_error="skip")

    assert list(EMBED.skipped) == [0, 10] and "gone.jpg" in EMBED.skipped[0].message
    kept = [path for index, path in enumerate(mixed) if index not in EMBED.skipped]
    assert kept == paths and len(rows) == len(kept)
    assert EMBED([gone] * 40, on_error="skip").shape == (0, 384) and len(EMBED.skipped) == 40
    EMBED(paths)
    assert EMBED.skipped == {}


class Late(LazyImage):
    """An image that is made when it is loaded; it writes down the thread that loads it."""

    def __init__(self, image: Image.Image | None) -> None:
        self.name = "late.tar/7.jpg"
        self.image = image
        self.threads: list[str] = []

    def load(self) -> Image.Image:
        self.threads.append(threading.current_thread().name)
        if self.image is None:
            raise DatasetError(f"{self.name} cannot be decoded: it is no image")
        return self.image


def test_a_lazy_image_is_loaded_once_by_a_thread_that_decodes(paths: list[Path]) -> None:
    late = [Late(Image.open(path)) for path in paths]
    assert torch.equal(EMBED([*late, *paths]), EMBED([*paths, *paths]))
    assert all(len(image.threads) == 1 and image.threads[0].startswith("reidhub-decode") for image in late)
    with pytest.raises(DatasetError, match=r"late.tar/7.jpg cannot be decoded"):
        EMBED([paths[0], Late(None)])


def test_readable_images_are_embedded_beside_the_errors_of_the_others(
    paths: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = tmp_path / "gone.jpg"
    with caplog.at_level(logging.INFO):
        embeddings, unreadable = EMBED.embed_readable([Late(None), *paths, gone, Late(picture())])
    assert torch.equal(embeddings, EMBED([*paths, picture()]))
    assert list(unreadable) == [0, 10] and caplog.messages == []
    assert "late.tar/7.jpg" in unreadable[0].message and "gone.jpg" in unreadable[10].message


def test_threads_see_only_the_images_that_they_skipped(tmp_path: Path) -> None:
    both_done = threading.Barrier(2)

    def skip(count: int) -> int:
        EMBED([tmp_path / "gone.jpg"] * count, on_error="skip")
        both_done.wait(20)
        return len(EMBED.skipped)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(skip, [2, 5])) == [2, 5]


def test_a_pil_image_with_a_damaged_file_counts_as_unreadable(paths: list[Path], tmp_path: Path) -> None:
    content = paths[1].read_bytes()
    (tmp_path / "half.png").write_bytes(content[: len(content) // 2])
    with Image.open(tmp_path / "half.png") as half:
        with pytest.raises(DatasetError, match=r"images\[1\] \(.*half\.png\) cannot be decoded"):
            EMBED([picture(), half])
        assert torch.equal(EMBED([picture(), half], on_error="skip"), published(picture()))


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (noise(20, 10, 3).astype(np.float32), r"images\[1\] is an array of float32 \(20, 10, 3\).*astype"),
        (noise(20, 10, 3) / 255, r"float64.*array \* 255"),
        (noise(20, 10, 3).astype(np.int64), "int64"),
        (noise(20, 10, 3).astype(np.uint16), "uint16"),
        (noise(20, 10) > 100, "bool"),
        (noise(3, 20, 10), r"\(3, 20, 10\)(.|\n)*transpose\(1, 2, 0\)"),
        (noise(20, 10, 2), r"\(20, 10, 2\)"),
        (noise(20), r"\(20,\)"),
        (noise(0, 10, 3), "no pixels"),
        (torch.zeros(3, 16, 8), r"of type Tensor.*(.|\n)*torch\.stack"),
        (b"content", "of type bytes"),
        ([picture()], "of type list"),
        (None, "of type NoneType"),
        (7, "of type int"),
    ],
)
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_an_object_that_is_no_image_is_an_error_with_its_index(image: object, what: str, on_error: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){what}") as caught:
        EMBED([picture(), image], on_error=on_error)  # type: ignore[arg-type,list-item]
    assert caught.value.message.startswith("images[1] ")


def test_a_single_object_that_is_no_image_and_an_unknown_choice_are_errors(paths: list[Path]) -> None:
    for wrong in (None, 7, 3.5, object()):
        with pytest.raises(UsageError, match=f"got {type(wrong).__name__}"):
            EMBED(wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"float32 \(5, 3, 16, 8\)(.|\n)*torch\.from_numpy"):
        EMBED(np.zeros((5, 3, 16, 8), np.float32))
    with pytest.raises(UsageError, match="on_error is 'raise' or 'skip', got 'ignore'"):
        EMBED(paths, on_error="ignore")  # type: ignore[arg-type]


def test_float_pil_images_are_refused() -> None:
    floats = Image.fromarray(noise(20, 10).astype(np.float32))
    with pytest.raises(UsageError, match=r"images\[0\] cannot be decoded: it has float pixels"):
        EMBED(floats)


@pytest.mark.parametrize(("dtype", "kind"), [(np.int32, "32-bit"), (np.float32, "float")])
def test_images_with_32_bits_are_refused_in_files_too(dtype: type, kind: str, tmp_path: Path) -> None:
    image = Image.fromarray(noise(20, 10).astype(dtype))
    image.save(tmp_path / "wide.tif")
    for given_as in (image, tmp_path / "wide.tif"):
        with pytest.raises(DatasetError, match=f"cannot be decoded: it has {kind} pixels"):
            EMBED(given_as)
        with pytest.raises(DatasetError, match=f"cannot be decoded: it has {kind} pixels"):
            transform(SPEC)(given_as)


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (5, 5, 9, 5)], ids=["no width", "no height"])
def test_a_crop_without_pixels_is_an_error_or_skipped(box: tuple[int, int, int, int]) -> None:
    empty = picture().crop(box)
    for call in (EMBED, transform(SPEC)):
        with pytest.raises(DatasetError, match=f"it has no pixels: its size is {empty.width} x {empty.height}"):
            call(empty)
    assert torch.equal(EMBED([picture(), empty], on_error="skip"), published(picture()))
    with pytest.raises(UsageError, match="no pixels"):
        EMBED([picture(), np.asarray(picture())[box[1] : box[3], box[0] : box[2]]])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_float_tensors_with_values_that_are_not_finite_are_refused(value: float) -> None:
    images = torch.zeros(3, 3, 16, 8)
    images[2, 1, 5, 5] = value
    with pytest.raises(UsageError, match="NaN or infinite"):
        EMBED(images)


def test_float_tensors_with_pixels_from_0_to_255_are_refused() -> None:
    pixels = torch.randint(0, 256, (3, 3, 16, 8), generator=torch.Generator().manual_seed(0))
    with pytest.raises(UsageError, match=r"normalised(.|\n)*images\.byte\(\)"):
        EMBED(pixels.float())
    assert torch.equal(EMBED(pixels.byte()), EMBED(normalise(pixels.byte(), SPEC)))
    EMBED(3 * torch.randn(20, 3, 16, 8, generator=torch.Generator().manual_seed(0)).clamp(-3.4, 3.4))
