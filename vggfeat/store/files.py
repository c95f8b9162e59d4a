"""The files in a store's folder besides its parts: how each is read and written."""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta as Limits

from vggfeat._util.files import replacing
from vggfeat._util.json_files import checked, read_json
from vggfeat._util.printable import hidden, reason_of
from vggfeat._util.regular_files import open_regular
from vggfeat.errors import StoreError

FORMAT = "vggfeat-store/1"
# The values of these keys if a fingerprint lacks them.
ABSENT = {"exif": True, "allow_truncated": False, "lineage": "known"}
MAX_META = 2**20  # bytes of meta.json
MAX_FAILURES = 2**30  # bytes of a list of failures
MAX_LINE = 2**16  # characters of a line in it, or of a piece of one with line breaks
HEADER = ["path", "reason"]
_REASON = 500  # characters of a reason that are kept; some libraries give whole pages as theirs
_SHOWN = 200  # characters of a value in a message


class Fingerprint(TypedDict):
    """What is read of a fingerprint, which has more keys; each that decides a value is compared."""

    scales: Annotated[list[Annotated[int, Limits(ge=1, le=2**16)]], Limits(min_length=1, max_length=256)]
    dtype: NotRequired[Literal["float32", "float16"]]
    net: NotRequired[str]
    width: NotRequired[float]
    weights_sha256: NotRequired[str]
    layer: NotRequired[str]
    mirror: NotRequired[bool]
    pooling: NotRequired[str]
    precision: NotRequired[str]
    exif: NotRequired[bool]
    allow_truncated: NotRequired[bool]
    method: NotRequired[str]
    row: NotRequired[list[str]]


class Meta(TypedDict):
    """What is read of meta.json, which may have more keys."""

    format: str
    fingerprint: Fingerprint
    weights: NotRequired[str]
    agg: NotRequired[Literal["mean", "max", "stack"]]
    source: NotRequired[str | None]


@contextmanager
def writing(file: Path, owner: str = "") -> Iterator[Path]:
    """A temporary path that replaces `file` at the end, as `replacing` does. Raises StoreError."""
    try:
        with replacing(file, owner) as temporary:
            yield temporary
    except OSError as error:
        raise StoreError(
            f"{file}: cannot be written ({reason_of(error)}); "
            "what was written before is kept, run the same command again to continue"
        ) from error


def read_meta(store: Path) -> dict[str, Any]:
    """Read meta.json. Raises StoreError if it is missing, or does not belong to a store."""
    file = store / "meta.json"
    try:
        meta: dict[str, Any] = read_json(file, dict[str, Any], MAX_META)
        if meta.get("format") == FORMAT:
            known: Meta = checked(meta, Meta)
            scales = known["fingerprint"]["scales"]
            if len(set(scales)) < len(scales):
                raise ValueError("has a scale twice")
    except FileNotFoundError as error:
        what = "is no descriptor store, for it has no meta.json" if store.exists() else "no such store"
        raise StoreError(f"{store}: {what}; make one with vggfeat extract, or name another folder") from error
    except (OSError, ValueError) as error:
        reason = reason_of(error)
        raise StoreError(f"{file}: cannot be read ({reason}); delete the store and extract it again") from error
    if meta.get("format") != FORMAT:
        raise StoreError(f"{store}: is not a store of the format {FORMAT}; read it with another version of vggfeat")
    return meta


def write_meta(store: Path, meta: Mapping[str, Any], owner: str = "") -> None:
    """Raises StoreError."""
    with writing(store / "meta.json", owner) as temporary:
        temporary.write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def check_fingerprint(store: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise StoreError for the first key whose values differ."""
    if found := difference(stored, wanted):
        key, made, asked = found
        raise StoreError(
            f"{store}: was made with {key} {made}, not {asked}; give the same options or name another store"
        )


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """The first key in which two fingerprints differ, and its values as text; None if they are equal.

    The preprocessing comes last: it differs because the weights do, and they say more.
    """
    for key in sorted(one.keys() | other.keys(), key=lambda key: (key == "preprocessing", key)):
        if one.get(key) != other.get(key):
            first, second = (repr(values.get(key, ABSENT.get(key)))[:_SHOWN] for values in (one, other))
            return key, first, second
    return None


def failure_lists(store: Path) -> list[Path]:
    """failures.csv, which need not exist, then the lists of processes that write together: failures-0of4.csv."""
    return [store / "failures.csv", *sorted(store.glob("failures-*of*.csv"))]


def read_failures(store: Path) -> dict[str, str]:
    """The failures of all lists, name -> reason. Raises StoreError if a list is damaged."""
    failures: dict[str, str] = {}
    # failures.csv is read last: other lists are deleted after their lines were added to it, so no line is missed.
    for file in reversed(failure_lists(store)):
        try:
            failures = dict(_lines(file)) | failures
        except FileNotFoundError:
            continue
        except (OSError, ValueError, csv.Error) as error:
            reason = reason_of(error)
            raise StoreError(f"{file}: is damaged ({reason}); delete it, failed images are tried again") from error
    return failures


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """(name, reason) of each line. Raises OSError, ValueError, csv.Error."""
    with io.TextIOWrapper(open_regular(file), encoding="utf-8", newline="") as text:
        if os.fstat(text.fileno()).st_size > MAX_FAILURES:
            raise ValueError(f"has more than {MAX_FAILURES:,} bytes")
        rows = csv.reader(iter(lambda: text.readline(MAX_LINE), ""), strict=True)
        if next(rows, None) != HEADER:
            raise ValueError(f"does not begin with {','.join(HEADER)}")
        for row in rows:
            if len(row) != len(HEADER):
                raise ValueError(f"line {rows.line_num} has not {len(HEADER)} columns")
            yield row[0], row[1]


def write_failures(file: Path, failures: Mapping[str, str], owner: str = "") -> None:
    """Write a list of failures, sorted by name. Raises StoreError."""
    with (
        writing(file, owner) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as lines,
    ):
        rows = csv.writer(lines)
        rows.writerow(HEADER)
        rows.writerows((path, hidden(reason)[:_REASON]) for path, reason in sorted(failures.items()))
