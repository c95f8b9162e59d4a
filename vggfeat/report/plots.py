"""Drawings for a page, each an <svg> in the colours of the page.

Sizes are in CSS pixels; `alt` is a description for screen readers.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vggfeat._util.printable import printable
from vggfeat.report.svg import ACCENT, INK, LINE, MUTED, draw
from vggfeat.report.text import number

# Okabe and Ito's blue and vermilion: distinct for all kinds of colour vision, visible on light and dark.
_BLUE, _VERMILION = (0.0, 0.447, 0.698), (0.835, 0.369, 0.0)
_NAMES = 30  # the most names on an axis
_NUMBERS = 12  # the most classes whose cells have room for a number


class Line(NamedTuple):
    """A curve. soft : a thin dotted line in grey. filled : with a coloured area below it."""

    x: ArrayLike
    y: ArrayLike
    soft: bool = False
    filled: bool = False


def lines(
    curves: Sequence[Line],
    *,
    alt: str,
    xlabel: str = "",
    ylabel: str = "",
    size: tuple[int, int] = (200, 170),
) -> str:
    """Curves in the unit square, such as precision over recall."""

    def paint(axes: Any) -> None:
        for curve in curves:
            style = {"color": MUTED, "lw": 1, "ls": (0, (2, 2))} if curve.soft else {"color": ACCENT, "lw": 1.6}
            axes.plot(curve.x, curve.y, solid_joinstyle="round", clip_on=False, **style)
            if curve.filled:
                x, y = np.asarray(curve.x), np.asarray(curve.y)
                axes.fill_between(np.r_[0, x], np.r_[y[:1], y], color=ACCENT, alpha=0.12, lw=0)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=xlabel, ylabel=ylabel)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks([0, 0.5, 1], ["0", "0.5", "1"])

    return draw(paint, *size, alt)


def skyline(values: Sequence[float], *, mean: float, alt: str, unit: str, size: tuple[int, int] = (460, 140)) -> str:
    """Percentages, highest first, side by side without names, and their mean as a line. unit : what they are."""

    def paint(axes: Any) -> None:
        axes.bar(np.arange(len(values)) + 0.5, values, width=0.8 if len(values) < 150 else 1, color=ACCENT, lw=0)
        axes.axhline(mean, color=INK, lw=1, ls=(0, (4, 3)))
        axes.annotate(f"mean {number(mean, 1)}", (len(values), mean), (0, 4), textcoords="offset points", ha="right")
        axes.set(xlim=(0, len(values)), ylim=(0, 100), ylabel=unit, xlabel="classes, best to worst")
        axes.set_xticks([])
        axes.set_yticks([0, 25, 50, 75, 100])

    return draw(paint, *size, alt)


def dots(
    rows: Sequence[tuple[str, float, float | None]],
    *,
    alt: str,
    xlabel: str,
    strong: int | None = None,
    width: int = 430,
) -> str:
    """One dot per row, from top to bottom, with its standard deviation as a whisker.

    rows : name, value, deviation or None. strong : the row to highlight.
    """
    places = np.arange(len(rows))[::-1]

    def paint(axes: Any) -> None:
        axes.grid(axis="x")
        for place, (_, value, deviation) in zip(places, rows, strict=True):
            filled = strong is None or place == places[strong]
            axes.errorbar(
                value, place, xerr=deviation or None, fmt="o", ms=7 if filled else 6, lw=1.5, capsize=3,
                color=ACCENT, mfc=ACCENT if filled else "none", mew=1.5,
            )  # fmt: skip
            axes.annotate(
                number(value, 2), (value, place), (0, 8), ha="center", textcoords="offset points", fontsize=10
            )
        axes.set_yticks(places, [printable(name, 32) for name, *_ in rows])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.set(ylim=(-0.6, len(rows) - 0.4), xlabel=xlabel)
        axes.margins(x=0.12)

    return draw(paint, width, 62 + 34 * len(rows), alt)


def confusion(counts: np.ndarray, names: Sequence[str], *, alt: str) -> str:
    """A confusion matrix, int (K, K), as a heat map: rows are the true classes, each as shares of its sum.

    The diagonal (right) is blue, the rest (wrong) vermilion; wrong shares are drawn as their square roots, so that 1 %
    is visible. Of more than 30 classes only some are named; of up to 12 the cells show percentages.
    """
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    diagonal = np.eye(len(counts), dtype=bool)
    image = np.zeros((*counts.shape, 4))
    image[..., :3] = np.where(diagonal[..., None], _BLUE, _VERMILION)
    image[..., 3] = np.where(diagonal, share, np.sqrt(share))
    every = max(1, -(-len(names) // _NAMES))
    labelled = range(0, len(names), every)

    def paint(axes: Any) -> None:
        axes.imshow(image, interpolation="none", aspect="equal")
        labels = [printable(names[k], 20) for k in labelled]
        axes.set_xticks(labelled, labels, rotation=90 if max(map(len, labels)) > 3 else 0)
        axes.set_yticks(labelled, labels)
        axes.tick_params(labelsize=10, length=2 if every > 1 else 0)
        axes.set(xlabel="predicted class", ylabel="true class")
        for spine in axes.spines.values():
            spine.set(visible=True, color=LINE)
        if len(names) <= _NUMBERS:
            _write_shares(axes, share, image[..., 3])

    side = 480 if len(names) <= _NUMBERS else 720
    return draw(paint, side, side, alt)


def _write_shares(axes: Any, share: np.ndarray, depth: np.ndarray) -> None:
    for i, j in zip(*share.nonzero(), strict=True):
        colour = "white" if depth[i, j] > 0.6 else INK
        axes.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", color=colour, fontsize=11)
