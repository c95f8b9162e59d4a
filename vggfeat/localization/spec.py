"""What a localiser, and its evaluation, can be asked for. Free of torch and numpy."""

from dataclasses import dataclass
from typing import Literal

from vggfeat._util.options import check_choice
from vggfeat.errors import UsageError
from vggfeat.extraction.settings import ExtractionSettings, OnError
from vggfeat.spec import PosteriorSpec

Protocol = Literal["1", "2", "both"]
Reading = Literal["kit", "paper"]  # that of criterion, which needs numpy
Subset = Literal["train", "val", "test"]  # that of data.boxed, which needs numpy
BoxPrecision = Literal["auto", "float32", "tf32", "bfloat16", "float16"]  # mixed mends means, not maps
MAX_KEEP = 20


@dataclass(frozen=True)
class LocalizerSpec:
    """Settings of the nets that say where the objects of an image are.

    Parameters
    ----------
    scales : sequence of int
        Smallest image sides Q in pixels, to which each image is rescaled. The boxes of all scales are merged.
    mirror : bool
        Average the probabilities of the classes with those of the mirrored image. Boxes are not mirrored.
    keep : int
        How many classes of each image get candidate boxes, the likeliest first: 5 at least, 20 at most. More than five
        serve stored runs of several nets, whose five likeliest classes together may be others than those of each.
    device : str
        auto (the first GPU, or the CPU), cpu, cuda, cuda:1, ...
    precision : {"auto", "float32", "tf32", "bfloat16", "float16"}
        Precision of the nets; auto is float32.
    exif : bool
        Turn photos upright as their EXIF orientation says; boxes are then in pixels of the upright photo.
    allow_truncated : bool
        Also take image files that are cut: missing rows or details become grey or black. Else they are errors.

    Raises
    ------
    UsageError
        If a value is invalid.
    """

    scales: tuple[int, ...] = (256,)
    mirror: bool = PosteriorSpec.mirror
    keep: int = 10
    device: str = PosteriorSpec.device
    precision: BoxPrecision = "auto"
    exif: bool = False
    allow_truncated: bool = PosteriorSpec.allow_truncated

    def __post_init__(self) -> None:
        check_choice("precision of boxes", self.precision, BoxPrecision)
        if not 5 <= self.keep <= MAX_KEEP:
            raise UsageError(f"keep must be from 5 to {MAX_KEEP}, not {self.keep}")
        object.__setattr__(self, "scales", self.posteriors.scales)

    @property
    def posteriors(self) -> PosteriorSpec:
        """The settings of the classes' probabilities."""
        return PosteriorSpec(
            scales=self.scales,
            mirror=self.mirror,
            device=self.device,
            precision=self.precision,
            exif=self.exif,
            allow_truncated=self.allow_truncated,
        )


@dataclass(frozen=True)
class LocalizationSettings:
    """Settings of the evaluation of a localiser.

    Parameters
    ----------
    protocol : {"1", "2", "both"}
        1: one box from the central crop, for the true class. 2: boxes from the whole image, for the five likeliest
        classes.
    subset : {"train", "val", "test"}
        Subset of the data.
    iou : float
        Intersection over union from which a box is right, above 0 and at most 1.
    reading : {"kit", "paper"}
        kit: a box with just that value is right, as ILSVRC's kit counts; paper: only one above it, as the paper says.
    on_error : {"skip", "fail"}
        What to do with an image that cannot be read: list it in failures.csv, or end the run.
    workers : int or None
        Threads that decode, beside the nets. Default: one for each processor.

    Raises
    ------
    UsageError
        If a value is invalid.
    """

    protocol: Protocol = "both"
    subset: Subset = "val"
    iou: float = 0.5
    reading: Reading = "kit"
    on_error: OnError = ExtractionSettings.on_error
    workers: int | None = ExtractionSettings.workers

    def __post_init__(self) -> None:
        check_choice("protocol", self.protocol, Protocol)
        check_choice("subset", self.subset, Subset)
        check_choice("reading of the criterion", self.reading, Reading)
        if not 0 < self.iou <= 1:
            raise UsageError(f"iou must be above 0 and at most 1, not {self.iou:g}")
        self.extraction  # noqa: B018  (checks its values)

    @property
    def protocols(self) -> tuple[int, ...]:
        """The protocols, as numbers."""
        return (1, 2) if self.protocol == "both" else (int(self.protocol),)

    @property
    def extraction(self) -> ExtractionSettings:
        """The settings of the extraction that fills the stores."""
        return ExtractionSettings(on_error=self.on_error, workers=self.workers)
