"""Predictions of any number of photos, as a stream: of files, folders, lists, tars, and stores."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import IO, Any, NamedTuple

from torch import Tensor

from vggfeat import sources
from vggfeat._util.files import replacing
from vggfeat._util.left_out import LeftOut
from vggfeat.aggregate import aggregate
from vggfeat.errors import DataError, ImageError
from vggfeat.extraction.decoding import Decoded, Decoder, Failure
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.model.classifier import Answer, Model
from vggfeat.sources.item import Item, utf8


class Prediction(NamedTuple):
    """What a model says of one photo of a source, or why it cannot be read.

    path : as the source names it. answer : None for a photo that cannot be read. reason : "" for one that can.
    """

    path: str
    answer: Answer | None
    reason: str = ""


def predictions(
    model: Model, names: Iterable[str], top: int, settings: ExtractionSettings, left_out: LeftOut
) -> Iterator[Prediction]:
    """Predict all photos of several sources, in their order; photos are decoded ahead, in other processes.

    left_out : counts files that are no photos. Raises WeightsError and ModelError as `Model.describer`.
    """
    describer = model.describer
    size = describer.engine.machine.tuning.group
    with Decoder(describer, settings) as decoder:
        decoded = decoder.decode(enumerate(_items(names, left_out)))
        for _, group in groupby(decoded, lambda one: one.place // size):
            yield from _of_group(model, group, top)


def _of_group(model: Model, group: Iterable[Decoded], top: int) -> Iterator[Prediction]:
    """The photos that go through the net together."""
    paths: dict[int, str] = {}
    found: dict[int, Prediction] = {}

    def readable() -> Iterator[tuple[int, Tensor]]:
        for one in group:
            if isinstance(one.image, Failure):
                found[one.place] = Prediction(one.path, None, one.image.reason)
            else:
                paths[one.place] = one.path
                yield one.place, one.image

    spec = model.spec
    for place, (scales,) in model.describer.stream(readable()):
        X = aggregate([vector[None] for vector in scales], spec.agg, spec.normalize)
        (answer,) = model.answers_of(model.margins(X), top)
        found[place] = Prediction(paths.pop(place), answer)
    for place in sorted(found):
        yield found[place]


def _items(names: Iterable[str], left_out: LeftOut) -> Iterator[Item]:
    """The photos of all sources, with names that lead to them; a source that cannot be read is a failed photo."""
    for name in names:
        shown = utf8(name)
        inside = f"{shown.rstrip('/')}/" if Path(name).is_dir() else ""
        try:
            for item in sources.items(name, left_out):
                path = shown if item.path == utf8(Path(name).name) else inside + item.path
                yield Item(path, item.image, item.label, item.listed)
        except DataError as error:
            yield Item(shown, ImageError(str(error).removeprefix(f"{name}: ")))


@contextmanager
def writers(csv_file: Path | None, json_file: Path | None, top: int) -> Iterator[Callable[[Prediction], None]]:
    """A function that writes each prediction into the files, which are written whole or not at all."""
    with ExitStack() as stack:
        writes: list[Callable[[Prediction], Any]] = []
        for file, make in ((csv_file, partial(_csv, top=top)), (json_file, _json)):
            if file is not None:
                opened = stack.enter_context(replacing(file)).open("w", encoding="utf-8", newline="")
                writes.append(stack.enter_context(make(stack.enter_context(opened))))

        def write(prediction: Prediction) -> None:
            for one in writes:
                one(prediction)

        yield write


@contextmanager
def _csv(file: IO[str], top: int) -> Iterator[Callable[[Prediction], Any]]:
    """path, error, none_of_these (0 or 1), class_1, probability_1, class_2, ..."""
    table = csv.writer(file, lineterminator="\n")
    best = [f"{what}_{place}" for place in range(1, top + 1) for what in ("class", "probability")]
    table.writerow(["path", "error", "none_of_these", *best])

    def write(one: Prediction) -> None:
        row: list[Any] = [one.path, one.reason]
        if one.answer:
            row.append(int(one.answer.none_of_these))
            row += [cell for name, chance in one.answer.classes for cell in (name, f"{chance:.6g}")]
        table.writerow(row + [""] * (3 + len(best) - len(row)))

    yield write


@contextmanager
def _json(file: IO[str]) -> Iterator[Callable[[Prediction], Any]]:
    """A list of {path, error} or {path, none_of_these, classes: [{name, probability}]}, one a line."""
    before = "[\n"

    def write(one: Prediction) -> None:
        nonlocal before
        value: dict[str, Any] = {"path": one.path}
        if one.answer:
            value["none_of_these"] = one.answer.none_of_these
            value["classes"] = [{"name": name, "probability": chance} for name, chance in one.answer.classes]
        else:
            value["error"] = one.reason
        file.write(before + json.dumps(value))
        before = ",\n"

    yield write
    file.write("\n]\n" if before != "[\n" else "[]\n")
