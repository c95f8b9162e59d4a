"""Globs and braces: shards/{000..099}.tar, photos/*/img_*.jpg, photos/**/*.jpg"""

import glob
import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path

from vggfeat._util.left_out import LeftOut
from vggfeat.errors import DataError
from vggfeat.formats import is_hidden
from vggfeat.sources import folders
from vggfeat.sources.item import Item, utf8

FOLDERS = "folders that match the pattern, whose files are not read (write ** for all folders below)"

_BRACE = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,4000})\.\.(\d{1,4000})")  # Python reads no longer numbers
_STARS = re.compile(r"(?:^|(?<=/))((?:\*\*/)*\*\*)(?:/|$)")
MAX_EXPANDED = 1_000_000  # names that braces stand for


def is_pattern(text: str) -> bool:
    """Whether a text has a glob or braces."""
    return bool(glob.has_magic(text) or _BRACE.search(text))


def fixed_part(text: str) -> str:
    """The folders before the first one with a glob or braces; the whole text if it has none."""
    folders = text.split("/")
    for n, folder in enumerate(folders):
        if is_pattern(folder):
            return "/".join(folders[:n])
    return text


def expand(text: str) -> Iterator[str]:
    """Replace braces: {000..099} counts, with the leading zeros of its first number; {a,b} lists words.

    Raises DataError if this gives more than MAX_EXPANDED names.
    """
    parts = _BRACE.split(text)  # every second one was in braces
    if math.prod(_count(inside) for inside in parts[1::2]) > MAX_EXPANDED:
        raise DataError(f"{text}: the braces give more than {MAX_EXPANDED:,} names; write * or a list instead")
    words = [_words(part) if n % 2 else (part,) for n, part in enumerate(parts)]
    return map("".join, itertools.product(*words))


def _count(inside: str) -> int:
    if not (numbers := _RANGE.fullmatch(inside)):
        return inside.count(",") + 1
    return max(0, int(numbers[2]) - int(numbers[1]) + 1)


def _words(inside: str) -> Iterator[str]:
    if numbers := _RANGE.fullmatch(inside):
        first, last = numbers.groups()
        for number in range(int(first), int(last) + 1):
            yield f"{number:0{len(first)}d}"
    else:
        yield from inside.split(",")


def items(text: str, left_out: LeftOut) -> Iterator[Item]:
    """The images and tars that a pattern names, relative to its fixed part. Raises DataError."""
    base = Path(fixed_part(text) or ("/" if text.startswith("/") else "."))
    found = False
    for pattern in expand(text):
        for file in _matches(pattern, left_out):
            found = True
            name = "/".join(map(utf8, file.relative_to(base).parts))
            if not file.is_dir():
                yield from folders.items(file, name, left_out, listed=glob.has_magic(pattern))
            elif "**" not in pattern and not is_hidden(file.name):
                left_out.add(FOLDERS, name)
    if not found:
        raise DataError(f"{text}: matches no file; check the pattern")


def _matches(pattern: str, left_out: LeftOut) -> list[Path]:
    """Sorted. Braces alone name files that must exist: a missing one becomes a failure."""
    if not glob.has_magic(pattern):
        return [Path(pattern)]
    return sorted(set(map(Path, _found(pattern, left_out))))


def _found(pattern: str, left_out: LeftOut) -> Iterator[str]:
    """What a glob matches. Python's own ** would follow a link into itself."""
    above, stars, below = _STARS.split(pattern, maxsplit=1) if _STARS.search(pattern) else (pattern, "", "")
    if not stars:
        yield from glob.iglob(pattern)  # noqa: PTH207  (a pattern may be absolute)
        return
    for root in glob.iglob(above or "."):  # noqa: PTH207
        for folder in folders.below(Path(root), left_out):
            yield from _found(f"{glob.escape(str(folder))}/{below or '*'}", left_out)
