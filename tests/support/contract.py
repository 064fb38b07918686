"""Reads the reference data of ``tests/data/contract``: keys and shapes of weights, embeddings, and scores."""

import gzip
import json
from typing import Any

import numpy as np
import torch
from data.contract.fill import fill_state_dict, input_batch, retrieval_case

from reidhub.models import build
from reidhub.models.base import ReidModel
from support.paths import TESTS

__all__ = ["FEATURES", "LAYOUTS", "METRICS", "contract_model", "input_batch", "retrieval_case"]

_FOLDER = TESTS / "data" / "contract"

LAYOUTS: dict[str, dict[str, list[int]]] = json.loads(gzip.decompress((_FOLDER / "state_dicts.json.gz").read_bytes()))
"""Name of an architecture -> key of its state dict -> shape of the tensor."""

FEATURES = np.load(_FOLDER / "features.npz")
"""Reference embeddings and logits of every architecture, for the weights and images that the contract defines."""

METRICS: list[dict[str, Any]] = json.loads((_FOLDER / "metrics.json").read_text())
"""Retrieval problems with their reference scores."""


def contract_model(name: str) -> ReidModel:
    """Build an architecture with the weights of ``tests/data/contract``, in eval mode."""
    model = build(name, device="meta").eval()
    weights = {key: torch.from_numpy(array) for key, array in fill_state_dict(LAYOUTS[name]).items()}
    model.load_state_dict(weights, assign=True)
    return model
