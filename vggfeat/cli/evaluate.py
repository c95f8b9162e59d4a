"""What nets are worth as classifiers: evaluate (Sect. 3.2 and 4)."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vggfeat.cli.options import DEFAULT_SCALES, Ceil, Device, Net, PrecisionOption, Scales, WeightsOption
from vggfeat.errors import UsageError

if TYPE_CHECKING:
    from vggfeat.data.imagenet import Classified
    from vggfeat.evaluate import EvaluationResult

OWN = {"ctx", "runs", "table", "json", "report", "submission"}  # of the command; all others are the library's
OF_DATA = {"data", "subset", "kit", "blacklist"}  # which images; they serve stored runs as well


def _train_scale(text: str) -> tuple[int, ...]:
    from vggfeat.evaluate.settings import parse_train_scale

    try:
        return parse_train_scale(text)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from error


def evaluate(
    ctx: typer.Context,
    data: Annotated[
        Path | None, typer.Option("--data", "--root", help="The data set. Default: $VGGFEAT_DATA/ilsvrc2012.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs' stores. Default: in the cache.")] = None,
    net: Net = None,
    scales: Scales = DEFAULT_SCALES,
    method: Annotated[str, typer.Option(help="dense, multi-crop, both or centre.")] = "dense",
    weights: WeightsOption = "auto",
    subset: Annotated[str, typer.Option(help="val, train or test.")] = "val",
    classes: Annotated[Path | None, typer.Option(help="A CSV file: class of the data, class of the weights.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="The data have some of the weights' classes.")] = False,
    train_scale: Annotated[
        Any, typer.Option(parser=_train_scale, metavar="S", help="S of the net, for the tables: 256 or 256-512.")
    ] = None,
    grid: Annotated[int, typer.Option(help="Crops a side.")] = 5,
    mirror: Annotated[
        bool | None,
        typer.Option("--mirror/--no-mirror", help="Average with the mirror image. Default: but for centre."),
    ] = None,
    device: Device = "auto",
    precision: PrecisionOption = "auto",
    ceil: Ceil = False,
    kit: Annotated[
        Path | None, typer.Option(help="The development kit. Default: looked for beside the images.")
    ] = None,
    blacklist: Annotated[bool, typer.Option("--blacklist", help="Leave the kit's doubtful images out.")] = False,
    on_error: Annotated[str, typer.Option(help="An image that can't be read: skip or fail.")] = "skip",
    workers: Annotated[int | None, typer.Option(help="Threads that decode. Default: all processors.")] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Read these runs, or folders of runs, and compute nothing; repeat it."),
    ] = None,
    table: Annotated[int | None, typer.Option(help="With --runs: Table 3, 4, 5, 6 or 7, beside the paper's.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the result for machines.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the result as an HTML page.")] = None,
    submission: Annotated[Path | None, typer.Option(help="Write the file of ILSVRC's server, of a test set.")] = None,
) -> None:
    """Top-1 and top-5 error as the paper measures them: posteriors are stored once, tables are arithmetic on them.

    vggfeat evaluate --data ilsvrc2012 --net D,E --method both --out runs
    vggfeat evaluate --runs runs --table 5
    """
    asked = {option: value for option, value in locals().items() if option not in OWN}
    _check(ctx, runs, table, json, report, submission)
    from vggfeat import evaluate as library
    from vggfeat.evaluate.submission import kit_of

    if table is not None:
        made = library.table(table, library.open_runs(runs or []))
        typer.echo(made.text())
        _write(json, made.json())
        return
    kit_folder = kit_of(data, kit) if submission else None
    result, images = _of_runs(runs, asked, report is not None) if runs else _of_data(asked)
    typer.echo(result.table())
    _write(json, result.json())
    if report is not None:
        library.write_report(result, report, images=images, command=sys.argv)
    if submission and kit_folder:
        typer.echo(library.write_submission(library.open_runs(result.stores), submission, kit_folder))


def _of_data(asked: dict[str, Any]) -> "tuple[EvaluationResult, Classified]":
    from vggfeat import evaluate as library

    images = _images(asked)
    return library.evaluate(**asked | {"data": images}), images


def _of_runs(runs: list[Path], asked: dict[str, Any], photos: bool) -> "tuple[EvaluationResult, Classified | None]":
    """What is stored, and the images where photos are to be shown and --data says where they are."""
    from vggfeat import evaluate as library

    result = library.summarise(library.open_runs(runs))
    images = _images(asked) if photos and asked["data"] is not None else None
    if images is not None and images.name != result.data:
        raise UsageError(f"the runs are of {result.data}, not of {images.name}; say so as --data and --subset")
    return result, images


def _images(asked: dict[str, Any]) -> "Classified":
    from vggfeat.data.imagenet import read

    return read(asked["data"], asked["subset"], kit=asked["kit"], blacklist=asked["blacklist"])


def _check(
    ctx: typer.Context,
    runs: list[Path] | None,
    table: int | None,
    json: Path | None,
    report: Path | None,
    submission: Path | None,
) -> None:
    """Refuse what can't be done, before any work is done."""
    for file in (json, submission):
        if file is not None and not file.parent.is_dir():
            raise UsageError(f"{file.parent}: no such folder for {file.name}")
        if file is not None and file.is_dir():
            raise UsageError(f"{file}: is a folder; name a file in it")
    if report is not None:
        from vggfeat.report import check_target

        check_target(report)
    if table is not None and not runs:
        raise UsageError("a table is of stored runs; name them as --runs")
    if table is not None and (report or submission):
        raise UsageError("a table has no report and no submission; leave --table out")
    given = [name for name in ctx.params if (source := ctx.get_parameter_source(name)) and source.name == "COMMANDLINE"]
    idle = [f"--{name.replace('_', '-')}" for name in given if name not in OWN | OF_DATA]
    if runs and idle:
        raise UsageError(f"--runs computes nothing, so {', '.join(idle)} can't be meant; leave out one or the other")


def _write(file: Path | None, text: Any) -> None:
    if file is not None:
        file.write_text(text, encoding="utf-8")
