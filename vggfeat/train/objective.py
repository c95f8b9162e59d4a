"""What a net learns: its loss, and how well it does. `Classes` is the paper's main task (Sect. 3.1)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from vggfeat._util.csv_files import Columns
from vggfeat.train.loading import MicroBatch
from vggfeat.train.results import TrainingResult
from vggfeat.weights.header import Regression
from vggfeat.weights.run_files import EPOCHS

TOP = (1, 5)  # the errors that are reported (Sect. 4)
LOSS = "loss"  # the first measure of each objective


class Objective(Protocol):
    """What the trainer asks of a task.

    A tally is a tensor of sums over images: first of their losses, last the number of images with a loss. `means` makes
    the measures of it.

    outputs : of fc8. boxes : what the weights file says of them. measures : their columns in log.csv (after train_ and
    val_) and the titles of their curves; first the loss, then the error in per cent by which the best net is chosen.
    log : all columns. all_count : whether each image has a loss. result : makes the result of a run, of facts and
    measures. dense : whether the best net is also measured densely. command : trains for the objective.
    """

    outputs: int
    boxes: Regression | None
    measures: Mapping[str, str]
    log: Columns
    all_count: bool
    result: Callable[..., Any]
    dense: bool
    command: str

    def start(self, batch: MicroBatch) -> Tensor | None:
        """The outputs (outputs,) that a new net should begin with for all images; None for 0."""

    def begin(self, fc8: nn.Module, start: Tensor) -> None:
        """Set the first weights of fc8, of what `start` returned."""

    def loss(self, outputs: Tensor, batch: MicroBatch) -> Tensor:
        """The sum of the losses of float32 outputs (N, outputs)."""

    def tally(self, outputs: Tensor, batch: MicroBatch, training: bool) -> Tensor:
        """float64 (sums,) of float32 outputs (N, outputs). In training, images without a loss are not judged."""

    def means(self, tally: Sequence[float]) -> tuple[float, ...]:
        """The measures of a tally."""


class Classes:
    """Logistic regression over K classes; outputs are scores (N, K) before the soft-max."""

    boxes: Regression | None = None
    measures: Mapping[str, str] = {LOSS: "loss (nats)", "top1": "top-1 error, %", "top5": "top-5 error, %"}
    log: Columns = EPOCHS
    all_count = True
    result: Callable[..., Any] = TrainingResult
    command = "vggfeat train"

    def __init__(self, classes: int, smoothing: float = 0.0, dense: bool = False) -> None:
        self.outputs, self.smoothing, self.dense = classes, smoothing, dense

    def start(self, batch: MicroBatch) -> Tensor | None:  # noqa: ARG002
        """None: at first all classes are equal."""
        return None

    def begin(self, fc8: nn.Module, start: Tensor) -> None:
        """Nothing: fc8 stays random."""

    def loss(self, outputs: Tensor, batch: MicroBatch) -> Tensor:
        """The sum of the cross-entropies, with smoothed labels; of a mixture those of both labels by their shares."""
        if not len(batch.shares):
            return functional.cross_entropy(outputs, batch.labels, reduction="sum", label_smoothing=self.smoothing)
        other, own = (
            functional.cross_entropy(outputs, labels, reduction="none", label_smoothing=self.smoothing)
            for labels in (batch.partners, batch.labels)
        )
        return torch.lerp(other, own, batch.shares).sum()

    def tally(self, outputs: Tensor, batch: MicroBatch, training: bool = False) -> Tensor:
        """float64 (4,): the sum of the losses, the images wrong among the best 1 and the best 5, and all images.

        Labels are smoothed in training only. An image is right among the best k if fewer than k other classes score at
        least as high as its own: a net that gives all classes the same score is wrong (as in `metrics.top_k_error`).
        """
        scores, labels = outputs, batch.labels
        loss = self.loss(scores, batch) if training else functional.cross_entropy(scores, labels, reduction="sum")
        as_good = (scores >= scores.gather(1, labels[:, None])).sum(1)
        wrong = [((as_good < 1) | (as_good > k)).sum() for k in TOP]  # as_good is 0 for NaN scores
        return torch.stack([value.double() for value in (loss, *wrong, (labels >= 0).sum())])

    def means(self, tally: Sequence[float]) -> tuple[float, ...]:
        """Mean loss, top-1 and top-5 error in per cent."""
        loss, top1, top5, count = tally
        return loss / count, 100 * top1 / count, 100 * top5 / count
