"""Globs and braces: shards/{000..099}.tar, photos/*/img_*.jpg, photos/**/*.jpg"""

import glob
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
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


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
    """Replace braces: {000..099} counts, with the leading zeros of its first number; {a,b} lists words."""
    found = _BRACE.search(text)
    if not found:
        yield text
        return
    for word in _words(found[1]):
        for rest in expand(text[found.end() :]):
            yield text[: found.start()] + word + rest


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
        for file in _matches(pattern):
            found = True
            name = "/".join(map(utf8, file.relative_to(base).parts))
            if not file.is_dir():
                yield from folders.items(file, name, left_out)
            elif "**" not in pattern and not is_hidden(file.name):
                left_out.add(FOLDERS, name)
    if not found:
        raise DataError(f"{text}: matches no file; check the pattern")


def _matches(pattern: str) -> list[Path]:
    """Sorted. Braces alone name files that must exist: a missing one becomes a failure."""
    if not glob.has_magic(pattern):
        return [Path(pattern)]
    return sorted(map(Path, glob.glob(pattern, recursive=True)))  # noqa: PTH207  (a pattern may be absolute)
