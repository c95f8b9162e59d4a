"""Records of measured results, and whether a new one agrees: benchmarks/<name>/expected.json.

A record is a list of results as `--json` writes them; of each, `value`, `config` and `weights` are compared, and the
rows of `ablation` that both have.
"""

import json
from pathlib import Path
from typing import Any

from vggfeat.bench.benchmark import Result, settings
from vggfeat.errors import DataError

# What a run may change without changing what is measured.
INCIDENTAL = {"device", "precision", "solver"}
SETTINGS = {"net", "layer", "scales", "agg"}
# Other processors round otherwise, and an image near the border of two classes may change sides.
TOLERANCE = 0.2  # points


def record_of(benchmark: str) -> Path:
    """Where the record of a benchmark lies in the source: below the current folder."""
    return Path("benchmarks", benchmark, "expected.json")


def check(result: Result, file: str | Path | None = None) -> str:
    """Compare with the record of the same configuration: a line that says that they agree, within 0.2 points.

    file : None for `benchmarks/<name>/expected.json` below the current folder.
    Raises DataError where there is no such file or no record of this configuration, and where they differ.
    """
    file = record_of(result.benchmark) if file is None else Path(file)
    recorded = read_record(file)
    same = [one for one in recorded if _key(one) == _key(vars(result))]
    if not same:
        has = "; ".join(sorted({settings(one["config"]) for one in recorded})) or "nothing"
        raise DataError(f"{file}: no record of this configuration ({settings(result.config)}); it has: {has}")
    value = float(same[-1]["value"])
    said = f"{result.benchmark}: {result.value:.2f}, recorded {value:.2f} ({file})"
    if abs(result.value - value) > TOLERANCE:
        chosen, before = ([split["C"] for split in splits] for splits in (result.splits, same[-1].get("splits", [])))
        because = f" (C was {before}, is {chosen})" if chosen != before else ""
        raise DataError(f"{said}: they differ by more than {TOLERANCE} points{because}")
    rows, apart = _rungs(result.ablation, same[-1].get("ablation") or [])
    if apart:
        raise DataError(f"{said}; of its ablation {len(apart)} rows differ by more than {TOLERANCE} points: {apart[0]}")
    return f"{said}: they agree" + (f", and so do {rows} rows of the ablation" if rows else "")


def _rungs(ours: list[dict[str, Any]], recorded: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """How many rows both have, and those that differ."""
    values = {one["row"]: float(one["value"]) for one in recorded}
    common = [(one["row"], one["value"], values[one["row"]]) for one in ours if one["row"] in values]
    said = [f"{row}: {now:.2f}, recorded {then:.2f}" for row, now, then in common if abs(now - then) > TOLERANCE]
    return len(common), said


def read_record(file: Path) -> list[dict[str, Any]]:
    """The results of a record; raises DataError where it can't be read or is something else."""
    try:
        recorded = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{file}: no such record; run it in the source folder, or name a file by --record") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: can't be read as a record ({error})") from error
    wanted = {"benchmark", "value", "config", "weights"}
    if not isinstance(recorded, list) or not all(isinstance(one, dict) and wanted <= one.keys() for one in recorded):
        raise DataError(f"{file}: a record is a list of results as --json writes them")
    if not all(isinstance(one["config"], dict) and one["config"].keys() >= SETTINGS for one in recorded):
        raise DataError(f"{file}: a result lacks net, layer, scales or agg in its config")
    ladders = [one.get("ablation") or [] for one in recorded]
    wanted = {"row", "value"}
    if not all(isinstance(rows, list) and all(wanted <= set(row) for row in rows) for rows in ladders):
        raise DataError(f"{file}: a row of an ablation lacks its row or value")
    return recorded


def _key(result: dict[str, Any]) -> str:
    config = {name: value for name, value in result["config"].items() if name not in INCIDENTAL}
    weights = [one.get("sha256") for one in result["weights"]]
    return json.dumps([result["benchmark"], config, weights], sort_keys=True)
