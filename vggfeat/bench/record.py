"""Records of measured results, and whether a new result agrees: benchmarks/<name>/expected.json.

A record is a list of results as `--json` writes them. Of each, `value`, `config` and `weights` are compared, and the
rows of `ablation` that both have.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from vggfeat._util.json_files import PerCent, Setting, checked, read_json
from vggfeat._util.printable import reason_of
from vggfeat.bench.comparison import words
from vggfeat.bench.result import BenchmarkResult
from vggfeat.errors import DataError

# These may differ between two runs that measure the same; the checksum of the weights already tells `demonstration`.
INCIDENTAL = {"device", "precision", "solver", "validation", "store", "demonstration"}
# Different processors round differently, and an image near the border of two classes may change sides.
TOLERANCE = 0.2  # points
SETTINGS = {"net", "layer", "scales", "agg"}  # what the config of a result must have


class RecordedSplit(TypedDict):
    """A split: the C that was chosen."""

    C: float


class RecordedRow(TypedDict):
    """A row of an ablation."""

    row: str
    value: PerCent


class Recorded(TypedDict):
    """What a recorded result has, beside other keys."""

    benchmark: str
    value: PerCent
    config: dict[str, Setting | list[Setting]]
    weights: list[dict[str, Setting]]
    splits: NotRequired[list[RecordedSplit]]
    ablation: NotRequired[list[RecordedRow] | None]


def record_of(benchmark: str) -> Path:
    """Give the path of a benchmark's record in the source: below the current folder.

    Parameters
    ----------
    benchmark : str
        Name of the benchmark.

    Returns
    -------
    Path
    """
    return Path("benchmarks", benchmark, "expected.json")


def check(result: BenchmarkResult, file: str | Path | None = None) -> str:
    """Compare a result with the record of the same settings.

    Parameters
    ----------
    result : BenchmarkResult
    file : str or path, optional
        The record. Default: benchmarks/<name>/expected.json below the current folder.

    Returns
    -------
    str
        A line that says that they agree, within 0.2 points.

    Raises
    ------
    DataError
        If the file is missing or no record, has no result with these settings, or differs by more than 0.2 points.
    """
    file = record_of(result.benchmark) if file is None else Path(file)
    recorded = recorded_result(file, result.benchmark, result.config, result.weights)
    value = recorded["value"]
    compared = f"{result.benchmark}: {result.value:.2f}, recorded {value:.2f} ({file})"
    if abs(result.value - value) > TOLERANCE:
        chosen, before = ([split["C"] for split in splits] for splits in (result.splits, recorded.get("splits", [])))
        because = f" (C was {before}, is {chosen})" if chosen != before else ""
        raise DataError(f"{compared}: they differ by more than {TOLERANCE} points{because}")
    rows, differing = _compare_rows(result.ablation, recorded.get("ablation") or [])
    if differing:
        raise DataError(
            f"{compared}; {len(differing)} rows of the ablation differ by more than {TOLERANCE} points: {differing[0]}"
        )
    return f"{compared}: they agree" + (f", and so do {rows} rows of the ablation" if rows else "")


def recorded_result(
    file: Path, benchmark: str, config: Mapping[str, Any], weights: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The last recorded result of these settings. Raises DataError, which says how the most similar one differs."""
    recorded = [one for one in read_record(file) if one["benchmark"] == benchmark]
    if not recorded:
        raise DataError(f"{file}: has no result of {benchmark}; name its record by --record")
    wanted = _decisive(config, weights)
    found = [(_differing(wanted, _decisive(one["config"], one["weights"])), one) for one in recorded]
    differing, nearest = min(reversed(found), key=lambda pair: len(pair[0]))
    if differing:
        raise DataError(f"{file}: no record of these settings; the most similar one differs in {'; '.join(differing)}")
    return nearest


def _decisive(config: Mapping[str, Any], weights: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The settings that decide what is measured, as JSON has them."""
    kept: dict[str, Any] = {name: value for name, value in config.items() if name not in INCIDENTAL}
    return json.loads(json.dumps(kept | {"weights": [one.get("sha256") for one in weights]}))


def _differing(ours: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {words(ours.get(name, 'missing'))} (recorded {words(recorded.get(name, 'missing'))})"
        for name in sorted(ours.keys() | recorded.keys())
        if ours.get(name) != recorded.get(name)
    ]


def read_record(file: Path) -> list[dict[str, Any]]:
    """Read the results of a record.

    Parameters
    ----------
    file : path

    Returns
    -------
    list of dict
        The results, oldest first.

    Raises
    ------
    DataError
        If the file cannot be read, or is no record.
    """
    try:
        recorded: list[dict[str, Any]] = read_json(file, list[dict[str, Any]])
        checked(recorded, list[Recorded])
    except FileNotFoundError as error:
        raise DataError(f"{file}: no such record; run it in the source folder, or name a file by --record") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({reason_of(error)}); name a file by --record") from error
    except ValueError as error:
        raise DataError(
            f"{file}: is no record, which is a list of results as --json writes them ({error}); name a file by --record"
        ) from error
    if not all(one["config"].keys() >= SETTINGS for one in recorded):
        raise DataError(f"{file}: is no record, a result lacks net, layer, scales or agg in its config")
    return recorded


def _compare_rows(ours: Sequence[Mapping[str, Any]], recorded: Sequence[Mapping[str, Any]]) -> tuple[int, list[str]]:
    """How many rows both have, and those that differ."""
    values = {one["row"]: one["value"] for one in recorded}
    common = [(one["row"], one["value"], values[one["row"]]) for one in ours if one["row"] in values]
    return len(common), [
        f"{row}: {now:.2f}, recorded {then:.2f}" for row, now, then in common if abs(now - then) > TOLERANCE
    ]
