"""Boxes in a CSV file with the columns path,label,x0,y0,x1,y1 and, if it has subsets, subset."""

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from vggfeat._util.csv_files import Columns, finite, read_csv, read_table
from vggfeat._util.printable import reason_of
from vggfeat.data.base import MissingSubsetError
from vggfeat.data.marked import Marked, check_class
from vggfeat.errors import DataError
from vggfeat.formats import SUBSETS, subset_of

BESIDE = "images"  # a folder beside the file, in which the photos may lie


def read(
    file: Path, subset: str, images: Path | None, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], list[Marked]]:
    """The classes, and the photos of a subset. Without the column `subset` all are train.

    Raises DataError with the file and the row; MissingSubsetError if there is no row of the subset.
    """
    rows = _rows(file)
    subsets = {row["subset"] for row in rows}
    if subset not in subsets:
        raise MissingSubsetError(f"{file}: has no {subset} photos; take the subset {' or '.join(sorted(subsets))}")
    of_train = {row["label"] for row in rows if row["subset"] == "train"}
    known = tuple(classes or sorted(of_train or {row["label"] for row in rows}))
    found: dict[str, Marked] = {}
    subset_of_path: dict[str, str] = {}
    places = [images] if images is not None else [file.parent, file.parent / BESIDE]
    for number, row in enumerate(rows, start=1):
        path, label = row["path"], row["label"]
        if subset_of_path.setdefault(path, row["subset"]) != row["subset"]:
            raise DataError(f"{file}: row {number}: {path} is also in {subset_of_path[path]}; give it one subset")
        if row["subset"] == subset:
            check_class(f"{file}: row {number}", label, known)
            if path not in found:
                found[path] = Marked(path, _photo(places, path), [])
            if row["box"] is not None:
                found[path].objects.append((label, row["box"]))
    return known, list(found.values())


def _rows(file: Path) -> list[dict[str, Any]]:
    """The rows with `box`, None if it is empty, in place of its corners."""
    columns: Columns = {"path": _inner, "label": _label, **dict.fromkeys(("x0", "y0", "x1", "y1"), _corner)}
    try:
        header = next(read_csv(file), [])
        if "subset" in header:
            columns = {**columns, "subset": _subset}
        rows = []
        for number, row in enumerate(read_table(file, columns), start=1):
            box = tuple(row[name] for name in ("x0", "y0", "x1", "y1"))
            missing = sum(map(math.isnan, box))
            if 0 < missing < 4:
                raise ValueError(f"row {number}: a corner of the box is missing")
            rows.append({"subset": "train", **row, "box": None if missing else box})
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: {reason_of(error)}; give a CSV file path,label,x0,y0,x1,y1[,subset]") from error
    if not rows:
        raise DataError(f"{file}: has no rows; give a CSV file path,label,x0,y0,x1,y1[,subset]")
    return rows


def _photo(places: Sequence[Path], path: str) -> Path:
    """The photo in the first place that has it; in the last place if none has."""
    return next((place / path for place in places if (place / path).is_file()), places[-1] / path)


def _inner(text: str) -> str:
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or "\0" in text:
        raise ValueError(f"{text[:100]!r} is not the path of a photo relative to its folder")
    return str(path)  # ./a.jpg and a.jpg are one photo


def _label(text: str) -> str:
    if not text.strip():
        raise ValueError("the label is empty")
    return text.strip()


def _corner(text: str) -> float:
    return finite(text) if text.strip() else math.nan


def _subset(text: str) -> str:
    if (subset := subset_of(text.strip())) is None:
        raise ValueError(f"{text[:50]!r} is not one of the subsets {', '.join(SUBSETS)}")
    return subset
