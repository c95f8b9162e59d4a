"""A page and its blocks; written whole, as one HTML file that loads nothing.

What comes in is plain text and numbers: names of classes and files are escaped, control characters become U+FFFD.
Only `Figure.svg` is taken as it is; it comes from `plots`.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeAlias
from uuid import uuid4

from vggfeat.errors import UsageError
from vggfeat.report.text import Cell, known, number, printable, share


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Notes:
    """A list of remarks."""

    kind: ClassVar[str] = "notes"
    items: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """Names and what they are: settings, provenance."""

    kind: ClassVar[str] = "facts"
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers. Floats get `decimals`; None and NaN are shown as –.

    bar : the column, of per cent, that gets a bar as well. strong : the row to stress.
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
    """A bar a name, on 0..100, in the order given; None or NaN: no value. mean : marked on each of them."""

    kind: ClassVar[str] = "bars"
    items: Sequence[tuple[str, float | None]]
    mean: float | None = None
    decimals: int = 1


@dataclass(frozen=True)
class Figure:
    """A drawing of `plots`. wide : it keeps its size on a narrow screen, and is moved sideways there."""

    kind: ClassVar[str] = "figure"
    svg: str
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Figures:
    """Small drawings side by side, each with a name and a value."""

    kind: ClassVar[str] = "figures"
    items: Sequence[tuple[str, float, str]]  # name, value, svg
    decimals: int = 1


@dataclass(frozen=True)
class Picture:
    """A thumbnail and what is said of it. uri : from `thumbs.thumbnail`; None: a placeholder is shown."""

    uri: str | None
    alt: str
    title: str
    lines: Sequence[str] = ()
    name: str = ""


@dataclass(frozen=True)
class Gallery:
    """Thumbnails. mood : "right" or "wrong", which colours the titles."""

    kind: ClassVar[str] = "gallery"
    pictures: Sequence[Picture]
    mood: str = ""


Block: TypeAlias = Text | Notes | Facts | Table | Bars | Figure | Figures | Gallery


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Headline:
    """The number that matters. spread : its standard deviation, None where there is none."""

    value: float
    label: str
    spread: float | None = None
    remark: str = ""
    decimals: int = 2


@dataclass(frozen=True)
class Page:
    """kicker : a line above the title. lead : beside the headline. foot : provenance."""

    title: str
    sections: Sequence[Section]
    kicker: str = "vggfeat"
    headline: Headline | None = None
    lead: Sequence[Block] = ()
    foot: Sequence[tuple[str, str]] = field(default_factory=tuple)

    def html(self) -> str:
        """The page: no script, no address that is loaded; light and dark, for screens of any width and paper."""
        from jinja2 import Environment, PackageLoader, StrictUndefined

        environment = Environment(
            loader=PackageLoader("vggfeat.report"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=lambda value: printable(value) if isinstance(value, str) else value,
        )
        environment.filters.update(number=number, share=share)
        environment.tests["known"] = known
        return environment.get_template("page.html").render(page=self)

    def write(self, file: str | Path) -> Path:
        """Write the page to `file`, whole or not at all, and return it.

        Raises UsageError as `check_target` does, OSError that names `file` where the disk fails.
        """
        file = Path(file)
        check_target(file)
        data = self.html().encode()
        target = file.resolve()  # a link stays, what it leads to is replaced
        temporary = target.with_name(f".{uuid4().hex}.tmp")
        try:
            with temporary.open("xb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            temporary.replace(target)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(file)) from error
        return file


def check_target(file: str | Path) -> None:
    """Raise UsageError, one line, where a page can't be written to `file`: ask before the long work begins."""
    target = Path(file).resolve()
    if target.exists() and not target.is_file():
        raise UsageError(f"{file}: is no regular file; name one for the report")
    if not target.parent.is_dir():
        raise UsageError(f"{target.parent}: no such folder for {target.name}")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{file}: the folder can't be written to; name another one for the report")
