"""Sheets of thumbnails: many photos in one JPEG. Grey stands for a photo that cannot be shown."""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import numpy as np

from vggfeat.explore.folder import Folder
from vggfeat.explore.photos import GREY, Photos, jpeg

SMALL, ACROSS = 32, 16  # pixels of a small thumbnail; thumbnails in a row of a sheet
LARGE, MOST_LARGE = 144, 32  # pixels of a large one; how many are given at once
PER_SHEET = ACROSS * ACROSS
_MOST_BYTES = 2**26  # of sheets in memory


class Sheets:
    """The small thumbnails of all rows in numbered sheets, and large ones of any few rows.

    Sheet i has the rows from i * PER_SHEET on, from left to right and from top to bottom.
    """

    def __init__(self, photos: Photos, rows: int, folder: Folder) -> None:
        self._photos, self._rows, self._folder = photos, rows, folder
        self.count = -(-rows // PER_SHEET)
        self._made: OrderedDict[int, bytes] = OrderedDict()
        self._lock = Lock()

    def small(self, number: int) -> bytes:
        """The JPEG of a sheet, of ACROSS * SMALL pixels on each side."""
        with self._lock:
            if number in self._made:
                self._made.move_to_end(number)
                return self._made[number]
        data = jpeg(self._pixels(number))
        with self._lock:
            self._made[number] = data
            while sum(map(len, self._made.values())) > _MOST_BYTES:
                self._made.popitem(last=False)
        return data

    def _pixels(self, number: int) -> np.ndarray:
        name = f"sheet-{number:05}"
        kept = self._folder.sheet(name, ACROSS * SMALL)
        if kept is not None:
            return kept
        rows = range(number * PER_SHEET, min((number + 1) * PER_SHEET, self._rows))
        sheet, complete = self._sheet(rows, SMALL, ACROSS, ACROSS)
        if complete:  # a missing photo may come back
            self._folder.keep_sheet(name, sheet)
        return sheet

    def large(self, rows: Sequence[int]) -> bytes:
        """The JPEG of large thumbnails of at most MOST_LARGE rows, beside each other."""
        sheet, _ = self._sheet(rows, LARGE, len(rows), 1)
        return jpeg(sheet)

    def _sheet(self, rows: Sequence[int], side: int, across: int, down: int) -> tuple[np.ndarray, bool]:
        """Thumbnails, uint8 (down * side, across * side, 3), and whether all of them are there."""
        sheet = np.full((down * side, across * side, 3), GREY, np.uint8)
        complete = True
        for place, row in enumerate(rows):
            photo = self._photos.square(row, side)
            complete &= photo is not None
            if photo is not None:
                y, x = divmod(place, across)
                sheet[y * side : (y + 1) * side, x * side : (x + 1) * side] = photo
        return sheet, complete
