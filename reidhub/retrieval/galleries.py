"""The images that are ranked: a folder of images, or the embeddings of an earlier `reidhub embed`."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reidhub.datasets.folders import list_images_below, printable
from reidhub.errors import DatasetError, UsageError
from reidhub.inference import Embedder
from reidhub.retrieval.embedding_model import EmbeddingModel
from reidhub.retrieval.embeddings_folder import EmbeddingsFolder
from reidhub.retrieval.plan import FOLDER
from reidhub.retrieval.tables import Part

_IMAGES = 1000  # images of a folder that are embedded together

_log = logging.getLogger(__name__)


def list_images(path: str) -> list[str]:
    """Return the path itself if it is a file; if it is a folder, return the images in it and in its folders.

    Raises:
        DatasetError: there is no such file or folder, the folder has no images, or cannot be read.
    """
    if Path(path).is_file():
        return [path]
    if not Path(path).is_dir():
        raise DatasetError(f"{printable(path)}: no such file or folder")
    if found := list_images_below(Path(path)):
        return [str(image) for image in found]
    raise DatasetError(f"{printable(path)} has no images")


@dataclass(frozen=True, slots=True)
class ImageEmbedder:
    """Embeds image files, and lists those that cannot be read.

    Args:
        embedder: the model.
        advance: called with a number of images when the embedder has taken them.
        unreadable: gets the path and the reason of each image that cannot be read.
    """

    embedder: Embedder
    advance: Callable[[int], object]
    unreadable: dict[str, str]

    def embed(self, paths: list[str]) -> Part:
        """Embed images; those that cannot be read are left out."""
        embeddings, errors = self.embedder.embed_readable(self._count(paths))
        self.unreadable.update((paths[index], error.message) for index, error in errors.items())
        readable = [path for index, path in enumerate(paths) if index not in errors]
        return Part(readable, [None] * len(readable), [None] * len(readable), embeddings.numpy())

    def _count(self, paths: list[str]) -> Iterator[Path]:
        for path in paths:
            yield Path(path)
            self.advance(1)


@dataclass(frozen=True, slots=True)
class Gallery:
    """The images that are ranked.

    Args:
        path: a folder of images, or the folder of an earlier `reidhub embed`.
        images: the images of the folder, which are embedded for the ranking; empty if the folder has embeddings.
    """

    path: Path
    images: list[str]

    @classmethod
    def find(cls, path: str) -> "Gallery":
        """Find out whether a folder has images or embeddings.

        Raises:
            DatasetError: there is no such folder, or it has neither.
            UsageError: the path is a file; or `reidhub embed` has planned this folder, but not begun to embed.
        """
        if EmbeddingsFolder(Path(path)).model:
            return cls(Path(path), [])
        if (Path(path) / FOLDER).is_dir():
            raise UsageError(f"{printable(path)} has no embeddings yet", hint="finish `reidhub embed` first")
        if Path(path).is_file():
            raise UsageError(f"{printable(path)} is a file; a gallery is a folder", hint="give the folder of this file")
        return cls(Path(path), list_images(path))

    @property
    def size(self) -> int:
        """Number of images; in an embeddings folder, of planned images."""
        return len(self.images) or len(EmbeddingsFolder(self.path).plan)

    def check_model(self, model: EmbeddingModel) -> None:
        """Check that the embeddings of this gallery can be compared with those of a model.

        The log warns if shards of an embeddings folder are missing.

        Raises:
            UsageError: they were made by another model, or with another preprocessing or precision.
        """
        if self.images:
            return
        folder = EmbeddingsFolder(self.path)
        folder.check_model(model)
        missing = sum(not folder.is_complete(shard) for shard in folder.plan.shards())
        if missing:
            _log.warning(
                "%s has %d shards without embeddings, whose images are not ranked; `reidhub embed` completes them",
                self.path,
                missing,
            )

    def parts(self, images: ImageEmbedder) -> Iterator[Part]:
        """Yield the embeddings in parts, in gallery order.

        Args:
            images: embeds the images of a folder; its ``advance`` also counts images that have embeddings.

        Raises:
            DatasetError: a file of embeddings cannot be read.
        """
        if not self.images:
            for part in EmbeddingsFolder(self.path).read_parts():
                yield part
                images.advance(len(part))
        for start in range(0, len(self.images), _IMAGES):
            yield images.embed(self.images[start : start + _IMAGES])
