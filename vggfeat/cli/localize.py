"""vggfeat localize: fit, predict, evaluate."""

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vggfeat._util.files import check_folder, check_writable, write_text
from vggfeat._util.printable import printable, say
from vggfeat.cli.derive import Without, derived
from vggfeat.cli.output import show
from vggfeat.cli.usage import Command
from vggfeat.errors import UsageError, VggfeatError
from vggfeat.localization.rules import MergeRule
from vggfeat.localization.settings import BoxRecipe
from vggfeat.localization.spec import MAX_KEEP, LocalizationSettings, LocalizerSpec, Subset

if TYPE_CHECKING:
    from vggfeat._util.left_out import LeftOut
    from vggfeat.data.boxed import Boxed
    from vggfeat.localization import LocatedPhoto

# Options that also serve stored runs.
WITH_RUNS = {"data", "runs", "table", "json", "report", "images", "subset", "iou", "reading"}
WITH_RUNS |= set(MergeRule.__dataclass_fields__)

ClassifierOption = Annotated[
    str | None,
    typer.Option(
        metavar="WEIGHTS",
        help="A net that classifies: a name, a file, or the folder of a run. Needed if there are several classes.",
    ),
]

app = typer.Typer(help="Say where the objects of an image are.", no_args_is_help=True, rich_markup_mode=None)


@app.command("fit", cls=Command)
@derived
def fit_boxes(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="A CSV file path,label,x0,y0,x1,y1[,subset], a VOCdevkit, or ILSVRC's CLS-LOC."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder of the run. The same command continues it.")],
    images: Annotated[
        Path | None,
        typer.Option(help="The folder of the photos of a CSV file. Default: its own, or the folder images in it."),
    ] = None,
    *,
    recipe: BoxRecipe,
) -> None:
    """Train a net to predict boxes from photos with boxes. The same command continues a run."""
    from vggfeat.localization import fit

    check_folder(out)
    result = fit(data, out, images=images, recipe=recipe)
    if os.environ.get("RANK", "0") == "0":  # torchrun starts several processes
        show(*str(result).split("\n"))


@app.command("predict", cls=Command)
@derived
def predict_boxes(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A net that predicts boxes: a file, or a run's folder.")
    ],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE|FOLDER...", help="Also lists, tars and globs.")],
    classifier: ClassifierOption = None,
    top: Annotated[int, typer.Option(help="How many classes of each photo.")] = 5,
    csv: Annotated[
        Path | None,
        typer.Option(help="Write path,rank,label,probability,x0,y0,x1,y1 to this file, and print no photos."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write JSON to this file, and print no photos.")] = None,
    draw: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a copy of each photo with its boxes into this folder.")
    ] = None,
    truth: Annotated[
        str | None, typer.Option(metavar="DATA", help="Photos with true boxes, as for fit: --draw shows these too.")
    ] = None,
    *,
    spec: Annotated[LocalizerSpec, Without("keep")],
    merging: MergeRule,
) -> None:
    """Print what is in photos and where: probability, box (x0 y0 x1 y1 in pixels), class.

    The exit status is 1 if a photo failed.
    """
    from vggfeat._util.left_out import LeftOut
    from vggfeat.localization import Localizer
    from vggfeat.localization.answers import writers

    if truth is not None and (draw is None or spec.exif):
        raise UsageError("--truth is for --draw, in pixels of the stored photos; give --draw, and leave --exif out")
    if not 1 <= top <= MAX_KEEP:
        raise UsageError(f"top must be from 1 to {MAX_KEEP}, not {top}")
    for file in (csv, json):
        if file is not None:
            check_writable(file)
    left_out = LeftOut()
    drawn = _drawing(draw, truth, left_out) if draw is not None else None
    localizer = Localizer(model, classifier, spec=replace(spec, keep=max(spec.keep, top)), merging=merging)
    found = localizer.photos(images, left_out, top)
    with writers(csv, json) as write:
        count, failed = _answer(found, write, drawn, silent=csv is not None or json is not None)
    for line in left_out.lines():
        say(line)
    if failed:
        raise VggfeatError(f"{failed:,} of {count:,} photos failed; the lines above say why")
    if not count:
        raise VggfeatError(f"{images[0]}: has no photos; name photos or folders of photos")


def _drawing(folder: Path, truth: str | None, left_out: "LeftOut") -> "Callable[[LocatedPhoto], None]":
    """What draws a photo with its boxes; with the true ones if the data `truth` have them, else it is counted."""
    from vggfeat.data.boxed import true_boxes
    from vggfeat.localization.drawing import Targets, draw

    check_folder(folder)
    targets, boxes = Targets(folder), true_boxes(truth) if truth is not None else {}

    def drawn(photo: "LocatedPhoto") -> None:
        true = boxes.get(Path(photo.path).resolve(), ())
        if truth is not None and not len(true):
            left_out.add(f"photos drawn without true boxes, which {truth} does not have", photo.path)
        if photo.pixels is not None:
            merged = (photo.located or [])[:1]
            draw(photo.pixels, targets.of(photo.path), truth=true, candidates=photo.candidates, merged=merged)

    return drawn


def _answer(
    found: "Iterable[LocatedPhoto]",
    write: "Callable[[LocatedPhoto], None]",
    drawn: "Callable[[LocatedPhoto], None] | None",
    silent: bool,
) -> tuple[int, int]:
    """Write, draw, and print what is in photos, or show progress. Returns how many there were, and how many failed."""
    from vggfeat._util.progress import progress
    from vggfeat.localization.answers import lines

    count = failed = 0
    with progress(None, "localising", "photo", disable=not silent) as bar:
        for one in found:
            count, failed = count + 1, failed + (one.located is None)
            write(one)
            bar.update(1)
            if one.located is None:
                say(f"{one.path}: {one.reason}")
                continue
            if drawn is not None:
                drawn(one)
            if not silent:
                show(printable(one.path), *lines(one))
    return count, failed


@app.command("evaluate", cls=Command)
@derived
def evaluate_boxes(
    ctx: typer.Context,
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="As for fit. With --runs: to show its photos on the page."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="A net that predicts boxes: a file, or a run's folder; repeat it."),
    ] = None,
    classifier: ClassifierOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="RUNS", help="Folder of the stored boxes. Default: in the cache.")
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Read these runs, or folders of runs, and run no net; repeat it."),
    ] = None,
    table: Annotated[int | None, typer.Option(help="Print Table 8, 9 or 10, beside the paper's.")] = None,
    train_data: Annotated[
        str | None, typer.Option(help="Data whose subset train gives the mean box. Default: DATA.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="The folder of the photos of a CSV file.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the result as JSON to this file.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the result as an HTML page.")] = None,
    *,
    spec: Annotated[LocalizerSpec, Without("exif")],
    settings: LocalizationSettings,
    merging: MergeRule,
) -> None:
    """Measure nets that predict boxes as the paper does. Boxes are stored before they are merged.

    So another rule, limit, table or choice of nets needs no net: name the stored runs as --runs.

    vggfeat localize evaluate boxes.csv --model run --classifier classes --out runs
    vggfeat localize evaluate --runs runs --table 9 --rule overfeat
    """
    _check(ctx, data, model, runs, table, json, report)
    if out is not None:
        check_folder(out)
    from vggfeat import localization as library

    boxed = _photos(data, settings.subset, images)
    if model and boxed is not None:
        predictions = library.store_boxes(
            boxed, model, classifier, out, train_data=train_data or data, images=images, spec=spec, settings=settings
        )
    else:
        predictions = library.open_runs(runs or [])
    if table is not None:
        made = library.table(table, predictions, settings=settings, merging=merging)
        text, written = made.text(), made.json()
    else:
        result = library.summarise(predictions, settings=settings, merging=merging)
        if boxed is not None and boxed.name != result.data:
            raise UsageError(f"the runs are of {result.data}, not of {boxed.name}; give DATA and --subset of the runs")
        text, written = result.table(), result.json()
        if report is not None:
            library.write_report(result, report, images=boxed, command=sys.argv)
    show(*text.split("\n"))
    if json is not None:
        write_text(json, written)


def _photos(data: str | None, subset: Subset, images: Path | None) -> "Boxed | None":
    from vggfeat.data.boxed import read_boxed

    return read_boxed(data, subset, images=images) if data is not None else None


def _check(
    ctx: typer.Context,
    data: str | None,
    model: list[str] | None,
    runs: list[Path] | None,
    table: int | None,
    json: Path | None,
    report: Path | None,
) -> None:
    """Raise UsageError for contradictions and unusable files, before the work begins."""
    if json is not None:
        check_writable(json)
    if report is not None:
        from vggfeat.report import check_target

        check_target(report)
    if table is not None and report is not None:
        raise UsageError("a table has no report; leave --table out")
    given = [name for name in ctx.params if (source := ctx.get_parameter_source(name)) and source.name == "COMMANDLINE"]
    idle = [f"--{name.replace('_', '-')}" for name in given if name not in WITH_RUNS]
    if runs and idle:
        raise UsageError(f"--runs runs no net, so {', '.join(idle)} has no effect; leave out one or the other")
    if not runs and not (data and model):
        raise UsageError("give DATA and --model MODEL, or stored predictions as --runs RUN")
