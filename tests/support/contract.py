"""Reads the reference data of ``tests/data/contract``: keys and shapes of weights, embeddings, and scores."""

import gzip
import json
from typing import Any

import numpy as np
import torch
from data.contract.fastreid.fill import fill_state_dict as fill_fastreid
from data.contract.fill import fill_state_dict, input_batch, retrieval_case

from reidhub.models import build
from reidhub.models.base import ReidModel
from support.paths import TESTS

__all__ = [
    "DILATED",
    "FEATURES",
    "LAYOUTS",
    "METRICS",
    "contract_model",
    "count_contract_classes",
    "input_batch",
    "retrieval_case",
]

_FOLDER = TESTS / "data" / "contract"

_FASTREID = _FOLDER / "fastreid"

DILATED = "fastreid_sbs_s50_2021"
"""The architecture without reference embeddings; its tensors are those of ``fastreid_sbs_s50`` that are not of NL."""


def _read_layouts() -> dict[str, dict[str, list[int]]]:
    layouts = {}
    for folder in (_FOLDER, _FASTREID):
        layouts.update(json.loads(gzip.decompress((folder / "state_dicts.json.gz").read_bytes())))
    layouts[DILATED] = {key: shape for key, shape in layouts["fastreid_sbs_s50"].items() if ".NL_" not in key}
    for shapes in layouts.values():
        for key in ("pixel_mean", "pixel_std"):  # in the files, but not in the models
            shapes.pop(key, None)
    return layouts


def _read_metrics() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((_FOLDER / "metrics.json").read_text())
    others = json.loads((_FASTREID / "metrics.json").read_text())
    for entry, other in zip(entries, others, strict=True):
        for distance in ("euclidean", "cosine"):
            entry[distance]["mINP"] = other[distance]["mINP"] if entry["case"] == other["case"] else None
    return entries


LAYOUTS = _read_layouts()
"""Name of an architecture -> key of its state dict -> shape of the tensor."""

FEATURES = {**np.load(_FOLDER / "features.npz"), **np.load(_FASTREID / "features.npz")}
"""Reference embeddings and logits of the architectures, for the weights and images that the contract defines."""

METRICS = _read_metrics()
"""Retrieval problems with their reference scores."""


def count_contract_classes(name: str) -> int:
    """Return the rows of the classifier in `LAYOUTS`."""
    return next(shape[0] for key, shape in LAYOUTS[name].items() if "classifier" in key)


def contract_model(name: str) -> ReidModel:
    """Build an architecture with the weights of ``tests/data/contract``, in eval mode."""
    model = build(name, count_contract_classes(name), device="meta").eval()
    fill = fill_fastreid if name.startswith("fastreid_") else fill_state_dict
    weights = {key: torch.from_numpy(array) for key, array in fill(LAYOUTS[name]).items()}
    model.load_state_dict(weights, assign=True)
    return model
