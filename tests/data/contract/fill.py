"""Deterministic weights and inputs for the architecture contract.

The reference features in ``features.npz`` were computed with exactly these
weights and inputs, so any implementation whose state dict has the keys and
shapes of ``state_dicts.json`` can be checked against them without a download.
"""

import zlib

import numpy as np


def _rng(name: str, seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))


def fill_tensor(key: str, shape: tuple, seed: int = 0) -> np.ndarray:
    """Return the value of one state-dict entry as float32 (int64 for counters).

    key: full state-dict key; shape: its shape; seed: which draw of the contract.
    """
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    rng = _rng(key, seed)
    if key.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if key.endswith(("running_mean", "bias")):
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)
    if len(shape) >= 2 and int(np.prod(shape[1:])) > 1:  # convolution or linear weight
        fan_in = int(np.prod(shape[1:]))
        return (rng.standard_normal(shape) * np.sqrt(2.0 / fan_in)).astype(np.float32)
    return rng.uniform(0.5, 1.5, shape).astype(np.float32)  # normalisation weight


def fill_state_dict(shapes: dict, seed: int = 0) -> dict:
    """Return {key: array} for {key: shape}."""
    return {key: fill_tensor(key, tuple(shape), seed) for key, shape in shapes.items()}


def input_batch(height: int, width: int, n: int = 2, seed: int = 0) -> np.ndarray:
    """Return the (n, 3, height, width) float32 input, already normalised."""
    return _rng(f"input:{n}x3x{height}x{width}", seed).standard_normal((n, 3, height, width)).astype(np.float32)


def retrieval_case(seed: int, num_query: int, num_gallery: int, num_ids: int, num_cams: int, dim: int = 32) -> dict:
    """Return one retrieval problem: float32 features and int64 labels.

    Keys: query (Q, D), gallery (G, D), query_pids (Q,), gallery_pids (G,),
    query_camids (Q,), gallery_camids (G,). Gallery ids run to num_ids + 2, so
    some gallery rows match no query, and some queries may have no match at all.
    """
    rng = _rng(f"retrieval:{num_query}x{num_gallery}x{num_ids}x{num_cams}x{dim}", seed)
    centres = rng.standard_normal((num_ids + 3, dim))
    query_pids = rng.integers(0, num_ids, num_query)
    gallery_pids = rng.integers(0, num_ids + 3, num_gallery)
    noise = 1.2
    return {
        "query": (centres[query_pids] + noise * rng.standard_normal((num_query, dim))).astype(np.float32),
        "gallery": (centres[gallery_pids] + noise * rng.standard_normal((num_gallery, dim))).astype(np.float32),
        "query_pids": query_pids.astype(np.int64),
        "gallery_pids": gallery_pids.astype(np.int64),
        "query_camids": rng.integers(0, num_cams, num_query).astype(np.int64),
        "gallery_camids": rng.integers(0, num_cams, num_gallery).astype(np.int64),
    }
