"""Small results for tests of pages: random scores of synthetic photos, with hostile names."""

import numpy as np

from vggfeat.bench import BENCHMARKS
from vggfeat.bench.probe import FoldScores, ProbeResult
from vggfeat.bench.result import BenchmarkResult
from vggfeat.data.base import ImageSet

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(2)'>",
    "{{ 7 * 7 }} $x^2$ & --> ]]>",
    "a\u202eb\x1b[0m\ud800",
)
CONFIG = {
    "net": "E",
    "layer": "fc7",
    "scales": [256, 384, 512],
    "agg": "stack",
    "mirror": True,
    "device": "cpu",
}


def photo(k, seed):
    """uint8 (60, 80, 3): one colour per class, with noise."""
    rng = np.random.default_rng(seed)
    base = np.array([37 * k % 200, 91 * k % 200, 53 * k % 200]) + 20
    return np.clip(base + rng.normal(0, 12, (60, 80, 3)), 0, 255).astype(np.uint8)


def image_set(labels, classes, ignore=None, images=None, boxes=None):
    labels = np.asarray(labels, bool)
    return ImageSet(
        name="made",
        classes=tuple(classes),
        paths=tuple(f"{i:05}.jpg" for i in range(len(labels))),
        images=images or [photo(int(row.argmax()), i) for i, row in enumerate(labels)],
        labels=labels,
        ignore=np.zeros_like(labels) if ignore is None else ignore,
        boxes=boxes,
    )


def result_of(benchmark, images, values, **changes):
    """The BenchmarkResult of scores, {seed: (N, K)}, measured as the benchmark measures them."""
    protocol = BENCHMARKS[benchmark].protocol
    table = np.array([100 * protocol.per_class(one, images.labels, images.ignore) for one in values.values()])
    splits = [
        {"seed": seed, "value": float(np.nanmean(row)), "C": 4.0} for seed, row in zip(values, table, strict=True)
    ]
    per_class = [None if np.isnan(column).all() else float(np.nanmean(column)) for column in table.T]
    scores = {seed: FoldScores(np.arange(len(images)), np.float32(one), 4.0) for seed, one in values.items()}
    means = [split["value"] for split in splits]
    made = {
        "benchmark": benchmark,
        "metric": protocol.metric,
        "value": float(np.mean(means)),
        "std": float(np.std(means, ddof=1)) if len(means) > 1 else None,
        "splits": splits,
        "per_class": dict(zip(images.classes, per_class, strict=True)),
        "metrics": {},
        "paper": BENCHMARKS[benchmark].paper,
        "config": CONFIG,
        "weights": [{"name": "oxford-E", "sha256": "ab12" * 16}],
        "timing": {"extract_s": 1.5, "svm_s": 2.5},
        "notes": ["a note on the data"],
        "version": "9.8.7",
        "evidence": ProbeResult(images, np.ones(len(images), bool), scores, protocol.metric, splits, per_class, {}, []),
        "definition": BENCHMARKS[benchmark],
    }
    return BenchmarkResult(**made | changes)


def deciding(classes=HOSTILE, per_class=6, benchmark="caltech101", seeds=2, **changes):
    """A result of mean class recall on `seeds` splits; most samples are right."""
    labels = np.repeat(np.eye(len(classes), dtype=bool), per_class, axis=0)
    rng = np.random.default_rng(1)
    values = {seed: rng.normal(0, 0.6, labels.shape) + labels for seed in range(seeds)}
    return result_of(benchmark, image_set(labels, classes), values, **changes)


def ranking(classes=HOSTILE, samples=40, benchmark="voc2012", **changes):
    """A result of mAP: several classes per sample, some ignored, and no positive sample of the last class."""
    rng = np.random.default_rng(2)
    labels = rng.random((samples, len(classes))) < 0.3
    labels[:, -1] = False
    ignore = (rng.random(labels.shape) < 0.1) & ~labels
    values = {0: rng.normal(0, 0.6, labels.shape) + labels}
    return result_of(benchmark, image_set(labels, classes, ignore), values, **changes)


LADDER = [
    {"row": "E, Q=384, no mirror image", "net": "E", "layer": "fc7", "scales": [384], "agg": "mean", "mirror": False,
     "value": 88.25, "std": 0.75, "C": [4.0, 4.0], "paper": None},
    {"row": "E, Q=256,384,512, stack", "net": "E", "layer": "fc7", "scales": [256, 384, 512], "agg": "stack",
     "mirror": True, "value": 92.5, "std": 0.5, "C": [4.0, 16.0], "paper": "92.3; <b>stacking</b> is best"},
]  # fmt: skip
