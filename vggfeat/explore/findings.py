"""What the graph of nearest neighbours says of a collection: near twins, and labels that are doubtful."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from vggfeat.neighbours import Neighbours, TwinThreshold, near_pairs, twin_groups, twin_threshold


@dataclass(frozen=True)
class Twins:
    """Photos that are almost the same.

    groups : rows, the largest groups first. cosines : for each group, the cosine of each row to its nearest neighbour
    in the graph.
    """

    threshold: TwinThreshold
    groups: list[list[int]]
    cosines: list[list[float]]


@dataclass(frozen=True)
class Doubt:
    """A photo whose neighbours have another label: `votes` of the `of` nearest have `label`, and `own` its own."""

    row: int
    label: int
    votes: int
    own: int
    of: int


def find_twins(graph: Neighbours) -> Twins:
    """The near twins in a graph, in groups; each photo is a near twin of another one of its group."""
    n, k = graph.rows.shape
    if not k:
        return Twins(twin_threshold([]), [], [])
    threshold = twin_threshold(graph.cosines[:, 0])
    numbers = twin_groups(list(near_pairs(graph, threshold.value)), n)
    order = np.argsort(numbers, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    groups = sorted((group for group in groups if len(group) > 1), key=lambda group: (-len(group), group[0]))
    cosines = [graph.cosines[group, 0].astype(float).tolist() for group in groups]
    return Twins(threshold, [group.tolist() for group in groups], cosines)


def find_doubts(graph: Neighbours, classes: np.ndarray, twins: TwinThreshold) -> list[Doubt]:
    """Photos of which more neighbours have one other label than their own, the most doubtful first.

    Neighbours without a label have no vote, and twins have none either: a twin has the label by the same mistake.
    classes : int (N,), the class of each row; -1 without one.
    """
    votes = np.where(graph.cosines >= twins.value, -1, classes[graph.rows])
    found = []
    for row in np.flatnonzero(classes >= 0).tolist():
        counts = Counter(votes[row][votes[row] >= 0].tolist())
        own = counts.pop(int(classes[row]), 0)
        label, most = max(counts.items(), key=lambda one: (one[1], -one[0]), default=(-1, 0))
        if most > own:
            found.append(Doubt(row, label, most, own, own + sum(counts.values())))
    return sorted(found, key=lambda doubt: ((doubt.own - doubt.votes) / doubt.of, -doubt.votes, doubt.row))
