"""Opens the images of a shard."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from reidhub.inference.images import ImageLike, LazyImage
from reidhub.retrieval.inputs.input import Input


def open_images(inputs: Iterable[Input]) -> Iterator[ImageLike | LazyImage]:
    """Yield what the embedder can embed, one for each input."""
    for given in inputs:
        yield Path(given.path)
