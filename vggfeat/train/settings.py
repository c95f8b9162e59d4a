"""The settings that every training run has, with the values of Sect. 3.1 as defaults. Free of torch and numpy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from vggfeat._util.options import check_choice
from vggfeat.errors import UsageError
from vggfeat.nets.table import CROP, Init, layers
from vggfeat.train.augmentation import WITHOUT, Options

Finetune = Literal["all", "fc"]
Fill = Literal[Init, "scaled"]
Statistics = Literal["auto", "own", "ilsvrc"]
TrainingPrecision = Literal["auto", "float32", "bfloat16"]

FROM = "from:"
AUTO = "auto"  # the net of the weights that `init` names
LR = 1e-2  # Sect. 3.1: "initially set to 10^-2" ...
LR_TUNING = 1e-3  # ... and for a net that starts from one of the same kind, such as S=384 from S=256
RATE_BATCH = 256  # the batch to which these rates belong
MAX_SCALE = 2048
MAX_SEED = 2**63 - 1
# settings that the runs of earlier versions do not have, and what these did
ADDED = {"draws": 0, "warmup": 0.0, **WITHOUT}


def free(default: Any) -> Any:
    """A setting that may change when a run is continued: it does not decide which numbers are computed."""
    return field(default=default, metadata={"free": True})


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training run (Sect. 3.1), whatever the net learns.

    The settings from `device` on, and `epochs`, may change when a run is continued. A different `micro` or `compile`,
    or a different number of processes, draws different dropout masks from the same distribution. A different `device`
    changes the rounding, and with precision auto perhaps the precision. The others change no number.

    Parameters
    ----------
    net : str
        Net of Table 1: A, A-LRN, B, C, D or E; or B-5x5, the shallow net of Sect. 4.1. With init from:WEIGHTS also
        auto: net and width are those of the weights.
    width : float
        Factor on the number of channels of every layer; 1 is the paper's net.
    scale : str
        Training scale S, the smallest side in pixels to which an image is rescaled before it is cropped: 256 or 384,
        or a range such as 256-512 from which S is drawn for each image (Sect. 3.1).
    init : str
        Initial weights: glorot, he (He et al., 2015), random (normal, standard deviation 0.01, or 0.01 / sqrt(width) in
        a net of width below 1, but for conv1_1) or random-0.1 (normal, variance 0.01, as printed in Sect. 3.1), or
        from:WEIGHTS with a file or a name such as oxford. From the same net all layers are copied; from another net the
        first four convolutional and the three fully connected layers. fc8 is copied only if its classes are the same.
    fill : {"glorot", "he", "random", "random-0.1", "scaled"}
        With init from:WEIGHTS, the initialisation of the layers that are not copied. scaled: normal, in a scale that is
        measured on training images, for fully connected layers above trained convolutions.
    finetune : {"all", "fc"}
        With init from:WEIGHTS, train all layers, or the fully connected layers only (Appendix A).
    batch : int
        Images in one step, over all processes (Sect. 3.1).
    momentum : float
        Momentum of the gradient descent (Sect. 3.1).
    weight_decay : float
        L2 penalty on all parameters, biases included (Sect. 3.1).
    dropout : float
        Dropout ratio after fc6 and fc7 (Sect. 3.1).
    lr : float or None
        Initial learning rate. Default: 0.01 x batch / 256, or 0.001 x batch / 256 with init from weights of the same
        net; a batch of 256 is the paper's (Sect. 3.1).
    warmup : float
        Epochs in which the learning rate rises in equal steps to its initial value. The paper has none.
    drops : int
        How often the learning rate is divided by 10 when the validation error stops improving; then the run ends
        (Sect. 3.1).
    patience : int
        Epochs without improvement after which the learning rate is divided. The paper does not state its rule. The log
        says when two errors differ by less than a standard error, so that few validation images decide by chance.
    gain : float
        Smallest decrease of the top-1 validation error, in percentage points, that counts as an improvement.
    epochs : int
        Largest number of epochs (Sect. 3.1). One epoch is a pass over the training images in whole batches.
    colour : float
        Strength of the random shift of an image's colour along the principal components of the training pixels
        (Sect. 3.1; Krizhevsky et al., 2012); 0 for none.
    flip : bool
        Mirror half of the crops (Sect. 3.1).
    statistics : {"auto", "own", "ilsvrc"}
        Mean and principal components of the pixels: of the training images (own), the published ones of ILSVRC, or
        auto: those of ILSVRC for its 1000 classes, else own.
    draws : int
        How many crops are drawn of each training image. The epochs take them in turn. With finetune "fc" their maps at
        pool5 are computed once and kept, in `cache_dir` or else in the folder of the run, so that most epochs need no
        convolutions. 0: new crops in each epoch.
    seed : int
        Seed of all random numbers.
    precision : {"auto", "float32", "bfloat16"}
        Precision in which the layers are computed; weights stay float32. auto is bfloat16 on a GPU that supports it,
        else float32.
    device : str
        auto (the first GPU, or the CPU), cpu, cuda, cuda:1, ...
    micro : int
        Images that go through the net at once; their gradients are added up to those of the batch.
    workers : int or None
        Processes that decode images, beside each training process; 0: the training process decodes. Default: 0 on a
        CPU, else a share of the processors.
    cache : float
        Memory in GiB for the decoded images, of the training and of the validation set each. They are kept if all of
        them fit.
    cache_dir : str or None
        Folder for the decoded images of sets that do not fit into memory, for later runs as well. They take several
        times the space of JPEG files; only you remove them.
    compile : bool
        Compile the net with torch.compile.
    save_minutes : float
        Minutes between two checkpoints within an epoch.
    tensorboard : bool
        Also write event files for TensorBoard.

    Raises
    ------
    UsageError
        If a value is invalid.

    Examples
    --------
    >>> TrainingSettings(net="A", scale="256-512").scales
    (256, 512)
    """

    net: str = "D"
    width: float = 1.0
    scale: str = "256"
    init: str = "glorot"
    fill: Fill = "random"
    finetune: Finetune = "all"
    batch: int = 256
    momentum: float = 0.9
    weight_decay: float = 5e-4
    dropout: float = 0.5
    lr: float | None = None
    warmup: float = 0.0
    drops: int = 3
    patience: int = 5
    gain: float = 0.1
    epochs: int = free(74)
    colour: float = 0.1
    flip: bool = field(default=True, metadata={"flags": "--flip/--no-flip"})
    statistics: Statistics = "auto"
    draws: int = 0
    seed: int = 0
    precision: TrainingPrecision = "auto"
    device: str = free("auto")
    micro: int = free(64)
    workers: int | None = free(None)
    cache: float = free(2.0)
    cache_dir: str | None = free(None)
    compile: bool = free(False)
    save_minutes: float = free(10.0)
    tensorboard: bool = free(False)

    def __post_init__(self) -> None:
        if self.net == AUTO and not self.source:
            raise UsageError("net auto is that of trained weights: give init from:FILE, or name the net")
        layers(self.net if self.net != AUTO else "D", self.width)  # raises UsageError for an invalid net or width
        _ = self.scales
        if not self.init.startswith(FROM) and self.init not in get_args(Init):
            raise UsageError(f"no init {self.init!r}; take one of {', '.join(get_args(Init))}, from:FILE")
        check_choice("fill", self.fill, Fill)
        check_choice("finetune", self.finetune, Finetune)
        check_choice("statistics", self.statistics, Statistics)
        check_choice("precision", self.precision, TrainingPrecision)
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not least <= value < math.inf:
                raise UsageError(f"{name} must be at least {least}, not {value}")
        for name in ("momentum", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")
        if self.seed > MAX_SEED:
            raise UsageError(f"seed must be at most {MAX_SEED}, not {self.seed}")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise UsageError(f"lr must be above 0, not {self.lr}")
        if self.finetune == "fc" and not self.source:
            raise UsageError("finetune fc trains the fully connected layers of a trained net: give init from:FILE")

    @property
    def options(self) -> Options:
        """What the paper does not have: nothing; a kind of settings may offer more."""
        return Options()

    @property
    def scales(self) -> tuple[int, int]:
        """The smallest and the largest training scale S; equal if S is fixed."""
        low, _, high = self.scale.partition("-")
        try:
            span = int(low), int(high or low)
        except ValueError:
            raise UsageError(f"scale {self.scale!r} is invalid; give S as 256 or 384, or a range as 256-512") from None
        if not CROP <= span[0] <= span[1] <= MAX_SCALE:
            raise UsageError(f"scale {self.scale!r} is invalid; S is from {CROP} to {MAX_SCALE}, the smaller first")
        return span

    @property
    def test_scale(self) -> int:
        """The scale Q of the validation images: S, or the middle of its range (Sect. 4.1)."""
        return sum(self.scales) // 2

    def draw(self, epoch: int) -> int:
        """Return which draw of the crops an epoch takes.

        Parameters
        ----------
        epoch : int
            Counted from 0. A negative one, which stands for crops that are not drawn, stays as it is.

        Returns
        -------
        int
        """
        return epoch % self.draws if self.draws and epoch >= 0 else epoch

    def first_rate(self, same: bool) -> float:
        """Return the initial learning rate.

        Parameters
        ----------
        same : bool
            Whether the net starts from weights of the same net.

        Returns
        -------
        float
        """
        return self.lr or (LR_TUNING if same else LR) * self.batch / self.rate_batch

    @property
    def rate_batch(self) -> int:
        """The batch to which the default learning rates belong."""
        return RATE_BATCH

    @property
    def keeps_maps(self) -> bool:
        """Whether the maps of the convolutions are kept, which are not trained."""
        return self.finetune == "fc" and self.draws > 0

    @property
    def source(self) -> str:
        """The weights named by `init`; empty if the initial weights are random."""
        return self.init.removeprefix(FROM) if self.init.startswith(FROM) else ""

    def fixed(self) -> dict[str, Any]:
        """Return the settings that must stay the same when a run is continued.

        Returns
        -------
        dict
            Name -> value.
        """
        return {f.name: getattr(self, f.name) for f in fields(self) if not f.metadata.get("free")}


# The smallest value of each number.
_LEAST: dict[str, float] = {
    "batch": 1,
    "micro": 1,
    "epochs": 1,
    "patience": 1,
    **dict.fromkeys(
        ("weight_decay", "warmup", "drops", "gain", "colour", "draws", "seed", "workers", "cache", "save_minutes"), 0
    ),
}


def difference(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first setting in which a run was begun otherwise, as "batch 6, not 7"; empty if there is none."""
    was, now = {**ADDED, **was}, {**ADDED, **now}
    for key in dict.fromkeys((*now, *was)):
        if was.get(key) != now.get(key):
            return f"{key} {was.get(key)!r}, not {now.get(key)!r}"
    return ""
