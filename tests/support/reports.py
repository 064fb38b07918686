"""Makes a report for tests without running a model: from image files with hostile names and random embeddings."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch.nn.functional import normalize

from reidhub.datasets import Record, RetrievalSet
from reidhub.metrics import evaluate
from reidhub.verification.measurement import Measurement
from reidhub.verification.plan import Job
from reidhub.verification.report import Gallery, rank_gallery
from reidhub.verification.results import (
    CheckpointFile,
    Conditions,
    DatasetCopy,
    Environment,
    Measured,
    NotMeasured,
    Report,
    Timing,
)
from reidhub.verification.scoring import make_measurement
from reidhub.verification.verdicts import combine_verdicts, compare_figures, why_not_comparable
from reidhub.zoo.checkpoint import Checkpoint, Score
from reidhub.zoo.manifest import zoo

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)<!--&amp;\u202e\x07'
REASON = f"none of 2 sources gave it {HOSTILE}\n  mega  gone\n  https 404"
CAMERAS, PEOPLE = 3, 5
CONDITIONS = Conditions(
    "cpu",
    HOSTILE,
    2,
    "torch 2.14.1",
    "fp32",
    32,
    "RGB, 256x128",
    "euclidean",
    normalize=False,
    rerank=False,
    cameras="use",
)
Embeddings = tuple[torch.Tensor, torch.Tensor]


def retrieval(root: Path, gallery: int = 60) -> RetrievalSet:
    """Make a dataset of noise images; the last query has no match in the gallery."""
    chance = random.Random(7)
    queries = [(pid, camid) for pid in range(1, PEOPLE + 1) for camid in range(2)] + [(99, 0)]
    labels = [(chance.randrange(PEOPLE + 1), chance.randrange(CAMERAS)) for _ in range(gallery)]
    records = {
        split: tuple(Record(_image(root / split, place), *label) for place, label in enumerate(rows))
        for split, rows in {"query": queries, "gallery": labels}.items()
    }
    splits = records["query"], records["gallery"]
    return RetrievalSet("corridor", f"Corridor {HOSTILE}", None, root, *splits, fingerprint="f" * 64, partial=None)


def _image(folder: Path, place: int) -> Path:
    """Write a JPEG file with metadata, which a report must not contain."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{place:03d}{HOSTILE.replace('/', '')}.jpg"
    noise = Image.frombytes("RGB", (48, 120), random.Random(place).randbytes(48 * 120 * 3))
    exif = Image.Exif()
    exif[0x013B] = "the photographer"
    noise.save(path, "JPEG", exif=exif, comment=b"a comment")
    return path


def embeddings(data: RetrievalSet, seed: int, noise: float = 1.2) -> Embeddings:
    """Draw embeddings: those of one person are near each other, and the first two of the gallery are equal."""
    chance = torch.Generator().manual_seed(seed)
    people = torch.randn(100, 16, generator=chance)
    query, gallery = (
        people[[record.pid for record in records]] + noise * torch.randn(len(records), 16, generator=chance)
        for records in (data.query, data.gallery)
    )
    gallery[1] = gallery[0]
    return query, gallery


def measured(data: RetrievalSet, vectors: Embeddings, conditions: Conditions = CONDITIONS) -> Measurement:
    """Evaluate embeddings with `reidhub.metrics`, and return the counts."""
    query, gallery = map(normalize, vectors) if conditions.normalize else vectors
    query_pids, gallery_pids = ([record.pid for record in records] for records in (data.query, data.gallery))
    query_camids, gallery_camids = ([record.camid for record in records] for records in (data.query, data.gallery))
    distance: Literal["euclidean", "cosine"] = "cosine" if conditions.distance == "cosine" else "euclidean"
    found = evaluate(
        query,
        gallery,
        query_pids,
        gallery_pids,
        query_camids,
        gallery_camids,
        distance,
        rerank=conditions.rerank,
        cameras=conditions.cameras or "use",
    )
    return make_measurement(found, query.shape[1])


def checkpoint(name: str, **fields: Any) -> Checkpoint:
    """Return a checkpoint of the zoo under another name, with some fields replaced."""
    (real,) = zoo().find("osnet_x1_0.market1501")
    return replace(real, name=name, **fields)


def result(name: str, data: RetrievalSet, counts: Measurement, reported: dict[str, str], **fields: Any) -> Measured:
    """Make the result of a measured retrieval; ``fields`` replace fields of its `DatasetCopy`."""
    copy = DatasetCopy("corridor", data.title, None, data.fingerprint, None, {"query": 11, "gallery": 60})
    copy = replace(copy, **fields)
    score = Score("corridor", reported, f"a table {HOSTILE}") if reported else None
    reason = why_not_comparable(score, copy, CONDITIONS)
    figures = compare_figures(score, counts, comparable=reason is None)
    return Measured(
        job=Job(checkpoint(name, notices=(f"a notice {HOSTILE}",)), "corridor", score, by_name=True),
        verdict=combine_verdicts(figure.verdict for figure in figures),
        reason=reason,
        figures=figures,
        file=CheckpointFile("a" * 64, 1234567, "sha256"),
        copy=copy,
        conditions=CONDITIONS,
        measurement=counts,
        embeddings_key="key",
        timing=Timing(12.5, 71, 1, 0.25),
    )


def report(root: Path) -> tuple[Report, dict[tuple[str, str], Gallery]]:
    """Make a report of six results: reproduced, close, deviates, on a partial copy, no reported figure, not run."""
    data = retrieval(root)
    results, galleries = [], {}
    for place, (name, points, fields) in enumerate(_RESULTS):
        vectors = embeddings(data, place)
        counts = measured(data, vectors)
        percent = 100 * counts.hits[0] / counts.queries
        reported = (
            {} if points is None else {"rank1": f"{percent + points:.2f}", "mAP": f"{100 * (counts.mAP or 0):.1f}"}
        )
        results.append(result(name, data, counts, reported, **fields))
        galleries[name, "corridor"] = rank_gallery(vectors, data, counts, CONDITIONS)
    job = replace(results[0].job, checkpoint=checkpoint("osnet_x1_0.missing"))
    missing = NotMeasured(
        job=job,
        verdict="not run",
        reason=REASON,
        figures=compare_figures(job.score, None),
        hint=f"fetch it by hand {HOSTILE}",
    )
    versions = {"reidhub": "0.1", "torch": HOSTILE}
    return Report((*results, missing), Environment(versions, "Linux", (HOSTILE,))), galleries


_RESULTS: list[tuple[str, float | None, dict[str, str]]] = [
    ("osnet_x1_0.reproduced", 0.0, {}),
    (f"osnet_x1_0.{HOSTILE}", 0.1, {}),
    ("osnet_x1_0.deviates", 7.5, {}),
    ("osnet_x1_0.partial", 0.2, {"partial": f"gallery has 59 {HOSTILE}"}),
    ("osnet_x1_0.unreported", None, {}),
]
