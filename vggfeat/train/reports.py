"""What a person sees of a run: learning curves and TensorBoard."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vggfeat.errors import UsageError
from vggfeat.train.checkpoint import write_whole


def curves(rows: Sequence[Mapping[str, str]], file: Path) -> None:
    """Draw loss and errors over the epochs; the rows are log.csv's. Dotted lines: the learning rate is divided."""
    from matplotlib.figure import Figure

    epochs = [int(row["epoch"]) for row in rows]
    rates = [float(row["lr"]) for row in rows]
    divided = [epoch for epoch, old, new in zip(epochs[1:], rates, rates[1:], strict=False) if new < old]
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = (("loss", "loss (nats)"), ("top1", "top-1 error, %"), ("top5", "top-5 error, %"))
    for axes, (column, title) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for part, style in (("train", "--"), ("val", "-")):
            axes.plot(epochs, [float(row[f"{part}_{column}"]) for row in rows], style, marker=".", label=part)
        for epoch in divided:
            axes.axvline(epoch - 0.5, color="grey", linestyle=":", linewidth=1)
        axes.set(xlabel="epoch", title=title)
        axes.grid(alpha=0.3)
    axes.legend()
    write_whole(file, lambda part: figure.savefig(part, format="png", dpi=100))


class Board:
    """TensorBoard's event files, where they are asked for. Raises UsageError without the package."""

    def __init__(self, folder: Path, wanted: bool, step: int) -> None:
        self._writer: Any = None
        if wanted:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise UsageError("--tensorboard needs the package tensorboard: pip install tensorboard") from None
            self._writer = SummaryWriter(str(folder), purge_step=step + 1)  # what a killed run wrote beyond is hidden

    def add(self, values: Mapping[str, float], step: int) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
