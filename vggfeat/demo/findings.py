"""What the descriptors of a set of photos say besides a score: neighbours, twins, labels that may be wrong."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vggfeat.bench.probe import ProbeResult
from vggfeat.neighbours import Neighbours, near_pairs, twin_threshold


class Near(NamedTuple):
    """A photo, and the photos nearest to it, nearest first: their names and cosines."""

    name: str
    others: list[tuple[str, float]]


class Pair(NamedTuple):
    """Two photos that are almost the same."""

    first: str
    second: str
    cosine: float


class TwinPairs(NamedTuple):
    """Pairs of near twins, nearest first. threshold : from which cosine on, and why, in words."""

    pairs: list[Pair]
    threshold: str


class BetterFit(NamedTuple):
    """A photo that another class fits better than its label. by : how much higher the score of that class is."""

    name: str
    label: str
    fits: str
    by: float


@dataclass(frozen=True)
class Findings:
    """What is found in a set of photos.

    Parameters
    ----------
    described : int
        How many photos have a descriptor.
    failures : dict of str to str
        Name -> reason, for each file that could not be read.
    near : list of Near
        Some photos, and the photos nearest to them.
    twins : TwinPairs
        Photos that are almost the same.
    doubts : list of BetterFit
        Photos whose label may be wrong, most doubtful first.
    """

    described: int
    failures: dict[str, str]
    near: list[Near]
    twins: TwinPairs
    doubts: list[BetterFit]


def near(paths: Sequence[str], graph: Neighbours, names: Sequence[str], k: int) -> list[Near]:
    """The k nearest photos of each of the named ones. graph : of the photos at these paths."""
    found = []
    for name in names:
        rows, cosines = (values[paths.index(name), :k].tolist() for values in graph)
        found.append(Near(name, [(paths[row], cosine) for row, cosine in zip(rows, cosines, strict=True)]))
    return found


def twins(paths: Sequence[str], graph: Neighbours) -> TwinPairs:
    """The near twins in a graph."""
    threshold = twin_threshold(graph.cosines[:, 0])
    found = near_pairs(graph, threshold.value)
    pairs = [Pair(paths[first], paths[second], cosine) for (first, second), cosine in found.items()]
    pairs.sort(key=lambda pair: -pair.cosine)
    return TwinPairs(pairs, f"cosine of at least {threshold.value:.3f}; {threshold.reason}")


def doubts(evidence: ProbeResult) -> list[BetterFit]:
    """The photos that every split that tested them gave a class other than their label, most doubtful first.

    Each photo has one label. Its score for a class is the mean over the splits that tested it, with SVMs that did not
    learn from it.
    """
    images, tests = evidence.images, defaultdict(list)
    for fold in evidence.scores.values():
        for row, values in zip(fold.rows.tolist(), fold.values, strict=True):
            tests[row].append(values)
    found = []
    for row, scores in tests.items():
        label, mean = int(images.label_index[row]), np.mean(scores, axis=0)
        fits = int(mean.argmax())
        if label not in np.argmax(scores, axis=1):
            by = float(mean[fits] - mean[label])
            found.append(BetterFit(images.paths[row], images.classes[label], images.classes[fits], by))
    return sorted(found, key=lambda doubt: -doubt.by)
