"""What a search has found, as a table and as JSON."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from vggfeat import __version__
from vggfeat._util.files import replacing, write_text
from vggfeat.index.searching import Index, Match

HEADER = ("query", "rank", "path", "label", "similarity")


def write_csv(file: Path, names: Sequence[str], matches: Sequence[Sequence[Match]]) -> None:
    """Write a row for each photo that was found, nearest first. names : of the queries. Raises OSError."""
    with (
        replacing(file) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as out,
    ):
        table = csv.writer(out)
        table.writerow(HEADER)
        for name, found in zip(names, matches, strict=True):
            for rank, match in enumerate(found, start=1):
                table.writerow((name, rank, match.path, match.label or "", f"{match.similarity:.6f}"))


def write_json(file: Path, index: Index, names: Sequence[str], matches: Sequence[Sequence[Match]]) -> None:
    """Write what was found, and how well the index finds. recall : null if each search is exact. Raises OSError."""
    content = {
        "store": str(index.store.path),
        "rows": len(index),
        "recall": index.recall._asdict() if index.recall else None,
        "queries": [
            {"query": name, "matches": [match._asdict() for match in found]}
            for name, found in zip(names, matches, strict=True)
        ],
        "version": __version__,
    }
    write_text(file, json.dumps(content, indent=1) + "\n")
