"""How a model of a user's own classes is made. Free of torch and numpy."""

from dataclasses import dataclass

from vggfeat.errors import UsageError
from vggfeat.spec import DescriptorLayer, DescriptorSpec


@dataclass(frozen=True)
class FitSpec(DescriptorSpec):
    """Settings of the descriptors of a model; the other parameters are those of `DescriptorSpec` and `NetSpec`.

    Parameters
    ----------
    layer : str
        Layer whose activations are averaged over space, after its ReLU: fc7, fc6, or a pooling or convolution of
        Table 1. Default: pool5, whose weights are inside this package.

    Raises
    ------
    UsageError
        If a value is invalid.
    """

    layer: DescriptorLayer = "pool5"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("agg", "mean"), ("normalize", "l2")):
            if getattr(self, name) != value:
                raise UsageError(f"{name} is chosen or fixed by fit; leave it out")


@dataclass(frozen=True)
class FitSettings:
    """Settings of the training of a model.

    Parameters
    ----------
    minutes : float
        Time for choosing and measuring, in minutes. Describing the photos and the final training are not part of it.
    keep : float
        Share of the photos of the classes that the threshold of "none of these" keeps, above 0 and below 1.
    most : int
        Photos that train, at most. If there are more, they are drawn at random, as evenly from the classes as possible.
    jobs : int
        CPU cores that train SVMs; -1 for all.
    seed : int
        Seed of all that is drawn at random.
    anonymous : bool
        Leave the names, checksums and margins of the photos and the folder of their store out of the model, so that it
        can be published. The names of the classes and the figures stay. `explore` cannot open such a model.

    Raises
    ------
    UsageError
        If a value is invalid.
    """

    minutes: float = 5.0
    keep: float = 0.95
    most: int = 10_000
    jobs: int = -1
    seed: int = 0
    anonymous: bool = False

    def __post_init__(self) -> None:
        if not self.minutes >= 0:
            raise UsageError(f"minutes must be 0 or more, not {self.minutes:g}")
        if not 0 < self.keep < 1:
            raise UsageError(f"keep must be above 0 and below 1, not {self.keep:g}; 0.95 keeps 95 % of the photos")
        if self.most < 4:
            raise UsageError(f"most must be at least 4, two photos of each of two classes, not {self.most}")
        if self.jobs == 0:
            raise UsageError("jobs must be a number of cores, or -1 for all, not 0")
        if self.seed < 0:
            raise UsageError(f"a seed must be 0 or more, not {self.seed}")
