"""The embedder: it computes embeddings of images of any kind."""

import logging
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from threading import local
from typing import Any, Literal, Self, SupportsIndex

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from reidhub.devices import count_processors
from reidhub.errors import DatasetError, UsageError
from reidhub.inference.boxes import Color, Frame, cut_boxes
from reidhub.inference.engine import Engine, make_engine
from reidhub.inference.images import ImageLike, LazyImage, list_images, load_batches
from reidhub.inference.preprocess import PixelSpec, check_normalised, check_pixels
from reidhub.inference.trackers import adapt
from reidhub.inference.upload import upload_ahead
from reidhub.models.base import ReidModel
from reidhub.torch_settings import Precision

_MOST_WORKERS = 8  # threads that decode; with more, Python's lock is the limit

_log = logging.getLogger(__name__)


class Embedder:
    """Embeds any number of images; several threads can use it at once. It can be pickled.

    `reidhub.embedder` makes one.

    Attributes:
        dimensions: D, the length of an embedding.
        batch: number of images in a batch. A call may have any number of images.
        device: the device on which the model runs.
        engine: name and version of the runtime, such as ``openvino 2026.4.1``.
    """

    def __init__(self, engine: Engine, spec: PixelSpec, *, takes_pixels: bool = False) -> None:
        """Make an embedder.

        Args:
            engine: runs the model; see `reidhub.inference.engine`.
            spec: size and normalisation of the model's images.
            takes_pixels: the model normalises the images itself, so float tensors have pixels from 0 to 1.
        """
        self.dimensions = engine.dimensions
        self.batch = engine.batch
        self.device = engine.device
        self.engine = f"{engine.name} {engine.version}"
        self._engine = engine
        self._spec = spec
        self._takes_pixels = takes_pixels
        self._workers = min(count_processors(), _MOST_WORKERS)
        self._last_call = local()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), takes_pixels=self._takes_pixels), (self._engine, self._spec)

    @classmethod
    def of_model(
        cls,
        model: ReidModel,
        spec: PixelSpec,
        *,
        precision: Precision = "fp32",
        batch: int | None = None,
        cached: Path | None = None,
    ) -> Self:
        """Make an embedder from a model; the model is not changed.

        Args:
            model: float32, in eval mode, on the device that will compute.
            spec: size and normalisation of the model's images.
            precision: ``exact``, the model itself; else a faster copy in this precision.
            batch: images in a batch, above 0; None for a number that suits the device.
            cached: the checkpoint file in the cache; the model converted for OpenVINO is kept in the same folder. None
                to keep nothing.

        Raises:
            UsageError: the model is in train mode or not float32, the batch is below 1, or the precision is unknown or
                not supported by the device.
        """
        return cls(make_engine(model, spec, precision, batch=batch, cached=cached), spec)

    def __call__(
        self, images: Tensor | ImageLike | Iterable[ImageLike], *, on_error: Literal["raise", "skip"] = "raise"
    ) -> Tensor:
        """Embed images of any kind; the next images are decoded and resized while the model runs.

        Args:
            images: a single image, or a list, generator or other iterable of images, of any sizes and kinds. An image
                is the path of a file, a PIL image, or an array (h, w, 3) of uint8 RGB pixels; the array may also be
                RGBA (alpha is dropped), grey (h, w), or uint16 grey (divided by 257). Arrays must not be changed before
                the call returns. Instead of images, a tensor (N, 3, H, W) is possible, with the model's H and W, on any
                device: uint8 RGB pixels, or normalised float32.
            on_error: what happens if an image cannot be decoded: ``raise`` raises an error that names the file;
                ``skip`` leaves its row out, names the file in a warning of the log, and puts its index and the error
                into `skipped`.

        Returns:
            float32 (N, D), on the CPU, in the order of ``images``; (0, D) for no images.

        Raises:
            DatasetError: an image cannot be decoded.
            UsageError: the images are of another kind, an array or tensor has another shape or dtype, a float tensor
                has NaN or is not normalised, or an embedding is not finite, which ``fp16`` can cause.
        """
        if on_error not in ("raise", "skip"):
            raise UsageError(f"on_error is 'raise' or 'skip', got {on_error!r}")
        self._last_call.skipped = {}
        if isinstance(images, Tensor):
            return _check_finite(self.embed_on_device(images).cpu())
        if on_error == "raise":
            return self._embed_batches(list_images(images), self._workers)
        embeddings, self._last_call.skipped = self.embed_readable(list_images(images))
        for error in self._last_call.skipped.values():
            _log.warning("image skipped: %s", error.message)
        return embeddings

    def embed_readable(self, images: Iterable[ImageLike | LazyImage]) -> tuple[Tensor, dict[int, DatasetError]]:
        """Embed the images that can be read and decoded; the next images are decoded while the model runs.

        Args:
            images: the images, of any sizes and kinds.

        Returns:
            float32 (N, D), on the CPU: the embeddings of the readable images, in the order of ``images``; and the other
            images: index among all images -> error.

        Raises:
            UsageError: an image is of another kind, or its array has another dtype or shape.
        """
        unreadable: dict[int, DatasetError] = {}
        return self._embed_batches(images, self._workers, unreadable), unreadable

    @property
    def skipped(self) -> dict[int, DatasetError]:
        """The images that this thread's last call of the embedder skipped: index among all images -> error."""
        skipped: dict[int, DatasetError] = getattr(self._last_call, "skipped", {})
        return skipped

    def boxes(
        self, frame: Frame, xyxy: ArrayLike | Tensor, *, color: Color, on_empty: Literal["raise", "nan"] = "raise"
    ) -> Tensor:
        """Embed boxes of one frame, such as the people that a detector found.

        Each box is cut out and then treated like an image of its own. Left and top edges are rounded down, right and
        bottom edges up, and all are clipped to the frame.

        Args:
            frame: array (h, w, 3) of uint8, or a PIL image; an array may also have a fourth channel, which is dropped,
                or be grey, and may be a view such as ``frame[..., ::-1]``.
            xyxy: (n, 4), left, top, right and bottom edge of each box in pixels of the frame, as a list, array or
                tensor of integers or floats.
            color: order of the frame's channels: ``bgr``, as OpenCV reads images, or ``rgb``, as PIL does.
            on_empty: what happens if a box has no pixels in the frame: ``raise`` raises an error that names the index;
                ``nan`` gives a row of NaN.

        Returns:
            float32 (n, D), on the CPU, in the order of the boxes; (0, D) for no boxes.

        Raises:
            UsageError: a box has no pixels or is not finite, or an argument has another kind, shape or dtype.
            DatasetError: the frame is a PIL image that cannot be decoded.
        """
        crops = cut_boxes(frame, xyxy, color, on_empty)
        places = [place for place, crop in enumerate(crops) if crop is not None]
        embeddings = self._embed_batches([crop for crop in crops if crop is not None], self._workers)
        if len(places) == len(crops):
            return embeddings
        rows = torch.full((len(crops), self.dimensions), torch.nan, dtype=torch.float32, device="cpu")
        rows[places] = embeddings
        return rows

    def for_tracker(self, package: str) -> Any:
        """Return this embedder with the interface that a tracking package expects; see `reidhub.inference.trackers`.

        Args:
            package: ``boxmot``, ``ultralytics``, ``supervision`` (Roboflow's trackers) or ``deep_sort_realtime``.

        Raises:
            UsageError: there is no adapter for this package.
        """
        return adapt(self, package)

    @torch.inference_mode(False)  # the embeddings can be used in training
    def embed_on_device(self, images: Tensor) -> Tensor:
        """Embed images (N, 3, H, W) of the model's size; the embeddings (N, D) stay on the model's device.

        A GPU may still compute the embeddings after the return. If the images are in pinned memory, do not change them
        until the GPU has finished (``torch.cuda.synchronize``).
        """
        self._check_images(images)
        embeddings = torch.empty((len(images), self.dimensions), dtype=torch.float32, device=self.device)
        self._engine(images, embeddings)
        return embeddings

    def embed_files(self, paths: Iterable[Path | str], workers: int = 2) -> Tensor:
        """Embed image files; the next files are decoded while the model runs.

        Args:
            paths: image files.
            workers: threads that decode, above 0.

        Returns:
            float32 (N, D), on the CPU, in the order of ``paths``.

        Raises:
            DatasetError: a file cannot be decoded.
            UsageError: ``paths`` is a single path or no collection, or ``workers`` is not a whole number above 0.
        """
        if isinstance(paths, str | Path) or not isinstance(paths, Iterable):
            raise UsageError(f"embed_files takes a list of image files, got {paths!r}", hint="[path] for one")
        if not isinstance(workers, SupportsIndex) or workers < 1:
            raise UsageError(f"embed_files needs a whole number of workers above 0, got {workers!r}")
        return self._embed_batches(paths, workers)

    def _embed_batches(
        self,
        images: Iterable[ImageLike | LazyImage],
        workers: int,
        skipped: dict[int, DatasetError] | None = None,
    ) -> Tensor:
        """Decode images and embed them in batches.

        Args:
            images: the images, of any sizes and kinds.
            workers: number of threads that decode.
            skipped: gets the index and the error of each image that cannot be decoded; None to raise the error.

        Returns:
            float32 (N, D), on the CPU, without rows for skipped images.
        """
        batches = load_batches(images, self._spec, self.batch, workers, skipped)
        rows = [torch.empty((0, self.dimensions), dtype=torch.float32, device=self.device)]
        rows += [self.embed_on_device(pixels) for pixels, _ in upload_ahead(batches, self.device)]
        return _check_finite(torch.cat(rows).cpu())

    def _check_images(self, images: Tensor) -> None:
        wanted = (3, self._spec.height, self._spec.width)
        if images.ndim != 4 or images.shape[1:] != wanted or images.dtype not in (torch.uint8, torch.float32):
            raise UsageError(
                f"images are float32 or uint8 (N, {', '.join(map(str, wanted))}), "
                f"got {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}",
                hint=_suggest_shape(images, wanted),
            )
        if self._takes_pixels:
            check_pixels(images)
        else:
            check_normalised(images, self._spec)


def _check_finite(embeddings: Tensor) -> Tensor:
    """Return the embeddings (N, D) unchanged; raise UsageError if one of them has NaN or infinity."""
    wrong = int((~embeddings.isfinite()).any(dim=1).sum())
    if wrong:
        raise UsageError(
            f"{wrong} of {len(embeddings)} embeddings have NaN or infinity: the model's values are too large",
            hint="with precision fp16, choose bf16 or tf32 instead; they have larger ranges",
        )
    return embeddings


def _suggest_shape(images: Tensor, wanted: tuple[int, ...]) -> str | None:
    """Return a hint: code that corrects the images, such as ``images.permute(0, 3, 1, 2)``; None without a hint."""
    if images.shape == wanted:
        return "images[None] for a single one"
    if images.shape[1:] == (*wanted[1:], 3):
        return "images.permute(0, 3, 1, 2)"
    if images.shape[1:] == wanted:
        return "images.float()" if images.is_floating_point() else "images.byte() for pixels from 0 to 255"
    return None
