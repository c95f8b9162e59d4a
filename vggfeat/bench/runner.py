"""Runs a benchmark: images -> stores -> splits -> SVMs -> result. Scores come from stored descriptors only."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vggfeat import __version__
from vggfeat.aggregate import Aggregation
from vggfeat.bench.benchmark import Benchmark, Evidence, Recipe, Result
from vggfeat.bench.precision import test_fold
from vggfeat.bench.probe import Evaluation, Scores, evaluate_splits, score_fold
from vggfeat.bench.protocol import Splits, used_rows
from vggfeat.bench.splitfile import read_splits, write_splits
from vggfeat.bench.stored import descriptors, store_name
from vggfeat.data import ImageSet
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, UsageError
from vggfeat.fetch import cache_dir

__all__ = ["descriptors", "run", "store_name"]


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
    stores : folder of the descriptor stores; None: in the cache. They are made once, an image at a time, and
        used again by every run with the same net and images; a killed run continues.
    jobs : processes for the SVMs.
    net, scales, agg, weights, and options : see Describer.

    Raises DataError for data that is missing or too small, WeightsError, StoreError, UsageError.
    """
    _check(benchmark, seeds, background, box, submission, comp)
    began = time.perf_counter()
    describer = _describer(benchmark, recipe, net, scales, agg, weights, options)
    images = _images(benchmark, root, background)
    folds = _folds(benchmark, images, splits, (seeds, train_per_class, test_per_class))
    if save_splits is not None:
        write_splits(folds, images, benchmark.name, Path(save_splits))
    sent = test_fold(images) if submission is not None else None
    used = used_rows(*folds.by_seed.values(), *([sent] if sent else []))
    folder = Path(stores) if stores else cache_dir() / "stores"
    X, found = descriptors(images, used, describer, folder, box=box and benchmark.boxes)
    extracted = time.perf_counter()
    evaluation = evaluate_splits(X, found, images, folds, benchmark.protocol, jobs=jobs)
    notes = [*images.notes, *_missing_note(used, found), *evaluation.notes]
    if benchmark.paper_on:
        notes.append(f"the paper's figures are of {benchmark.paper_on}; ours of {benchmark.reported}")
    if sent and submission is not None:
        same = [seed for seed, one in folds.by_seed.items() if all(map(np.array_equal, one, sent))]
        protocol = benchmark.protocol
        scores = evaluation.scores[same[0]] if same else score_fold(X, found, images, sent, protocol, jobs=jobs)
        notes.append(_submit(benchmark, images, scores, Path(submission), comp))
    config = _config(benchmark, describer, background, box) | folds.config
    timing = {"extract_s": round(extracted - began, 1), "svm_s": round(time.perf_counter() - extracted, 1)}
    return _result(benchmark, images, describer, evaluation, config, notes, timing)


def _check(
    benchmark: Benchmark,
    seeds: int | None,
    background: bool,
    box: bool,
    submission: str | Path | None,
    comp: int | None,
) -> None:
    """Refuse what the benchmark has no use for, before any work is done."""
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


def _describer(
    benchmark: Benchmark,
    recipe: str | None,
    net: str | None,
    scales: Sequence[int] | None,
    agg: Aggregation | None,
    weights: str | Path | None,
    options: dict[str, Any],
) -> Describer:
    own = Recipe(benchmark.scales, benchmark.agg)
    if recipe is not None:
        if recipe != "paper":
            raise UsageError(f"no recipe {recipe!r}; there is one, paper")
        if benchmark.recipe is None:
            raise UsageError(f"{benchmark.name} is not in the paper, so there is no recipe for it")
        own = benchmark.recipe
    return Describer(
        net or (own.net if weights is None else None),
        scales=scales or own.scales,
        agg=agg or own.agg,
        weights=weights or benchmark.weights,
        **options,
    )


def _images(benchmark: Benchmark, root: str | Path | None, background: bool) -> ImageSet:
    return benchmark.read(root) if benchmark.background is None else benchmark.read(root, background=background)


def _folds(benchmark: Benchmark, images: ImageSet, file: str | Path | None, numbers: tuple[int | None, ...]) -> Splits:
    """The splits of a file, or those of the protocol; numbers: seeds, train_per_class, test_per_class."""
    if file is None:
        return benchmark.protocol.splits(benchmark, images, *numbers)
    if any(numbers):
        raise UsageError("a file of splits decides them: no seeds, no numbers of images a class beside it")
    return read_splits(Path(file), images, benchmark.name)


def _submit(benchmark: Benchmark, images: ImageSet, scores: Scores, out: Path, comp: int | None) -> str:
    """Write the files of a submission; returns a note on them."""
    assert benchmark.submission is not None  # _check has seen to it
    packed = benchmark.submission.write(images, scores, out, comp)
    return f"submission: {packed}, of {len(scores.rows):,} samples, trained on trainval with C={scores.C:g}"


def _config(benchmark: Benchmark, describer: Describer, background: bool, box: bool) -> dict[str, Any]:
    return {
        "net": "&".join(n.weights.net for n in describer.nets),
        "layer": describer.layer,
        "scales": list(describer.scales),
        "agg": describer.agg,
        "mirror": describer.mirror,
        "normalize": describer.normalize,
        "pooling": "ceil" if describer.ceil else "floor",
        "precision": describer.precision,
        "device": str(describer.device),
        **({"background": background} if benchmark.background else {}),
        **({"box": box} if benchmark.boxes else {}),
    }


def _result(
    benchmark: Benchmark,
    images: ImageSet,
    describer: Describer,
    evaluation: Evaluation,
    config: dict[str, Any],
    notes: list[str],
    timing: dict[str, float],
) -> Result:
    values = [split["value"] for split in evaluation.splits]
    return Result(
        benchmark=benchmark.name,
        metric=evaluation.metric,
        value=float(np.mean(values)),
        std=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        splits=evaluation.splits,
        per_class=dict(zip(images.classes, evaluation.per_class, strict=True)),
        metrics=evaluation.metrics,
        paper=benchmark.paper,
        config=config,
        weights=[{"name": n.weights.name, "sha256": n.weights.sha256} for n in describer.nets],
        timing=timing,
        notes=notes,
        version=__version__,
        evidence=Evidence(images, evaluation),
    )


def _missing_note(used: np.ndarray, found: np.ndarray) -> list[str]:
    missing = int((~found[used]).sum())
    if missing == len(used):
        raise DataError("none of the images could be read")
    return [f"{missing} of {len(used)} images could not be read and were left out"] if missing else []
