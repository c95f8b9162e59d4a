"""The Appendix B descriptor: images -> one descriptor a scale -> aggregation -> L2."""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import asdict
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from vggfeat import images
from vggfeat.aggregate import Aggregation, Normalisation, aggregate, fuse, whole
from vggfeat.errors import UsageError
from vggfeat.images import Source
from vggfeat.passes import Passes, Precision

Layer = Literal["fc7", "fc6", "pool5"]

LAYERS = ("fc7", "fc6", "pool5")
SCALES = (256, 384, 512)  # Appendix B, Caltech; the five scales of VOC gain 0.3 %


class Describer(Passes):
    """Turns images into VGG descriptors (Appendix B).

    Parameters
    ----------
    net : "A", "A-LRN", "B", "C", "D", "E", or two with a comma, "D,E": their descriptors are stacked (late
        fusion). None: the weights' own net, D where nothing says more.
    scales : smallest sides Q to which each image is rescaled, in pixels.
    agg : "mean" or "max" over scales, or "stack" (S times the dimension).
    layer : "fc7", "fc6" or "pool5", after its ReLU.
    weights : a name of the registry, a file, or "auto"; with several nets one for all, or one each with
        commas.
    mirror : average with the mirror image's descriptor.
    normalize : "l2" once at the end, "per-scale" for each scale and at the end, "none".
    device : "auto", "cpu", "cuda", "cuda:1", ...
    precision : "float32", "tf32", "bfloat16", "float16"; "auto" is float32.
    ceil : round pooled sizes up, as Caffe does.

    Raises UsageError for arguments that can't be meant, WeightsError where the weights don't serve.
    """

    layers: tuple[str, ...] = LAYERS

    def __init__(
        self,
        net: str | None = None,
        *,
        scales: Sequence[int] = SCALES,
        agg: Aggregation = "mean",
        layer: Layer = "fc7",
        weights: str | Path = "auto",
        mirror: bool = True,
        normalize: Normalisation = "l2",
        device: str = "auto",
        precision: Precision = "auto",
        ceil: bool = False,
    ) -> None:
        if layer not in self.layers:
            raise UsageError(f"no layer {layer!r}; take one of {', '.join(self.layers)}")
        aggregate([np.zeros((1, 1))], agg, normalize)  # complains now about a wrong word, not after the work
        super().__init__(
            net,
            scales=scales,
            layer=layer,
            weights=weights,
            mirror=mirror,
            device=device,
            precision=precision,
            ceil=ceil,
        )
        self.agg, self.normalize, self.layer = agg, normalize, layer

    @property
    def dim(self) -> int:
        """Length of a descriptor."""
        return sum(net.dim for net in self.nets) * (len(self.scales) if self.agg == "stack" else 1)

    @property
    def task(self) -> str:
        """What a progress bar says."""
        return "describing"

    def fingerprint(self) -> list[dict[str, Any]]:
        """For each net, everything that decides the numbers of a single scale."""
        return [
            {
                "net": net.weights.net,
                "width": net.weights.width,
                "weights_sha256": net.weights.sha256,
                "preprocessing": asdict(net.weights.preprocessing),
                "layer": self.layer,
                "scales": list(self.scales),
                "mirror": self.mirror,
                "pooling": "ceil" if self.ceil else "floor",
                "precision": self.precision,
                "rescaling": images.RESCALING,
            }
            for net in self.nets
        ]

    def apart(self) -> list["Describer"]:
        """One describer a net, of the same settings; they share the nets."""
        parts = [copy(self) for _ in self.nets]
        for part, net in zip(parts, self.nets, strict=True):
            part.nets = [net]
        return parts

    def describe(self, image: Source | Iterable[Source], max_pixels: int = images.MAX_PIXELS) -> np.ndarray:
        """float32 (dim,) for one image, (N, dim) for a list of N (or a uint8 array (N, H, W, 3)).

        Raises ImageError, naming the file, for the first image that can't be described or has more pixels.
        """
        if is_image(image):
            return self.describe([image], max_pixels)[0]
        rows = dict(self.stream((i, self.prepare(one, max_pixels)) for i, one in enumerate(image)))
        if not rows:
            return np.zeros((0, self.dim), np.float32)
        ordered = [rows[i] for i in range(len(rows))]
        per_net = [
            aggregate(list(np.stack([row[n] for row in ordered], axis=1)), self.agg, self.normalize)
            for n in range(len(self.nets))
        ]
        return fuse(per_net, self.normalize)


def is_image(image: Source | Iterable[Source]) -> bool:
    """Whether the argument is one image rather than several."""
    if isinstance(image, np.ndarray | Tensor):
        return image.ndim < 4
    if isinstance(image, str | bytes | bytearray | memoryview | PathLike):
        return True
    return not isinstance(image, Iterable) or hasattr(image, "read")


@lru_cache(maxsize=1)
def _describer(options: tuple[tuple[str, Any], ...]) -> Describer:
    return Describer(**dict(options))


def describe(image: Source | Iterable[Source], **options: Any) -> np.ndarray:
    """The VGG descriptor of an image: float32 (dim,); of a list of N: (N, dim). The options are Describer's.

    The net of the last call is kept, so that calling this in a loop loads it once.
    """
    scales = whole(options.pop("scales", SCALES))
    return _describer(tuple(sorted({**options, "scales": scales}.items()))).describe(image)
