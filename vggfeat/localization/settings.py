"""The settings of the training of nets with box heads. Free of torch and numpy."""

from dataclasses import dataclass
from typing import Literal

from vggfeat._util.options import check_choice
from vggfeat.train.settings import AUTO, FROM, Fill, Finetune, TrainingSettings

Regression = Literal["scr", "pcr"]  # that of weights.header, which needs torch


@dataclass(frozen=True)
class BoxRecipe(TrainingSettings):
    """Settings of the training of a net that predicts boxes (Appendix A): these, and the others of `TrainingSettings`.

    Without dropout and with `fill` scaled, fully connected layers learn on frozen convolutions at the paper's learning
    rate; chosen on held-out training photos of cub-10 (benchmarks/localisation).

    Parameters
    ----------
    regression : {"pcr", "scr"}
        A box for each class (pcr), which the paper finds better, or one box for all classes (scr).
    net : str
        Net of Table 1; auto: that of the weights.
    init : str
        Initial weights, from:WEIGHTS with a file or a name such as oxford; from:auto takes what is at hand, at least
        the convolutions of net E inside this package. Layers that the weights lack are filled by `fill`, fc8 always.
    finetune : {"fc", "all"}
        Train the fully connected layers only, which a CPU does in minutes, or all layers, which the paper finds better.
    lr : float or None
        Initial learning rate. Default: 0.001 with init from weights of the same net, which the paper gives for batches
        of 256 and which was chosen for batches of 32 (benchmarks/localisation); else 0.01.

    Raises
    ------
    UsageError
        If a value is invalid.

    References
    ----------
    Appendix A.1.
    """

    net: str = AUTO
    init: str = f"{FROM}auto"
    fill: Fill = "scaled"
    finetune: Finetune = "fc"
    batch: int = 32
    dropout: float = 0.0
    draws: int = 8
    regression: Regression = "pcr"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("regression", self.regression, Regression)

    @property
    def rate_batch(self) -> int:
        """The batch to which the default learning rates belong: any, see `lr`."""
        return self.batch
