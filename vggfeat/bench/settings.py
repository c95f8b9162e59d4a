"""What a benchmark can be asked for. Free of torch and numpy."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from os import fspath
from pathlib import Path
from typing import Any, Literal

from vggfeat._util.options import check_choice
from vggfeat.errors import UsageError
from vggfeat.spec import (
    Aggregation,
    DescriptorLayer,
    DescriptorSpec,
    Lineage,
    Normalisation,
    Precision,
    whole_scales,
)
from vggfeat.svm.settings import SolverName

PaperRecipe = Literal["paper"]


def paths_of(stores: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    """The paths of stores; a text may name several, separated by commas."""
    if isinstance(stores, str | Path):
        stores = str(stores).split(",")
    return tuple(map(Path, stores))


_TYPES: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("root", "splits", "save_splits", "submission", "stores"), Path),
    "weights": fspath,
    "scales": whole_scales,
    "store": paths_of,
}
_COUNTS = ("seeds", "train_per_class", "test_per_class")
_CHOICES = {
    "recipe": ("recipe", PaperRecipe),
    "agg": ("aggregation", Aggregation),
    "layer": ("layer", DescriptorLayer),
    "lineage": ("lineage", Lineage),
    "normalize": ("normalisation", Normalisation),
    "precision": ("precision", Precision),
    "solver": ("SVM solver", SolverName),
}


@dataclass(frozen=True)
class BenchmarkSettings:
    """Settings of a benchmark. None means the benchmark's own value.

    Parameters
    ----------
    root : path or None
        Folder of the data set. Default: $VGGFEAT_DATA/NAME. For paper: the folder above voc2007, voc2012, ...
        Default: $VGGFEAT_DATA.
    recipe : {"paper"} or None
        paper takes the scales and the aggregation of the paper if none are given, and for the actions nets D and E if
        neither net nor weights are given.
    net : str or None
        Net of Table 1: A (VGG-11), A-LRN, B (VGG-13), C, D (VGG-16) or E (VGG-19); or several, such as "D,E", whose
        descriptors are stacked. Default: the net of the weights, or D. For paper: the rows of the tables; "D,E", the
        default, gives D, E and D & E.
    scales : sequence of int or None
        Smallest image sides Q in pixels, to which each image is rescaled. Default: the benchmark's own.
    agg : {"mean", "max", "stack"} or None
        Aggregation over the scales. Default: the benchmark's own.
    layer : str or None
        Layer whose activations are averaged over space, after its ReLU: fc7, fc6, or a pooling or convolution of
        Table 1, such as pool5 or conv4_3. Default: pool5 for sample, else fc7.
    weights : str, path or None
        auto, a name (oxford, torchvision, oxford-int8; slim, for tests only) or a file. For several nets: one for all
        of them, or one for each net, separated by commas.
        Default: slim for digits, oxford-int8 for sample, else auto.
    lineage : {"oxford", "torchvision"} or None
        Preprocessing of weights whose origin is unknown: oxford (BGR, 0..255) or torchvision (RGB, 0..1). Default: that
        of the file or of its first layer, or assumed by the format.
    mirror : bool
        Average with the descriptor of the mirrored image.
    normalize : {"l2", "per-scale", "none"}
        L2 normalisation: once at the end (as in the paper), of each scale and at the end, or none.
    device : str
        auto (the first GPU, or the CPU), cpu, cuda, cuda:1, ...
    precision : {"auto", "float32", "tf32", "bfloat16", "float16", "mixed"}
        Precision of the net. mixed is float16 with sums in float32; an image with a value that is not finite is
        computed again in tf32. auto is mixed on a GPU with tensor cores and float32 on a CPU.
    ceil : bool
        Round pooled sizes up, as Caffe does.
    exif : bool or None
        Turn photos upright as their EXIF orientation says. Default: yes for a folder; no for the data sets of the
        paper, whose pixels its tools took as stored.
    allow_truncated : bool
        Also take image files that are cut: missing rows or details become grey or black. Else they are errors.
    seeds : int or None
        Number of random splits, made with seeds 0, 1, ... Default: the benchmark's own, 3.
    train_per_class : int or None
        Training images per class. Default: the benchmark's own.
    test_per_class : int or None
        Test images per class, at most. Default: the benchmark's own.
    background : bool
        Count the background class of Caltech as a class.
    box : bool
        For the actions: stack the descriptors of the image and of the person's box, or take the image only.
    splits : path or None
        Take the splits of this file.
    save_splits : path or None
        Write the splits to this file.
    submission : path or None
        Write the files for the VOC evaluation server to this folder, from SVMs trained on trainval.
    comp : int or None
        Number of the competition of the submission. Default: 2, for the actions 10.
    store : str or None
        Use a store that `vggfeat extract` made of the images of the data set, and describe nothing. Of several stores,
        separated by commas, the descriptors are stacked.
    stores : path or None
        Folder of the descriptor stores, one for each net and scale; later runs use them again. Default: in the cache.
    jobs : int
        CPU cores that train SVMs; -1 for all.
    solver : {"newton", "liblinear"} or None
        Solver of the SVMs. Default: newton.
    ablate : bool
        Measure each of the paper's choices about descriptors as well. The result itself stays the same.

    Raises
    ------
    UsageError
        If a value is invalid, or two settings contradict each other.
    """

    root: Path | None = None
    recipe: PaperRecipe | None = None
    net: str | None = DescriptorSpec.net
    scales: tuple[int, ...] | None = None
    agg: Aggregation | None = None
    layer: DescriptorLayer | None = None
    weights: str | None = None
    lineage: Lineage | None = DescriptorSpec.lineage
    mirror: bool = DescriptorSpec.mirror
    normalize: Normalisation = DescriptorSpec.normalize
    device: str = DescriptorSpec.device
    precision: Precision = DescriptorSpec.precision
    ceil: bool = field(default=DescriptorSpec.ceil, metadata={"flags": "--ceil/--floor"})
    exif: bool | None = None
    allow_truncated: bool = DescriptorSpec.allow_truncated
    seeds: int | None = None
    train_per_class: int | None = None
    test_per_class: int | None = None
    background: bool = True
    box: bool = True
    splits: Path | None = None
    save_splits: Path | None = None
    submission: Path | None = None
    comp: int | None = None
    store: tuple[Path, ...] | None = field(default=None, metadata={"parse": paths_of, "metavar": "STORE,..."})
    stores: Path | None = None
    jobs: int = -1
    solver: SolverName | None = None
    ablate: bool = field(default=False, metadata={"flags": "--ablate"})

    def __post_init__(self) -> None:
        for name, value in self._given(_TYPES):
            object.__setattr__(self, name, _TYPES[name](value))
        for name, value in self._given(_CHOICES):
            check_choice(_CHOICES[name][0], value, _CHOICES[name][1])
        if self.jobs == 0:
            raise UsageError("jobs must be a number of cores, or -1 for all, not 0")
        for name, value in self._given(_COUNTS):
            if value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}")
        if self.splits is not None and self.has_split_numbers:
            raise UsageError("a file of splits decides the splits; leave out seeds and numbers of images per class")
        if self.comp is not None and self.submission is None:
            raise UsageError("a competition needs a submission; name the folder of the submission")

    @property
    def has_split_numbers(self) -> bool:
        """Whether random splits are asked for: seeds, or numbers of images per class."""
        return bool(self._given(_COUNTS))

    def _given(self, names: Iterable[str]) -> list[tuple[str, Any]]:
        """Those of the fields that are not None."""
        return [(name, getattr(self, name)) for name in names if getattr(self, name) is not None]
