"""A check that a whole chain gives the recorded numbers: pixels, rescaling, preprocessing, weights, net, descriptor.

The descriptor of a generated image is compared with recorded values, with a tolerance. A hash of rounded values would
not do: if a value lies near the edge between two roundings, two correct machines give different hashes.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vggfeat.descriptors import Describer
from vggfeat.errors import WeightsError
from vggfeat.weights import Weights, resolve
from vggfeat.weights.published import REGISTRY

__all__ = ["GoldenCheck", "check", "golden_image", "measure", "projections", "require_proof"]

PROJECTIONS = 16
SCALES = (256,)
# Correct machines differ by 1e-6, weights rounded to float16 by 0.0002. A mean of 104, 117, 123 instead of 103.939,
# 116.779, 123.68 makes 0.0008, colours in the wrong order 0.15.
TOLERANCE = 5e-4


class GoldenCheck(NamedTuple):
    """The descriptor of the golden image at one layer, and the recorded one.

    Parameters
    ----------
    layer : str
        The layer.
    values : np.ndarray
        float32 (16,), as `projections` returns them.
    recorded : np.ndarray or None
        The recorded values, float64 (16,); None if there are none for this layer.
    """

    layer: str
    values: np.ndarray
    recorded: np.ndarray | None

    @property
    def distance(self) -> float:
        """The estimated distance of the descriptor, of norm 1, from the recorded one; NaN if there is none."""
        return float("nan") if self.recorded is None else float(np.sqrt(np.mean((self.values - self.recorded) ** 2)))


def golden_image() -> np.ndarray:
    """Generate the golden image, from integers alone.

    Returns
    -------
    np.ndarray
        uint8 (300, 400, 3) RGB, without any symmetry of places or colours.
    """
    y, x, c = np.ogrid[:300, :400, :3]
    waves = (x * x // (3 + c) + y * y // (5 - c) + x * y // (7 + 2 * c)) // 16 + 40 * c
    blocks = 5 * (x // 50) * (y // 60 + 1) + 3 * c * (x // 80)
    return ((waves % 256 + blocks) % 256).astype(np.uint8)


def projections(weights: Weights, layer: str, device: str = "auto") -> np.ndarray:
    """Multiply the descriptor of the golden image by 16 fixed vectors of +1 and -1.

    Parameters
    ----------
    weights : Weights
        The weights of the net.
    layer : {"pool5", "fc6", "fc7"}
        The layer of the descriptor.
    device : str
        auto (the first GPU, or the CPU), cpu, cuda, cuda:1, ...

    Returns
    -------
    np.ndarray
        float32 (16,). The root mean square of the difference of two results estimates the distance of their
        descriptors, which have norm 1.
    """
    lineage: Any = weights.lineage if weights.assumed else None  # what is assumed was said when it was resolved
    options = {"layer": layer, "scales": SCALES, "device": device, "precision": "float32"}
    describer = Describer(weights.net, weights=weights.path, lineage=lineage, **options)
    return signs(describer.dim) @ describer.describe(golden_image())


def signs(dim: int) -> np.ndarray:
    """float32 (16, dim) of +1 and -1: the top bits of products with an odd number (multiplicative hashing)."""
    numbers = np.arange(1, PROJECTIONS * dim + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (numbers ^ (numbers >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.where(mixed >> np.uint64(63), 1, -1).astype(np.float32).reshape(PROJECTIONS, dim)


def measure(file: str | Path, device: str = "auto") -> list[GoldenCheck]:
    """Describe the golden image with some weights.

    Parameters
    ----------
    file : str or Path
        A native file, a file of another framework, or a name of the registry.
    device : str
        auto (the first GPU, or the CPU), cpu, cuda, cuda:1, ...

    Returns
    -------
    list of GoldenCheck
        The last layer with a record for these weights, if there is one; then the last layer of the weights, if it is
        a different one.

    Raises
    ------
    WeightsError
        If the weights are not found or cannot be read.
    """
    weights = resolve(file, top="pool5")
    by_name = REGISTRY.named.get((weights.name, weights.net)) or REGISTRY.by_file(weights.path.name)
    known = by_name or REGISTRY.named.get((weights.lineage, weights.net))
    golden = known.golden if known else {}
    recorded = [layer for layer in weights.layers if layer in golden][-1:]
    return [
        GoldenCheck(layer, projections(weights, layer, device), np.array(golden[layer]) if layer in golden else None)
        for layer in dict.fromkeys([*recorded, weights.layers[-1]])
    ]


def check(file: str | Path, device: str = "auto") -> GoldenCheck:
    """Check that weights on this machine give the recorded descriptor.

    Parameters
    ----------
    file : str or Path
        A native file, a file of another framework, or a name of the registry.
    device : str
        auto (the first GPU, or the CPU), cpu, cuda, cuda:1, ...

    Returns
    -------
    GoldenCheck
        The last layer with a record.

    Raises
    ------
    WeightsError
        If there is no record for these weights, or the descriptor is different.

    Examples
    --------
    >>> check("slim", "cpu").layer
    'fc7'
    """
    return require_proof(file, measure(file, device))


def require_proof(file: str | Path, checks: list[GoldenCheck]) -> GoldenCheck:
    """Require that the first layer is recorded, and its descriptor equal.

    Parameters
    ----------
    file : str or Path
        The weights, for messages.
    checks : list of GoldenCheck
        What `measure` returned.

    Returns
    -------
    GoldenCheck
        The first one.

    Raises
    ------
    WeightsError
        If there is no record for these weights, or the descriptor is different.
    """
    proof = checks[0]
    if proof.recorded is None:
        raise WeightsError(
            f"{file}: no descriptor of its training and net is recorded, so this proves nothing; compare the numbers "
            f"above with those of another machine (correct ones agree to 0.0001); recorded are {_recorded()}"
        )
    if not proof.distance <= TOLERANCE:
        raise WeightsError(
            f"{file}: its {proof.layer} descriptor is {proof.distance:.2g} away from the recorded one, more than "
            f"{TOLERANCE:g}; look for other weights, another preprocessing, or wrong arithmetic on this machine"
        )
    return proof


def _recorded() -> str:
    files = REGISTRY.named.items()
    return ", ".join(f"{name} {net} ({', '.join(known.golden)})" for (name, net), known in files if known.golden)
