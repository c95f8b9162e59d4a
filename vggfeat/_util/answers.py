"""A stream of answers into a CSV file and a JSON file, each written whole or not at all."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from vggfeat._util.files import replacing

A = TypeVar("A")


@contextmanager
def answers_into(
    csv_file: Path | None,
    json_file: Path | None,
    header: Sequence[str],
    rows: Callable[[A], Iterable[Sequence[Any]]],
    value: Callable[[A], dict[str, Any]],
) -> Iterator[Callable[[A], None]]:
    """A function that writes each answer into the files that are given.

    header, rows : of the table; a row may end early. value : of the list in the JSON file, one a line.
    """
    with ExitStack() as stack:
        writes: list[Callable[[A], Any]] = []
        if csv_file is not None:
            table = csv.writer(stack.enter_context(_opened(csv_file, stack)), lineterminator="\n")
            table.writerow(header)
            writes.append(
                lambda one: table.writerows([*row, *[""] * (len(header) - len(row))] for row in map(list, rows(one)))
            )
        if json_file is not None:
            put = stack.enter_context(_listed(stack.enter_context(_opened(json_file, stack))))
            writes.append(lambda one: put(value(one)))

        def write(answer: A) -> None:
            for one in writes:
                one(answer)

        yield write


def _opened(file: Path, stack: ExitStack) -> IO[str]:
    return stack.enter_context(replacing(file)).open("w", encoding="utf-8", newline="")


@contextmanager
def _listed(file: IO[str]) -> Iterator[Callable[[dict[str, Any]], None]]:
    before = "[\n"

    def put(value: dict[str, Any]) -> None:
        nonlocal before
        file.write(before + json.dumps(value))
        before = ",\n"

    yield put
    file.write("\n]\n" if before != "[\n" else "[]\n")
