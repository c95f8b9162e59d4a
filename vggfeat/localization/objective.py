"""What a net with box heads learns: the box of the true class, by Euclidean loss (Appendix A.1)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vggfeat._util.csv_files import Columns
from vggfeat.boxes import decode, encode, inside, iou
from vggfeat.localization.fitted import FittedBoxes
from vggfeat.train.loading import MicroBatch
from vggfeat.train.objective import LOSS
from vggfeat.weights.header import Regression, box_outputs
from vggfeat.weights.run_files import BOX_EPOCHS

RIGHT = 0.5  # intersection over union from which a box is right
HALF = 0.5  # share of a box that a crop must hold to be trained on (OverFeat: Sermanet et al., 2014)
COORDINATES = 4


class Boxes:
    """Regression of the code of an image's largest box; outputs are codes as `boxes.encode` makes them.

    One code for all classes (scr), or one for each of K classes (pcr): only that of the true class has a loss. The
    target of a crop that cuts the box is the whole box. A training crop that holds less than half of the box has no
    loss, and is counted.
    """

    measures: Mapping[str, str] = {
        LOSS: "Euclidean loss",
        "error": "error at IoU 0.5, %",
        "iou": "mean IoU",
        "outside": "crops with less than half of the box",
    }
    log: Columns = BOX_EPOCHS
    all_count = False
    result: Callable[..., Any] = FittedBoxes
    dense = False
    command = "vggfeat localize fit"

    def __init__(self, regression: Regression, classes: int) -> None:
        self.boxes: Regression | None = regression
        self.outputs = box_outputs(regression, classes)

    def start(self, batch: MicroBatch) -> Tensor | None:
        """The mean code of some training crops, for each class: fc8 has to learn only how boxes differ from it."""
        codes = encode(batch.boxes[:, 0], _windows(batch))[_counts(batch)]
        return codes.mean(0).repeat(self.outputs // COORDINATES) if len(codes) else None

    def begin(self, fc8: nn.Module, start: Tensor) -> None:
        """The same weights for each class: what the layers below learn from one class then helps the others."""
        weights = fc8.get_parameter("weight")
        weights.copy_(weights[:COORDINATES].repeat(len(weights) // COORDINATES, 1))
        fc8.get_parameter("bias").copy_(start)

    def loss(self, outputs: Tensor, batch: MicroBatch) -> Tensor:
        """The sum over the crops with a loss of half the squared distance, as Caffe's Euclidean loss."""
        return self._losses(outputs, batch)[_counts(batch)].sum()

    def tally(self, outputs: Tensor, batch: MicroBatch, training: bool) -> Tensor:
        """float64 (5,): the sums of losses, wrong boxes and IoUs, the crops with less than half of the box, all judged.

        A box is clipped to its image, and judged by the box of the image that it fits best: protocol 1 for centre
        crops. IoU in the crop is that in the stored photo, because each axis has one factor.
        """
        counts = _counts(batch)
        judged = counts if training else torch.ones_like(counts)
        found = decode(self._codes(outputs, batch), _windows(batch))
        first, last = batch.frames[:, :2].repeat(1, 2), batch.frames[:, 2:].repeat(1, 2)
        n, some = batch.boxes.shape[:2]
        pairs = iou(found.clamp(first, last), batch.boxes.reshape(-1, COORDINATES)).view(n, n, some)
        best = pairs.diagonal().amax(0) if n else pairs.new_zeros(0)
        sums = self._losses(outputs, batch)[judged].sum(), (best < RIGHT)[judged].sum(), best[judged].sum()
        return torch.stack([value.double() for value in (*sums, (~counts).sum(), judged.sum())])

    def means(self, tally: Sequence[float]) -> tuple[float, ...]:
        """Mean loss, error in per cent, mean IoU in 0..1; and how many crops hold less than half of the box."""
        loss, wrong, overlap, outside, count = tally
        count = max(count, 1)
        return loss / count, 100 * wrong / count, overlap / count, outside

    def _losses(self, outputs: Tensor, batch: MicroBatch) -> Tensor:
        targets = encode(batch.boxes[:, 0], _windows(batch))
        return (self._codes(outputs, batch) - targets).square().sum(1) / 2

    def _codes(self, outputs: Tensor, batch: MicroBatch) -> Tensor:
        """The codes (N, 4) of the true classes' boxes."""
        if self.boxes == "scr":
            return outputs
        rows = torch.arange(len(outputs), device=outputs.device)
        return outputs.unflatten(1, (-1, COORDINATES))[rows, batch.labels]


def _windows(batch: MicroBatch) -> Tensor:
    """The corners of the crops in their own pixels."""
    return batch.frames.new_zeros(len(batch.frames), 2)


def _counts(batch: MicroBatch) -> Tensor:
    """Whether each crop has a loss."""
    return inside(batch.boxes[:, 0], _windows(batch)) >= HALF
