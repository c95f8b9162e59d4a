"""Drawings for a page, each an <svg> in the colours of the page.

Sizes are in CSS pixels; `alt` is a description for screen readers.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vggfeat._util.printable import printable
from vggfeat.report.blocks import shares
from vggfeat.report.svg import ACCENT, INK, LINE, MUTED, draw
from vggfeat.report.text import number

# Okabe and Ito's blue and vermilion: distinct for all kinds of colour vision, visible on light and dark.
_BLUE, _VERMILION = (0.0, 0.447, 0.698), (0.835, 0.369, 0.0)


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
    size: tuple[int, int] = (176, 150),
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


def dots(
    rows: Sequence[tuple[str, float, float | None]],
    *,
    alt: str,
    xlabel: str,
    strong: int | None = None,
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
            axes.annotate(number(value, 2), (value, place), (0, 8), ha="center", textcoords="offset points")
        axes.set_yticks(places, [printable(name, 32) for name, *_ in rows])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.set(ylim=(-0.6, len(rows) - 0.4), xlabel=xlabel)
        axes.margins(x=0.12)

    return draw(paint, 400, 62 + 36 * len(rows), alt)


def confusion(counts: np.ndarray, *, alt: str) -> str:
    """An overview of a confusion matrix, int (K, K), without names, coloured as `blocks.Matrix`."""
    image = np.zeros((*counts.shape, 4))
    image[..., :3] = np.where(np.eye(len(counts), dtype=bool)[..., None], _BLUE, _VERMILION)
    image[..., 3] = shares(counts)[1]

    def paint(axes: Any) -> None:
        axes.imshow(image, interpolation="none", aspect="equal")
        axes.set(xlabel="predicted class", ylabel="true class", xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(visible=True, color=LINE)

    return draw(paint, 400, 400, alt)
