"""Runs a benchmark: images -> stores -> splits -> SVMs -> result. Scores come from stored descriptors only."""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vggfeat import __version__
from vggfeat.aggregate import Aggregation, Normalisation, fuse
from vggfeat.bench.benchmark import Benchmark, Result
from vggfeat.bench.recall import Evaluation, class_splits, evaluate_splits
from vggfeat.data import ImageSet
from vggfeat.descriptors import Describer, Layer, Precision
from vggfeat.errors import DataError, UsageError
from vggfeat.extract import Item, extract
from vggfeat.fetch import cache_dir
from vggfeat.store import load


def run(
    benchmark: Benchmark,
    *,
    root: str | Path | None = None,
    net: str | None = None,
    scales: Sequence[int] | None = None,
    agg: Aggregation | None = None,
    layer: Layer = "fc7",
    weights: str | Path | None = None,
    mirror: bool = True,
    normalize: Normalisation = "l2",
    device: str = "auto",
    precision: Precision = "auto",
    ceil: bool = False,
    seeds: int | None = None,
    train_per_class: int | None = None,
    test_per_class: int | None = None,
    background: bool = True,
    stores: str | Path | None = None,
    jobs: int = -1,
) -> Result:
    """Run a benchmark by its protocol; None takes the benchmark's own value. See Describer for the net's options.

    root : where the data set lies; None: $VGGFEAT_DATA/<name>.
    seeds : number of random splits (seeds 0, 1, ...). train_per_class, test_per_class : at most so many images.
    background : False leaves the background class out.
    stores : folder of the descriptor stores; None: in the cache. They are made once, an image at a time, and
        used again by every run with the same net and images; a killed run continues.
    jobs : processes for the SVMs.

    Raises DataError for data that is missing or too small, WeightsError, StoreError, UsageError.
    """
    if seeds is not None and seeds < 1:
        raise UsageError(f"seeds must be at least 1, not {seeds}")
    began = time.perf_counter()
    describer = Describer(
        net,
        scales=scales or benchmark.scales,
        agg=agg or benchmark.agg,
        layer=layer,
        weights=weights or benchmark.weights,
        mirror=mirror,
        normalize=normalize,
        device=device,
        precision=precision,
        ceil=ceil,
    )
    images = _images(benchmark, root, background)
    splits = class_splits(benchmark, images, seeds, train_per_class, test_per_class)
    X, found = descriptors(images, splits.used, describer, Path(stores) if stores else cache_dir() / "stores")
    extracted = time.perf_counter()
    evaluation = evaluate_splits(X, found, images, splits, jobs=jobs)
    ended = time.perf_counter()
    config = {
        "net": "&".join(n.weights.net for n in describer.nets),
        "layer": layer,
        "scales": list(describer.scales),
        "agg": describer.agg,
        "mirror": mirror,
        "normalize": normalize,
        "precision": describer.precision,
        "device": str(describer.device),
        "background": background,
        **splits.config,
    }
    notes = [*images.notes, *_missing_note(splits.used, found)]
    timing = {"extract_s": round(extracted - began, 1), "svm_s": round(ended - extracted, 1)}
    return _result(benchmark, images, describer, evaluation, config, notes, timing)


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
        paper=benchmark.paper,
        config=config,
        weights=[{"name": n.weights.name, "sha256": n.weights.sha256} for n in describer.nets],
        timing=timing,
        notes=notes + evaluation.notes,
        version=__version__,
    )


def _images(benchmark: Benchmark, root: str | Path | None, background: bool) -> ImageSet:
    if benchmark.background is None:
        if not background:
            raise UsageError(f"{benchmark.name} has no background class to leave out")
        return benchmark.read(root)
    return benchmark.read(root, background=background)


def descriptors(
    images: ImageSet, rows: np.ndarray, describer: Describer, stores: Path
) -> tuple[np.ndarray, np.ndarray]:
    """X float32 (N, dim) with the given rows of an image set filled in, and bool (N,): which of them are.

    A row that isn't is one that was not asked for, or could not be read.
    """
    single = images.labels.sum(axis=1).max() == 1
    items = [
        Item(images.paths[i], images.images[i], images.classes[images.labels[i].argmax()] if single else None)
        for i in rows
    ]
    per_net, found = [], np.zeros(len(images), bool)
    for one in describer.apart():
        store = extract(items, stores / store_name(images, one), describer=one)
        data = load(store.path, agg=one.agg, normalize=one.normalize)
        place = {path: i for i, path in enumerate(data.paths)}
        at = np.array([place.get(images.paths[i], -1) for i in rows])
        per_net.append(data.X[at])
        found[rows] = at >= 0
    X = np.zeros((len(images), describer.dim), np.float32)
    X[rows] = fuse(per_net, describer.normalize)
    return X, found


def store_name(images: ImageSet, describer: Describer) -> str:
    """The same for the same images and settings, and only for them."""
    folder = str(images.images[0]).removesuffix(images.paths[0]) if isinstance(images.images[0], Path) else ""
    decides = json.dumps([folder, describer.fingerprint()], sort_keys=True)
    digest = hashlib.sha256(decides.encode()).hexdigest()[:10]
    return f"{images.name}-{describer.nets[0].weights.net}-{describer.layer}-{digest}.vggfeat"


def _missing_note(used: np.ndarray, found: np.ndarray) -> list[str]:
    missing = int((~found[used]).sum())
    if missing == len(used):
        raise DataError("none of the images could be read")
    return [f"{missing} of {len(used)} images could not be read and were left out"] if missing else []
