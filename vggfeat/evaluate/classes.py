"""Which output of a net each class of a data set is, and which output of another net: by name, never by position."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vggfeat._util.csv_files import read_csv
from vggfeat._util.printable import reason_of
from vggfeat.data.imagenet import synset_names
from vggfeat.errors import DataError, UsageError

MAX_FILE = 4 << 20  # bytes


@dataclass(frozen=True)
class Outputs:
    """The outputs of fc8, in their order. of : the net's name in messages. places : class of the data set -> output."""

    of: str
    names: Sequence[str]
    places: Mapping[str, int]


def match_classes(
    outputs: Sequence[str],
    classes: Sequence[str],
    named: Mapping[str, str] | None = None,
    partial: bool = False,
) -> dict[str, int]:
    """For each of a data set's `classes` the number of its output.

    Equal names match, and ILSVRC's synsets match the names of their classes ("n01440764", "tench"), both ways.
    named : class of the data set -> output, if their names differ. partial : the net may have more outputs than the
    data set has classes; images are still judged among all outputs.

    Raises DataError if a class has no output, or if outputs are left over; UsageError if `named` has a name that is
    not found, or if two classes are the same output.
    """
    named = named or {}
    _check_named(named, outputs, classes)
    place = _places(outputs)
    found = {name: place.get(named.get(name, name), -1) for name in classes}
    lacking = [name for name, output in found.items() if output < 0]
    if lacking:
        raise DataError(
            f"{len(lacking)} of the data set's {len(classes)} classes, first {lacking[0]!r}, are none of the weights' "
            f"{len(outputs)} ({outputs[0]!r}, ...); give a file with lines `class,output` as --classes"
        )
    twice = [output for output, count in Counter(found.values()).items() if count > 1]
    if twice:
        both = [name for name, output in found.items() if output == twice[0]]
        raise UsageError(f"the classes {both[0]!r} and {both[1]!r} are the same output, {outputs[twice[0]]!r}")
    if len(classes) < len(outputs) and not partial and not named:
        raise DataError(
            f"the weights have {len(outputs)} classes, the data set {len(classes)} of them; pass --partial to judge "
            f"images among all {len(outputs)}"
        )
    return found


def match_outputs(first: Outputs, other: Outputs) -> list[int]:
    """For each output of one net the number of the same output of another net, for the same data set.

    Outputs that are the same class of the data set are the same, also if their names differ. Outputs that are no class
    of the data set are matched by name, as in `match_classes`. Raises UsageError if one net has a class that the other
    lacks.
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
                f"of {lacks.of}: only posteriors over the same classes can be averaged; evaluate these nets separately"
            )
    return found


def _check_named(named: Mapping[str, str], outputs: Sequence[str], classes: Sequence[str]) -> None:
    known = _places(outputs)
    for name, output in named.items():
        if name not in classes:
            raise UsageError(f"the data set has no class {name!r} (named for {output!r}); it has {classes[0]!r}, ...")
        if output not in known:
            raise UsageError(
                f"the weights have no class {output!r} (named for {name!r}); they have {outputs[0]!r}, ..."
            )


def _places(outputs: Sequence[str]) -> dict[str, int]:
    """The number of each output by its name, and by its synset or its synset's name; without repeated names."""
    repeated = {name for name, count in Counter(outputs).items() if count > 1}
    place = {name: i for i, name in enumerate(outputs) if name not in repeated}
    other = synset_names()
    other = {**other, **{name: synset for synset, name in other.items()}}
    for name, i in list(place.items()):
        if name in other:
            place.setdefault(other[name], i)
    return place


def read_classes(file: Path) -> dict[str, str]:
    """A CSV file with lines `class,output` and without a header. Raises DataError."""
    try:
        rows = list(read_csv(file, MAX_FILE))
    except (OSError, ValueError) as error:
        reason = reason_of(error)
        raise DataError(f"{file}: cannot be read ({reason}); it must have lines `class,output`") from error
    if not rows or any(len(row) != 2 for row in rows):
        raise DataError(f"{file}: must have lines `class,output`, such as `n01440764,tench`")
    if len({row[0] for row in rows}) < len(rows):
        raise DataError(f"{file}: names a class twice; remove one of the lines")
    return {row[0]: row[1] for row in rows}
