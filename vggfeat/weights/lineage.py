"""Who trained the weights (their lineage), which decides the preprocessing of the net's input.

Published weights are known by their checksum, or by the values of their first convolution: these survive renaming,
conversion, rounding to bfloat16, and training of later layers. Some conversions turn the order of the colours, or scale
the kernels for another range of pixels; the biases tell that the mean is still subtracted before.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vggfeat.errors import UsageError, WeightsError
from vggfeat.spec import Lineage
from vggfeat.weights.content import Content
from vggfeat.weights.foreign import ForeignTensors
from vggfeat.weights.header import OXFORD, TORCHVISION, Preprocessing
from vggfeat.weights.registry import LINEAGES, PREPROCESSING, Form, PublishedFile, Registry

TOLERANCE = 0.004  # of the norm; bfloat16 changes each value by 0.002 of it at most


class Training(NamedTuple):
    """Who trained the weights, their preprocessing, and whether both are assumed because nothing tells them."""

    lineage: str
    preprocessing: Preprocessing
    assumed: bool = False


class FirstLayer(NamedTuple):
    """Of conv1_1: the kernel of filter 0 on the first channel of the input, row by row, and the first biases."""

    lineage: str
    preprocessing: Preprocessing
    kernel: tuple[float, ...]
    biases: tuple[float, ...]


# The weights that are at hand. Oxford's D and torchvision's E: as public code and notebooks print them, which give the
# same values as the files of Oxford's E and torchvision's D that we have. No biases of torchvision's E are known.
FIRST_LAYERS = (
    FirstLayer(
        "oxford",  # D
        OXFORD,
        (0.429471, 0.373467, -0.0613601, 0.27477, 0.0386808, -0.367223, -0.0574682, -0.26225, -0.350097),
        (0.73429835, 0.093403675, 0.06775674, 0.8862966),
    ),
    FirstLayer(
        "oxford",  # E
        OXFORD,
        (0.341195, 0.339992, -0.0448442, 0.232159, 0.0897821, -0.303314, -0.0726092, -0.246675, -0.336833),
        (0.7301776, 0.06493629, 0.03428847, 0.8260386),
    ),
    FirstLayer(
        "torchvision",  # D
        TORCHVISION,
        (-0.5537306, 0.1427047, 0.5289615, -0.58312404, 0.35655147, 0.76566225, -0.69022113, -0.04801885, 0.48409155),
        (0.403388, 0.37779424, 0.46436158, -0.32276368),
    ),
    FirstLayer(
        "torchvision",  # E
        TORCHVISION,
        (-0.053474, -0.049257, -0.067942, 0.015314, 0.045068, 0.0021444, 0.036226, 0.019999, 0.019864),
        (),
    ),
    FirstLayer(
        "slim",
        Preprocessing("RGB", 255.0, (118.04368187798394, 116.34591233995226, 109.05882178412543), (1.0, 1.0, 1.0)),
        (-0.2644043, -0.10229492, 0.03039551, 0.1141968, 0.08056641, 0.11108398, -0.05438232, 0.04876709, -0.07574463),
        (-0.0037307739, 0.01499939, 0.00026941, -0.0035286),
    ),
)


def training_of(
    src: Path,
    content: Content,
    form: Form,
    tensors: ForeignTensors,
    stated: Preprocessing | None,
    lineage: Lineage | None,
    registry: Registry,
) -> Training:
    """Who trained the weights in a file of another framework.

    stated : the preprocessing that the file itself contains.
    lineage : what the user says. Raises WeightsError if the file is of another lineage.
    """
    if lineage is not None and lineage not in PREPROCESSING:
        raise UsageError(f"no lineage {lineage!r}; take one of {', '.join(PREPROCESSING)}")
    known = by_first_layer(tensors["conv1_1.weight"].read(), tensors["conv1_1.bias"].read())
    if known is None and (published := by_checksum(content, registry)):
        known = Training(published.lineage, PREPROCESSING[LINEAGES[form]])
    if known and lineage not in (None, known.lineage):
        raise WeightsError(f"{src}: is of the lineage {known.lineage}, not {lineage}; leave out --lineage")
    said = lineage or LINEAGES[form]
    found = known or Training(said, PREPROCESSING[said], assumed=not (lineage or stated))
    return found._replace(preprocessing=stated or found.preprocessing)


def by_checksum(content: Content, registry: Registry) -> PublishedFile | None:
    """The published file with the same checksum, under any name."""
    return next((known for known in registry.files() if known.check and not content.complaint(known.check)), None)


def by_first_layer(weight: Tensor, bias: Tensor) -> Training | None:
    """The training whose conv1_1 this is, also if converted for the other order of colours or range of pixels."""
    for known in FIRST_LAYERS:
        for turned, pixels in product((False, True), (255.0, 1.0)):
            factor = pixels / known.preprocessing.range  # of the input; the kernels are divided by it
            kernel = [value / factor for value in known.kernel]
            if _near(weight[0, 2 if turned else 0], kernel) and _near(bias[: len(known.biases)], known.biases):
                return Training(known.lineage, _converted(known.preprocessing, turned, factor))
    return None


def _near(found: Tensor, known: Sequence[float]) -> bool:
    wanted = torch.tensor(known)
    same_size = found.numel() == wanted.numel()
    return same_size and bool((found.flatten().float() - wanted).norm() <= TOLERANCE * wanted.norm())


def _converted(known: Preprocessing, turned: bool, factor: float) -> Preprocessing:
    """The preprocessing that makes the input larger by a factor, with its channels in the other order if `turned`."""
    one, two, three = (factor * value for value in known.mean)
    scaled = replace(known, range=factor * known.range, mean=(one, two, three))
    if not turned:
        return scaled
    return replace(
        scaled, colour="RGB" if known.colour == "BGR" else "BGR", mean=scaled.mean[::-1], std=known.std[::-1]
    )
