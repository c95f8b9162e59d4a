"""Tables 11 and 12 of the paper in one run: each benchmark whose data set is there, for each net and for all together.

A row is a run of `runner.run` with the paper's settings. Descriptors are stored once for each net and scale, so that
"D & E" costs no more than D and E, and a run that was killed continues.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from vggfeat import __version__
from vggfeat._util.options import takes
from vggfeat._util.printable import say
from vggfeat.bench.benchmark import Benchmark
from vggfeat.bench.benchmarks import BENCHMARKS
from vggfeat.bench.choices import descriptor_spec, read_images
from vggfeat.bench.paper_result import PaperResult
from vggfeat.bench.result import BenchmarkResult, plus_minus
from vggfeat.bench.runner import run
from vggfeat.bench.settings import BenchmarkSettings
from vggfeat.data.base import MissingDataError
from vggfeat.data.readers import ORIGINS
from vggfeat.engine.engine import asked_nets, resolve_nets
from vggfeat.errors import DataError, UsageError, VggfeatError, WeightsError
from vggfeat.nets.table import check_net

NETS = "D,E"
# The protocols of the tables decide these.
REFUSED = (
    "seeds", "train_per_class", "test_per_class", "background", "box", "splits", "save_splits", "submission", "comp",
    "store", "ablate",
)  # fmt: skip


class Row(NamedTuple):
    """One value of the tables. name : as in `Benchmark.paper`. nets : the nets that it needs."""

    benchmark: Benchmark
    name: str
    nets: tuple[str, ...]
    settings: BenchmarkSettings


@takes(settings=BenchmarkSettings)
def run_paper(*, settings: BenchmarkSettings) -> PaperResult:
    """Measure what of the paper's Tables 11 and 12 the data at hand allow.

    A data set that is missing is left out, with a line that says how to get it. A row that fails (missing weights,
    damaged data) is a line, and the others go on. A run that was killed continues.

    Parameters
    ----------
    root, recipe, net, scales, agg, layer, weights, lineage, mirror, normalize, device, precision, ceil, exif
        See `BenchmarkSettings`, with three differences. `root` is the folder that holds voc2007, voc2012, caltech101
        and caltech256. `net` names the rows: "D,E", the default, gives D, E and D & E. `recipe` is "paper".
    allow_truncated, stores, jobs, solver
        See `BenchmarkSettings`.
    seeds, train_per_class, test_per_class, background, box, splits, save_splits, submission, comp, store, ablate
        Refused: the protocols of the tables decide them.
    settings : BenchmarkSettings
        All of these as one object, instead of them.

    Returns
    -------
    PaperResult

    Raises
    ------
    UsageError
        If a setting is invalid or refused.
    DataError
        If there is none of the data sets.
    WeightsError
        If weights are given without nets, and cannot be read.

    References
    ----------
    Appendix B, Tables 11 and 12.
    """
    _refuse(settings)
    settings = replace(settings, recipe="paper", root=_root(settings))
    # Each data set is read once, and not for each of its rows.
    tables = [replace(one, read=cache(one.read)) for one in BENCHMARKS.values() if one.paper]
    nets = _nets(tables[0], settings)
    rows = [row for benchmark in tables for row in _rows(benchmark, nets, settings)]
    for row in rows:
        descriptor_spec(row.benchmark, row.settings)  # invalid settings end the run before the long work
    missing, failed = _unread(rows)
    if len(missing) == len(tables):
        raise DataError(f"{settings.root}: holds none of the paper's data sets; the lines above say how to get them")
    results = _measured([row for row in rows if row.benchmark.name not in missing | failed], failed)
    return PaperResult(tuple(nets), results, missing, failed, __version__)


def _refuse(settings: BenchmarkSettings) -> None:
    for field in fields(settings):
        if field.name in REFUSED and getattr(settings, field.name) != field.default:
            option = field.name.replace("_", "-")
            raise UsageError(f"--{option}: the protocols of the paper's tables decide it; name one benchmark to use it")


def _root(settings: BenchmarkSettings) -> Path:
    root = settings.root or (Path(named) if (named := os.environ.get("VGGFEAT_DATA")) else None)
    if root is None:
        folders = ", ".join(dict.fromkeys(origin.name for origin in ORIGINS.values()))
        raise DataError(f"paper: no folder given; pass the folder above {folders} as --root, or as $VGGFEAT_DATA")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; name the folder above the data sets")
    return root


def _nets(benchmark: Benchmark, settings: BenchmarkSettings) -> dict[str, str]:
    """Net -> what names its weights. Weights without nets give their own nets."""
    if settings.net is None and settings.weights is None:
        settings = replace(settings, net=NETS)
    spec = descriptor_spec(benchmark, settings)
    pairs = asked_nets(spec)
    for net, _ in pairs:
        if net is not None:
            check_net(net)
    names = [found.net for found in resolve_nets(spec)] if spec.net is None else [str(net) for net, _ in pairs]
    if len(set(names)) < len(names):
        raise UsageError(f"--net: {','.join(names)} has a net twice; name each net once")
    return dict(zip(names, (weights for _, weights in pairs), strict=True))


def _rows(benchmark: Benchmark, nets: Mapping[str, str], settings: BenchmarkSettings) -> Iterator[Row]:
    """Each net and then all together; of people with boxes all together only, as in Table 12."""
    settings = replace(settings, root=settings.root and settings.root / ORIGINS[benchmark.name].name)
    every = tuple(nets)
    groups = [every] if benchmark.boxes else [*((net,) for net in every), *([every] if len(every) > 1 else [])]
    for group in groups:
        name = " & ".join(group)
        files = [nets[net] for net in group]
        weights = files[0] if len(set(files)) == 1 else ",".join(files)
        of_group = replace(settings, net=",".join(group), weights=weights)
        if benchmark.boxes:
            yield Row(benchmark, f"{name}, image only", group, replace(of_group, box=False))
            yield Row(benchmark, f"{name}, image and box", group, of_group)
        else:
            yield Row(benchmark, name, group, of_group)


def _unread(rows: list[Row]) -> tuple[dict[str, str], dict[str, str]]:
    """Benchmark -> the line of its data set, of those that are missing, and of those that are damaged."""
    missing: dict[str, str] = {}
    failed: dict[str, str] = {}
    for benchmark, settings in {row.benchmark.name: (row.benchmark, row.settings) for row in rows}.values():
        try:
            read_images(benchmark, settings)
        except MissingDataError as error:
            if str(error) not in missing.values():  # the two of VOC-2012 may have the same
                say(f"skipped {benchmark.name}: {error}")
            missing[benchmark.name] = str(error)
        except DataError as error:
            say(f"failed: {benchmark.name}: {error}")
            failed[benchmark.name] = str(error)
    return missing, failed


def _measured(rows: list[Row], failed: dict[str, str]) -> dict[str, dict[str, BenchmarkResult]]:
    """Benchmark -> row -> result; adds to `failed`. Weights that cannot be had fail once, for all rows of their net."""
    results: dict[str, dict[str, BenchmarkResult]] = {}
    without: set[str] = set()
    for row in rows:
        if without & set(row.nets):
            continue
        name = f"{row.benchmark.name}, {row.name}"
        try:
            result = run(row.benchmark, settings=row.settings)
        except UsageError:
            raise
        except VggfeatError as error:
            if isinstance(error, WeightsError):
                without.update(row.nets)
                name = f"net {' & '.join(row.nets)}"
            say(f"failed: {name}: {error}")
            failed[name] = str(error)
        else:
            say(f"{name}: {result.metric} {plus_minus(result.value, result.std)}")
            results.setdefault(row.benchmark.name, {})[row.name] = result
    return results
