"""What the graph of nearest neighbours says of a collection: near twins, and labels that are doubtful."""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vggfeat.neighbours import Neighbours, TwinThreshold, near_pairs, twin_groups, twin_threshold

HOW = (
    "A label is doubtful if more of the nearest photos have one other label. Twins do not count, for they share a "
    "mistake. Rare kinds of a class are found as well as mistakes: look before you decide."
)


@dataclass(frozen=True)
class TwinGroups:
    """Photos that are almost the same.

    groups : rows, the largest groups first. cosines : for each group, the cosine of each row to its nearest neighbour
    in the graph.
    """

    threshold: TwinThreshold
    groups: list[list[int]]
    cosines: list[list[float]]


class Doubt(NamedTuple):
    """A photo whose label is doubtful. label : the class that fits better. why : a few words after its name."""

    row: int
    label: int
    why: str


def find_twins(graph: Neighbours) -> TwinGroups:
    """The near twins in a graph, in groups; each photo is a near twin of another one of its group."""
    n, k = graph.rows.shape
    if not k:
        return TwinGroups(twin_threshold([]), [], [])
    threshold = twin_threshold(graph.cosines[:, 0])
    numbers = twin_groups(list(near_pairs(graph, threshold.value)), n)
    order = np.argsort(numbers, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    groups = sorted((group for group in groups if len(group) > 1), key=lambda group: (-len(group), group[0]))
    cosines = [graph.cosines[group, 0].astype(float).tolist() for group in groups]
    return TwinGroups(threshold, [group.tolist() for group in groups], cosines)


def find_doubts(graph: Neighbours, classes: np.ndarray, twins: TwinThreshold) -> list[Doubt]:
    """Photos of which more neighbours have one other label than their own, the most doubtful first.

    Neighbours without a label have no vote, and twins have none either: a twin has the label by the same mistake.
    classes : int (N,), the class of each row; -1 without one.
    """
    votes = np.where(graph.cosines >= twins.value, -1, classes[graph.rows])
    found = []
    for row in np.flatnonzero(classes >= 0).tolist():
        counts = Counter(votes[row][votes[row] >= 0].tolist())
        of, own = counts.total(), counts.pop(int(classes[row]), 0)
        label, most = max(counts.items(), key=lambda one: (one[1], -one[0]), default=(-1, 0))
        if most > own:
            found.append(((own - most) / of, -most, Doubt(row, label, f"{most} of {of} neighbours")))
    return [doubt for *_, doubt in sorted(found)]
