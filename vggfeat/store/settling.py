"""Making one store of what several runs or processes wrote: each image has one row, or one line in failures.csv."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from vggfeat.store import files
from vggfeat.store.identity import COLUMNS, Identity, Rows, row_of
from vggfeat.store.names import Names


class News(NamedTuple):
    """What changes in a row whose values stay: the label, and size and time if those of the file have changed."""

    label: str | None
    identity: Identity | None


class Settled(NamedTuple):
    """A store after settling: its parts, its rows, and its failures. `Row.part` is a position in `parts`."""

    parts: list[Path]
    rows: Rows
    failures: dict[str, str]


def settle(store: Path, owner: str = "") -> Settled:
    """Drop rows that exist twice, join the lists of failures, and remove temporary files.

    Of two rows with the same name, the first stays if both are of the same file; otherwise the second stays, because a
    changed image is described later. No other process may be writing: all have ended, or have nothing to write yet.

    owner : of the temporary files; all of them if it is empty.

    Raises StoreError.
    """
    parts, rows, failures = files.parts(store), Rows(), files.read_failures(store)
    lists, known = files.failure_lists(store), len(failures)
    outdated: dict[int, set[str]] = defaultdict(set)
    for number, part in enumerate(parts):
        new = add_rows(part, number, rows, failures, outdated)
        if not all(new):
            _keep(part, _table(part), new)
    for number, old in outdated.items():
        amend(parts[number], old, {})
    if len(failures) != known or lists[1:]:
        files.write_failures(store / "failures.csv", failures)
    for pattern in ("failures-*of*.csv", ".ended-*of*"):
        _remove(store, pattern)
    remove_temporary(store, owner)
    return Settled(parts, rows, failures)


def remove_temporary(store: Path, owner: str = "") -> None:
    """Remove the temporary files of an owner; those of all owners if it is empty."""
    _remove(store, f"*{owner}.tmp")


def _remove(store: Path, pattern: str) -> None:
    for left in store.glob(pattern):
        left.unlink(missing_ok=True)


def names_within(store: Path, places: range) -> Names:
    """The names of the rows in the parts whose number is one of these places. Raises StoreError."""
    names = Names()
    for part in files.parts(store):
        if files.number_of(part) in places:
            for batch in files.read_part(part, ["path"], files.ROW_GROUP):
                for name in batch.column("path").to_pylist():
                    names.add(name)
    return names


def add_rows(
    part: Path,
    number: int,
    rows: Rows,
    failures: dict[str, str] | None = None,
    outdated: dict[int, set[str]] | None = None,
) -> list[bool]:
    """Add the rows of a part, and return for each row whether it is new. Names with a row are removed from failures.

    outdated : position of an earlier part -> names of its rows whose images have changed. This function adds to it.
    """
    new = []
    for batch in files.read_part(part, ["path", "label", *COLUMNS], files.ROW_GROUP):
        for name, label, *identity in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            row = row_of(number, label, Identity(*identity))
            known = rows.put(name, row)
            new.append(known is None or known[1:] != row[1:])
            if known and not new[-1]:
                rows.put(name, known)
            elif known and outdated is not None:
                outdated[known.part].add(name)
            if failures:
                failures.pop(name, None)
    return new


def amend(part: Path, dropped: Collection[str], news: Mapping[str, News]) -> None:
    """Write a part again, without the rows that are dropped, and with the news of others. Raises StoreError."""
    table = _table(part)
    names = table["path"].to_pylist()
    for column in ("label", "size", "changed_ns") if news else ():
        values = table[column].to_pylist()
        for i, name in enumerate(names):
            new = news.get(name)
            if new and column == "label":
                values[i] = new.label
            elif new and new.identity:
                values[i] = getattr(new.identity, column)
        at = table.column_names.index(column)
        table = table.set_column(at, column, pa.array(values, table.schema.field(at).type))
    _keep(part, table, [name not in dropped for name in names])


def _keep(part: Path, table: pa.Table, rows: Sequence[bool]) -> None:
    """Write a part again, with some of the rows of a table."""
    if any(rows):
        files.write_part(table if all(rows) else table.filter(pa.array(rows)), part)
    else:
        part.unlink(missing_ok=True)


def _table(part: Path) -> pa.Table:
    return pa.Table.from_batches(list(files.read_part(part)))
