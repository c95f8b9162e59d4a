"""The file of ILSVRC's classification server: five of the kit's class numbers a line, a line a test image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vggfeat.data.imagenet import synset_names
from vggfeat.data.kit import find_kit, synset_ids
from vggfeat.errors import DataError, StoreError
from vggfeat.evaluate.result import combinations
from vggfeat.evaluate.runs import Net, average
from vggfeat.evaluate.scores import TOP

NO_GUESS = 0  # no class of the kit, whose numbers begin with 1


def write_submission(nets: Sequence[Net], file: str | Path, kit: str | Path) -> str:
    """Write the five likeliest classes of each image, in the order of the images' names; returns a note.

    What is written is the average of all that is stored: over scales, methods and nets. An image that could not be
    read keeps its line, of zeros, so that no other line is moved. `kit` is the development kit's data folder.

    Raises DataError where a class has no number in the kit; StoreError, UsageError as `runs.average`, and OSError where
    the file can't be written.
    """
    posteriors = average(combinations(nets)[-1])
    facts = posteriors.facts
    numbers = _numbers(facts.places, Path(kit))
    failed = {path for net in nets for run in net.runs.values() for path in run.store.failures}
    row = {path: i for i, path in enumerate(posteriors.paths)}
    if len(row.keys() | failed) != facts.images:
        raise StoreError(f"the runs hold {len(row)} of the {facts.images} images of {facts.data}; evaluate it again")
    places = np.array(sorted(numbers))
    likeliest = places[np.argsort(-posteriors.matrix[:, places], axis=1, kind="stable")[:, :TOP]]
    empty = [NO_GUESS] * min(TOP, len(places))
    lines = []
    for path in sorted(row.keys() | failed):
        guesses = [numbers[place] for place in likeliest[row[path]].tolist()] if path in row else empty
        lines.append(" ".join(map(str, guesses)) + "\n")
    Path(file).write_text("".join(lines), encoding="ascii")
    broken = f", {len(lines) - len(row)} of them zeros, as the image could not be read" if len(lines) > len(row) else ""
    return f"submission: {file}, {len(lines):,} lines{broken}"


def kit_of(data: str | Path | None, kit: str | Path | None) -> Path:
    """The data folder of the development kit: `kit`, or what lies in a data set's folder or beside it.

    Raises DataError where there is none.
    """
    top = Path(data).resolve() if data is not None else Path.cwd()
    found = find_kit(top, top, kit) if data is not None or kit is not None else []
    if not found:
        raise DataError("a submission takes the class numbers of the development kit; name its folder as --kit")
    return found[0]


def _numbers(places: dict[str, int], kit: Path) -> dict[int, int]:
    """Place of an output -> the kit's number of its class."""
    ids = synset_ids(kit)
    synset_of = {name: synset for synset, name in synset_names().items()}
    found = {place: ids.get(name, ids.get(synset_of.get(name, ""))) for name, place in places.items()}
    lacking = next((name for name, place in places.items() if found[place] is None), None)
    if lacking is not None:
        raise DataError(f"{kit}: has no number for the class {lacking!r}; a submission is of ILSVRC's classes")
    return {place: number for place, number in found.items() if number is not None}
