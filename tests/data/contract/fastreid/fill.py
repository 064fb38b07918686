"""Deterministic weights for the contract of fast-reid's architectures.

The reference features in ``features.npz`` were computed with exactly these weights, and with the images of the other
contract. The draws are those of the other contract, except:

1. ``*.bn3.weight`` (last normalisation of a residual branch): the draw times 0.2;
2. ``*.NL_?.?.theta.weight``, ``phi.weight``, ``g.weight``: the draw times 0.1, because the output of a non-local block
   is cubic in its input and would overflow;
3. ``*.p`` (exponent of GeM): 2 plus the draw for the name ``p``, so the same value everywhere.
"""

import re

import numpy as np
from data.contract import fill

_NON_LOCAL = re.compile(r"\.NL_\d\.\d+\.(theta|phi|g)\.weight$")


def fill_tensor(key: str, shape: tuple, seed: int = 0) -> np.ndarray:
    """Return the value of one state-dict entry as float32 (int64 for counters)."""
    if key.endswith(".p"):
        return np.float32(2) + fill.fill_tensor("p", shape, seed)
    value = fill.fill_tensor(key, shape, seed)
    if key.endswith(".bn3.weight"):
        return value * np.float32(0.2)
    return value * np.float32(0.1) if _NON_LOCAL.search(key) else value


def fill_state_dict(shapes: dict, seed: int = 0) -> dict:
    """Return {key: array} for {key: shape}."""
    return {key: fill_tensor(key, tuple(shape), seed) for key, shape in shapes.items()}
