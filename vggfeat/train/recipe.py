"""What a training run is made of: the settings of Sect. 3.1, the paper's values as defaults."""

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from vggfeat.errors import UsageError
from vggfeat.nets import CROP, Init, layers

Finetune = Literal["all", "fc"]
Statistics = Literal["auto", "own", "ilsvrc"]
Precision = Literal["auto", "float32", "bfloat16"]

FROM = "from:"
LR = 1e-2  # Sect. 3.1: "initially set to 10^-2" ...
LR_TUNING = 1e-3  # ... and for a net that starts from one of the same kind, such as S=384 from S=256
MAX_SCALE = 2048
MAX_SEED = 2**63 - 1


def _free(default: Any) -> Any:
    """A setting that a continued run may change: it decides how the numbers are had."""
    return field(default=default, metadata={"free": True})


@dataclass(frozen=True)
class Recipe:
    """The settings of one run; `vggfeat train` has the same names and the same defaults.

    Of the paper (Sect. 3.1 but where another is named):
    net, width : a key of nets.CONFIGS (Table 1), and a factor on its channels; 1 is the paper's.
    scale : the training scale S, "256" or "384"; "256-512": drawn from that range for each image and epoch.
    init : "random", "random-0.1" or "glorot" (see nets.initialise), or "from:WEIGHTS", a file or a name of the
        registry. From the same net all layers are copied; from another, the first four convolutional and the three
        fully connected layers; `fill` is the initialisation of the others.
    finetune : "all" layers, or the fully connected ones only, "fc" (Appendix A does both).
    batch, momentum, weight_decay, dropout : 256, 0.9, 5e-4, 0.5. All parameters decay, biases too.
    lr : the initial learning rate; None: 1e-2, and 1e-3 from the same net.
    drops : how often lr is divided by 10 when the validation error stops improving; then the run ends.
    patience, gain : the error has stopped improving when for `patience` epochs it has not been `gain` points
        (per cent) below that of the last improvement. The paper doesn't say how it judged; these are ours.
    epochs : at most; 74. An epoch is len(train) // batch steps; its remainder differs from epoch to epoch.
    colour : standard deviation of the multiples of the pixels' principal components that shift an image's
        colour (Krizhevsky et al., 2012). flip : mirror every second image.
    statistics : where the mean and the principal components of the pixels come from: the training set ("own"),
        ILSVRC's published ones ("ilsvrc"), or "auto", ILSVRC's for its 1000 classes.
    seed : of everything random.
    precision : "bfloat16" runs the layers in it over float32 weights; "auto" is that on CUDA, float32 on a CPU.

    Of the machine; these may change when a run is continued. With another `micro` or `compile`, as with another number
    of processes, dropout draws other masks, of the same distribution; the other ones change nothing:
    device : "auto", "cpu", "cuda", "cuda:1". micro : images that go through the net at once; gradients are
    accumulated up to the batch. workers : processes that decode, beside each training process; 0: none, it decodes
    itself; None: none on a CPU, else a share of the cores. cache : GiB of memory that decoded images may take, train
    and val each. cache_dir : a folder for sets that don't fit: one file each, decoded once, in the original size, and
    read by later runs on the same images too, such as those of the paper's chain; None: they are decoded anew each
    epoch. It should pay where training waits for processors that decode, and the disk is fast or much of the file
    stays in free memory; a photo of 500x375 takes 562,500 bytes, several times its JPEG's. Without room on the disk
    training goes on without; nothing removes the files but you. compile : torch.compile. save_minutes : between
    checkpoints within an epoch. dense : measure the best net densely as well (Sect. 3.2), at the end. tensorboard :
    write its event files.

    Raises UsageError for a value that can't be meant.
    """

    net: str = "D"
    width: float = 1.0
    scale: str = "256"
    init: str = "glorot"
    fill: Init = "random"
    finetune: Finetune = "all"
    batch: int = 256
    momentum: float = 0.9
    weight_decay: float = 5e-4
    dropout: float = 0.5
    lr: float | None = None
    drops: int = 3
    patience: int = 5
    gain: float = 0.1
    epochs: int = _free(74)
    colour: float = 0.1
    flip: bool = True
    statistics: Statistics = "auto"
    seed: int = 0
    precision: Precision = "auto"
    device: str = _free("auto")
    micro: int = _free(64)
    workers: int | None = _free(None)
    cache: float = _free(2.0)
    cache_dir: str | None = _free(None)
    compile: bool = _free(False)
    save_minutes: float = _free(10.0)
    dense: bool = _free(False)
    tensorboard: bool = _free(False)

    def __post_init__(self) -> None:
        layers(self.net, self.width)  # raises for a net or a width that can't be meant
        _ = self.scales
        if not self.init.startswith(FROM):
            _one_of("init", self.init, (*get_args(Init), "from:FILE"))
        _one_of("fill", self.fill, get_args(Init))
        _one_of("finetune", self.finetune, get_args(Finetune))
        _one_of("statistics", self.statistics, get_args(Statistics))
        _one_of("precision", self.precision, get_args(Precision))
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not least <= value < math.inf:
                raise UsageError(f"{name} must be {least} or more, not {value}")
        for name in ("momentum", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} must be 0 or more and below 1, not {getattr(self, name)}")
        if self.seed > MAX_SEED:
            raise UsageError(f"seed must be at most {MAX_SEED}, not {self.seed}")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise UsageError(f"lr must be above 0, not {self.lr}")
        if self.finetune == "fc" and not self.source:
            raise UsageError("finetune fc trains the fully connected layers of a trained net: give init from:FILE")

    @property
    def scales(self) -> tuple[int, int]:
        """The least and the largest training scale S; equal for a fixed one."""
        low, _, high = self.scale.partition("-")
        try:
            span = int(low), int(high or low)
        except ValueError:
            raise UsageError(f"scale {self.scale!r}: give S as 256 or 384, or a range as 256-512") from None
        if not CROP <= span[0] <= span[1] <= MAX_SCALE:
            raise UsageError(f"scale {self.scale!r}: S lies in {CROP}..{MAX_SCALE}, the smaller first")
        return span

    @property
    def test_scale(self) -> int:
        """Q at validation: S, or the middle of its range (Sect. 4.1)."""
        return sum(self.scales) // 2

    @property
    def source(self) -> str:
        """The weights that `init` names; empty where it is random."""
        return self.init.removeprefix(FROM) if self.init.startswith(FROM) else ""

    def deciding(self) -> dict[str, Any]:
        """The settings that decide the numbers."""
        free = {f.name for f in fields(self) if f.metadata.get("free")}
        return {name: value for name, value in asdict(self).items() if name not in free}


# What each number may be at least.
_LEAST: dict[str, float] = {
    "batch": 1,
    "micro": 1,
    "epochs": 1,
    "patience": 1,
    **dict.fromkeys(("weight_decay", "drops", "gain", "colour", "seed", "workers", "cache", "save_minutes"), 0),
}


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"no {name} {value!r}; take one of {', '.join(known)}")
