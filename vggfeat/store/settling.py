"""Making one store of what several runs or processes wrote: each image has one row, or one line in failures.csv."""

from pathlib import Path

import pyarrow as pa

from vggfeat.store import files
from vggfeat.store.names import Names


def settle(store: Path, owner: str = "") -> tuple[Names, dict[str, str]]:
    """Drop rows that exist twice, join the lists of failures, and remove temporary files.

    Other processes may have ended, or may have nothing to write yet, but must not be writing.

    owner : of the temporary files; all of them if it is empty.

    Returns the names of the rows, and the failures. Raises StoreError.
    """
    names, failures = Names(), files.read_failures(store)
    lists, known = files.failure_lists(store), len(failures)
    for part in files.parts(store):
        new = add_names(part, names, failures)
        if not all(new):
            _keep(part, new)
    if len(failures) != known or lists[1:]:
        files.write_failures(store / "failures.csv", failures)
    for pattern in ("failures-*of*.csv", ".ended-*of*"):
        _remove(store, pattern)
    remove_temporary(store, owner)
    return names, failures


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
            add_names(part, names)
    return names


def add_names(part: Path, names: Names, failures: dict[str, str] | None = None) -> list[bool]:
    """Add the names of a part's rows; for each row whether its name is new. A name with a row leaves the failures."""
    new = []
    for batch in files.read_part(part, ["path"], files.ROW_GROUP):
        for name in batch.column("path").to_pylist():
            new.append(names.add(name))
            if failures:
                failures.pop(name, None)
    return new


def _keep(part: Path, rows: list[bool]) -> None:
    """Write a part again with some of its rows; the others are in earlier parts."""
    if any(rows):
        table = pa.Table.from_batches(list(files.read_part(part))).filter(pa.array(rows))
        files.write_part(table, part)
    else:
        part.unlink(missing_ok=True)
