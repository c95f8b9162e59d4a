"""Making one store of what several runs or processes wrote: each image has one row, or one line in failures.csv."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from vggfeat._util.left_out import LeftOut
from vggfeat.store import files, parts
from vggfeat.store.identity import COLUMNS, Identity, Rows, row_of
from vggfeat.store.names import Names

TWICE = "rows that the store had twice, of which one stays"


class News(NamedTuple):
    """What changes in a row whose values stay: the label, and size and time if those of the file have changed."""

    label: str | None
    identity: Identity | None


class Settled(NamedTuple):
    """A store after settling: its parts, its rows, its failures, and what a user should know of the parts.

    `Row.part` is a position in `parts`.
    """

    parts: list[Path]
    rows: Rows
    failures: dict[str, str]
    remarks: LeftOut


def settle(store: Path, owner: str = "") -> Settled:
    """Drop rows that exist twice, join the lists of failures, and remove temporary files.

    Of two rows with the same name, the first stays if both are of the same file; otherwise the second stays, because a
    changed image is described later. No other process may be writing: all have ended, or have nothing to write yet.

    owner : of the temporary files; all of them if it is empty.

    Raises StoreError.
    """
    found = Settled(parts.listed(store), Rows(), files.read_failures(store), LeftOut())
    fingerprint = files.read_meta(store)["fingerprint"]
    lists, known = files.failure_lists(store), len(found.failures)
    outdated: dict[int, set[str]] = defaultdict(set)
    for number, part in enumerate(found.parts):
        with parts.opened(part, fingerprint) as one:
            new = add_rows(one, number, found.rows, found.remarks, found.failures, outdated)
            table = None if all(new) else one.table()
        if table is not None:
            found.remarks.add(TWICE, part.name, count=new.count(False))
            _keep(part, table, new)
    for number, old in outdated.items():
        amend(found.parts[number], fingerprint, old, {})
    if len(found.failures) != known or lists[1:]:
        files.write_failures(store / "failures.csv", found.failures)
    for pattern in ("failures-*of*.csv", ".ended-*of*"):
        _remove(store, pattern)
    remove_temporary(store, owner)
    return found


def remove_temporary(store: Path, owner: str = "") -> None:
    """Remove the temporary files of an owner; those of all owners if it is empty."""
    _remove(store, f"*{owner}.tmp")


def _remove(store: Path, pattern: str) -> None:
    for left in store.glob(pattern):
        left.unlink(missing_ok=True)


def names_within(store: Path, fingerprint: Mapping[str, Any], places: range) -> Names:
    """The names of the rows in the parts whose number is one of these places. Raises StoreError."""
    names = Names()
    for part in parts.listed(store):
        if parts.number_of(part) in places:
            with parts.opened(part, fingerprint) as one:
                for batch in one.batches(["path"], parts.ROW_GROUP):
                    for name in batch.column("path").to_pylist():
                        names.add(name)
    return names


def add_rows(
    part: parts.Part,
    number: int,
    rows: Rows,
    remarks: LeftOut,
    failures: dict[str, str] | None = None,
    outdated: dict[int, set[str]] | None = None,
) -> list[bool]:
    """Add the rows of a part, and return for each row whether it is new. Names with a row are removed from failures.

    outdated : position of an earlier part -> names of its rows whose images have changed. This function adds to it.
    """
    if not part.footer.signed:
        remarks.add(parts.UNSIGNED, part.path.name)
    new = []
    for batch in part.batches(["path", "label", *COLUMNS], parts.ROW_GROUP):
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


def amend(part: Path, fingerprint: Mapping[str, Any], dropped: Collection[str], news: Mapping[str, News]) -> None:
    """Write a part again, without the rows that are dropped, and with the news of others. Raises StoreError."""
    with parts.opened(part, fingerprint) as one:
        table = one.table()
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
        parts.write(table if all(rows) else table.filter(pa.array(rows)), part)
    else:
        part.unlink(missing_ok=True)
