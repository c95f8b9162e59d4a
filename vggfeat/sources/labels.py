"""The labels of images: in a list, in a file of an archive, or the first folder of a name."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

MAX_LABEL = 100  # characters of a label in a file of its own
MAX_BYTES = 4 * MAX_LABEL
FILES = (".cls", ".txt")  # suffixes of files that may hold the label of an image of the same name; the first one counts
MISSING = {"", "nan", "NaN", "<NA>"}  # pandas and Python write a missing value so
MAX_APART = 2**20  # labels of one archive that are held, about 200 bytes each


def of_text(text: str | None) -> str | None:
    """The label that a value of a list or the text of a .cls gives; None if it is missing.

    >>> of_text(" cat "), of_text("3.0"), of_text("nan")
    ('cat', '3', None)
    """
    text = (text or "").strip()
    whole = re.fullmatch(r"(-?\d+)\.0+", text)  # a column of whole numbers with gaps becomes one of floats
    return None if text in MISSING else whole[1] if whole else text


def of_file(text: bytes) -> str | None:
    """The label that the content of a .cls or .txt gives: one short line, else None."""
    try:
        line = text.decode().strip()
    except UnicodeDecodeError:
        return None
    return of_text(line) if len(line) <= MAX_LABEL and len(line.splitlines()) == 1 else None


def of_folder(name: str) -> str | None:
    """The first folder of a name with slashes; None if it has none."""
    return name.split("/")[0] if "/" in name else None


class Apart:
    """The labels of an archive in files that are not beside their images.

    ahead : reads (name, label) of all label files, if the archive can be read twice. It is called once, for the first
    image without a label. most : how many labels are held; further ones are lost.
    """

    def __init__(self, ahead: Callable[[], Iterator[tuple[str, str]]] | None, most: int = MAX_APART) -> None:
        self._ahead, self._most = ahead, most
        self._read: dict[str, str] = {}  # by `ahead`
        self._met: dict[str, str] = {}  # by `meet`, and not joined yet
        self._joined: dict[str, str] = {}
        self.beyond = 0  # labels that were met and are lost

    def meet(self, name: str, label: str) -> None:
        """Take a label file that is beside no image."""
        if name in self._joined:
            return
        if len(self._met) < self._most:
            self._met[name] = sys.intern(label)
        else:
            self.beyond += 1

    def join(self, key: str) -> str | None:
        """The label of an image with no label file beside it. key : its name up to the first dot."""
        if self._ahead:
            self._read = {name: sys.intern(label) for name, label in islice(self._ahead(), self._most)}
            self._ahead = None
        for name in (key + suffix for suffix in FILES):
            met, read = self._met.pop(name, None), self._read.pop(name, None)
            if label := self._joined.get(name) or met or read:
                self._joined[name] = label
                return label
        return None

    def not_joined(self) -> Iterable[str]:
        """The names of the label files that were met and belong to no image."""
        return self._met
