"""Rescaled images, gathered by size until they fill a pass."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from torch import Tensor

K = TypeVar("K", bound=Hashable)


@dataclass
class Row(Generic[K]):
    """An image on its way: its values so far, (S, C) for each layer of each net, and how many pieces are missing."""

    key: K
    values: list[np.ndarray]
    missing: int


class Piece(NamedTuple, Generic[K]):
    """A part of an image at one scale: float32 (3, h, w). share : of the row's value at that scale."""

    row: Row[K]
    scale: int
    pixels: Tensor
    share: int

    @property
    def area(self) -> int:
        return self.pixels.shape[1] * self.pixels.shape[2]


@dataclass
class Bucket(Generic[K]):
    """Pieces of one size, which go through the nets together."""

    pieces: list[Piece[K]] = field(default_factory=list)

    @property
    def pixels(self) -> int:
        return len(self.pieces) * self.pieces[0].area if self.pieces else 0


class Gatherer(Generic[K]):
    """Buckets that wait for more pieces: never padded, and only a bounded number of pixels waits.

    `put` and `flush` give the buckets that are to go now.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, ...], Bucket[K]] = {}
        self._pixels = 0

    def put(self, piece: Piece[K], batch_pixels: int) -> list[Bucket[K]]:
        """Add a piece; its bucket goes if another piece would not fit."""
        size = tuple(piece.pixels.shape)
        bucket = self._waiting.setdefault(size, Bucket())
        bucket.pieces.append(piece)
        self._pixels += piece.area
        if bucket.pixels + piece.area <= batch_pixels:
            return []
        return [self._take(size)]

    def flush(self, most: int = -1) -> list[Bucket[K]]:
        """The buckets that have waited longest, until at most so many pixels wait; all of them by default."""
        gone = []
        while self._pixels > most and self._waiting:
            gone.append(self._take(next(iter(self._waiting))))
        return gone

    def _take(self, size: tuple[int, ...]) -> Bucket[K]:
        bucket = self._waiting.pop(size)
        self._pixels -= bucket.pixels
        return bucket
