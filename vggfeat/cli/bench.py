"""What descriptors are worth: bench."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vggfeat.cli.options import Ceil, Device, LayerOption, Mirror, Net, Normalize, PrecisionOption, whole_numbers
from vggfeat.errors import UsageError

OWN = {"name", "json", "report", "download", "check", "record"}  # of the command; all others are the library's
SOLVERS = "newton or liblinear"
BENCHMARKS = "voc2007, voc2012, voc2012-actions, caltech101, caltech256, folder, digits"


def bench(
    name: Annotated[str, typer.Argument(help=f"One of {BENCHMARKS}.")],
    root: Annotated[Path | None, typer.Option(help="The data set's folder. Default: $VGGFEAT_DATA/NAME.")] = None,
    recipe: Annotated[str | None, typer.Option(help="paper: its scales and aggregation, where none are given.")] = None,
    net: Net = None,
    scales: Annotated[
        Any, typer.Option(parser=whole_numbers, metavar="Q,...", help="Default: the benchmark's own.")
    ] = None,
    agg: Annotated[str | None, typer.Option(help="mean, max or stack. Default: the benchmark's own.")] = None,
    layer: LayerOption = "fc7",
    weights: Annotated[str | None, typer.Option(help="As for extract; slim for digits.")] = None,
    mirror: Mirror = True,
    normalize: Normalize = "l2",
    device: Device = "auto",
    precision: PrecisionOption = "auto",
    ceil: Ceil = False,
    seeds: Annotated[int | None, typer.Option(help="Random splits. Default: the benchmark's own, 3.")] = None,
    train_per_class: Annotated[int | None, typer.Option(help="Training images a class.")] = None,
    test_per_class: Annotated[int | None, typer.Option(help="Test images a class, at most.")] = None,
    background: Annotated[bool, typer.Option("--background/--no-background", help="Count it as a class.")] = True,
    box: Annotated[bool, typer.Option("--box/--no-box", help="Actions: image and box stacked, or image only.")] = True,
    splits: Annotated[Path | None, typer.Option(help="Take the splits of this file.")] = None,
    save_splits: Annotated[Path | None, typer.Option(help="Write the splits to this file.")] = None,
    submission: Annotated[Path | None, typer.Option(help="Write the VOC server's files to this folder.")] = None,
    comp: Annotated[int | None, typer.Option(help="Their competition. Default: 2, actions 10.")] = None,
    stores: Annotated[Path | None, typer.Option(help="Folder of the stores. Default: in the cache.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes that train SVMs; -1: all processors.")] = -1,
    solver: Annotated[str | None, typer.Option(help=f"Of the SVMs: {SOLVERS}. Default: the library's.")] = None,
    ablate: Annotated[bool, typer.Option("--ablate", help="Measure each of the paper's choices as well.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the result for machines.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the result as one HTML page.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch what is missing of the data set first.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Compare with the record of the same settings.")] = False,
    record: Annotated[
        Path | None, typer.Option(help="That record. Default: benchmarks/NAME/expected.json, here.")
    ] = None,
) -> None:
    """Measure descriptors as the paper does: extract once, train linear SVMs, print the score beside the paper's."""
    asked = {option: value for option, value in locals().items() if option not in OWN}
    from vggfeat import bench

    if name not in bench.BENCHMARKS:
        raise UsageError(f"no benchmark {name!r}; take one of {', '.join(bench.BENCHMARKS)}")
    for file in (json, save_splits):
        if file is not None:
            _refuse_unwritable(file)
    if report is not None:
        bench.check_target(report)
    _check_record(name, check, record)
    if download:
        bench.download(name, root)
    result = bench.run(bench.BENCHMARKS[name], **asked)
    typer.echo(result.table())
    if json is not None:
        json.write_text(result.json(), encoding="utf-8")
    if report is not None:
        bench.write_report(result, report, command=sys.argv)
    if check:
        typer.echo(bench.check(result, record))


def _check_record(name: str, check: bool, record: Path | None) -> None:
    """Raise DataError, before the long work begins, for a record that can't be compared with."""
    from vggfeat.bench import read_record, record_of

    if check:
        read_record(record or record_of(name))
    elif record is not None:
        raise UsageError("a record is for --check; give both")


def _refuse_unwritable(file: Path) -> None:
    """Raise UsageError, before the long work begins, for a file that its result can't be written to."""
    if file.is_dir():
        raise UsageError(f"{file}: is a folder; name a file")
    if not file.parent.is_dir():
        raise UsageError(f"{file.parent}: no such folder for {file.name}")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UsageError(f"{file}: can't be written to; name another file")
