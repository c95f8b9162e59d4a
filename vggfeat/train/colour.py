"""Mean and principal components of a training set's pixels: what is subtracted, and Krizhevsky's colour shift."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vggfeat.errors import DataError

SAMPLE = 10_000  # images that the statistics are of, at most, evenly spaced over the set


@dataclass(frozen=True)
class Colour:
    """mean : of all pixels, RGB, 0..255. values, vectors : eigenvalues, largest first, and eigenvectors (one a
    column, rows RGB) of the covariance of pixels in 0..1. images : how many they are of; 0 for published ones.
    """

    mean: tuple[float, float, float]
    values: tuple[float, float, float]
    vectors: tuple[tuple[float, float, float], ...]
    images: int = 0

    @classmethod
    def of(cls, said: dict[str, Any]) -> "Colour":
        """What `asdict` and JSON made of one. Raises KeyError, TypeError or ValueError for anything else."""
        vectors = tuple(_triple(row) for row in said["vectors"])
        if len(vectors) != 3:
            raise ValueError(f"{len(vectors)} components")
        return cls(_triple(said["mean"]), _triple(said["values"]), vectors, int(said["images"]))

    def shift(self, normal: np.ndarray, strength: float) -> np.ndarray:
        """What is added to every pixel, RGB in 0..1: sum of vector_j * value_j * strength * normal_j, float32 (3,)."""
        return (np.array(self.vectors) @ (np.array(self.values) * strength * normal)).astype(np.float32)


# The mean that the Oxford nets subtract; the components that circulate since fb.resnet.torch.
ILSVRC = Colour(
    mean=(123.68, 116.779, 103.939),
    values=(0.2175, 0.0188, 0.0045),
    vectors=((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203)),
)


def sample(n: int) -> np.ndarray:
    """The rows of n images whose pixels are looked at, int64, ascending."""
    return np.unique(np.linspace(0, n - 1, min(n, SAMPLE)).round().astype(np.int64))


def measure(images: Iterable[np.ndarray]) -> Colour:
    """Statistics of all pixels of uint8 (H, W, 3) RGB images; each pixel counts the same.

    The sums are of integers, so that neither order nor grouping changes a bit. Raises DataError for no image.
    """
    count, pixels = 0, 0
    total, products = np.zeros(3, np.int64), np.zeros((3, 3), np.int64)
    for image in images:
        flat = image.reshape(-1, 3).astype(np.float64)
        products += (flat.T @ flat).astype(np.int64)  # exact: below 2^53 for any image that can be read
        total += flat.sum(axis=0).astype(np.int64)
        count, pixels = count + 1, pixels + len(flat)
    if not count:
        raise DataError("none of the training images could be read: there is nothing to train on")
    mean = total / pixels
    values, vectors = np.linalg.eigh((products / pixels - np.outer(mean, mean)) / 255**2)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    # An eigenvector's sign is LAPACK's whim: the largest entry is made positive.
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, range(3)])
    return Colour(_triple(mean), _triple(values), tuple(_triple(row) for row in vectors), count)


def _triple(values: Iterable[float]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
