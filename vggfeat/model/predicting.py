"""Predictions of any number of photos, as a stream: of files, folders, lists, tars, and stores."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from vggfeat._util.answers import answers_into
from vggfeat._util.left_out import LeftOut
from vggfeat.aggregate import aggregate
from vggfeat.extraction.decoding import Decoded, Decoder, Failure
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.model.answers import Answer
from vggfeat.model.classifier import Model
from vggfeat.model.stores import refuse_other_descriptors, rows_for, store_among
from vggfeat.sources.several import items_of_all
from vggfeat.store import Store


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

    The rows of stores are not described again; the photos that failed there fail here. left_out : counts files that are
    no photos. Raises StoreError for a store of other descriptors; WeightsError and ModelError as `Model.describer`.
    """
    found = [(name, store_among(name)) for name in names]
    for _, store in found:  # what is wrong is said before the work
        if store is None:
            model.describer  # noqa: B018
        else:
            refuse_other_descriptors(store, model.content, model.name)
    for store, some in groupby(found, lambda one: one[1]):
        if store is None:
            yield from _of_photos(model, (name for name, _ in some), top, settings, left_out)
        else:
            yield from _of_store(model, store, top)


def _of_store(model: Model, store: Store, top: int) -> Iterator[Prediction]:
    for paths, X in rows_for(store, model.content, model.name):
        for path, answer in zip(paths, model.answers_of(model.margins(X), top), strict=True):
            yield Prediction(path, answer)
    for path, reason in store.failures.items():
        yield Prediction(path, None, reason)


def _of_photos(
    model: Model, names: Iterable[str], top: int, settings: ExtractionSettings, left_out: LeftOut
) -> Iterator[Prediction]:
    describer = model.describer
    size = describer.engine.machine.tuning.group
    with Decoder(describer, settings) as decoder:
        decoded = decoder.decode(enumerate(items_of_all(names, left_out)))
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


def writers(
    csv_file: Path | None, json_file: Path | None, top: int
) -> AbstractContextManager[Callable[[Prediction], None]]:
    """A function that writes each prediction into the files, which are written whole or not at all."""
    best = [f"{what}_{place}" for place in range(1, top + 1) for what in ("class", "probability")]
    header = ["path", "error", "none_of_these", *best]
    return answers_into(csv_file, json_file, header, lambda one: [_row(one)], _value)


def _row(one: Prediction) -> list[Any]:
    """path, error, none_of_these (0 or 1), class_1, probability_1, class_2, ..."""
    row: list[Any] = [one.path, one.reason]
    if one.answer:
        row.append(int(one.answer.none_of_these))
        row += [cell for name, chance in one.answer.classes for cell in (name, f"{chance:.6g}")]
    return row


def _value(one: Prediction) -> dict[str, Any]:
    """{path, error} or {path, none_of_these, classes: [{name, probability}]}."""
    if not one.answer:
        return {"path": one.path, "error": one.reason}
    classes = [{"name": name, "probability": chance} for name, chance in one.answer.classes]
    return {"path": one.path, "none_of_these": one.answer.none_of_these, "classes": classes}
