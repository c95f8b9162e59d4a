"""From an image to class posteriors at each scale: densely, over a grid of crops, or from the centre crop (Sect. 3.2).

All are Describers of the layer fc8, so that the engine that fills descriptor stores fills stores of posteriors.
"""

from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from torch import Tensor

from vggfeat import images
from vggfeat.data.imagenet import Classified
from vggfeat.dense import check_scales
from vggfeat.descriptors import Describer
from vggfeat.errors import UsageError
from vggfeat.nets import CROP
from vggfeat.passes import Bucket, Row

Method = Literal["dense", "multi-crop", "centre"]
METHODS: tuple[Method, ...] = get_args(Method)
POSTERIORS: dict[str, Any] = {"layer": "fc8", "agg": "mean", "normalize": "none"}
GRID = 5  # crops a side: 25, and with mirror images the paper's 50 a scale

K = TypeVar("K", bound=Hashable)


class Dense(Describer):
    """Posteriors of whole images: the soft-max of the spatial mean of the score map, averaged with the mirror image's.

    One decoded image serves all scales. `data`: what the posteriors are of, and so part of the fingerprint; None for
    none. The options are Describer's, but for the layer and what is done with descriptors.
    """

    layers = ("fc8",)
    method: Method = "dense"

    def __init__(self, net: str | None = None, *, data: Classified | None = None, **options: Any) -> None:
        super().__init__(net, **POSTERIORS, **options)
        self.data = data

    @property
    def task(self) -> str:
        nets = ",".join(f"{net.weights.net} ({Path(net.weights.name).stem})" for net in self.nets)
        return f"{nets}, {self.method}"

    def fingerprint(self) -> list[dict[str, Any]]:
        """Describer's, with the method and the data."""
        of_data = {"data": self.data.name, "images": len(self.data)} if self.data else {}
        return [{**one, "method": self.method, **of_data} for one in super().fingerprint()]


class MultiCrop(Dense):
    """Posteriors of 224x224 crops, averaged over a regular grid and the crops' mirror images, at each scale.

    grid : crops a side; the outer ones touch the borders of the rescaled image, the others lie at equal distances
        (rounded half down), so that for an odd number the middle one is the centre crop.
    """

    method: Method = "multi-crop"

    def __init__(self, net: str | None = None, *, grid: int = GRID, **options: Any) -> None:
        if grid < 1:
            raise UsageError(f"a grid has 1 crop a side or more, not {grid}")
        super().__init__(net, **options)
        check_scales(self.scales, "fc8")  # crops are of 224, also where pooled sizes are rounded up
        self.grid = grid

    def fingerprint(self) -> list[dict[str, Any]]:
        return [{**one, "grid": self.grid, "crop": CROP} for one in super().fingerprint()]

    def stream(self, prepared: Iterable[tuple[K, Tensor]]) -> Iterator[tuple[K, list[np.ndarray]]]:
        """As Passes.stream: each row is the mean over the grid."""
        crops = self.grid**2
        for bucket, values in self._passes(self._buckets(prepared)):
            for i, (row, s, _) in enumerate(bucket.pieces):
                for n, value in enumerate(values):
                    row.scales[n][s] += value[i] / crops
                row.missing -= 1
                if row.missing == 0:
                    yield row.key, row.scales

    def _buckets(self, prepared: Iterable[tuple[K, Tensor]]) -> Iterator[Bucket[K]]:
        """Crops have one size: they fill each pass, whichever image and scale they are of."""
        bucket: Bucket[K] = Bucket()
        for key, image in prepared:
            empty = [np.zeros((len(self.scales), net.dim), np.float32) for net in self.nets]
            row = Row(key, empty, len(self.scales) * self.grid**2)
            on_device = self.machine.upload(image)
            for s, q in enumerate(self.scales):
                rescaled = images.rescale(on_device, q)
                for y, x in grid_corners(rescaled.shape[1], rescaled.shape[2], self.grid):
                    bucket.pieces.append((row, s, rescaled[:, y : y + CROP, x : x + CROP]))
                    if bucket.pixels + CROP**2 > self._batch_pixels:
                        yield bucket
                        bucket = Bucket()
        if bucket.pieces:
            yield bucket


class Centre(MultiCrop):
    """Posteriors of the 224x224 crop in the middle of the rescaled image: what most tables elsewhere report.

    Without the mirror image, unless it is asked for.
    """

    method: Method = "centre"

    def __init__(self, net: str | None = None, *, mirror: bool = False, **options: Any) -> None:
        super().__init__(net, grid=1, mirror=mirror, **options)


def grid_corners(height: int, width: int, grid: int = GRID, crop: int = CROP) -> list[tuple[int, int]]:
    """(y, x) of the upper left corners of grid x grid crops, row by row; both sides are `crop` pixels at least.

    >>> grid_corners(224, 233, 2)
    [(0, 0), (0, 9), (0, 0), (0, 9)]
    >>> grid_corners(256, 341, 1)  # the centre crop
    [(16, 58)]
    """
    return [(y, x) for y in _starts(height - crop, grid) for x in _starts(width - crop, grid)]


def _starts(room: int, grid: int) -> list[int]:
    """`grid` whole numbers from 0 to `room` at equal distances, rounded half down; the middle for one."""
    if grid == 1:
        return [room // 2]
    steps = grid - 1
    return [(2 * i * room + steps - 1) // (2 * steps) for i in range(grid)]


def describers(
    method: Literal["dense", "multi-crop", "both", "centre"],
    net: str | None = None,
    *,
    grid: int = GRID,
    mirror: bool | None = None,
    **options: Any,
) -> list[Dense]:
    """Those that a method needs, one a net: dense and multi-crop for "both". mirror None: but for the centre crop."""
    kinds: dict[str, tuple[type[Dense], ...]] = {
        "dense": (Dense,),
        "multi-crop": (MultiCrop,),
        "both": (Dense, MultiCrop),
        "centre": (Centre,),
    }
    if method not in kinds:
        raise UsageError(f"no method {method!r}; take one of {', '.join(kinds)}")
    found: list[Dense] = []
    for kind in kinds[method]:
        own: dict[str, Any] = {"grid": grid} if kind is MultiCrop else {}
        own |= {} if mirror is None else {"mirror": mirror}
        found += kind(net, **own, **options).apart()  # type: ignore[arg-type]
    return found
