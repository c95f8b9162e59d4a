"""Images gathered by size: photos that are uploaded together, and pieces that go through the nets together."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from torch import Tensor

K = TypeVar("K", bound=Hashable)


class Sized(Protocol):
    """What is gathered. pixels : (3, h, w)."""

    @property
    def pixels(self) -> Tensor:
        """Those of the image."""


S = TypeVar("S", bound=Sized)


class Photo(NamedTuple, Generic[K]):
    """An image as it was decoded: uint8 (3, H, W) RGB."""

    key: K
    pixels: Tensor


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


@dataclass
class Bucket(Generic[S]):
    """Photos or pieces of one size."""

    members: list[S] = field(default_factory=list)

    @property
    def pixels(self) -> int:
        return sum(area(one) for one in self.members[:1]) * len(self.members)


def area(one: Sized) -> int:
    """Its pixels."""
    return one.pixels.shape[1] * one.pixels.shape[2]


class Gatherer(Generic[S]):
    """Buckets that wait for more members: never padded, and only a bounded number of pixels waits.

    `put` and `flush` give the buckets that are to go now.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, ...], Bucket[S]] = {}
        self._pixels = 0

    def put(self, one: S, most: int) -> list[Bucket[S]]:
        """Add one; its bucket goes if another one would make it larger than `most` pixels."""
        size = tuple(one.pixels.shape)
        bucket = self._waiting.setdefault(size, Bucket())
        bucket.members.append(one)
        self._pixels += area(one)
        if bucket.pixels + area(one) <= most:
            return []
        return [self._take(size)]

    def flush(self, most: int = -1) -> list[Bucket[S]]:
        """The buckets that have waited longest, until at most so many pixels wait; all of them by default."""
        gone = []
        while self._pixels > most and self._waiting:
            gone.append(self._take(next(iter(self._waiting))))
        return gone

    def _take(self, size: tuple[int, ...]) -> Bucket[S]:
        bucket = self._waiting.pop(size)
        self._pixels -= bucket.pixels
        return bucket
