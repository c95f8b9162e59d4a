"""All random numbers of a run, as functions of (seed, epoch, what they are for).

A counter-based generator (Philox) has no state: what is drawn for an image does not depend on the process that draws
it, on earlier draws, or on whether the run was interrupted.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np


class Stream(IntEnum):
    """What a number is for; the streams of one seed are independent."""

    ORDER = 1
    IMAGE = 2
    STEP = 3
    WEIGHTS = 4


class Augmentation(NamedTuple):
    """Fractions in [0, 1) for the scale, the place and the mirroring of a crop, and three standard normal numbers for
    its colour."""

    scale: float
    top: float
    left: float
    mirror: float
    colour: np.ndarray


def order(seed: int, epoch: int, n: int) -> np.ndarray:
    """The rows 0..n-1 in the order of an epoch, int64."""
    return np.argsort(_raw(seed, Stream.ORDER, n, epoch), kind="stable")


def augmentation(seed: int, epoch: int, row: int) -> Augmentation:
    """How row `row` of the training set is cropped and coloured in an epoch."""
    u = (_raw(seed, Stream.IMAGE, 8, epoch, row) >> np.uint64(11)) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log1p(-u[[4, 6]])), 2 * np.pi * u[[5, 7]]
    normal = np.concatenate([radius * np.cos(angle), radius[:1] * np.sin(angle[:1])])  # Box and Muller
    return Augmentation(float(u[0]), float(u[1]), float(u[2]), float(u[3]), normal)


def step_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    """The seed of a step's dropout in one process."""
    return int(_raw(seed, Stream.STEP, 1, epoch, step, rank)[0] >> np.uint64(1))


def weights_seed(seed: int) -> int:
    """The seed of the random initialisation."""
    return int(_raw(seed, Stream.WEIGHTS, 1)[0] >> np.uint64(1))


def _raw(seed: int, stream: Stream, n: int, *counter: int) -> np.ndarray:
    """uint64 (n,). numpy promises the same raw output in every version, but not the same distributions."""
    start = [0, *counter, *[0] * (3 - len(counter))]  # Philox itself counts in the lowest word
    return np.random.Philox(key=[seed, stream], counter=start).random_raw(n)
