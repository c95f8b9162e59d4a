"""Runs a benchmark: images -> stores -> splits -> SVMs -> result. Scores come from stored descriptors only."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from vggfeat import __version__
from vggfeat._util.fetch import cache_dir
from vggfeat.bench.ablation import Measured, Rung, climb, ladder, middle
from vggfeat.bench.benchmark import Benchmark, Evidence, Recipe, Result
from vggfeat.bench.precision import test_fold
from vggfeat.bench.probe import DEFAULT_SOLVER, Evaluation
from vggfeat.bench.protocol import Fold, Splits, used_rows
from vggfeat.bench.splitfile import read_splits, write_splits
from vggfeat.bench.trial import Trial
from vggfeat.data import ImageSet
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, UsageError
from vggfeat.spec import Aggregation
from vggfeat.svm import SOLVERS


def run(
    benchmark: Benchmark,
    *,
    root: str | Path | None = None,
    recipe: Literal["paper"] | None = None,
    net: str | None = None,
    scales: Sequence[int] | None = None,
    agg: Aggregation | None = None,
    weights: str | Path | None = None,
    seeds: int | None = None,
    train_per_class: int | None = None,
    test_per_class: int | None = None,
    background: bool = True,
    box: bool = True,
    splits: str | Path | None = None,
    save_splits: str | Path | None = None,
    submission: str | Path | None = None,
    comp: int | None = None,
    stores: str | Path | None = None,
    jobs: int = -1,
    solver: str | None = None,
    ablate: bool = False,
    **options: Any,
) -> Result:
    """Run a benchmark by its protocol; None takes the benchmark's own value.

    root : where the data set lies; None: $VGGFEAT_DATA/<name>.
    recipe : "paper" takes the scales and the aggregation of the paper, where none are given (and for the actions
        nets D and E, where neither net nor weights are).
    seeds : number of random splits (seeds 0, 1, ...). train_per_class, test_per_class : at most so many images.
    background : False leaves the background class out. box : False describes the image without the sample's box.
    splits : a file of splits to take instead. save_splits : write those that were taken to this file.
    submission : folder for the files of the VOC server, from SVMs trained on trainval. comp : their competition.
    stores : folder of the descriptor stores; None: in the cache. They are made once, one a net and scale, and used
        again by every run with the same net, scale and images; a killed run continues.
    jobs : processes for the SVMs. solver : a key of `vggfeat.svm.SOLVERS`, None for its default.
    ablate : measure the ladder of `bench.ablation` as well; the result itself stays as it is.
    net, scales, agg, weights, and options : see Describer.

    Raises DataError for data that is missing or too small, WeightsError, StoreError, UsageError.
    """
    _check(benchmark, seeds, background, box, submission, comp, jobs, solver)
    began = time.perf_counter()
    choices = Choices(recipe, net, scales, agg, weights, options)
    images = _images(benchmark, root, background)  # first: for data that aren't there no weights need be fetched
    describer = choices.describer(benchmark)
    folds = _folds(benchmark, images, splits, (seeds, train_per_class, test_per_class))
    if save_splits is not None:
        write_splits(folds, images, benchmark.name, Path(save_splits))
    sent = _sent(benchmark, images, Path(submission), comp) if submission is not None else None
    used = used_rows(*folds.by_seed.values(), *([sent.fold] if sent else []))
    trial = Trial(benchmark, images, folds, used, Path(stores) if stores else cache_dir() / "stores", jobs, solver)
    asked = Rung("", describer, box and benchmark.boxes)
    trial.fill(describer, asked.box)
    rungs = _rungs(trial, choices, asked) if ablate else []
    extracted = time.perf_counter()
    measured, notes = _measured(trial, asked, sent)
    ablation, of_rungs = climb(trial, rungs, asked, measured)
    timing = {"extract_s": round(extracted - began, 1), "svm_s": round(time.perf_counter() - extracted, 1)}
    config = _config(trial, describer, background, box) | folds.config
    return _result(trial, describer, measured.evaluation, ablation, config, notes + of_rungs, timing)


@dataclass(frozen=True)
class Choices:
    """What was asked for of the descriptors; None for the benchmark's own, or the recipe's."""

    recipe: str | None
    net: str | None
    scales: Sequence[int] | None
    agg: Aggregation | None
    weights: str | Path | None
    options: dict[str, Any]

    def describer(self, benchmark: Benchmark, **changes: Any) -> Describer:
        """The describer of a benchmark, with other options where `changes` has them."""
        own = Recipe(benchmark.scales, benchmark.agg)
        if self.recipe is not None:
            if self.recipe != "paper":
                raise UsageError(f"no recipe {self.recipe!r}; there is one, paper")
            if benchmark.recipe is None:
                raise UsageError(f"{benchmark.name} is not in the paper, so there is no recipe for it")
            own = benchmark.recipe
        return Describer(
            self.net or (own.net if self.weights is None else None),
            scales=self.scales or own.scales,
            agg=self.agg or own.agg,
            weights=self.weights or benchmark.weights,
            **self.options | changes,
        )


class Sent(NamedTuple):
    """A submission: what trains and is scored for it, where its files go, and the competition."""

    fold: Fold
    out: Path
    comp: int | None


def _sent(benchmark: Benchmark, images: ImageSet, out: Path, comp: int | None) -> Sent:
    """Raises DataError, before the long work begins, without a test set or where `out` can't be written."""
    assert benchmark.submission is not None  # _check has seen to it
    sent = Sent(test_fold(images), out, comp)
    benchmark.submission.prepare(out)
    return sent


def _rungs(trial: Trial, choices: Choices, asked: Rung) -> list[Rung]:
    """The rungs of the ablation, with the stores that they are read from filled."""
    mirrored, bare = (
        asked.describer if asked.describer.spec.mirror == mirror else choices.describer(trial.benchmark, mirror=mirror)
        for mirror in (True, False)
    )
    bare = bare.variant(scales=(middle(bare.spec.scales),))
    for one in (mirrored, bare):
        trial.fill(one, asked.box)
    return list(ladder(trial.benchmark, mirrored, bare, asked.box))


def _measured(trial: Trial, asked: Rung, sent: Sent | None) -> tuple[Measured, list[str]]:
    """The result that was asked for, with its submission, and notes."""
    X, found = trial.descriptors(asked.describer, asked.box)
    notes = [*trial.images.notes, *trial.splits.notes, *_missing_note(trial, found)]
    evaluation = trial.evaluate(X, found)
    notes += evaluation.notes
    if trial.benchmark.paper_on:
        notes.append(f"the paper's figures are of {trial.benchmark.paper_on}; ours: {trial.splits.config['splits']}")
    if sent:
        same = [seed for seed, one in trial.splits.by_seed.items() if all(map(np.array_equal, one, sent.fold))]
        scores = evaluation.scores[same[0]] if same else trial.score(X, found, sent.fold)
        assert trial.benchmark.submission is not None  # _check has seen to it
        packed = trial.benchmark.submission.write(trial.images, scores, sent.out, sent.comp)
        notes.append(f"submission: {packed}, of {len(scores.rows):,} samples, trained on trainval with C={scores.C:g}")
    return Measured(found, evaluation), notes


def _check(
    benchmark: Benchmark,
    seeds: int | None,
    background: bool,
    box: bool,
    submission: str | Path | None,
    comp: int | None,
    jobs: int,
    solver: str | None,
) -> None:
    """Refuse what the benchmark has no use for, before any work is done."""
    if solver is not None and solver not in SOLVERS:
        raise UsageError(f"unknown SVM solver {solver!r}: choose from {', '.join(SOLVERS)}")
    if jobs == 0:
        raise UsageError("jobs must be a number of processes, or -1 for all processors, not 0")
    if seeds is not None and seeds < 1:
        raise UsageError(f"seeds must be at least 1, not {seeds}")
    if not background and benchmark.background is None:
        raise UsageError(f"{benchmark.name} has no background class to leave out")
    if not box and not benchmark.boxes:
        raise UsageError(f"{benchmark.name} has no boxes to leave out")
    if benchmark.submission is not None:
        benchmark.submission.number(comp)
    elif submission is not None:
        raise UsageError(f"{benchmark.name} has no server to submit to")
    if comp is not None and submission is None:
        raise UsageError("a competition is for a submission; name its folder")


def _images(benchmark: Benchmark, root: str | Path | None, background: bool) -> ImageSet:
    return benchmark.read(root) if benchmark.background is None else benchmark.read(root, background=background)


def _folds(benchmark: Benchmark, images: ImageSet, file: str | Path | None, numbers: tuple[int | None, ...]) -> Splits:
    """The splits of a file, or those of the protocol; numbers: seeds, train_per_class, test_per_class."""
    if file is None:
        return benchmark.protocol.splits(benchmark, images, *numbers)
    if any(number is not None for number in numbers):
        raise UsageError("a file of splits decides them: no seeds, no numbers of images a class beside it")
    return read_splits(Path(file), images, benchmark.name)


def _config(trial: Trial, describer: Describer, background: bool, box: bool) -> dict[str, Any]:
    spec, engine = describer.spec, describer.engine
    return {
        "net": "&".join(n.weights.net for n in engine.nets),
        "layer": spec.layer,
        "scales": list(spec.scales),
        "agg": spec.agg,
        "mirror": spec.mirror,
        "normalize": spec.normalize,
        "pooling": "ceil" if spec.ceil else "floor",
        "precision": engine.precision,
        "device": str(engine.device),
        "solver": trial.solver or DEFAULT_SOLVER,
        **({"background": background} if trial.benchmark.background else {}),
        **({"box": box} if trial.benchmark.boxes else {}),
    }


def _result(
    trial: Trial,
    describer: Describer,
    evaluation: Evaluation,
    ablation: list[dict[str, Any]],
    config: dict[str, Any],
    notes: list[str],
    timing: dict[str, float],
) -> Result:
    return Result(
        benchmark=trial.benchmark.name,
        metric=evaluation.metric,
        value=evaluation.value,
        std=evaluation.std,
        splits=evaluation.splits,
        per_class=dict(zip(trial.images.classes, evaluation.per_class, strict=True)),
        metrics=evaluation.metrics,
        paper=trial.benchmark.paper,
        paper_std=dict(trial.benchmark.paper_std),
        config=config,
        weights=[{"name": n.weights.name, "sha256": n.weights.sha256} for n in describer.engine.nets],
        timing=timing,
        notes=notes,
        version=__version__,
        ablation=ablation,
        evidence=Evidence(trial.images, evaluation),
    )


def _missing_note(trial: Trial, found: np.ndarray) -> list[str]:
    missing = trial.rows[~found[trial.rows]]
    if not len(missing):
        return []
    such = f"such as {trial.images.paths[missing[0]]}"
    if len(missing) == len(trial.rows):
        raise DataError(f"{trial.images.name}: none of the {len(missing):,} images could be read, {such}")
    return [f"{len(missing)} of {len(trial.rows)} images could not be read and were left out, {such}"]
