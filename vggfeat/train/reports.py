"""What people read of a run: a line for each epoch, learning curves, and event files for TensorBoard."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vggfeat._util.files import replacing
from vggfeat.errors import UsageError
from vggfeat.train.folder import writing
from vggfeat.train.health import Finding
from vggfeat.train.start import Run
from vggfeat.train.state import TrainState
from vggfeat.weights.run_files import standard_error


def epoch_line(run: Run, state: TrainState, validation: Sequence[float], health: Finding) -> str:
    """How an epoch went, given the state after its last step.

    If the validation error differs from the best one by less than a standard error, the line says so: the paper's rule
    for the learning rate is applied, but on few images it acts on chance.
    """
    name, error = [*run.objective.measures.values()][1].removesuffix(", %"), validation[1]
    parts = [
        f"epoch {state.epoch}: loss {run.objective.means(state.sums)[0]:.3f}, validation loss {validation[0]:.3f}, "
        f"{name} {error:.1f} ± {standard_error(error, health.images):.1f} %",
        f"learning rate {run.rate(state, ahead=-1):g}",
    ]
    if state.gradient is not None:
        parts.append(f"gradient {state.gradient:.3g}")
    if health.dead is not None:
        parts.append(f"dead channels {health.dead:.1f} %")
    if _by_chance(state, error, health):
        best = f"{state.plateau.best:.1f} % of epoch {state.plateau.best_epoch}"
        parts.append(f"{health.images} images cannot tell this error from the {best}")
    return "; ".join(parts)


def rate_line(run: Run, state: TrainState, after: TrainState, validation: Sequence[float], health: Finding) -> str:
    """That the learning rate is divided after an epoch, and why."""
    recipe = run.recipe
    line = f"learning rate {run.rate(after):g} from now on: no improvement of {recipe.gain:g} points in "
    line += f"{recipe.patience} epochs"
    if _by_chance(state, validation[1], health):
        line += "; it may be chance: more validation images or a larger --patience make it surer"
    return line


def collapse_line(run: Run, state: TrainState, validation: Sequence[float], health: Finding) -> str:
    """That the net gives all images the same outputs, and what helps.

    A net with small first weights also does before it has begun to learn.
    """
    classes = run.objective.outputs
    chance = "" if run.objective.boxes else f", and ln {classes} is {math.log(classes):.3f}"
    return (
        f"{run.folder.path}: the net has collapsed, or has not begun to learn: after epoch {state.epoch} its outputs "
        f"are the same for all {health.images} validation images (loss {validation[0]:.3f}{chance}); if this lasts, "
        f"begin again in another folder with --lr below {run.rate(state, ahead=-1):g}, with --warmup 1, or with "
        "another --init, such as he"
    )


def _by_chance(state: TrainState, error: float, health: Finding) -> bool:
    """Whether the error differs from the best one so far by less than a standard error."""
    return abs(error - state.plateau.best) < standard_error(error, health.images)


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
