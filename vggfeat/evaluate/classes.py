"""Which output of a net each class of a data set is, and which output of another net: by name, never by place."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vggfeat.data.imagenet import synset_names
from vggfeat.errors import DataError, UsageError
from vggfeat.weights import Weights, class_names

MAX_FILE = 4 << 20  # bytes


@dataclass(frozen=True)
class Outputs:
    """fc8's outputs, in their order. of : what a message calls the net. places : class of the data set -> its place."""

    of: str
    names: Sequence[str]
    places: Mapping[str, int]


def output_names(weights: Weights) -> tuple[str, ...]:
    """The names of fc8's outputs: those of the weights, or "class 17" where nobody tells."""
    return class_names(weights) or tuple(f"class {i}" for i in range(weights.outputs))


def match(
    outputs: Sequence[str],
    classes: Sequence[str],
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


def columns(first: Outputs, other: Outputs) -> list[int]:
    """For each output of one net the place of the same class among the outputs of another, of the same data set.

    Outputs that are the same class of the data set are the same, whatever they are called. Those that it has no class
    for are matched by name, as `match` does.

    Raises UsageError, naming the class, where one net has a class that the other has not.
    """
    if (list(first.names), first.places) == (list(other.names), other.places):
        return list(range(len(first.names)))
    of_class = {place: other.places[name] for name, place in first.places.items() if name in other.places}
    of_name = _places(other.names)
    found = [of_class.get(i, of_name.get(name, -1)) for i, name in enumerate(first.names)]
    times = Counter(found)
    alone = [name for name, place in zip(first.names, found, strict=True) if place < 0 or times[place] > 1]
    others_alone = [name for place, name in enumerate(other.names) if place not in times]
    for has, lacks, names in ((first, other, alone), (other, first, others_alone)):
        if names:
            raise UsageError(
                f"{names[0]!r} is one of the {len(has.names)} classes of {has.of}, and none of the {len(lacks.names)} "
                f"of {lacks.of}: only posteriors over the same classes can be averaged, so take such nets one by one"
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
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{file}: can't be read ({reason}); it is to have lines `class,output`") from error
    if not rows or any(len(row) != 2 for row in rows):
        raise DataError(f"{file}: it is to have lines `class,output`, such as `n01440764,tench`")
    if len({row[0] for row in rows}) < len(rows):
        raise DataError(f"{file}: names a class twice")
    return {row[0]: row[1] for row in rows}
