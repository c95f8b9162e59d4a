"""Runs a benchmark: settings -> images -> splits -> describer -> stores -> SVMs -> result.

Scores come from stored descriptors only.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vggfeat import __version__
from vggfeat._util.fetch import cache_dir
from vggfeat._util.options import takes
from vggfeat.bench.ablation import Rung, ablation_rows, describers, ladder
from vggfeat.bench.benchmark import Benchmark
from vggfeat.bench.choices import check_use, descriptor_spec, read_images
from vggfeat.bench.described import Described, by_nets, in_stores, read_stores
from vggfeat.bench.mean_average_precision import test_fold
from vggfeat.bench.probe import DEFAULT_SOLVER, Probe, ProbeResult
from vggfeat.bench.protocol import Fold, Splits, shared_image, used_rows
from vggfeat.bench.record import recorded_result
from vggfeat.bench.result import BenchmarkResult
from vggfeat.bench.settings import BenchmarkSettings
from vggfeat.bench.split_files import read_splits, write_splits
from vggfeat.bench.stored import Stores
from vggfeat.bench.submission import Submission
from vggfeat.bench.trial import Trial
from vggfeat.data import ImageSet
from vggfeat.descriptors import Describer
from vggfeat.store import Store
from vggfeat.weights.demonstration import demonstration_sha256


@takes(settings=BenchmarkSettings)
def run(benchmark: Benchmark, *, settings: BenchmarkSettings, record: str | Path | None = None) -> BenchmarkResult:
    """Run a benchmark by its protocol.

    Descriptors are stored once for each net and scale, and used again by every run with the same net, scale and
    images; a run that was killed continues where it stopped.

    Parameters
    ----------
    benchmark : Benchmark
        One of `BENCHMARKS`, or another.
    root, recipe, net, scales, agg, layer, weights, lineage, mirror, normalize, device, precision, ceil, exif
        See `BenchmarkSettings`.
    allow_truncated, seeds, train_per_class, test_per_class, background, box, splits, save_splits, submission, comp
        See `BenchmarkSettings`.
    store, stores, jobs, solver, ablate
        See `BenchmarkSettings`.
    settings : BenchmarkSettings
        All of these as one object, instead of them.
    record : str or path, optional
        A record with which `check` will compare the result: it must have a result of the same settings.

    Returns
    -------
    BenchmarkResult

    Raises
    ------
    UsageError
        If a setting is invalid, or the benchmark has no use for it.
    DataError
        If the data set is missing, damaged or too small, a file cannot be read or written, or `record` has no result
        of these settings.
    WeightsError
        If the weights are missing, damaged, or lack the layer.
    StoreError
        If a store is in use, is damaged, cannot be written, or holds no descriptors.

    References
    ----------
    Appendix B, "Generalisation of Very Deep Features".
    """
    began = time.perf_counter()
    check_use(benchmark, settings)
    extracted = [Store(path) for path in settings.store or ()]
    asked = None if extracted else _asked(benchmark, settings)
    described = by_nets(asked.describer) if asked else in_stores(benchmark, settings, extracted)
    images = read_images(benchmark, settings)
    splits = _splits(benchmark, images, settings)
    entry = _entry(benchmark, images, settings)

    config = _config(benchmark, described, settings) | splits.config | splits.choice
    weights = [{"name": net["name"], "sha256": net["sha256"]} for net in described.nets]
    if record is not None:
        recorded_result(Path(record), benchmark.name, config, weights)

    rows = used_rows(*splits.by_seed.values(), *([entry.fold] if entry else []))
    stores = Stores(settings.stores or cache_dir() / "stores", images, rows)
    trial = Trial(benchmark, splits, stores, Probe(images, benchmark.protocol, settings.jobs, settings.solver))
    if asked:
        stores.fill(asked.describer, asked.box)
        rungs = _rungs(trial, asked) if settings.ablate else []
        (X, found), of_stores = stores.read(asked.describer, asked.box), list[str]()
    else:
        X, found, of_stores = read_stores(extracted, described.spec, images, rows)
    ready = time.perf_counter()

    probed = trial.probe.evaluate(X, found, splits)
    used = stores.opened(asked.describer, asked.box) if asked else extracted
    notes = _notes(trial, probed, used) + ([_submit(entry, trial, X, probed)] if entry else [])
    ablation, of_rungs = ablation_rows(trial, rungs, asked, probed) if asked else ([], [])
    timing = {"extract_s": round(ready - began, 1), "svm_s": round(time.perf_counter() - ready, 1)}
    return BenchmarkResult(
        benchmark=benchmark.name,
        metric=probed.metric,
        value=probed.value,
        std=probed.std,
        splits=probed.splits,
        per_class=dict(zip(images.classes, probed.per_class, strict=True)),
        metrics=probed.metrics,
        paper=benchmark.paper,
        config=config,
        weights=weights,
        timing=timing,
        notes=notes + of_stores + of_rungs,
        version=__version__,
        ablation=ablation,
        paper_std=dict(benchmark.paper_std),
        converged=[one.converged for one in probed.scores.values()],
        evidence=probed,
        definition=benchmark,
    )


def _asked(benchmark: Benchmark, settings: BenchmarkSettings) -> Rung:
    """How the result is to be measured, with the nets loaded."""
    return Rung("", Describer(spec=descriptor_spec(benchmark, settings)), settings.box and benchmark.boxes)


def _splits(benchmark: Benchmark, images: ImageSet, settings: BenchmarkSettings) -> Splits:
    """The splits of a file, or those of the protocol; written to a file if one is named."""
    if settings.splits is not None:
        splits = read_splits(settings.splits, images, benchmark.name, benchmark.protocol.validation)
    else:
        splits = benchmark.protocol.splits(benchmark, images, settings)
    if settings.save_splits is not None:
        write_splits(splits, images, benchmark.name, settings.save_splits)
    return splits


def _rungs(trial: Trial, asked: Rung) -> list[Rung]:
    """The rungs of the ablation, after their stores are filled."""
    mirrored, bare = describers(asked.describer)
    for describer in (mirrored, bare):
        trial.stores.fill(describer, asked.box)
    return list(ladder(trial.benchmark, mirrored, bare, asked.box))


class _Entry(NamedTuple):
    """What is sent to the evaluation server: the names of its files, the fold that is scored, the folder to write."""

    server: Submission
    fold: Fold
    out: Path
    comp: int | None


def _entry(benchmark: Benchmark, images: ImageSet, settings: BenchmarkSettings) -> _Entry | None:
    """Raises DataError, before the long work begins, if there is no test set or the files cannot be written."""
    if benchmark.submission is None or settings.submission is None:
        return None
    entry = _Entry(benchmark.submission, test_fold(images), settings.submission, settings.comp)
    entry.server.prepare(entry.out)
    return entry


def _submit(entry: _Entry, trial: Trial, X: np.ndarray, probed: ProbeResult) -> str:
    """Write the files for the server; returns a note. A fold that was measured already is not trained again."""
    same = [seed for seed, fold in trial.splits.by_seed.items() if fold.named() == entry.fold.named()]
    if same:
        scores = probed.scores[same[0]]
    else:
        scores = trial.probe.score(X, probed.found, entry.fold)
    packed = entry.server.write(trial.probe.images, scores, entry.out, entry.comp)
    said = "".join(f"; {note}" for note in scores.notes)
    return f"submission: {packed}, of {len(scores.rows):,} samples, trained on trainval with C={scores.C:g}{said}"


def _notes(trial: Trial, probed: ProbeResult, used: Sequence[Store]) -> list[str]:
    """What a reader of the value should know. used : the stores of the descriptors."""
    images, rows, splits = trial.stores.images, trial.stores.rows, trial.splits
    notes = [*images.notes, *splits.notes]
    missing = rows[~probed.found[rows]]
    if len(missing):
        such = images.paths[missing[0]]
        reasons = [store.failures.get(shared_image(images, missing[0])) for store in used]
        because = next((f": {reason}" for reason in reasons if reason), "")
        notes.append(
            f"{len(missing)} of {len(rows)} images could not be read and were left out, such as {such}{because}"
        )
    notes += probed.notes
    if trial.benchmark.paper_on:
        notes.append(f"the paper's figures are of {trial.benchmark.paper_on}; ours: {splits.config['splits']}")
    return notes


def _config(benchmark: Benchmark, described: Described, settings: BenchmarkSettings) -> dict[str, Any]:
    spec = described.spec
    return {
        "net": "&".join(net["net"] for net in described.nets),
        "layer": spec.layer,
        "scales": list(spec.scales),
        "agg": spec.agg,
        "mirror": spec.mirror,
        "normalize": spec.normalize,
        "pooling": "ceil" if spec.ceil else "floor",
        "exif": spec.exif,
        "precision": described.precision,
        "device": described.device,
        "solver": settings.solver or DEFAULT_SOLVER,
        **({"background": settings.background} if benchmark.background else {}),
        **({"box": settings.box} if benchmark.boxes else {}),
        **({"store": [str(path) for path in settings.store]} if settings.store else {}),
        **({"demonstration": True} if any(net["sha256"] == demonstration_sha256() for net in described.nets) else {}),
    }
