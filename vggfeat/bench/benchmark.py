"""What a benchmark is: a data set, a protocol, and the numbers of the paper."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from vggfeat.bench.protocol import Protocol
from vggfeat.bench.submission import Submission
from vggfeat.data import ImageSet
from vggfeat.spec import Aggregation, DescriptorLayer, DescriptorSpec


@dataclass(frozen=True)
class PaperSettings:
    """How the paper describes the images of a benchmark. net : None if the paper gives results of D and E apart."""

    scales: tuple[int, ...]
    agg: Aggregation
    net: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """A data set, the protocol that measures on it, and the numbers to compare with.

    Parameters
    ----------
    name : str
        Name in the command and in results.
    title : str
        Title of the page of a result.
    read : callable
        Called with the folder of the data set or None; returns its `ImageSet`.
    protocol : Protocol
        The measure and the splits.
    paper : dict of str to float
        Method -> value in the paper, in per cent.
    paper_std : mapping of str to float
        Method -> standard deviation over splits, if the paper gives it.
    claims : mapping of str to str
        What the paper says of an aggregation ("stack"), a net ("E", "D & E"), three of five scales ("three") or
        "image only".
    paper_on : str or None
        What the paper's values were measured on, if ours cannot be.
    paper_settings : PaperSettings or None
        The settings of the paper; None if the benchmark is not in the paper.
    train_per_class : int or None
        Training images per class; None for `train_share` of the smallest class.
    test_per_class : int or None
        Test images per class, at most; None for all that are left.
    train_share : float
        Share of the smallest class, in (0, 1).
    seeds : int
        Number of random splits.
    reported : {"test", "val"}
        The subset of an official split that is tested on.
    scales, agg, layer, weights, exif
        Settings of the descriptors if none are given; see `BenchmarkSettings`.
    background : str or None
        The class that can be left out, if there is one.
    boxes : bool
        Whether a sample is a box in an image.
    submission : Submission or None
        The names of the evaluation server, if there is one.
    """

    name: str
    title: str
    read: Callable[..., ImageSet]
    protocol: Protocol
    paper: dict[str, float] = field(default_factory=dict)
    paper_std: Mapping[str, float] = field(default_factory=dict)
    claims: Mapping[str, str] = field(default_factory=dict)
    paper_on: str | None = None
    paper_settings: PaperSettings | None = None
    train_per_class: int | None = None
    test_per_class: int | None = None
    train_share: float = 0.5
    seeds: int = 3
    reported: Literal["test", "val"] = "test"
    scales: tuple[int, ...] = DescriptorSpec.scales
    agg: Aggregation = DescriptorSpec.agg
    layer: DescriptorLayer = DescriptorSpec.layer
    weights: str = DescriptorSpec.weights
    exif: bool = DescriptorSpec.exif
    background: str | None = None
    boxes: bool = False
    submission: Submission | None = None
