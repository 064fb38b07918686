"""Reads the embeddings of a measured retrieval from the journal, and writes them to .npz files for other programs."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reidhub.datasets import RetrievalSet, name_image, read_dataset
from reidhub.errors import DatasetError, UsageError
from reidhub.files.atomic import explain_write_errors, write_atomically
from reidhub.verification.journal import Journal
from reidhub.verification.results import Measured
from reidhub.verification.settings import Settings


def read_embeddings(result: Measured, journal: Journal) -> tuple[Tensor, Tensor]:
    """Read the embeddings of a retrieval: float32, queries (Q, D) and gallery (G, D).

    They are as the model computed them, even if the run scaled them to length 1 afterwards (``normalize``).

    Raises:
        ValueError: the result is a classification, for which the journal has no embeddings.
    """
    if not result.is_retrieval:
        raise ValueError(f"{result.job.dataset} is a classification: the journal has no embeddings of it")
    images = result.copy.images
    log = journal.open_rows(
        result.embeddings_key, sum(images.values()), result.measurement.dimensions, result.conditions.batch_size
    )
    log.close()
    rows = log.read()
    if "query" not in images:  # each image is a query, and all others are its gallery
        return rows, rows
    return rows[: images["query"]], rows[images["query"] :]


def read_records(result: Measured, settings: Settings) -> RetrievalSet:
    """Read the query and gallery records that a retrieval was measured on.

    Raises:
        DatasetError: the dataset has changed since the measurement, or it is a classification dataset.
    """
    data = read_dataset(result.job.dataset, settings.data_root, allow_partial=settings.allow_partial)
    if not isinstance(data, RetrievalSet) or data.fingerprint != result.copy.fingerprint:
        raise DatasetError(f"{result.job.dataset} has changed since it was measured on")
    return data


def export_embeddings(result: Measured, journal: Journal, settings: Settings, folder: Path) -> Path:
    """Write the embeddings of a retrieval to the file ``CHECKPOINT.DATASET.npz``.

    The file contains the arrays that `reidhub.metrics.evaluate` takes. It also contains the paths of the images, the
    sha256 of the checkpoint and the fingerprint of the dataset.

    Args:
        result: a retrieval that was measured.
        journal: the journal of the run that measured it.
        settings: the settings of that run.
        folder: the folder to write to; created if it does not exist.

    Returns:
        The path of the written file.

    Raises:
        DatasetError: the dataset has changed since the measurement.
        DiskFullError: the disk has no room for the file.
        UsageError: the file cannot be written for another reason.
    """
    query, gallery = read_embeddings(result, journal)
    arrays = _describe(result, read_records(result, settings))
    name = "_".join(Path(result.job.checkpoint.name).parts).lstrip("./_")  # the name may be the path of a file
    path = folder / f"{name}.{result.job.dataset}.npz"
    with explain_write_errors(f"keep embeddings in {folder}", UsageError):
        folder.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as file:
            np.savez(file, query=query.numpy(), gallery=gallery.numpy(), **arrays)  # type: ignore[arg-type]
    return path


def _describe(result: Measured, data: RetrievalSet) -> dict[str, NDArray[Any]]:
    """Make the arrays that describe the embeddings: labels and paths of the images, checkpoint, dataset, precision."""
    arrays = {}
    for split, records in {"query": data.query, "gallery": data.gallery}.items():
        arrays[f"{split}_pids"] = np.array([record.pid for record in records])
        arrays[f"{split}_camids"] = np.array([record.camid for record in records])
        arrays[f"{split}_paths"] = np.array([name_image(record.path, data.root) for record in records])
    origin = {
        "checkpoint": result.job.checkpoint.name,
        "sha256": result.file.sha256,
        "fingerprint": data.fingerprint,
        "distance": str(result.conditions.distance),
        "engine": result.conditions.engine,
        "precision": result.conditions.precision,
    }
    return arrays | {name: np.array(text) for name, text in origin.items()}
