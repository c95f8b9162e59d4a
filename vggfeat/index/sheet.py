"""A contact sheet: photos with their neighbours, as an HTML page or one JPEG."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vggfeat._util.files import check_writable, replacing
from vggfeat._util.printable import printable
from vggfeat.errors import ImageError, UsageError
from vggfeat.images import Source, read
from vggfeat.index.photos import Photos
from vggfeat.index.searching import Index, Match
from vggfeat.report import Gallery, Page, Picture, Section, Text, check_target, thumbnail
from vggfeat.store import Store

MOST = 100  # queries, at most
SIDE, GAP, CAPTION = 160, 8, 16  # pixels of a JPEG
_FRAME = (230, 110, 20)  # of a query
_WIDEST = 65_000  # pixels of a side of a JPEG

Pixels = Callable[[int], "np.ndarray | None"]


def check_sheet(file: Path) -> None:
    """Raise UsageError, before the search, if no sheet can be written to a file."""
    if file.suffix.lower() in (".jpg", ".jpeg"):
        check_writable(file)
    elif file.suffix.lower() in (".html", ".htm"):
        check_target(file)
    else:
        raise UsageError(f"{file}: a sheet is a page or a picture; name a file that ends with .html or .jpg")


def write_sheet(
    file: str | Path,
    index: Index,
    queries: Store | Sequence[Source],
    names: Sequence[str],
    matches: Sequence[Sequence[Match]],
) -> list[str]:
    """Write a contact sheet of what was searched for and found, of the first 100 queries.

    Parameters
    ----------
    file : str or path
        Ends with .html or .jpg.
    index : Index
        The index that was searched.
    queries : sequence of images, or Store
        What was searched for.
    names : sequence of str
        The names of the queries.
    matches : sequence of lists of Match
        What was found for each query.

    Returns
    -------
    list of str
        Which photos could not be shown, and whether queries were left out: one line for each reason.

    Raises
    ------
    UsageError
        If `file` has another suffix, or cannot be written.
    OSError
        If the disk fails.
    """
    file = Path(file)
    check_sheet(file)
    lines = [f"{file}: shows the first {MOST} of {len(names):,} queries"] if len(names) > MOST else []
    names, matches = names[:MOST], matches[:MOST]
    photos = Photos(index.store, {match.row for found in matches for match in found})
    if isinstance(queries, Store):
        asked = Photos(queries, range(len(names)))
        shown = [asked.read(row) for row in range(len(names))]
    else:
        asked, shown = None, [_read(image) for image in queries[: len(names)]]
    write = _write_page if file.suffix.lower().startswith(".htm") else _write_picture
    write(file, index, shown, names, matches, photos.read)
    for one in filter(None, (asked, photos)):
        lines += [f"{one.store.path}: {line}" for line in one.remarks.lines()]
    return lines


def _read(image: Source) -> np.ndarray | None:
    try:
        return read(image)
    except ImageError:
        return None


def _write_page(
    file: Path, index: Index, shown: Sequence[Any], names: Sequence[str], matches: Sequence[Any], pixels: Pixels
) -> None:
    sections = [
        Section(name, [Gallery([_picture(own, f"Query {name}", "query"), *(_found(match, pixels) for match in found)])])
        for own, name, found in zip(shown, names, matches, strict=True)
    ]
    how = f"found among {len(index):,} photos"
    if index.recall:
        share, measured = index.recall
        how += f"; a search finds {share:.1%} of the ten nearest, measured with {measured} photos"
    page = Page(
        "Nearest photos",
        [Section("What is shown", [Text(f"The numbers are cosines of descriptors: 1 is equal. {how}.")]), *sections],
        "vggfeat index",
        foot=[("Store", str(index.store.path)), ("Weights", index.store.meta.get("weights", ""))],
    )
    page.write(file)


def _found(match: Match, pixels: Pixels) -> Picture:
    picture = _picture(pixels(match.row), f"Photo {match.path}", f"{match.similarity:.3f}")
    return Picture(picture.uri, picture.alt, picture.title, [match.label] if match.label else [], match.path)


def _picture(pixels: np.ndarray | None, alt: str, title: str) -> Picture:
    return Picture(None if pixels is None else thumbnail(pixels), alt, title)


def _write_picture(
    file: Path, _: Index, shown: Sequence[Any], names: Sequence[str], matches: Sequence[Any], pixels: Pixels
) -> None:
    """One line of photos for each query, which comes first."""
    across = 1 + max(map(len, matches), default=0)
    width, height = across * (SIDE + GAP) + GAP, len(shown) * (SIDE + CAPTION + GAP) + GAP
    if max(width, height) > _WIDEST:
        raise UsageError(f"{file}: {width}x{height} pixels are too many for a JPEG; name an .html file")
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for line, (own, name, found) in enumerate(zip(shown, names, matches, strict=True)):
        cells = [(own, name), *((pixels(match.row), f"{match.similarity:.3f} {match.path}") for match in found)]
        for place, (photo, caption) in enumerate(cells):
            at = GAP + place * (SIDE + GAP), GAP + line * (SIDE + CAPTION + GAP)
            _paste(sheet, photo, at)
            draw.text((at[0], at[1] + SIDE + 2), printable(caption, 26), fill="black")
            if not place:
                draw.rectangle((at[0] - 2, at[1] - 2, at[0] + SIDE + 1, at[1] + SIDE + 1), outline=_FRAME, width=2)
    with replacing(file) as temporary:
        sheet.save(temporary, "JPEG", quality=88)


def _paste(sheet: Image.Image, photo: np.ndarray | None, at: tuple[int, int]) -> None:
    """Put a photo into its square, or a grey square if it is not there."""
    if photo is None:
        draw = ImageDraw.Draw(sheet)
        draw.rectangle((*at, at[0] + SIDE - 1, at[1] + SIDE - 1), fill=(225, 225, 225))
        draw.text((at[0] + 40, at[1] + SIDE // 2 - 6), "not found", fill=(90, 90, 90))
        return
    small = Image.fromarray(photo)
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    sheet.paste(small, (at[0] + (SIDE - small.width) // 2, at[1] + (SIDE - small.height) // 2))
