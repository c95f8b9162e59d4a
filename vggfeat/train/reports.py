"""Learning curves, and event files for TensorBoard."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vggfeat._util.files import replacing
from vggfeat.errors import UsageError
from vggfeat.train.folder import writing


def draw_curves(rows: Sequence[Mapping[str, Any]], measures: Mapping[str, str], file: Path) -> None:
    """Draw the measures of training and validation over the epochs from the rows of log.csv, as a PNG.

    Dotted lines show where the learning rate was divided.
    """
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in rows]
    rates = [row["lr"] for row in rows]
    divided = [epoch for epoch, old, new in zip(epochs[1:], rates, rates[1:], strict=False) if new < old]
    figure = Figure(figsize=(1 + 3 * len(measures), 4), layout="constrained")
    for axes, (column, title) in zip(figure.subplots(1, len(measures)), measures.items(), strict=True):
        for part, style in (("train", "--"), ("val", "-")):
            axes.plot(epochs, [row[f"{part}_{column}"] for row in rows], style, marker=".", label=part)
        for epoch in divided:
            axes.axvline(epoch - 0.5, color="grey", linestyle=":", linewidth=1)
        axes.set(xlabel="epoch", title=title)
        axes.grid(alpha=0.3)
    axes.legend()
    with writing(file), replacing(file) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


class Board:
    """Event files for TensorBoard, if they are wanted. Raises UsageError if the package is missing."""

    def __init__(self, folder: Path, wanted: bool, step: int) -> None:
        self._writer: Any = None
        if wanted:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise UsageError("--tensorboard needs the package tensorboard: pip install tensorboard") from None
            self._writer = SummaryWriter(str(folder), purge_step=step + 1)  # hides later steps of a killed run

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Write values of a step or an epoch."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        if self._writer is not None:
            self._writer.close()
