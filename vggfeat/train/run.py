"""A training run (Sect. 3.1): `train` is one run, `_train_epoch` one epoch with its steps."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from vggfeat._util.processes import cores
from vggfeat._util.torch_settings import torch_settings
from vggfeat.errors import DataError, WeightsError
from vggfeat.train.draws import step_seed
from vggfeat.train.folder import held
from vggfeat.train.frozen import Maps
from vggfeat.train.health import Finding
from vggfeat.train.loading import CENTRE, Crops, MicroBatch, decoding_workers, micro_batches
from vggfeat.train.objective import LOSS, Classes, Objective
from vggfeat.train.ranks import joined
from vggfeat.train.recipe import Recipe, recipe_of
from vggfeat.train.records import Records, diverged
from vggfeat.train.results import TrainingResult
from vggfeat.train.sets import Sets, read_sets
from vggfeat.train.settings import TrainingSettings
from vggfeat.train.start import Run, begin_or_continue, with_net
from vggfeat.train.state import TrainState
from vggfeat.train.stopping import Stopper, stoppable
from vggfeat.train.validation import centre_crop_tally, dense_errors
from vggfeat.weights.native import digest
from vggfeat.weights.run_files import RESULT, RunResult

READ_EVERY = {"cpu": 1, "cuda": 20}  # steps between two readings of the losses, each of which makes a GPU wait


def train(data: str | Path, out: str | Path, recipe: Recipe | None = None, **settings: Any) -> TrainingResult:
    """Train a net on the images in `data`; the same call continues a run that was interrupted.

    A run is continued from its last checkpoint, with the same losses as without the interruption: bit for bit on a
    CPU, with the same number of threads and processes and the same `micro` and `compile`. The processes that torchrun
    starts train one net together; the gradient is that of the whole batch.

    Parameters
    ----------
    data : str or path
        Folder with train/<class>/ and val/<class>/, ILSVRC's layout, or tar shards train-*.tar and val-*.tar; or photos
        with boxes, each of the class of its largest box: a CSV file path,label,x0,y0,x1,y1[,subset], or a VOCdevkit.
    out : str or path
        Folder of the run, which is created. Several processes need storage that all of them share.
    recipe : Recipe or None
        Settings of the run.
    **settings
        Fields of `Recipe`, instead of a recipe.

    Returns
    -------
    TrainingResult

    Raises
    ------
    UsageError
        If a setting is invalid, or the run in `out` was begun with another recipe.
    DataError
        If `data` are not such a folder or file, were changed, or none of the images can be read.
    WeightsError
        If the initial weights or the checkpoint cannot be used.
    VggfeatError
        If the loss is not finite, `out` is in use or cannot be written, or another process was lost.

    References
    ----------
    Sect. 3.1.
    """
    recipe = recipe_of(recipe, settings)
    sets = read_sets(data, recipe.batch)
    result: TrainingResult = train_for(
        Classes(len(sets.classes), recipe.options.smoothing, recipe.dense), sets, out, recipe
    )
    return result


def train_for(objective: Objective, sets: Sets, out: str | Path, recipe: TrainingSettings) -> Any:
    """Train a net for an objective, or continue; see `train`. Returns what `objective.result` makes."""
    recipe = with_net(recipe)
    with joined(recipe.device) as ranks, held(Path(out), ranks.main, objective.log) as folder, _torch_of(ranks.device):
        run, state = begin_or_continue(folder, recipe, objective, sets, ranks)
        if not state.finished and not recipe.keeps_maps:
            for photos in (sets.train, sets.val):
                photos.decode_ahead(recipe, ranks, cores())
        with stoppable() as stopper:  # anything before and after may be interrupted at any time
            state = _train_epochs(run, state, stopper)
        return ranks.broadcast(_result(run, state) if ranks.main else None)


@contextmanager
def _torch_of(device: torch.device) -> Iterator[None]:
    """Settings of torch for a run; afterwards settings and random numbers are the caller's again."""
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch_settings(tf32=False, benchmark=True):
        yield


def _train_epochs(run: Run, state: TrainState, stopper: Stopper) -> TrainState:
    """Train to the end of the run."""

    def between() -> None:
        if run.ranks.world == 1:  # several processes go on to the next step, where they decide
            stopper.check()

    train, val = run.batches_of(run.sets.train), run.batches_of(run.sets.val)
    keys = run.plan.keys(state.epoch, state.step)
    workers, pin = decoding_workers(run.recipe, run.ranks), run.ranks.device.type == "cuda"
    with Records(run, state) as records, closing(micro_batches(train, keys, workers, pin)) as batches:
        while not state.finished:
            records.unreadable(train.prepare(state.epoch, between))
            state = _train_epoch(run, state, batches, val, records, stopper)
    return state


def _train_epoch(
    run: Run, state: TrainState, batches: Iterator[MicroBatch], val: Crops | Maps, records: Records, stopper: Stopper
) -> TrainState:
    """Train to the end of the epoch, validate, and adapt the learning rate.

    Raises KeyboardInterrupt, when all is saved, if the run is asked to stop.
    """
    plan, recipe, ranks, learner = run.plan, run.recipe, run.ranks, run.learner
    tallies: list[torch.Tensor] = []  # of steps whose losses are not read yet, each with the norm of the gradient
    began = time.monotonic()
    for step in range(state.step, plan.steps):
        seed = step_seed(recipe.seed, state.epoch, step, ranks.rank)
        tally, failures = learner.step(batches, plan.micro_batches, seed)
        tallies.append(torch.cat([tally, learner.gradient_norm.to(tally)[None]]))
        learner.set_rate(run.rate(state, ahead=step + 1 - state.step))
        records.unreadable(failures)

        read = (step + 1) % READ_EVERY[ranks.device.type] == 0 or step + 1 == plan.steps
        due = asked = False
        if read or ranks.world == 1:  # several processes decide together, which takes time
            due, asked = ranks.any(records.due, stopper.asked)
        if read or due or asked:
            read_out, now = torch.stack(tallies).tolist(), time.monotonic()
            found, gradients = [row[:-1] for row in read_out], [row[-1] for row in read_out]
            losses = _losses(run, state, found, records)
            before, state = state, state.after_steps(found, gradients, now - began)
            records.steps(before, state, losses)
            tallies, began = [], now
        if due or asked:
            records.save(state)
        if asked:
            raise KeyboardInterrupt

    validation, health = _validate(run, state, val, records, stopper)
    after = state.after_epoch(validation, recipe)
    learner.set_rate(run.rate(after))
    sha256 = records.epoch(state, after, validation, health)
    after = replace(after, best_sha256=sha256)
    records.save(after)
    return after


def _losses(run: Run, state: TrainState, tallies: Sequence[Sequence[float]], records: Records) -> list[float]:
    """The mean loss of each step. Raises an error if a step had no readable image, or a loss is not finite."""
    losses = []
    for step, (loss, *others, count) in enumerate(tallies, start=state.step):
        if not any((*others, count)):
            records.write_unreadable()
            what = f"no image of step {step} of epoch {state.epoch} could be read"
            raise DataError(f"{run.folder.path}: {what}; see failures.csv")
        losses.append(loss / max(count, 1))
        if not math.isfinite(losses[-1]):
            raise diverged(run, state, f"the loss became {losses[-1]} in step {step} of epoch {state.epoch}")
    return losses


def _validate(
    run: Run, state: TrainState, val: Crops | Maps, records: Records, stopper: Stopper
) -> tuple[tuple[float, ...], Finding]:
    """The measures of the validation set, and what it tells of the net."""

    def stop_if_asked() -> None:
        if stopper.asked and run.ranks.world == 1:  # several processes go on to the next step, where they decide
            records.save(state)
            raise KeyboardInterrupt

    records.unreadable(val.prepare(CENTRE, stop_if_asked))
    workers = decoding_workers(run.recipe, run.ranks)
    tally, health, failures = centre_crop_tally(run.learner, val, workers, stop_if_asked)
    records.unreadable(failures)
    if not math.isfinite(tally[0]):
        records.write_unreadable()
        raise diverged(run, state, f"the validation loss became {tally[0]} after epoch {state.epoch}")
    return run.objective.means(tally), health


def _result(run: Run, state: TrainState) -> Any:
    """The result, also written to result.json. The dense errors of an earlier call are not measured again."""
    folder = run.folder
    if state.best_sha256 and digest(folder.best) != state.best_sha256:
        raise WeightsError(
            f"{folder.best}: is not the file that this run wrote after epoch {state.plateau.best_epoch}: its sha256 "
            f"differs; put that file back, or take {folder.last}"
        )
    known = folder.read_json(RESULT, RunResult)
    dense = known.dense if known and known.epochs == state.epoch else None
    if run.objective.dense and dense is None:
        q, device = run.recipe.test_scale, str(run.ranks.device)
        dense, left_out = dense_errors(folder.best, run.sets.val, q, device)
        folder.add_failures(left_out)
    measured: dict[str, Any] = dict(zip(run.objective.measures, state.best_measures, strict=True))
    del measured[LOSS]
    if dense:
        measured["dense"] = dense
    result = run.objective.result(
        **measured,
        out=str(folder.path),
        finished=state.finished,
        epochs=state.epoch,
        best_epoch=state.plateau.best_epoch,
        seconds=state.seconds,
        unreadable=folder.add_failures([]),
        sha256=state.best_sha256,
    )
    folder.write_json(RESULT, asdict(result))
    return result
