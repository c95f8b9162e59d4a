"""A proof that a whole chain gives the recorded numbers: pixels, rescaling, preprocessing, weights, net, descriptor.

The descriptor of a generated image is compared with recorded values, by a tolerance. A hash of rounded values
would not do: wherever one lies near the edge between two roundings, two right machines would differ.
"""

from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np

from vggfeat.descriptors import Describer
from vggfeat.errors import WeightsError
from vggfeat.nets import TOPS
from vggfeat.spec import DescriptorLayer
from vggfeat.weights import REGISTRY, Weights, resolve

PROJECTIONS = 16
SCALES = (256,)
# Right machines differ by some 1e-6, weights rounded to float16 by 0.0002; a mean of 104, 117, 123 instead of
# 103.939, 116.779, 123.68 makes 0.0008, the colours in the wrong order 0.15.
TOLERANCE = 5e-4


class Measured(NamedTuple):
    """What this machine makes of the generated image at one layer, and what is recorded of it.

    values, recorded : float32 (16,), as `signature` has them; recorded is None where nothing is.
    """

    layer: str
    values: np.ndarray
    recorded: np.ndarray | None

    @property
    def distance(self) -> float:
        """How far the descriptor, of norm 1, is from the recorded one (estimated); NaN without a record."""
        return float("nan") if self.recorded is None else float(np.sqrt(np.mean((self.values - self.recorded) ** 2)))


def picture() -> np.ndarray:
    """The image: uint8 (300, 400, 3) RGB, from integers alone, with no symmetry of places or colours."""
    y, x, c = np.ogrid[:300, :400, :3]
    waves = (x * x // (3 + c) + y * y // (5 - c) + x * y // (7 + 2 * c)) // 16 + 40 * c
    blocks = 5 * (x // 50) * (y // 60 + 1) + 3 * c * (x // 80)
    return ((waves % 256 + blocks) % 256).astype(np.uint8)


def signature(weights: Weights, layer: str, device: str = "auto") -> np.ndarray:
    """float32 (16,): the image's descriptor, of norm 1, times 16 fixed vectors of +1 and -1.

    The root mean square of what two signatures differ by estimates the distance of their descriptors.
    """
    describer = Describer(weights.net, weights=weights.path, layer=layer, scales=SCALES, device=device)
    return _signs(describer.dim) @ describer.describe(picture())


def _signs(dim: int) -> np.ndarray:
    """+1 and -1 as the top bit of products with an odd number tells (multiplicative hashing, in integers)."""
    numbers = np.arange(1, PROJECTIONS * dim + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (numbers ^ (numbers >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.where(mixed >> np.uint64(63), 1, -1).astype(np.float32).reshape(PROJECTIONS, dim)


def measure(file: str | Path, device: str = "auto") -> list[Measured]:
    """The last layer for which these weights have a record, if any, and the last that they serve for.

    `file` is a native file, one of another framework, or a name of the registry.
    """
    weights = resolve(file, top="pool5")
    entry = REGISTRY.get((weights.lineage, weights.net))
    known = entry.golden if entry else {}
    served = [layer for layer in TOPS[: TOPS.index(weights.top) + 1] if layer in get_args(DescriptorLayer)]
    proven = [layer for layer in served if layer in known][-1:]
    return [
        Measured(layer, signature(weights, layer, device), np.array(known[layer]) if layer in known else None)
        for layer in dict.fromkeys([*proven, served[-1]])
    ]


def check(file: str | Path, device: str = "auto") -> Measured:
    """The last layer that has a record, proven; raises as `require`."""
    return require(file, measure(file, device))


def require(file: str | Path, measured: list[Measured]) -> Measured:
    """The layer that is proven. Raises WeightsError where nothing is recorded, and where the descriptors differ."""
    proof = measured[0]
    if proof.recorded is None:
        raise WeightsError(
            f"{file}: no descriptor of its training and net is recorded, nothing here proves it: compare the numbers "
            f"above with those of another machine (right ones agree to 0.0001); recorded are {_recorded()}"
        )
    if not proof.distance <= TOLERANCE:
        raise WeightsError(
            f"{file}: its {proof.layer} descriptor is {proof.distance:.2g} away from the recorded one, more than "
            f"{TOLERANCE:g}: other weights, another preprocessing, or a fault of this machine's arithmetic"
        )
    return proof


def _recorded() -> str:
    return ", ".join(f"{name} {net} ({', '.join(e.golden)})" for (name, net), e in REGISTRY.items() if e.golden)
