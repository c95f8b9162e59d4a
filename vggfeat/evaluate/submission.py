"""The file of ILSVRC's classification server: one line per test image with five of the kit's class numbers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vggfeat._util.files import write_text
from vggfeat.data.imagenet import synset_names
from vggfeat.data.kit import find_kit, synset_ids
from vggfeat.errors import DataError, StoreError
from vggfeat.evaluate.averages import average
from vggfeat.evaluate.result import combinations
from vggfeat.evaluate.runs import StoredNet
from vggfeat.evaluate.scores import TOP

NO_GUESS = 0  # no class of the kit, whose numbers begin with 1


def write_submission(nets: Sequence[StoredNet], file: str | Path, kit: str | Path) -> str:
    """Write the five most likely classes of each image, in the order of the images' names.

    They are those of the average of all stored posteriors: over scales, methods and nets. An image that could not be
    read has a line of zeros, so that the other lines stay in place.

    Parameters
    ----------
    nets : sequence of StoredNet
        Stored posteriors, from `open_runs`.
    file : str or path
        The file to write.
    kit : str or path
        Folder with meta.mat or map_clsloc.txt of the development kit.

    Returns
    -------
    str
        A line for people: the file, and the number of its lines.

    Raises
    ------
    DataError
        If a class has no number in the kit.
    StoreError
        If a run is damaged or incomplete.
    UsageError
        If the nets have different data or classes.
    OSError
        If the file cannot be written; it is written whole or not at all.
    """
    posteriors = average(combinations(nets)[-1])
    facts = posteriors.facts
    numbers = _numbers(facts.places, Path(kit))
    failed = {path for net in nets for run in net.runs.values() for path in run.store.failures}
    row = {path: i for i, path in enumerate(posteriors.paths)}
    if len(row.keys() | failed) != facts.images:
        raise StoreError(f"the runs have {len(row)} of the {facts.images} images of {facts.data}; evaluate it again")
    places = np.array(sorted(numbers))
    best = places[np.argsort(-posteriors.matrix[:, places], axis=1, kind="stable")[:, :TOP]]
    no_guesses = [NO_GUESS] * min(TOP, len(places))
    lines = []
    for path in sorted(row.keys() | failed):
        guesses = [numbers[place] for place in best[row[path]].tolist()] if path in row else no_guesses
        lines.append(" ".join(map(str, guesses)) + "\n")
    write_text(Path(file), "".join(lines))
    broken = f", {len(lines) - len(row)} of them zeros, as the image could not be read" if len(lines) > len(row) else ""
    return f"submission: {file}, {len(lines):,} lines{broken}"


def kit_of(data: str | Path | None, kit: str | Path | None) -> Path:
    """The kit's folder that has its tables: in `kit`, else in or beside the data set's folder. Raises DataError."""
    top = Path(data).resolve() if data is not None else Path.cwd()
    found = find_kit(top, top, kit) if data is not None or kit is not None else []
    if not found:
        raise DataError("no development kit found, and a submission needs its class numbers; name its folder as --kit")
    return found[0]


def _numbers(places: dict[str, int], kit: Path) -> dict[int, int]:
    """Output -> the kit's number of its class."""
    ids = synset_ids(kit)
    synset_of = {name: synset for synset, name in synset_names().items()}
    found = {place: ids.get(name) or ids.get(synset_of.get(name, "")) for name, place in places.items()}
    missing = next((name for name, place in places.items() if found[place] is None), None)
    if missing is not None:
        raise DataError(f"{kit}: has no number for the class {missing!r}; evaluate a data set with ILSVRC's classes")
    return {place: number for place, number in found.items() if number is not None}
