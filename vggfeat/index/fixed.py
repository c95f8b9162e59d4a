"""Descriptors in 16 bits: each value is a whole number of steps of its row.

A step s is 1 / 32,767 of the largest value of the row, and is then adjusted a little, so that the row keeps its norm.
Rounding moves a row of D values by at most sqrt(D) s / 2, and the adjustment by as much again. So its cosine with
another row changes by at most sqrt(D) s, and two rows change places only if theirs are less than twice that apart.
"""

from typing import Any

import numpy as np

STEPS = 2**15 - 1  # to the largest value of a row


def row_type(dim: int) -> np.dtype:
    """A row as it stands in a file."""
    return np.dtype([("step", "<f4"), ("values", "<i2", (dim,))])


class FixedPoint:
    """A matrix of such rows, in which float32 is read and written. shape : (rows, dim)."""

    def __init__(self, rows: np.ndarray) -> None:
        self._rows, self.shape = rows, rows["values"].shape

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, at: Any) -> np.ndarray:
        """float32 (n, dim) of several rows."""
        rows = self._rows[at]
        return rows["values"] * rows["step"][:, None]

    def __setitem__(self, at: Any, X: np.ndarray) -> None:
        largest = np.abs(X).max(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):  # rows that are not finite stay so, and are refused when they are found
            values = np.rint(X / np.where(largest == 0, 1, largest) * STEPS)
            self._rows["values"][at] = values
        self._rows["step"][at] = np.linalg.norm(X, axis=1) / np.maximum(np.linalg.norm(values, axis=1), 1)
