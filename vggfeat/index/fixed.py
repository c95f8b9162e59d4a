"""Descriptors in 16 bits: each value is a whole number of steps of its row, and the largest is 32,767 of them.

A value is rounded by at most half a step, max|x| / 65,534 of its row x. So the cosine with q, of norm 1, changes by at
most |q|_1 max|x| / 65,534; two rows change places only if theirs are twice as near. float16, of the same size, rounds
by up to |x_i| / 2048: for descriptors of 512 values that is seven times as much on average.
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
        step = np.abs(X).max(axis=1) / np.float32(STEPS)
        with np.errstate(invalid="ignore"):  # rows that are not finite are refused when they are read
            self._rows["values"][at] = np.rint(X / np.where(step == 0, 1, step)[:, None])
        self._rows["step"][at] = step
