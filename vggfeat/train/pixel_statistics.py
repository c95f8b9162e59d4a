"""Mean and principal components of a training set's pixels, for the subtracted mean and Krizhevsky's colour shift."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vggfeat._util.json_files import Count
from vggfeat.errors import DataError

Triple = tuple[float, float, float]
SAMPLE = 10_000  # images that are measured at most, evenly spaced over the set


@dataclass(frozen=True)
class PixelStatistics:
    """Mean of all pixels, and principal components: those of the covariance of pixels in 0..1."""

    mean: Triple  # RGB, 0..255
    values: Triple  # eigenvalues, the largest first
    vectors: tuple[Triple, Triple, Triple]  # eigenvectors, one per column; the rows are RGB
    images: Count = 0  # how many were measured; 0 for published values

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.mean, *self.values, *(x for row in self.vectors for x in row)))):
            raise ValueError("a number is not finite")

    def shift(self, normal: np.ndarray, strength: float) -> np.ndarray:
        """What is added to every pixel, RGB in 0..1: sum of vector_j * value_j * strength * normal_j, float32 (3,)."""
        return (np.array(self.vectors) @ (np.array(self.values) * strength * normal)).astype(np.float32)


# The mean that the Oxford nets subtract, and the components that fb.resnet.torch published.
ILSVRC = PixelStatistics(
    mean=(123.68, 116.779, 103.939),
    values=(0.2175, 0.0188, 0.0045),
    vectors=((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203)),
)


def sample(n: int) -> np.ndarray:
    """The rows of n images that are measured, int64, ascending."""
    return np.unique(np.linspace(0, n - 1, min(n, SAMPLE)).round().astype(np.int64))


def measure(images: Iterable[np.ndarray]) -> PixelStatistics:
    """Statistics of all pixels of uint8 (H, W, 3) RGB images; each pixel has the same weight.

    The sums are of integers, so that the order of the images changes no bit. Raises DataError for no image.
    """
    count, pixels = 0, 0
    total, products = np.zeros(3, np.int64), np.zeros((3, 3), np.int64)
    for image in images:
        flat = image.reshape(-1, 3).astype(np.float64)
        products += (flat.T @ flat).astype(np.int64)  # exact: below 2^53 for any image that can be read
        total += flat.sum(axis=0).astype(np.int64)
        count, pixels = count + 1, pixels + len(flat)
    if not count:
        raise DataError("none of the training images could be read; there is nothing to train on")
    mean = total / pixels
    values, vectors = np.linalg.eigh((products / pixels - np.outer(mean, mean)) / 255**2)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    # LAPACK does not define an eigenvector's sign: its largest entry is made positive.
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, range(3)])
    red, green, blue = (_triple(row) for row in vectors)
    return PixelStatistics(_triple(mean), _triple(values), (red, green, blue), count)


def _triple(values: Iterable[float]) -> Triple:
    first, second, third = (float(value) for value in values)
    return first, second, third
