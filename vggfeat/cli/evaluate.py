"""How good nets are as classifiers: evaluate (Sect. 3.2 and 4)."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vggfeat._util.files import check_folder, check_writable, write_text
from vggfeat.cli.output import show
from vggfeat.errors import UsageError
from vggfeat.evaluate.settings import EvaluationSettings

if TYPE_CHECKING:
    from vggfeat.data.imagenet import Classified
    from vggfeat.evaluate import EvaluationResult

# Options that also serve stored runs: those of the command itself, and those that say which images.
WITH_RUNS = {"runs", "table", "json", "report", "submission", "data", "subset", "kit", "blacklist"}


def evaluate(
    ctx: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            "--root",
            help="A folder with val/<class>/ or <class>/, or ILSVRC's layout. Default: $VGGFEAT_DATA/ilsvrc2012.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs' stores. Default: in the cache.")] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Read these runs, or folders of runs, and compute nothing; repeat it."),
    ] = None,
    table: Annotated[int | None, typer.Option(help="With --runs: Table 3, 4, 5, 6 or 7, beside the paper's.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the result as JSON to this file.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the result as an HTML page.")] = None,
    submission: Annotated[Path | None, typer.Option(help="Write the file for ILSVRC's server, of a test set.")] = None,
    *,
    settings: EvaluationSettings,
) -> None:
    """Measure top-1 and top-5 error as the paper does. Posteriors are stored once; tables are computed from them.

    vggfeat evaluate --data ilsvrc2012 --net D,E --method both --out runs
    vggfeat evaluate --runs runs --table 5
    """
    _check(ctx, runs, table, json, report, submission)
    if out is not None:
        check_folder(out)
    from vggfeat import evaluate as library
    from vggfeat.evaluate.submission import kit_of

    if table is not None:
        made = library.table(table, library.open_runs(runs or []))
        show(*made.text().split("\n"))
        _write(json, made.json())
        return
    kit_folder = kit_of(data, settings.kit) if submission else None
    if runs:
        result, images = _of_runs(runs, data if report else None, settings)
    else:
        images = _images(data, settings)
        result = library.evaluate(images, out, settings=settings)
    show(*result.table().split("\n"))
    _write(json, result.json())
    if report is not None:
        library.write_report(result, report, images=images, command=sys.argv)
    if submission and kit_folder:
        show(library.write_submission(library.open_runs(result.stores), submission, kit_folder))


def _of_runs(
    runs: list[Path], data: Path | None, settings: EvaluationSettings
) -> "tuple[EvaluationResult, Classified | None]":
    """The result of stored runs, and their images if `data` says where they are."""
    from vggfeat import evaluate as library

    result = library.summarise(library.open_runs(runs))
    images = _images(data, settings) if data is not None else None
    if images is not None and images.name != result.data:
        raise UsageError(f"the runs are of {result.data}, not of {images.name}; give --data and --subset of the runs")
    return result, images


def _images(data: Path | None, settings: EvaluationSettings) -> "Classified":
    from vggfeat.data.imagenet import read

    return read(data, settings.subset, kit=settings.kit, blacklist=settings.blacklist)


def _check(
    ctx: typer.Context,
    runs: list[Path] | None,
    table: int | None,
    json: Path | None,
    report: Path | None,
    submission: Path | None,
) -> None:
    """Raise UsageError for contradictions and unusable files, before the work begins."""
    for file in (json, submission):
        if file is not None:
            check_writable(file)
    if report is not None:
        from vggfeat.report import check_target

        check_target(report)
    if table is not None and not runs:
        raise UsageError("--table needs stored runs; name them as --runs")
    if table is not None and (report or submission):
        raise UsageError("a table has no report and no submission; leave --table out")
    given = [name for name in ctx.params if (source := ctx.get_parameter_source(name)) and source.name == "COMMANDLINE"]
    idle = [f"--{name.replace('_', '-')}" for name in given if name not in WITH_RUNS]
    if runs and idle:
        raise UsageError(f"--runs computes nothing, so {', '.join(idle)} has no effect; leave out one or the other")


def _write(file: Path | None, text: Any) -> None:
    if file is not None:
        write_text(file, text)
