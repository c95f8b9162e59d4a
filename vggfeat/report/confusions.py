"""Which classes are taken for one another, in a form that can be read at their number."""

from collections.abc import Sequence

import numpy as np

from vggfeat.report import cases, plots
from vggfeat.report.blocks import Figure, Matrix, Table, Text
from vggfeat.report.page import Section
from vggfeat.report.text import Cell

READABLE = 20  # classes of a matrix whose names and numbers can be read on any screen
DRAWN = 300  # classes of an overview, at most

_COLOURS = "Blue, on the diagonal: right. Orange: wrong, drawn stronger, so that small shares are visible."


def confusion_sections(counts: np.ndarray, names: Sequence[str], what: str) -> list[Section]:
    """A matrix; of more classes than can be read, an overview and a list of the most frequent confusions; or nothing.

    counts : int (K, K), as `cases.confusion`. what : what was counted, such as "60 images".
    """
    used = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))  # a net may have many that no image has or is given
    if not len(used):
        return []
    counts, names = counts[np.ix_(used, used)], [names[int(k)] for k in used]
    said = f"{what}, {np.trace(counts):,} of them right"
    if len(names) <= READABLE:
        caption = f"{said}. Each row is a true class, in per cent of its images. {_COLOURS}"
        return [Section("Confusions", [Matrix(names, counts, caption)], half=True)]
    most = Section("Most frequent confusions", [_most_frequent(counts, names)], half=True)
    if len(names) > DRAWN:
        return [most]
    alt = f"Confusion matrix of {len(names)} classes, {said}"
    caption = f"{said}. Each row is a true class, each column a predicted one, in the same order. {_COLOURS}"
    return [Section("Confusions", [Figure(plots.confusion(counts, alt=alt), caption)], half=True), most]


def _most_frequent(counts: np.ndarray, names: Sequence[str]) -> Table | Text:
    worst = cases.worst_confusions(counts)
    if not worst:
        return Text("None: all images are right.")
    rows: list[list[Cell]] = [
        [names[c.true], names[c.predicted], f"{c.images:,} of {c.of:,}", 100 * c.images / c.of] for c in worst
    ]
    header = ["True class", "Taken for", "Images", "Per cent"]
    return Table("Those with the largest share of the true class", header, rows, decimals=1, bar=3)
