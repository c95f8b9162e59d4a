"""Page and its blocks: one HTML file that loads nothing from elsewhere, written whole or not at all.

All text is plain: markup is escaped, and control characters are shown as their escapes. The exceptions are
`Figure.svg` and `Figures`: their SVG, from `plots`, is taken as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from vggfeat._util.files import check_writable, write_text
from vggfeat.errors import UsageError
from vggfeat.report.blocks import Block
from vggfeat.report.text import brief, known, number, plain, share


@dataclass(frozen=True)
class Section:
    """A heading and the blocks below it.

    Parameters
    ----------
    title : str
    blocks : sequence of Block
    half : bool
        On a wide screen, take one of two columns, if the section before or after it has `half` too.
    folded : bool
        Show the heading only, until the reader opens the section.
    """

    title: str
    blocks: Sequence[Block]
    half: bool = False
    folded: bool = False


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
    title, kicker, subtitle : str
        Title, and the lines above and below it.
    sections : sequence of Section
    headline : Headline, optional
    notes : sequence of str
        What a reader of the headline should know; below it.
    lead : sequence of Block
        Blocks next to the headline.
    foot : sequence of (str, str)
        Names and values of the provenance, folded at the end.
    """

    title: str
    sections: Sequence[Section]
    kicker: str = "vggfeat"
    subtitle: str = ""
    headline: Headline | None = None
    notes: Sequence[str] = ()
    lead: Sequence[Block] = ()
    foot: Sequence[tuple[str, str]] = ()

    def open_sections(self) -> list[tuple[Section, bool]]:
        """Give the sections that are not folded, each with whether it takes one of two columns.

        Returns
        -------
        list of (Section, bool)
            A section with `half` that has no other beside it takes both columns.
        """
        placed: list[tuple[Section, bool]] = []
        shown = [section for section in self.sections if not section.folded]
        for half, run in groupby(shown, key=lambda section: section.half):
            sections = list(run)
            alone = sections[-1] if len(sections) % 2 else None
            placed += [(section, half and section is not alone) for section in sections]
        return placed

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
        environment.filters.update(number=number, share=share, brief=brief)
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
