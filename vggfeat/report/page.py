"""Page and its blocks: one HTML file that loads nothing from elsewhere, written whole or not at all.

All text is plain: markup is escaped, and control characters are shown as their escapes. The exceptions are
`Figure.svg` and `Figures`: their SVG, from `plots`, is taken as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias

from vggfeat._util.files import check_writable, write_text
from vggfeat.errors import UsageError
from vggfeat.report.text import Cell, known, number, plain, share


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
        Name and percentage; None and NaN are shown as "no value".
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
class Figure:
    """A drawing.

    Parameters
    ----------
    svg, caption : str
        The drawing, from a function of `plots`, and the text below it.
    wide : bool
        On a narrow screen, keep the size and scroll sideways.
    """

    kind: ClassVar[str] = "figure"
    svg: str
    caption: str = ""
    wide: bool = False


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


Block: TypeAlias = Text | Notes | Facts | Table | Bars | Figure | Figures | Gallery


@dataclass(frozen=True)
class Section:
    """A heading and the blocks below it.

    Parameters
    ----------
    title : str
    blocks : sequence of Block
    """

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Headline:
    """The main number of a page.

    Parameters
    ----------
    value : float
    label : str
        What the number is, with its unit.
    spread : float, optional
        Standard deviation.
    remark : str
    decimals : int
        Decimals of value and spread.
    """

    value: float
    label: str
    spread: float | None = None
    remark: str = ""
    decimals: int = 2


@dataclass(frozen=True)
class Page:
    """A report: one HTML page.

    Parameters
    ----------
    title, kicker : str
        Title, and the line above it.
    sections : sequence of Section
    headline : Headline, optional
    lead : sequence of Block
        Blocks next to the headline.
    foot : sequence of (str, str)
        Names and values of the provenance.
    """

    title: str
    sections: Sequence[Section]
    kicker: str = "vggfeat"
    headline: Headline | None = None
    lead: Sequence[Block] = ()
    foot: Sequence[tuple[str, str]] = ()

    def html(self) -> str:
        """Render the page, without scripts and external files, for light and dark screens of any width and paper."""
        from jinja2 import Environment, PackageLoader, StrictUndefined

        environment = Environment(
            loader=PackageLoader("vggfeat.report"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=plain,
        )
        environment.filters.update(number=number, share=share)
        environment.tests["known"] = known
        return environment.get_template("page.html").render(page=self)

    def write(self, file: str | Path) -> Path:
        """Write the page, whole or not at all. If `file` is a symbolic link, the file it leads to is replaced.

        Parameters
        ----------
        file : str or path

        Returns
        -------
        Path
            `file`.

        Raises
        ------
        UsageError
            If a page cannot be written to `file`; see `check_target`.
        OSError
            If writing fails; it names `file`.
        """
        check_target(file)
        write_text(Path(file), self.html())
        return Path(file)


def check_target(file: str | Path) -> None:
    """Check that a page can be written to a file, before the long work begins.

    Parameters
    ----------
    file : str or path

    Raises
    ------
    UsageError
        If the suffix is not .html or .htm, the folder does not exist or is not writable, or `file` is a folder.
    """
    file = Path(file)
    if file.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{file}: a report is an HTML page; name a file that ends with .html")
    check_writable(file)
