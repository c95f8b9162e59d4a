"""How good descriptors are: bench."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from vggfeat._util.files import check_folder, check_writable, write_text
from vggfeat.bench.settings import BenchmarkSettings
from vggfeat.cli.output import show
from vggfeat.errors import UsageError, VggfeatError

BENCHMARKS = "voc2007, voc2012, voc2012-actions, caltech101, caltech256, folder, sample, digits"
PAPER = "paper"


def bench(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help=f"One of {BENCHMARKS}; or paper: Tables 11 and 12 (200 hours on two cores)."
        ),
    ],
    json: Annotated[Path | None, typer.Option(help="Write the result as JSON to this file.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the result as one HTML page.")] = None,
    download: Annotated[bool, typer.Option("--download", help="First fetch what the data set lacks.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Compare with the record of the same settings.")] = False,
    record: Annotated[
        Path | None,
        typer.Option(help="The record for --check. Default: benchmarks/NAME/expected.json below the current folder."),
    ] = None,
    *,
    settings: BenchmarkSettings,
) -> None:
    """Measure descriptors as the paper does.

    Images are described once, linear SVMs are trained, and the score is printed beside the paper's.
    """
    if name not in (*BENCHMARKS.split(", "), PAPER):
        raise UsageError(f"no benchmark {name!r}; take one of {BENCHMARKS}, {PAPER}")
    _check_places(json, report, settings)
    from vggfeat import bench

    if name == PAPER:
        _paper(json, report, {"--download": download, "--check": check, "--record": record}, settings)
        return
    if record is not None and not check:
        raise UsageError("--record needs --check; give both")
    if check:
        record = record or bench.record_of(name)
        bench.read_record(record)
    if download:
        bench.download(name, settings.root)
    result = bench.run(bench.BENCHMARKS[name], settings=settings, record=record)
    show(*result.table().split("\n"))
    if json is not None:
        write_text(json, result.json())
    if report is not None:
        bench.write_report(result, report, command=sys.argv)
    if record is not None:
        show(bench.check(result, record))


def _paper(json: Path | None, report: Path | None, refused: Mapping[str, Any], settings: BenchmarkSettings) -> None:
    """Tables 11 and 12. Raises VggfeatError, after all is written, if something failed."""
    from vggfeat import bench

    if given := [option for option, value in refused.items() if value]:
        raise UsageError(f"{given[0]}: is for one data set; name it, as in vggfeat bench caltech101 {given[0]}")
    result = bench.run_paper(settings=settings)
    show(*result.table().split("\n"))
    if json is not None:
        write_text(json, result.json())
    if report is not None:
        bench.write_paper_report(result, report, command=sys.argv)
    if result.failed:
        raise VggfeatError(f"paper: the tables are not complete, because this failed: {'; '.join(result.failed)}")


def _check_places(json: Path | None, report: Path | None, settings: BenchmarkSettings) -> None:
    """Raise UsageError, before the long work begins, for a file or folder that cannot be written."""
    from vggfeat.report import check_target

    for file in (json, settings.save_splits):
        if file is not None:
            check_writable(file)
    for folder in (settings.stores, settings.submission):
        if folder is not None:
            check_folder(folder)
    if report is not None:
        check_target(report)
