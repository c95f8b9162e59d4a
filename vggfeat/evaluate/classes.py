"""Which output of a net each class of a data set is: matched by name, never by place."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from vggfeat.data.imagenet import synset_names
from vggfeat.errors import DataError, UsageError
from vggfeat.weights import Weights, class_names

MAX_FILE = 4 << 20  # bytes


def output_names(weights: Weights) -> tuple[str, ...]:
    """The names of fc8's outputs: those of the weights, or "class 17" where nobody tells."""
    return class_names(weights) or tuple(f"class {i}" for i in range(weights.outputs))


def match(
    outputs: Sequence[str],
    classes: Sequence[str],
    *,
    named: Mapping[str, str] | None = None,
    partial: bool = False,
) -> dict[str, int]:
    """The place among a net's `outputs` of each of a data set's `classes`.

    Equal names match, and ILSVRC's synsets match the names of their classes ("n01440764", "tench"), in either
    direction. named : class of the data set -> output, where they are called otherwise. partial : the net may have
    outputs that the data set has no class for; images are then judged among all outputs all the same.

    Raises DataError, naming the first class, where one has no output, or where outputs are left over; UsageError
    for names that the two don't have, and for two classes of one output.
    """
    named = named or {}
    _check(named, outputs, classes)
    place = _places(outputs)
    found = {name: place.get(named.get(name, name), -1) for name in classes}
    lacking = [name for name, output in found.items() if output < 0]
    if lacking:
        raise DataError(
            f"{len(lacking)} of the data set's {len(classes)} classes, first {lacking[0]!r}, are none of the weights' "
            f"{len(outputs)} ({outputs[0]!r}, ...); say which is which in a file with lines `class,output`, passed as "
            "--classes"
        )
    twice = [output for output, count in Counter(found.values()).items() if count > 1]
    if twice:
        both = [name for name, output in found.items() if output == twice[0]]
        raise UsageError(f"the classes {both[0]!r} and {both[1]!r} are the same output, {outputs[twice[0]]!r}")
    if len(classes) < len(outputs) and not partial and not named:
        raise DataError(
            f"the weights have {len(outputs)} classes, the data set {len(classes)} of them; pass --partial if images "
            f"are to be judged among all {len(outputs)}"
        )
    return found


def _check(named: Mapping[str, str], outputs: Sequence[str], classes: Sequence[str]) -> None:
    for name, output in named.items():
        if name not in classes:
            raise UsageError(
                f"the data set has no class {name!r}, which is to be {output!r}; it has {classes[0]!r}, ..."
            )
        if output not in _places(outputs):
            raise UsageError(
                f"the weights have no class {output!r}, which {name!r} is to be; they have {outputs[0]!r}, ..."
            )


def _places(outputs: Sequence[str]) -> dict[str, int]:
    """Place of each output by its name, and by its synset or its synset's name; names of several outputs left out."""
    repeated = {name for name, count in Counter(outputs).items() if count > 1}
    place = {name: i for i, name in enumerate(outputs) if name not in repeated}
    other = synset_names()
    other = {**other, **{name: synset for synset, name in other.items()}}
    for name, i in list(place.items()):
        if name in other:
            place.setdefault(other[name], i)
    return place


def read_classes(file: Path) -> dict[str, str]:
    """A file with lines `class,output` (CSV, no heading). Raises DataError where it is missing or something else."""
    try:
        if file.stat().st_size > MAX_FILE:
            raise DataError(f"{file}: larger than {MAX_FILE:,} bytes; it can't be a list of classes")
        rows = [row for row in csv.reader(file.read_text(encoding="utf-8").splitlines()) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: can't be read ({error}); it is to have lines `class,output`") from error
    if not rows or any(len(row) != 2 for row in rows):
        raise DataError(f"{file}: it is to have lines `class,output`, such as `n01440764,tench`")
    if len({row[0] for row in rows}) < len(rows):
        raise DataError(f"{file}: names a class twice")
    return {row[0]: row[1] for row in rows}
