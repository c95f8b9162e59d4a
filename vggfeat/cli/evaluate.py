"""What nets are worth as classifiers: evaluate (Sect. 3.2 and 4)."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vggfeat.cli.options import DEFAULT_SCALES, Ceil, Device, Net, PrecisionOption, Scales, WeightsOption
from vggfeat.errors import UsageError


def evaluate(
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
    train_scale: Annotated[str | None, typer.Option(help="S of the net, for the tables: 256 or 256-512.")] = None,
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
        list[Path] | None, typer.Option(help="Read these runs, or folders of runs, and compute nothing; repeat it.")
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
    _check(runs, table, json, report, submission)
    from vggfeat import evaluate as library

    if runs:
        found = library.open_runs(runs)
        if table is not None:
            made = library.table(table, found)
            typer.echo(made.text())
            _write(json, made.json())
            return
        result, images = library.summarise(found), None
    else:
        images = library.read(data, subset, kit=kit, blacklist=blacklist)  # type: ignore[arg-type]
        result = library.evaluate(
            images,
            out,
            net=net,
            scales=scales,
            method=method,  # type: ignore[arg-type]
            weights=weights,
            classes=classes,
            partial=partial,
            train_scale=None if train_scale is None else library.parse_train_scale(train_scale),
            grid=grid,
            mirror=mirror,
            device=device,
            precision=precision,  # type: ignore[arg-type]
            ceil=ceil,
            on_error=on_error,  # type: ignore[arg-type]
            workers=workers,
        )
    typer.echo(result.table())
    _write(json, result.json())
    if report is not None:
        library.write_report(result, report, images=images, command=sys.argv)
    if submission is not None:
        typer.echo(library.write_submission(library.open_runs(result.stores), submission, library.kit_of(data, kit)))


def _check(
    runs: list[Path] | None, table: int | None, json: Path | None, report: Path | None, submission: Path | None
) -> None:
    """Refuse what can't be done, before any work is done."""
    for file in (json, report, submission):
        if file is not None and not file.parent.is_dir():
            raise UsageError(f"{file.parent}: no such folder for {file.name}")
    if table is not None and not runs:
        raise UsageError("a table is of stored runs; name them as --runs")
    if table is not None and (report or submission):
        raise UsageError("a table has no report and no submission; leave --table out")


def _write(file: Path | None, text: Any) -> None:
    if file is not None:
        file.write_text(text, encoding="utf-8")
