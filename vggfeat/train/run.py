"""A training run from its first step to its last, or from its last checkpoint (Sect. 3.1)."""

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vggfeat._util.progress import progress as progress_bar
from vggfeat.errors import DataError, UsageError, VggfeatError
from vggfeat.train import checkpoint
from vggfeat.train.checkpoint import Progress
from vggfeat.train.draws import step_seed
from vggfeat.train.folder import RunFolder, held
from vggfeat.train.loading import Batch, Crops, Plan, loader
from vggfeat.train.ranks import Ranks, joined
from vggfeat.train.recipe import Recipe
from vggfeat.train.reports import Board, curves
from vggfeat.train.sets import Sets, read_sets
from vggfeat.train.setup import Setup, cores, set_up, workers
from vggfeat.train.stopping import Stopper, stoppable
from vggfeat.train.validation import centre_tally, dense_errors
from vggfeat.weights import native

LOOK_EVERY = {"cpu": 1, "cuda": 20}  # steps between looks at the losses; each makes a GPU wait


@dataclass(frozen=True)
class Result:
    """The end of a run: errors in per cent on the validation set, of the best epoch (counted from 0).

    finished : why it ended. top1, top5 : of one centre crop an image. dense : the same of the dense application, where
    it was asked for, and of how many `images`. unreadable : how many images could not be read, or not applied densely.
    """

    out: str
    finished: str
    epochs: int
    best_epoch: int
    top1: float
    top5: float
    seconds: float
    unreadable: int
    dense: dict[str, float] | None = None

    def __str__(self) -> str:
        lines = [
            f"{self.out}: {self.finished}; epoch {self.best_epoch} is the best: validation error "
            f"top-1 {self.top1:.2f} %, top-5 {self.top5:.2f} % (centre crop); its weights are best.safetensors"
        ]
        if self.dense:
            of = f" (of {self.dense['images']:.0f} images)" if "images" in self.dense else ""
            lines.append(f"applied densely: top-1 {self.dense['top1']:.2f} %, top-5 {self.dense['top5']:.2f} %{of}")
        if self.unreadable:
            lines.append(f"{self.unreadable} images could not be read (failures.csv)")
        return "\n".join(lines)


def train(data: str | Path, out: str | Path, recipe: Recipe | None = None, **settings: Any) -> Result:
    """Train a net on the images of `data` into the folder `out`, or go on where that run was left.

    data : a folder with train/<class>/ and val/<class>/, or ILSVRC's layout (see data.imagenet).
    recipe, or settings : see Recipe.

    The same call continues a run that was killed, from its last checkpoint, with the same losses as if it had not
    been: bit for bit on a CPU, with as many threads and processes, the same `micro` and `compile` (where dropout is
    drawn for other groups of images the masks are others). Started by torchrun, its processes train one net: the
    gradient is that of the whole batch, and `out` lies on storage that all see. Raises UsageError, DataError,
    WeightsError for what can't be meant, read or continued; VggfeatError where the loss is no number any more.
    """
    if recipe and settings:
        raise UsageError(f"{', '.join(settings)} beside a recipe: put it into the recipe")
    recipe = recipe or Recipe(**settings)
    sets = read_sets(data, recipe.batch)
    with joined(recipe.device) as ranks, held(Path(out), ranks.main) as folder, _settings_of_torch(ranks):
        if recipe.batch < ranks.world:
            raise UsageError(f"a batch of {recipe.batch} can't be divided among {ranks.world} processes")
        setup = set_up(folder, recipe, sets, ranks)
        if not setup.progress.finished:
            for photos in (sets.train, sets.val):
                photos.keep(recipe, ranks, cores())
        with stoppable() as stopper:  # what is before and after may be cut off at any time
            run = Run(folder, recipe, sets, ranks, setup, stopper)
            run.to_the_end()
        return run.result()


@contextmanager
def _settings_of_torch(ranks: Ranks) -> Iterator[None]:
    """Random numbers and cuDNN's settings are the caller's again afterwards."""
    cuda = ranks.device.type == "cuda"
    flags: AbstractContextManager[Any] = nullcontext()
    if cuda:
        flags = torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)
    with torch.random.fork_rng([ranks.device.index or 0] if cuda else []), flags:
        yield


class Run:
    """One process's part in a run."""

    def __init__(
        self, folder: RunFolder, recipe: Recipe, sets: Sets, ranks: Ranks, setup: Setup, stopper: Stopper
    ) -> None:
        self.folder, self.recipe, self.sets, self.ranks, self.stopper = folder, recipe, sets, ranks, stopper
        self.setup, self.learner, self.progress = setup, setup.learner, setup.progress
        self.plan = Plan(len(sets.train), recipe, ranks.rank, ranks.world)
        self.workers = workers(recipe, ranks)
        self._fresh: list[Tensor] = []  # tallies of steps that nobody has looked at yet
        self._failures: list[tuple[str, str]] = []
        self._looked = self._saved = time.monotonic()

    def to_the_end(self) -> None:
        """Do what is left of the run. Raises KeyboardInterrupt, when all is saved, if it is asked to stop."""
        began = self.progress
        if self.ranks.main:
            self.folder.steps.keep(lambda row: (int(row["epoch"]), int(row["step"])) < (began.epoch, began.step))
            self.folder.epochs.keep(lambda row: int(row["epoch"]) < began.epoch)
        done = began.epoch * self.plan.steps + began.step
        total, batch = self.recipe.epochs * self.plan.steps, self.recipe.batch
        self.board = Board(self.folder.path / "tensorboard", self.recipe.tensorboard and self.ranks.main, done)
        with progress_bar(total * batch, "training", initial=done * batch, disable=not self.ranks.main) as self.bar:
            crops = Crops(self.sets.train, self.recipe, self.setup.colour)
            keys = self.plan.keys(began.epoch, began.step)
            self.batches: Iterator[Batch] = loader(crops, keys, self.workers, self.ranks.device.type == "cuda")
            try:
                while not self.progress.finished:
                    self._epoch()
            finally:
                self.batches = iter(())  # ends the processes that decode
                self.board.close()

    def result(self) -> Result:
        """The same in all processes; process 0 measures it."""
        found: Result = self.ranks.told(self._result() if self.ranks.main else None)
        return found

    def _epoch(self) -> None:
        """The rest of the current epoch, and its validation."""
        epoch, every = self.progress.epoch, LOOK_EVERY[self.ranks.device.type]
        self._looked = time.monotonic()
        for step in range(self.progress.step, self.plan.steps):
            seed = step_seed(self.recipe.seed, epoch, step, self.ranks.rank)
            counts, failures = self.learner.step(self.batches, self.plan.groups, seed)
            self._fresh.append(counts)
            self._failures += failures
            regular = (step + 1) % every == 0 or step + 1 == self.plan.steps
            due = asked = False
            if regular or self.ranks.world == 1:  # several processes decide together, and not in each step
                due, asked = self.ranks.any(self._due, self.stopper.asked)
            if regular or due or asked:
                self._look()
            if due or asked:
                self._list_failures()
                self._save()
            if asked:
                raise KeyboardInterrupt
        self._close_epoch()

    def _look(self) -> None:
        """Bring the losses of the last steps to the CPU, judge and log them."""
        p, rows = self.progress, []
        sums, step = list(p.sums), p.step
        for counts in torch.stack(self._fresh).tolist():
            if not counts[-1]:
                self._list_failures()
                raise DataError(
                    f"{self.folder.path}: no image of step {step} of epoch {p.epoch} could be read; see failures.csv"
                )
            loss = counts[0] / counts[-1]
            if not math.isfinite(loss):
                self._diverged(f"the loss became {loss} in step {step} of epoch {p.epoch}")
            rows.append((p.epoch, step, repr(self._rate), repr(loss)))
            sums, step = [a + b for a, b in zip(sums, counts, strict=True)], step + 1
        now = time.monotonic()
        self.progress = replace(p, sums=tuple(sums), step=step, seconds=p.seconds + now - self._looked)
        self._fresh, self._looked = [], now
        if self.ranks.main:
            self.folder.steps.add(rows)
            self.board.add({"step/loss": loss, "step/lr": self._rate}, p.epoch * self.plan.steps + step)
            top1 = 100 * sums[1] / sums[-1]
            self.bar.set_description_str(f"epoch {p.epoch}, loss {loss:.3f}, top-1 error {top1:.1f} %", refresh=False)
            self.bar.update(len(rows) * self.recipe.batch)

    def _close_epoch(self) -> None:
        """Validate, write the weights, and decide how it goes on."""
        p, recipe = self.progress, self.recipe
        crops = Crops(self.sets.val, recipe, self.setup.colour)
        val, failures = centre_tally(self.learner, crops, self.workers, self._between_batches)
        self._failures += failures
        self._list_failures()
        if not math.isfinite(val[0]):
            self._diverged(f"the validation loss became {val[0]} after epoch {p.epoch}")
        error = 100 * val[1] / val[-1]
        plateau = p.plateau.after(p.epoch, error, patience=recipe.patience, gain=recipe.gain, drops=recipe.drops)
        rate = self._rate
        if plateau.drops > p.plateau.drops:
            self.learner.set_rate(plateau.rate(self.setup.start.lr))
        finished = "the validation error stopped improving" if plateau.over else ""
        if not finished and p.epoch + 1 >= recipe.epochs:
            finished = f"{recipe.epochs} epochs are done"
        best = plateau.best_epoch == p.epoch
        top5 = 100 * val[2] / val[-1] if best else p.best_top5
        self.progress = Progress(p.epoch + 1, seconds=p.seconds, plateau=plateau, best_top5=top5, finished=finished)
        if self.ranks.main:
            self._write_weights(best)
            self._report(p, rate, val)
        self._save()

    def _between_batches(self) -> None:
        """Of the validation, which may take minutes. Several processes don't agree here, and go on to the next step."""
        if self.stopper.asked and self.ranks.world == 1:
            self._list_failures()
            self._save()
            raise KeyboardInterrupt

    def _report(self, p: Progress, rate: float, val: list[float]) -> None:
        """Log and draw an epoch, whose steps end at `p`."""
        table = self.folder.epochs
        before = float(rows[-1]["seconds"]) if (rows := table.rows()) else 0.0
        speed = p.sums[-1] / max(p.seconds - before, 1e-9)
        row = (p.epoch, rate, *_means(p.sums), *_means(val), round(speed, 2), round(p.seconds, 2))
        table.add([row])
        curves(table.rows(), self.folder.path / "curves.png")
        self.board.add({f"epoch/{name}": v for name, v in zip(table.columns[1:], row[1:], strict=True)}, p.epoch)

    def _write_weights(self, best: bool) -> None:
        recipe, start = self.recipe, self.setup.start
        of = f"{len(self.sets.train)} images of {len(self.sets.classes)} classes"
        for path in (self.folder.last, self.folder.best) if best else (self.folder.last,):
            native.save(
                path,
                self.learner.vgg.state_dict(),
                net=recipe.net,
                width=recipe.width,
                preprocessing=start.preprocessing,
                lineage="trained",
                source=f"vggfeat train, S={recipe.scale}, {of}",
                licence="not stated",
                classes=self.sets.classes,
            )

    def _list_failures(self) -> None:
        """Put the images that could not be read since the last time, in any of the processes, into failures.csv."""
        failures = self.ranks.all(self._failures)
        self._failures = []
        if self.ranks.main:
            self.folder.add_failures(failures)

    @property
    def _due(self) -> bool:
        return time.monotonic() - self._saved >= 60 * self.recipe.save_minutes

    def _save(self) -> None:
        """Write a checkpoint, if all weights are numbers."""
        self._saved = time.monotonic()
        if not self.ranks.main:
            return
        tensors = self.learner.tensors()
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
            self._diverged(f"weights were not finite after step {self.progress.step} of epoch {self.progress.epoch}")
        checkpoint.save(self.folder.checkpoint, tensors, self.progress, self.setup.about)

    def _diverged(self, what: str) -> None:
        kept = "there is no checkpoint yet"
        if self.folder.checkpoint.exists():
            _, p, _ = checkpoint.load(self.folder.checkpoint)
            kept = f"the last good checkpoint is {self.folder.checkpoint} (epoch {p.epoch}, step {p.step})"
        raise VggfeatError(
            f"{self.folder.path}: {what}; {kept}; begin anew elsewhere with --lr below {self._rate:g} or another --init"
        )

    @property
    def _rate(self) -> float:
        return float(self.learner.sgd.param_groups[0]["lr"])

    def _result(self) -> Result:
        p, files = self.progress, self.folder
        known = files.read_json("result.json") or {}
        dense = known.get("dense") if known.get("epochs") == p.epoch else None
        if self.recipe.dense and dense is None:
            dense, left_out = dense_errors(files.best, self.sets.val, self.recipe.test_scale, str(self.ranks.device))
            files.add_failures(left_out)
        result = Result(
            out=str(files.path),
            finished=p.finished,
            epochs=p.epoch,
            best_epoch=p.plateau.best_epoch,
            top1=p.plateau.best,
            top5=p.best_top5,
            seconds=p.seconds,
            unreadable=files.add_failures([]),
            dense=dense,
        )
        files.write_json("result.json", asdict(result))
        return result


def _means(sums: tuple[float, ...] | list[float]) -> tuple[float, ...]:
    """Mean loss, and errors in per cent, of a tally."""
    return (sums[0] / sums[-1], *(100 * wrong / sums[-1] for wrong in sums[1:-1]))
