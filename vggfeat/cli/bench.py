"""How good descriptors are: bench."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vggfeat._util.files import check_folder, check_writable, write_text
from vggfeat.bench.settings import BenchmarkSettings
from vggfeat.cli.output import show
from vggfeat.errors import UsageError

BENCHMARKS = "voc2007, voc2012, voc2012-actions, caltech101, caltech256, folder, sample, digits"


def bench(
    name: Annotated[str, typer.Argument(help=f"One of {BENCHMARKS}.")],
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
    """Measure descriptors as the paper does: extract once, train linear SVMs, print the score beside the paper's."""
    from vggfeat import bench

    if name not in bench.BENCHMARKS:
        raise UsageError(f"no benchmark {name!r}; take one of {', '.join(bench.BENCHMARKS)}")
    _check_places(json, report, settings)
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
