"""The embeddings and labels of a retrieval, read from arrays of any library and checked before they are used."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reidhub.errors import EvaluationError

Array = Tensor | NDArray[Any] | Sequence[Any]
Distance = Literal["euclidean", "cosine"]
DISTANCES: tuple[str, ...] = get_args(Distance)
Cameras = Literal["use", "ignore"]
CAMERAS: tuple[str, ...] = get_args(Cameras)

_ROWS = 8192  # rows checked at a time: a mask of the whole gallery would need much memory
_LABELS = ("query_pids", "gallery_pids", "query_camids", "gallery_camids")


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The embeddings of the query and gallery images, and the distance that compares them.

    Args:
        query: float32 or float64 (Q, D).
        gallery: (G, D), with the same dtype and on the same device as ``query``.
        distance: ``euclidean`` (squared) or ``cosine`` (1 - similarity; 1 for an embedding of zeros).
    """

    query: Tensor
    gallery: Tensor
    distance: Distance


@dataclass(frozen=True, slots=True)
class Labels:
    """The pids and camids of the query images (Q,) and the gallery images (G,); int64, all on one device.

    If ``cameras`` is ``ignore``, no camid of the query is equal to one of the gallery.
    """

    query_pids: Tensor
    gallery_pids: Tensor
    query_camids: Tensor
    gallery_camids: Tensor
    cameras: Cameras = "use"


def read_embeddings(query: Array, gallery: Array, distance: str) -> Embeddings:
    """Check the embeddings of query (Q, D) and gallery (G, D), and convert them to tensors of one dtype.

    The dtype is float64 if query or gallery is float64, else float32. Tensors on an Apple GPU (MPS), which has no
    float64, are copied to the CPU.

    Raises:
        EvaluationError: an array cannot be read as numbers, is empty, does not have two dimensions, has no floating
            dtype, or contains NaN or infinity. Or query and gallery differ in D or in their device. Or the distance is
            unknown.
    """
    if distance not in DISTANCES:
        raise EvaluationError(f"expected a distance of {', '.join(DISTANCES)}, got {distance!r}")
    read = _read_vectors("query", query), _read_vectors("gallery", gallery)
    shapes = [tuple(part.shape) for part in read]
    if shapes[0][1] != shapes[1][1]:
        raise EvaluationError(f"expected query and gallery of one dimension D, got {shapes[0]} and {shapes[1]}")
    if read[0].device != read[1].device:
        raise EvaluationError(
            f"expected both on one device, got query on {read[0].device}, gallery on {read[1].device}"
        )
    dtype = torch.float64 if torch.float64 in (read[0].dtype, read[1].dtype) else torch.float32
    query, gallery = (part.to(dtype).contiguous() for part in read)
    return Embeddings(query, gallery, cast(Distance, distance))


def _read_vectors(name: str, values: Array) -> Tensor:
    tensor = _read_array(name, values)
    if tensor.ndim != 2 or 0 in tensor.shape:
        raise EvaluationError(f"expected {name} embeddings (N, D), got shape {tuple(tensor.shape)}")
    if not tensor.is_floating_point():
        raise EvaluationError(f"expected {name} embeddings of a floating dtype, got {tensor.dtype}")
    for start in range(0, len(tensor), _ROWS):
        part = tensor[start : start + _ROWS]
        if not all(extreme.isfinite() for extreme in part.aminmax()):  # faster than to test every value
            row = start + int((~part.isfinite()).any(1).nonzero()[0])
            raise EvaluationError(f"expected finite embeddings, got NaN or infinity in row {row} of {name}")
    return tensor.cpu() if tensor.device.type == "mps" else tensor  # MPS has no float64


def read_labels(
    embeddings: Embeddings, values: tuple[Array, Array, Array | None, Array | None], cameras: str = "use"
) -> Labels:
    """Read pids and camids, and copy them to the device of the embeddings.

    Args:
        embeddings: query and gallery; each embedding needs one pid and one camid.
        values: pids of the query, pids of the gallery, camids of the query, camids of the gallery.
        cameras: ``use``, or ``ignore`` to read no camids.

    Raises:
        EvaluationError: an array is missing or has no integer dtype, its shape is not (Q,) or (G,), or ``cameras`` is
            neither ``use`` nor ``ignore``.
    """
    if cameras not in CAMERAS:
        raise EvaluationError(f"expected cameras of {', '.join(CAMERAS)}, got {cameras!r}")
    lengths = 2 * (len(embeddings.query), len(embeddings.gallery))
    if cameras == "ignore":  # the whole query from one camera, the whole gallery from another
        values = (values[0], values[1], np.zeros(lengths[0], np.int64), np.ones(lengths[1], np.int64))
    read = [_read_integers(*given) for given in zip(_LABELS, values, lengths, strict=True)]
    query_pids, gallery_pids, query_camids, gallery_camids = (part.to(embeddings.query.device) for part in read)
    return Labels(query_pids, gallery_pids, query_camids, gallery_camids, cast(Cameras, cameras))


def remove_junk(embeddings: Embeddings, labels: Labels) -> tuple[Embeddings, Labels]:
    """Leave out the gallery images with a negative pid.

    Raises:
        EvaluationError: no gallery image is left.
    """
    kept = labels.gallery_pids >= 0
    if kept.all():
        return embeddings, labels
    if not kept.any():
        raise EvaluationError("expected gallery images with pids from 0, got only negative pids, which mark junk")
    return (
        replace(embeddings, gallery=embeddings.gallery[kept]),
        replace(labels, gallery_pids=labels.gallery_pids[kept], gallery_camids=labels.gallery_camids[kept]),
    )


def _read_integers(name: str, values: Array | None, length: int) -> Tensor:
    if values is None:
        hint = 'cameras="ignore" needs no camids' if name.endswith("camids") else None
        raise EvaluationError(f"expected {name}, got None", hint=hint)
    tensor = _read_array(name, values)
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise EvaluationError(f"expected {name} of an integer dtype, got {tensor.dtype}")
    if tensor.shape != (length,):
        raise EvaluationError(f"expected {name} of shape ({length},), got {tuple(tensor.shape)}")
    signed = tensor.long().contiguous()
    if tensor.dtype == torch.uint64 and (signed < 0).any():
        raise EvaluationError(f"expected {name} below 2^63, got a larger number")
    return signed


def _read_array(name: str, values: Array) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    try:
        array = np.asarray(values)
        fit = array.flags.writeable and all(stride >= 0 for stride in array.strides) and array.dtype.isnative
        return torch.from_numpy(array if fit else array.astype(array.dtype.newbyteorder("="), order="C"))
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"{name} cannot be read as an array of numbers: {error}") from error
