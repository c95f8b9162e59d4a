"""What an evaluation can be asked for. Free of torch and numpy."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import index
from pathlib import Path
from typing import Literal, get_args

from vggfeat._util.options import check_choice
from vggfeat.errors import UsageError
from vggfeat.extraction.settings import ExtractionSettings, OnError
from vggfeat.spec import Lineage, PosteriorSpec, Precision

Method = Literal["dense", "multi-crop", "centre"]
Methods = Literal["dense", "multi-crop", "both", "centre"]
Subset = Literal["train", "val", "test"]  # that of data.imagenet, which needs numpy
METHODS: tuple[Method, ...] = get_args(Method)


def parse_train_scale(text: str) -> tuple[int, ...]:
    """256 -> (256,), 256-512 -> (256, 512). Raises UsageError."""
    words = text.split("-")
    return _checked_train_scale(map(int, words) if all(word.isdecimal() for word in words) else (), text)


def _checked_train_scale(sides: Iterable[int], given: object) -> tuple[int, ...]:
    try:
        found = tuple(index(side) for side in sides)
    except TypeError:
        found = ()
    if len(found) not in (1, 2) or found[0] > found[-1]:
        raise UsageError(f"training scale {given!r}: give one side, 256, or a range, 256-512")
    return found


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Parameters
    ----------
    net : str or None
        Net of Table 1: A (VGG-11), A-LRN, B (VGG-13), C, D (VGG-16) or E (VGG-19); or several, such as "D,E", which
        are evaluated one by one and together. Default: the net of the weights, or D.
    scales : sequence of int
        Smallest image sides Q in pixels, to which each image is rescaled.
    method : {"dense", "multi-crop", "both", "centre"}
        dense: the whole image; multi-crop: a grid of 224x224 crops; both: these two and their average; centre: the
        centre crop.
    weights : str or path
        auto, a name (oxford, torchvision; slim, for tests only) or a file. For several nets: one for all of them, or
        one for each net, separated by commas.
    lineage : {"oxford", "torchvision"} or None
        Preprocessing of weights whose origin is unknown: oxford (BGR, 0..255) or torchvision (RGB, 0..1). Default: that
        of the file or of its first layer, or assumed by the format.
    subset : {"train", "val", "test"}
        Subset of the data set. Images of test have no labels, and so no errors.
    classes : path or mapping, optional
        CSV file with lines `class of the data set,class of the weights`, if the names differ.
    partial : bool
        The data set has only some of the classes of the weights. Its images are judged among all of them.
    train_scale : sequence of int, optional
        Training scale S of the net, for the tables: 256, or 256-512 if S was drawn from that range. Default: what the
        weights say.
    grid : int
        Crops along each side of the grid of multi-crop: 5 makes 25 crops, and 50 with mirror images.
    mirror : bool or None
        Average with the result of the mirrored image. Default: yes, except for centre.
    device : str
        auto (the first GPU, or the CPU), cpu, cuda, cuda:1, ...
    precision : {"auto", "float32", "tf32", "bfloat16", "float16", "mixed"}
        Precision of the net. mixed is float16 with sums in float32; an image with a value that is not finite is
        computed again in tf32. auto is mixed on a GPU with tensor cores and float32 on a CPU.
    ceil : bool
        Round pooled sizes up, as Caffe does.
    exif : bool
        Turn photos upright as their EXIF orientation says; the paper's tools took the pixels as stored.
    allow_truncated : bool
        Also take image files that are cut: missing rows or details become grey or black. Else they are errors.
    kit : path, optional
        Folder of ILSVRC's development kit. Default: looked for beside the images.
    blacklist : bool
        Leave out the validation images that the kit's blacklist names.
    on_error : {"skip", "fail"}
        What to do with an image that cannot be read: list it in failures.csv, or end the run.
    workers : int or None
        Threads that decode, beside the net. Default: one for each processor.

    Raises
    ------
    UsageError
        If a value is invalid.

    Examples
    --------
    >>> EvaluationSettings(scales=[256], train_scale=[256, 512]).train_scale
    (256, 512)
    """

    net: str | None = PosteriorSpec.net
    scales: tuple[int, ...] = PosteriorSpec.scales
    method: Methods = "dense"
    weights: str = PosteriorSpec.weights
    lineage: Lineage | None = PosteriorSpec.lineage
    subset: Subset = "val"
    classes: str | Path | Mapping[str, str] | None = None
    partial: bool = False
    train_scale: tuple[int, ...] | None = field(default=None, metadata={"parse": parse_train_scale, "metavar": "S"})
    grid: int = 5
    mirror: bool | None = None
    device: str = PosteriorSpec.device
    precision: Precision = PosteriorSpec.precision
    ceil: bool = field(default=PosteriorSpec.ceil, metadata={"flags": "--ceil/--floor"})
    exif: bool = field(default=False, metadata={"flags": "--exif/--no-exif"})
    allow_truncated: bool = PosteriorSpec.allow_truncated
    kit: str | Path | None = None
    blacklist: bool = False
    on_error: OnError = ExtractionSettings.on_error
    workers: int | None = ExtractionSettings.workers

    def __post_init__(self) -> None:
        check_choice("method", self.method, Methods)
        check_choice("subset", self.subset, Subset)
        if self.grid < 1:
            raise UsageError(f"grid must be at least 1, not {self.grid}")
        object.__setattr__(self, "scales", self.spec.scales)
        object.__setattr__(self, "weights", self.spec.weights)
        if self.train_scale is not None:
            object.__setattr__(self, "train_scale", _checked_train_scale(self.train_scale, self.train_scale))
        self.extraction  # noqa: B018  (checks its values)

    @property
    def spec(self) -> PosteriorSpec:
        """The part that decides the posteriors; `posterior_describers` sets its `mirror`."""
        return PosteriorSpec(
            net=self.net,
            scales=self.scales,
            weights=self.weights,
            lineage=self.lineage,
            device=self.device,
            precision=self.precision,
            ceil=self.ceil,
            exif=self.exif,
            allow_truncated=self.allow_truncated,
        )

    @property
    def extraction(self) -> ExtractionSettings:
        """The settings of the extraction that fills the stores."""
        return ExtractionSettings(on_error=self.on_error, workers=self.workers)
