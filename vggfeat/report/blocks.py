"""The blocks of a page. `templates/blocks.html` has the markup of each `kind`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeAlias

import numpy as np

from vggfeat.report.text import Cell


class Shade(NamedTuple):
    """A cell of a confusion matrix: how many images, their share in per cent, how strongly to colour it, 0..1."""

    images: int
    share: float
    depth: float
    right: bool


def shares(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The shares of each row of a confusion matrix, 0..1, and how strongly to draw them: of what is wrong, the root."""
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    return share, np.where(np.eye(len(counts), dtype=bool), share, np.sqrt(share))


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Parameters
    ----------
    text : str
    """

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Notes:
    """A list of remarks.

    Parameters
    ----------
    items : sequence of str
    """

    kind: ClassVar[str] = "notes"
    items: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """Names with their values, such as settings.

    Parameters
    ----------
    items : sequence of (str, str)
        Name and value.
    """

    kind: ClassVar[str] = "facts"
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A table of text and numbers.

    Parameters
    ----------
    caption : str
    header : sequence of str
        Names of the columns.
    rows : sequence of sequences of str, int, float or None
        Cells; None and NaN are shown as –.
    decimals : int
        Decimals of floats.
    bar, strong : int, optional
        A column of percentages to draw with bars, and a row to highlight; counted from 0.
    """

    kind: ClassVar[str] = "table"
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    decimals: int = 2
    bar: int | None = None
    strong: int | None = None


@dataclass(frozen=True)
class Bars:
    """One bar per name, on a scale of 0 to 100, in the given order.

    Parameters
    ----------
    items : sequence of (str, float or None)
        Name and percentage; names with None or NaN are listed below the bars, as those without a value.
    mean : float, optional
        A percentage that is marked on each bar.
    decimals : int
        Decimals of the percentages.
    """

    kind: ClassVar[str] = "bars"
    items: Sequence[tuple[str, float | None]]
    mean: float | None = None
    decimals: int = 1


@dataclass(frozen=True)
class Skyline:
    """Percentages side by side without names, on a scale of 0 to 100, and their mean as a line.

    Parameters
    ----------
    values : sequence of float
    mean : float
        A percentage.
    alt : str
        Description for screen readers.
    """

    kind: ClassVar[str] = "skyline"
    values: Sequence[float]
    mean: float
    alt: str


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: each row is a true class, in per cent of its images. To be read, it has 20 classes at most.

    The diagonal (right) is blue, the rest (wrong) orange. Wrong shares are drawn as their square roots, so that 1 % is
    visible.

    Parameters
    ----------
    names : sequence of str
        K classes.
    counts : ndarray, int, shape (K, K)
        Images of each true class (rows) with each prediction (columns).
    caption : str
    """

    kind: ClassVar[str] = "matrix"
    names: Sequence[str]
    counts: np.ndarray
    caption: str

    def rows(self) -> list[tuple[str, list[Shade]]]:
        """Give each true class with its cells.

        Returns
        -------
        list of (str, list of Shade)
        """
        share, shade = shares(self.counts)
        right = np.eye(len(self.counts), dtype=bool)
        cells = [list(map(Shade, *row)) for row in zip(self.counts.tolist(), 100 * share, shade, right, strict=True)]
        return list(zip(self.names, cells, strict=True))


@dataclass(frozen=True)
class Figure:
    """A drawing.

    Parameters
    ----------
    svg, caption : str
        The drawing, from a function of `plots`, and the text below it.
    """

    kind: ClassVar[str] = "figure"
    svg: str
    caption: str = ""


@dataclass(frozen=True)
class Figures:
    """Small drawings side by side.

    Parameters
    ----------
    items : sequence of (str, float, str)
        Name, value and SVG of each drawing, from a function of `plots`.
    decimals : int
        Decimals of the values.
    """

    kind: ClassVar[str] = "figures"
    items: Sequence[tuple[str, float, str]]
    decimals: int = 1


@dataclass(frozen=True)
class Picture:
    """A thumbnail with its description.

    Parameters
    ----------
    uri : str or None
        From `thumbnail`; None shows a placeholder.
    alt : str
        Description for screen readers.
    title, name : str
        Title and name of the image.
    lines : sequence of str
        Lines below the title.
    """

    uri: str | None
    alt: str
    title: str
    lines: Sequence[str] = ()
    name: str = ""


@dataclass(frozen=True)
class Gallery:
    """Thumbnails side by side.

    Parameters
    ----------
    pictures : sequence of Picture
    mood : {"", "right", "wrong"}
        Gives the titles their colour.
    """

    kind: ClassVar[str] = "gallery"
    pictures: Sequence[Picture]
    mood: str = ""


Block: TypeAlias = Text | Notes | Facts | Table | Bars | Skyline | Matrix | Figure | Figures | Gallery
