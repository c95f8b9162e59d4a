"""Copies of photos with boxes drawn on them.

True boxes are solid, merged ones dashed, candidates thin. Each line is light with a black line below it. So the three
differ by shape, in grey and for the colour-blind, and all are seen on light and on dark photos.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

from vggfeat._util.files import replacing, short
from vggfeat._util.printable import printable
from vggfeat._util.regular_files import open_regular
from vggfeat.localization.guesses import Located

Place: TypeAlias = tuple[int, int, int, int]

SIDE = 768  # the longer side, in pixels, to which a small photo is enlarged by a whole number before it is drawn on
MOST = 60  # candidates of a drawing; more would hide the photo
_QUALITY = 92
_MARK = b"boxes drawn by vggfeat"  # a comment in the first bytes of each drawing: only such a file is written over
_HEAD = 256
_INK, _PAPER = (0, 0, 0), (255, 255, 255)
_TEXT = 14  # pixels


class Line(NamedTuple):
    """How a kind of box is drawn. width, dash : in units of the drawing; without a dash the line is solid."""

    colour: tuple[int, int, int]
    width: int
    dash: int = 0


# Okabe and Ito's yellow and sky blue, which differ for all kinds of colour vision, and in brightness.
TRUE, MERGED, CANDIDATE = Line((240, 228, 66), 3), Line((86, 180, 233), 3, 10), Line((255, 255, 255), 1)


class Targets:
    """The files of the drawings in a folder: <folder of the photo>/<photo>.boxes.jpg, another one for each photo.

    Earlier drawings are written over, and no other file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._taken: set[str] = set()

    def of(self, photo: str) -> Path:
        """The file for the drawing of a photo, of which any name is taken: only its last two parts are used."""
        name = PurePosixPath(photo)
        place = self.folder / (_plain(name.parent.name) if name.parent.name != ".." else "")
        stem, number = short(_plain(name.stem)), 1
        while self._in_use(file := place / f"{stem}{f'-{number}' if number > 1 else ''}.boxes.jpg"):
            number += 1
        self._taken.add(str(file).casefold())  # some file systems take A.jpg and a.jpg for one
        return file

    def _in_use(self, file: Path) -> bool:
        """Whether it is the drawing of another photo, or a file that is no drawing, such as a photo."""
        return str(file).casefold() in self._taken or (os.path.lexists(file) and not _is_drawing(file))


def _is_drawing(file: Path) -> bool:
    with suppress(OSError), open_regular(file) as opened:
        return _MARK in opened.read(_HEAD)
    return False


def draw(
    pixels: np.ndarray,
    file: Path,
    *,
    truth: ArrayLike = (),
    candidates: ArrayLike = (),
    merged: Sequence[Located] = (),
) -> None:
    """Write a copy of a photo with its boxes and a legend as a JPEG, whole or not at all; its folder is made.

    pixels : uint8 (H, W, 3), RGB. truth, candidates : (T, 4) and (N, 4), in pixels of the photo; of many
    candidates some are drawn. merged : the surest first; those without candidates have no box. Raises OSError that
    names `file`.
    """
    truth, candidates, merged = _rows(truth), _rows(candidates), [one for one in merged if one.candidates]
    shown = np.linspace(0, len(candidates) - 1, min(len(candidates), MOST)).round().astype(int)  # from all places
    scale = max(1, round(SIDE / max(pixels.shape[:2])))
    picture = drawn(pixels, scale, truth, candidates[shown], merged)
    unit = _unit(picture)
    _write_labels(picture, merged, scale, _TEXT * unit)
    entries = _entries(len(truth), len(candidates), merged)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        _with_legend(picture, entries, unit).save(temporary, "JPEG", quality=_QUALITY, subsampling=0, comment=_MARK)


def drawn(
    pixels: np.ndarray, scale: float, truth: ArrayLike = (), candidates: ArrayLike = (), merged: Sequence[Located] = ()
) -> Image.Image:
    """The photo, rescaled by a factor, with its boxes; no words. The surest merged box is on top."""
    photo = Image.fromarray(np.ascontiguousarray(pixels))
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    picture = photo.resize(size, Image.Resampling.BICUBIC) if size != photo.size else photo
    guesses = _rows([guess.box for guess in reversed(merged)])
    for line, boxes in ((CANDIDATE, _rows(candidates)), (TRUE, _rows(truth)), (MERGED, guesses)):
        for box in boxes:
            _outline(picture, scale * box, line)
    return picture


def _rows(boxes: ArrayLike) -> np.ndarray:
    return np.asarray(boxes, float).reshape(-1, 4)


def _plain(name: str) -> str:
    """A part of a path without the characters that some systems do not take."""
    return re.sub(r'[\x00-\x1f<>:"/\\|?*\ud800-\udfff]', "_", name)


def _unit(picture: Image.Image) -> int:
    """Pixels of a thin line: lines of a large photo are wider, so that they are seen when it is shown smaller."""
    return max(1, round(max(picture.size) / 800))


def _outline(picture: Image.Image, box: np.ndarray, line: Line) -> None:
    """Draw a box along its edges, inside the picture: edges that lie outside are drawn on its border."""
    unit, paint = _unit(picture), ImageDraw.Draw(picture)
    edge = unit * (line.width + 1) // 2
    limits = np.array(picture.size * 2) - 1 - edge
    x0, y0, x1, y1 = (int(value) for value in np.clip(np.round(box), np.minimum(edge, limits), limits))
    edges = ((x0, y0, x1, y0), (x0, y1, x1, y1), (x0, y0, x0, y1), (x1, y0, x1, y1))
    for place in edges:
        _bar(paint, place, unit * (line.width + 2), _INK)
    for place in edges:
        for dash in _dashes(place, unit * line.dash):
            _bar(paint, dash, unit * line.width, line.colour)


def _dashes(place: Place, length: int) -> Iterator[Place]:
    """The dashes of a horizontal or vertical line, from its start; a length of 0: the line."""
    x0, y0, x1, y1 = place
    across = y0 == y1
    end = (x1 - x0) if across else (y1 - y0)
    for start in range(0, end + 1, 2 * length) if length else [0]:
        stop = min(start + length, end) if length else end
        yield (x0 + start, y0, x0 + stop, y1) if across else (x0, y0 + start, x1, y0 + stop)


def _bar(paint: ImageDraw.ImageDraw, place: Place, width: int, colour: tuple[int, int, int]) -> None:
    before, after = (width - 1) // 2, width // 2
    x0, y0, x1, y1 = place
    paint.rectangle((x0 - before, y0 - before, x1 + after, y1 + after), fill=colour)


def _text(guess: Located) -> str:
    """What is written on a merged box."""
    return f"{printable(guess.label, 32)} {100 * guess.probability:.0f} %" if guess.label else ""


def _write_labels(picture: Image.Image, merged: Sequence[Located], scale: float, size: int) -> None:
    """The label of each merged box at its upper left corner, or below labels that are there already."""
    paint, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    used: list[tuple[float, float, float, float]] = []
    for guess in merged:
        if not (text := _text(guess)):
            continue
        x, y = (scale * value for value in guess.box[:2])
        left, top, right, bottom = paint.textbbox((0, 0), text, font=font)
        width, height = right - left + size // 2, bottom - top + size // 2
        x = min(max(x, 0), max(picture.width - width, 0))
        y = min(max(y, 0), max(picture.height - height, 0))
        while any(x < b[2] and b[0] < x + width and y < b[3] and b[1] < y + height for b in used):
            y += 1
        used.append((x, y, x + width, y + height))
        paint.rectangle(used[-1], fill=_INK)
        paint.text((x - left + size // 4, y - top + size // 4), text, font=font, fill=MERGED.colour)


def _entries(truth: int, candidates: int, merged: Sequence[Located]) -> list[tuple[Line, str]]:
    """The lines of the legend: what each kind of line is."""
    shown = f"{MOST} of {candidates:,} candidates" if candidates > MOST else f"candidates: {candidates}"
    best = _text(merged[0]) if merged else ""
    found = [
        (TRUE, "true box" if truth == 1 else f"true boxes: {truth}", truth),
        (MERGED, "merged box" if len(merged) == 1 else f"merged boxes: {len(merged)}; the surest", len(merged)),
        (CANDIDATE, shown, candidates),
    ]
    return [(line, f"{text}: {best}" if line is MERGED and best else text) for line, text, count in found if count]


def _with_legend(picture: Image.Image, entries: Sequence[tuple[Line, str]], unit: int) -> Image.Image:
    """The picture with a strip below it, which has a line of text for each entry."""
    size = _TEXT * unit
    font, row, sample = ImageFont.load_default(size), 2 * size, 3 * size
    width = max([picture.width, *(int(font.getlength(text)) + sample + 2 * size for _, text in entries)])
    whole = Image.new("RGB", (width, picture.height + row * len(entries)), _PAPER)
    whole.paste(picture)
    paint = ImageDraw.Draw(whole)
    for place, (line, text) in enumerate(entries):
        y = picture.height + place * row + row // 2
        start, end = size // 2, size // 2 + sample
        _bar(paint, (start, y, end, y), unit * (line.width + 2), _INK)
        for dash in _dashes((start, y, end, y), unit * line.dash):
            _bar(paint, dash, unit * line.width, line.colour)
        paint.text((end + size // 2, y), text, font=font, fill=_INK, anchor="lm")
    return whole
