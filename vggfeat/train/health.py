"""Whether a net still learns: its dead channels, and outputs that do not depend on the image."""

from typing import NamedTuple

import torch
from torch import Tensor

from vggfeat.train.ranks import Ranks

EQUAL = 1e-3  # outputs that differ by less over all images count as equal: posteriors then agree to 0.1 %


class Finding(NamedTuple):
    """What the images tell. dead : channels of the convolutions that are dead, in per cent; None if none was seen.
    equal : whether the net gives all images the same outputs. images : how many were seen."""

    dead: float | None
    equal: bool
    images: int


class Health:
    """What images tell about a net, added up in one process.

    A channel of a convolution is dead if it is 0 everywhere in all images after its ReLU: no gradient reaches it.
    """

    def __init__(self) -> None:
        self._sums: dict[int, Tensor] = {}  # of each convolution, (C,)
        self._ends: Tensor | None = None  # (2, outputs): the largest of each output, and minus the smallest
        self._images = 0

    def add_maps(self, number: int, maps: Tensor) -> None:
        """Add the maps (N, C, H, W) of a convolution after its ReLU, of which none is negative."""
        self._sums[number] = maps.sum((0, 2, 3), dtype=torch.float32) + self._sums.get(number, 0.0)

    def add_outputs(self, outputs: Tensor) -> None:
        """Add the outputs (N, outputs) of the net."""
        if len(outputs):
            ends = torch.stack([outputs.amax(0), -outputs.amin(0)])
            self._ends = ends if self._ends is None else torch.maximum(self._ends, ends)
            self._images += len(outputs)

    def found(self, ranks: Ranks) -> Finding:
        """What the images of all processes tell, which call it together."""
        own = []
        if self._ends is not None:
            sums = torch.cat(list(self._sums.values())) if self._sums else torch.zeros(0)
            own.append((sums.cpu(), self._ends.cpu(), self._images))
        parts = ranks.gather(own)
        if not parts:
            return Finding(None, False, 0)
        images = sum(count for *_, count in parts)
        dead = (torch.stack([sums for sums, *_ in parts]).sum(0) == 0).double()
        spread = torch.stack([ends for _, ends, _ in parts]).amax(0).sum(0)
        equal = images > 1 and float(spread.max()) < EQUAL
        return Finding(100 * float(dead.mean()) if len(dead) else None, equal, images)
