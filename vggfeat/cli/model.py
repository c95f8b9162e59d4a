"""A user's own classes: fit, predict."""

import json as json_format
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vggfeat._util.files import check_folder, check_writable, write_text
from vggfeat._util.printable import printable, say
from vggfeat.cli.derive import Without
from vggfeat.cli.output import show
from vggfeat.cli.usage import check_source
from vggfeat.errors import UsageError, VggfeatError
from vggfeat.model.settings import FitSettings, FitSpec
from vggfeat.spec import MAX_PIXELS, Lineage

if TYPE_CHECKING:
    from vggfeat.model.answers import Answer
    from vggfeat.model.predicting import Prediction


def fit(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder with a folder for each class, a list with labels, a tar, or a store of these.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="MODEL", help="The file of the model, such as birds.vggmodel.")],
    store: Annotated[
        Path | None, typer.Option(help="The store of the descriptors. Default: SOURCE.vggfeat in the current folder.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures as JSON to this file.")] = None,
    decisions: Annotated[
        Path | None,
        typer.Option(help="A table of decisions, as explore writes it: photos to leave out, and new labels."),
    ] = None,
    *,
    spec: Annotated[FitSpec, Without("agg", "normalize")],
    settings: FitSettings,
) -> None:
    """Train a classifier on your own labelled photos.

    It is measured on photos that were held out. The photos are described once, into a store. Run the same command
    again to continue or to train anew.
    """
    check_source(source)
    from vggfeat.model.run import fit

    for file in (out, json):
        if file is not None:
            check_writable(file)
    if store is not None:
        check_folder(store)
    model = fit(source, store=store, decisions=decisions, spec=spec, settings=settings)
    model.save(out)
    assert model.figures
    show(*model.figures.lines())
    if json is not None:
        write_text(json, json_format.dumps(model.figures.as_json(), indent=1) + "\n")
    show(f"{out}: a model of {len(model.classes_)} classes")


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The file of a model, from vggfeat fit.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE|FOLDER|STORE...", help="Also lists, tars and globs.")],
    top: Annotated[int, typer.Option(help="How many classes of each photo.")] = 5,
    csv: Annotated[Path | None, typer.Option(help="Write a table to this file, and print no photos.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write JSON to this file, and print no photos.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="The model's weights, a name or a file. Default: the name in the model.")
    ] = None,
    lineage: Annotated[Lineage | None, typer.Option(help="Lineage of these weights, if it is unknown.")] = None,
    device: Annotated[str, typer.Option(help="auto (the first GPU, or the CPU), cpu, cuda, cuda:1, ...")] = "auto",
    max_pixels: Annotated[int, typer.Option(help="Largest number of pixels of a photo.")] = MAX_PIXELS,
) -> None:
    """Print the classes of photos, with their probabilities.

    A photo may be "none of these". The exit status is 1 if a photo failed. A store must be made with the net and the
    settings of the model; its photos are not described again.
    """
    from vggfeat._util.left_out import LeftOut
    from vggfeat.extraction.settings import ExtractionSettings
    from vggfeat.model.classifier import Model
    from vggfeat.model.predicting import predictions, writers

    if top < 1:
        raise UsageError(f"top must be 1 or more, not {top}")
    for file in (csv, json):
        if file is not None:
            check_writable(file)
    left_out = LeftOut()
    opened = Model.load(model, weights=weights, lineage=lineage, device=device)
    top = min(top, len(opened.classes_))
    found = predictions(opened, images, top, ExtractionSettings(max_pixels=max_pixels), left_out)
    with writers(csv, json, top) as write:
        count, failed = _answer(found, write, silent=csv is not None or json is not None)
    for line in left_out.lines():
        say(line)
    if failed:
        raise VggfeatError(f"{failed:,} of {count:,} photos could not be read; the lines above say why")
    if not count:
        raise VggfeatError(f"{images[0]}: has no photos; name photos or folders of photos")


def _answer(found: "Iterable[Prediction]", write: "Callable[[Prediction], None]", silent: bool) -> tuple[int, int]:
    """Write predictions, and print them or show progress. Returns how many there were, and how many failed."""
    from vggfeat._util.progress import progress

    count = failed = 0
    with progress(None, "predicting", "photo", disable=not silent) as bar:
        for one in found:
            count, failed = count + 1, failed + (one.answer is None)
            write(one)
            bar.update(1)
            if one.answer is None:
                say(f"{one.path}: {one.reason}")
            elif not silent:
                show(printable(one.path), *_lines(one.answer))
    return count, failed


def _lines(answer: "Answer") -> Iterator[str]:
    if answer.none_of_these:
        yield "           none of these"
    for name, probability in answer.classes:
        yield f"{100 * probability:8.2f} %  {printable(name)}"
