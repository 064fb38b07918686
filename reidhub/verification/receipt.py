"""Writes the results of a run as JSON, for other programs.

A file with this JSON is called a receipt. Other people can repeat the run and compare their receipt with it.

If a run is repeated on the same machine, everything but ``timing`` is the same, bit for bit. `receipt_reader` reads
receipts for ``reidhub compare``.
"""

import json
import platform
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from PIL import features

from reidhub._version import __version__
from reidhub.errors import UsageError
from reidhub.files.atomic import explain_write_errors, write_text
from reidhub.verification.measurement import Measurement
from reidhub.verification.results import Environment, Figure, Measured, Report, Result

FORMAT = 1
"""Version of the receipt's format. It is increased when a field changes its meaning or is removed."""


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as a dict for ``json.dumps``; embeddings are left out."""
    return {
        "format": FORMAT,
        "environment": asdict(report.environment),
        "results": [_result_json(result) for result in report.results],
        "queries": [_queries_json(result) for result in report.measured],
        "timing": [_timing_json(result) for result in report.measured],
    }


def _result_json(result: Result) -> dict[str, Any]:
    """Return one result as a dict for ``json.dumps``; a value that was not measured is None."""
    job, measured = result.job, result if isinstance(result, Measured) else None
    return {
        "checkpoint": job.checkpoint.name,
        "dataset": job.dataset,
        "verdict": result.verdict,
        "reason": result.reason,
        "figures": [_figure_json(figure) for figure in result.figures],
        "source": job.score.source if job.score else None,
        "file": asdict(result.file) if result.file else None,
        "notices": list(job.checkpoint.notices),
        "copy": asdict(result.copy) if result.copy else None,
        "conditions": asdict(measured.conditions) if measured else None,
        "counts": _counts_json(measured.measurement) if measured else None,
    }


def _figure_json(figure: Figure) -> dict[str, Any]:
    return {**asdict(figure), "deviation": figure.deviation}


def _counts_json(measurement: Measurement) -> dict[str, Any]:
    return {
        "queries": measurement.queries,
        "skipped": measurement.skipped,
        "hits": list(measurement.hits),
        "cmc": list(measurement.cmc),
        "mAP": measurement.mAP,
        "mINP": measurement.mINP,
        "dimensions": measurement.dimensions,
        "per_query_sha256": measurement.per_query_digest,
    }


def _queries_json(result: Measured) -> dict[str, str]:
    """Return the results of all queries: for each kind, one text with the numbers, separated by spaces.

    ``repr`` writes a float so that reading it gives the same float.
    """
    counts = result.measurement
    return {
        "checkpoint": result.job.checkpoint.name,
        "dataset": result.job.dataset,
        "first_match_rank": " ".join(map(repr, counts.first_match_rank)),
        "average_precision": " ".join(map(repr, counts.average_precision)),
        "inverse_negative_penalty": " ".join(map(repr, counts.inverse_negative_penalty)),
    }


def _timing_json(result: Measured) -> dict[str, Any]:
    return {
        "checkpoint": result.job.checkpoint.name,
        "dataset": result.job.dataset,
        **asdict(result.timing),
        "images_per_s": result.timing.images_per_s,
    }


def write_receipt(report: Report, path: Path) -> None:
    """Write the report as a receipt, a JSON file.

    Raises:
        DiskFullError: the disk has no room for the receipt.
        UsageError: the receipt cannot be written for another reason.
    """
    text = json.dumps(as_json(report), indent=1) + "\n"
    with explain_write_errors(f"write the receipt {path}", UsageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)


def describe_environment(devices: Iterable[str]) -> Environment:
    """Describe the software and the machine: versions of packages and JPEG decoder, operating system, device names."""
    turbo = features.version("libjpeg_turbo")
    versions = {
        "reidhub": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": version("torchvision"),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "libjpeg": f"turbo {turbo}" if turbo else str(features.version("jpg")),
    }
    return Environment(versions, platform.platform(), tuple(dict.fromkeys(devices)))
