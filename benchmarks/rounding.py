"""How far a float32 matrix product is off, in the unit that reidhub/metrics/distances.py bounds it by.

Prints, for each number of dimensions D and kind of vectors, the largest error of a dot product in roundings of the
product of the lengths.
"""

import torch
from torch import Tensor

_ROUNDING = 2.0**-24
_DIMENSIONS = (16, 64, 256, 512, 1024, 2048)


def vectors(kind: str, dimensions: int) -> tuple[Tensor, Tensor]:
    """Left (600, D) and right (4000, D) operands."""
    left, right = torch.randn(600, dimensions), torch.randn(4000, dimensions)
    if kind == "parallel":
        return right[:600] + 1e-3 * left, right
    if kind == "positive":
        return left.relu(), right.relu()
    if kind == "constant":
        return torch.rand(600, 1) + 1e-3 * left, torch.rand(4000, 1) + 1e-3 * right
    return left, right


def largest_error(left: Tensor, right: Tensor) -> float:
    """In roundings of the product of the lengths."""
    off = (left @ right.T).double() - left.double() @ right.double().T
    lengths = left.double().norm(dim=1)[:, None] * right.double().norm(dim=1)
    return float((off.abs() / lengths).max() / _ROUNDING)


if __name__ == "__main__":
    torch.manual_seed(0)
    for kind in ("gaussian", "positive", "parallel", "constant"):
        print(kind, *(f"D={d}: {largest_error(*vectors(kind, d)):.1f}" for d in _DIMENSIONS), sep="  ")
