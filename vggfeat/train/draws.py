"""All random numbers of a run, as functions of (seed, epoch, what they are for).

A counter-based generator (Philox) has no state: what is drawn for an image does not depend on the process that draws
it, on earlier draws, or on whether the run was interrupted.
"""

import math
from collections.abc import Sequence
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
    its colour; fractions for its aspect ratio, its brightness, contrast and saturation, and the image it is mixed with;
    and two for its share in the mixture."""

    scale: float
    top: float
    left: float
    mirror: float
    colour: np.ndarray
    aspect: float = 0.5
    jitter: tuple[float, ...] = (0.5,) * 3
    partner: float = 0.0
    mix: tuple[float, ...] = (0.0,) * 2


def order(seed: int, epoch: int, n: int) -> np.ndarray:
    """The rows 0..n-1 in the order of an epoch, int64."""
    return np.argsort(_raw(seed, Stream.ORDER, n, epoch), kind="stable")


def augmentation(seed: int, epoch: int, row: int) -> Augmentation:
    """How row `row` of the training set is cropped and coloured in an epoch."""
    u = (_raw(seed, Stream.IMAGE, 15, epoch, row) >> np.uint64(11)) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log1p(-u[[4, 6]])), 2 * np.pi * u[[5, 7]]
    normal = np.concatenate([radius * np.cos(angle), radius[:1] * np.sin(angle[:1])])  # Box and Muller
    scale, top, left, mirror, aspect, *jitter, partner, mix, angle_of_mix = u[[*range(4), *range(8, 15)]].tolist()
    return Augmentation(scale, top, left, mirror, normal, aspect, tuple(jitter), partner, (mix, angle_of_mix))


def larger_share(alpha: float, mix: Sequence[float]) -> float:
    """The larger one of X and 1 - X, where X has the distribution Beta(alpha, alpha), of two fractions.

    Bailey (1994) draws Student's t from two uniform numbers, and X is 1/2 + t / (2 sqrt(2 alpha + t^2)).
    """
    root, cosine = (1 - mix[0]) ** (1 / alpha), math.cos(2 * math.pi * mix[1])
    above = (1 - root) * cosine**2
    return (1 + math.sqrt(above / (root + above))) / 2


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
