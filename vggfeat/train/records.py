"""What a run writes while it trains: its log, its unreadable images, its weights and its checkpoints."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from vggfeat._util.progress import progress, say_beside
from vggfeat.errors import VggfeatError, WeightsError
from vggfeat.train import checkpoint
from vggfeat.train.health import Finding
from vggfeat.train.loading import Failure
from vggfeat.train.reports import Board, collapse_line, draw_curves, epoch_line, rate_line
from vggfeat.train.start import Run
from vggfeat.train.state import TrainState
from vggfeat.weights import native


class Records:
    """The records of one process. All processes collect unreadable images; only process 0 writes."""

    def __init__(self, run: Run, state: TrainState) -> None:
        self.run = run
        self._steps, self._saved = run.plan.steps, time.monotonic()
        self._unreadable: list[Failure] = []
        self._collapsed = False
        main, recipe = run.ranks.main, run.recipe
        if main:
            run.folder.rewind(state.epoch, state.step)
        done = state.epoch * self._steps + state.step
        self._board = Board(run.folder.path / "tensorboard", recipe.tensorboard and main, done)
        total = recipe.epochs * self._steps
        self._bar = progress(total * recipe.batch, "training", initial=done * recipe.batch, disable=not main)

    def __enter__(self) -> "Records":
        return self

    def __exit__(self, *_: Any) -> None:
        self._board.close()
        self._bar.close()

    def unreadable(self, failures: Sequence[Failure]) -> None:
        """Note images that this process could not read, for the next `write_unreadable`."""
        self._unreadable += failures

    def write_unreadable(self) -> None:
        """Add the noted images of all processes, which call it together, to failures.csv."""
        failures = self.run.ranks.gather(self._unreadable)
        self._unreadable = []
        if self.run.ranks.main:
            self.run.folder.add_failures(failures)

    def steps(self, before: TrainState, after: TrainState, losses: Sequence[float]) -> None:
        """Log the losses of the steps between two states."""
        if not self.run.ranks.main:
            return
        rates = [self.run.rate(before, ahead=i) for i in range(len(losses))]
        rows = [(before.epoch, before.step + i, repr(rates[i]), repr(loss)) for i, loss in enumerate(losses)]
        self.run.folder.check_in_place()
        self.run.folder.steps.add(rows)
        self._board.add({"step/loss": losses[-1], "step/lr": rates[-1]}, after.epoch * self._steps + after.step)
        _, error = [*self.run.objective.measures.values()][:2]
        mean = self.run.objective.means(after.sums)[1]
        what = f"epoch {before.epoch}, loss {losses[-1]:.3f}, {error.removesuffix(', %')} {mean:.1f} %"
        self._bar.set_description_str(what, refresh=False)
        self._bar.update(len(rows) * self.run.recipe.batch)

    def epoch(self, state: TrainState, after: TrainState, validation: tuple[float, ...], health: Finding) -> str:
        """Write the weights after an epoch's last step, and log the epoch; returns the sha256 of best.safetensors.

        after : the state at the beginning of the next epoch.
        """
        if not self.run.ranks.main:
            return ""
        self.run.folder.check_in_place()
        best = after.plateau.best_epoch == state.epoch
        sha256 = self._write_weights(best)
        table = self.run.folder.epochs
        earlier = rows[-1]["seconds"] if (rows := table.rows()) else 0.0
        speed = state.sums[-1] / max(state.seconds - earlier, 1e-9)
        rate = self.run.rate(state, ahead=-1)
        measured = *self.run.objective.means(state.sums), *validation
        row = state.epoch, rate, *measured, round(speed, 2), round(state.seconds, 2), health.dead, state.gradient
        table.add([row])
        draw_curves(table.rows(), self.run.objective.measures, self.run.folder.path / "curves.png")
        named = zip([*table.columns, *table.more], row, strict=True)
        values = {f"epoch/{name}": value for name, value in named if value is not None and name != "epoch"}
        self._board.add(values, state.epoch)
        self._say(state, after, validation, health)
        return sha256 if best else state.best_sha256

    def _say(self, state: TrainState, after: TrainState, validation: tuple[float, ...], health: Finding) -> None:
        """Tell how the epoch went, whether the learning rate falls, and, once, that the net has collapsed."""
        lines = [epoch_line(self.run, state, validation, health)]
        if after.plateau.drops > state.plateau.drops:
            lines.append(rate_line(self.run, state, after, validation, health))
        if health.equal and not self._collapsed:
            lines.append(collapse_line(self.run, state, validation, health))
        self._collapsed = health.equal
        for line in lines:
            say_beside(self._bar, line)

    def _write_weights(self, best: bool) -> str:
        run, recipe, sha256 = self.run, self.run.recipe, ""
        of = f"{len(run.sets.train)} images of {len(run.sets.classes)} classes"
        for path in (run.folder.last, run.folder.best) if best else (run.folder.last,):
            sha256 = native.save(
                path,
                run.learner.vgg.state_dict(),
                net=recipe.net,
                width=recipe.width,
                preprocessing=run.start.preprocessing,
                lineage="trained",
                source=f"{self.run.objective.command}, S={recipe.scale}, {of}",
                licence="not stated",
                classes=run.sets.classes,
                boxes=run.objective.boxes,
            ).sha256
        return sha256

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return time.monotonic() - self._saved >= 60 * self.run.recipe.save_minutes

    def save(self, state: TrainState) -> None:
        """Write failures.csv and a checkpoint. All processes call it together.

        Raises VggfeatError if a weight is not finite; the last checkpoint is kept then.
        """
        self.write_unreadable()
        self._saved = time.monotonic()
        if not self.run.ranks.main:
            return
        self.run.folder.check_in_place()
        tensors = self.run.learner.tensors()
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
            raise diverged(self.run, state, f"weights were not finite before step {state.step} of epoch {state.epoch}")
        checkpoint.save(self.run.folder.checkpoint, tensors, state, self.run.about)


def diverged(run: Run, state: TrainState, what: str) -> VggfeatError:
    """The error of a run whose loss or weights are not finite."""
    file, kept = run.folder.checkpoint, "there is no checkpoint yet"
    if file.exists():
        try:
            _, saved, _ = checkpoint.load(file)
            kept = f"the last good checkpoint is {file} (epoch {saved.epoch}, step {saved.step})"
        except WeightsError:
            kept = f"the last checkpoint, {file}, is damaged"
    rate = run.rate(state)
    return VggfeatError(
        f"{run.folder.path}: {what}; {kept}; begin again in another folder with --lr below {rate:g} or another --init"
    )
