"""A square sparse matrix, with the few operations that re-ranking needs."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SparseMatrix:
    """A sparse matrix (N, N); its entries are ordered by row, then by column.

    Args:
        rows: int64 (E,), row of each entry.
        columns: int64 (E,), column of each entry.
        values: float64 (E,), value of each entry.
        size: N.
    """

    rows: Tensor
    columns: Tensor
    values: Tensor
    size: int

    def average_rows(self, groups: Tensor) -> "SparseMatrix":
        """Return the matrix whose row i is the mean of k rows of this matrix.

        Args:
            groups: int64 (N, k); ``groups[i]`` are the indices of the k rows.
        """
        source, entry = self.find_entries(groups.flatten())
        keys, inverse = torch.unique(source // groups.shape[1] * self.size + self.columns[entry], return_inverse=True)
        sums = self.values.new_zeros(len(keys)).index_add_(0, inverse, self.values[entry] / groups.shape[1])
        return SparseMatrix(keys // self.size, keys % self.size, sums, self.size)

    def find_entries(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Find all entries of some rows, row after row.

        Args:
            rows: int64 (n,), indices of rows.

        Returns:
            Two int64 tensors with a value for each found entry: the place of its row in the argument ``rows``, and its
            index in ``self.values``.
        """
        rows = rows.contiguous()
        first = torch.searchsorted(self.rows, rows)
        counts = torch.searchsorted(self.rows, rows, right=True) - first
        which = torch.repeat_interleave(counts)
        nth = torch.arange(len(which), device=which.device) - (counts.cumsum(0) - counts)[which]
        return which, first[which] + nth

    def drop_rows_above(self, row: int) -> "SparseMatrix":
        """Return a copy of the matrix in which all rows before ``row`` are empty; the shape does not change."""
        kept = self.rows >= row
        return SparseMatrix(self.rows[kept], self.columns[kept], self.values[kept], self.size)

    def transpose(self) -> "SparseMatrix":
        """Return the transposed matrix."""
        order = self.columns.argsort(stable=True)
        return SparseMatrix(self.columns[order], self.rows[order], self.values[order], self.size)
