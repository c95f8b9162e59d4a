"""From the folder of a training run to one weights file with a model card."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from vggfeat._util.files import write_text
from vggfeat._util.options import check_choice
from vggfeat.errors import UsageError, WeightsError
from vggfeat.nets import parameter_count
from vggfeat.weights.header import Weights, shown
from vggfeat.weights.native import check_out, load, read, save_as

Dtype = Literal["float32", "float16", "bfloat16"]
T = TypeVar("T")

MAX_FILE = 16 << 20  # bytes of a run's tables
CLASSES_SHOWN = 20


@dataclass(frozen=True)
class PublishedRun:
    """A native file, and the model card beside it."""

    weights: Weights
    card: Path


def publish(
    run: str | Path, out: str | Path, *, licence: str, dtype: Dtype = "float32", name: str = ""
) -> PublishedRun:
    """Write the best weights of a training run and a model card.

    Parameters
    ----------
    run : str or Path
        The folder of a run of `vggfeat train`.
    out : str or Path
        The native file, .safetensors. The card has the same name with the suffix .md.
    licence : str
        The licence of the weights, such as CC-BY-4.0.
    dtype : {"float32", "float16", "bfloat16"}
        The precision of the tensors. The scores on the card are those of float32.
    name : str
        The title of the card; by default the file's name.

    Returns
    -------
    PublishedRun
        The weights and the path of the card.

    Raises
    ------
    WeightsError
        If the folder is not a run, or has no complete epoch; if a file cannot be written.
    UsageError
        For another suffix, a folder that does not exist, an unknown dtype or no licence.
    """
    run, out = Path(run), Path(out)
    check_out(out)
    check_choice("dtype", dtype, Dtype)
    if not licence.strip():
        raise UsageError("no licence given; say under which licence the weights are published, such as CC-BY-4.0")
    config, epochs, result = _tables(run)
    best = read(run / "best.safetensors")
    state = load(best, best.top, dtype=getattr(torch, dtype)).state_dict()
    weights = save_as(out, state, replace(best, licence=licence))
    card = out.with_suffix(".md")
    try:
        write_text(card, _card(name or out.stem, weights, dtype, config, epochs, result))
    except OSError as error:
        raise WeightsError(f"{card}: cannot be written ({error.strerror}); make room, or name another file") from error
    return PublishedRun(weights, card)


def _tables(run: Path) -> tuple[dict[str, Any], list[dict[str, float]], dict[str, Any]]:
    """config.json, the rows of log.csv, and result.json; the last is empty if the run is not finished or went on."""
    config = _parsed(run / "config.json", _config, "is not the configuration of a run of vggfeat train")
    epochs = _parsed(run / "log.csv", _epochs, "is not the log of a run of vggfeat train")
    if not epochs:
        raise WeightsError(f"{run / 'log.csv'}: has no epoch yet; train on")
    result = {}
    if (run / "result.json").is_file():
        wrong = "is not the result of a run of vggfeat train; train on, and it is written again"
        result = _parsed(run / "result.json", _result, wrong)
    return config, epochs, result if result.get("epochs") == len(epochs) else {}


def _parsed(file: Path, parse: Callable[[str], T], wrong: str) -> T:
    """What `parse` makes of a file of the run. Raises WeightsError that says what is `wrong`."""
    try:
        if file.stat().st_size > MAX_FILE:
            raise WeightsError(f"{file}: is larger than {MAX_FILE:,} bytes; it is not a file of a training run")
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"{file}: cannot be read ({reason}); name the folder of a run of vggfeat train") from None
    try:
        return parse(text)
    except (ValueError, KeyError, TypeError):
        raise WeightsError(f"{file}: {wrong}") from None


def _config(text: str) -> dict[str, Any]:
    config = {key: dict(json.loads(text)[key]) for key in ("recipe", "data", "start")}
    _ = config["data"]["sha256"], config["data"]["train"] + 0, config["data"]["val"] + 0
    return config


def _result(text: str) -> dict[str, Any]:
    result = dict(json.loads(text))
    if result.get("dense"):
        _ = [result["dense"][name] + 0.0 for name in ("top1", "top5")]
    return result


def _epochs(text: str) -> list[dict[str, float]]:
    rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(text.splitlines())]
    _ = [(row["epoch"], row["val_top1"], row["val_top5"]) for row in rows]
    return rows


def _card(
    name: str,
    weights: Weights,
    dtype: str,
    config: dict[str, Any],
    epochs: list[dict[str, float]],
    result: dict[str, Any],
) -> str:
    parameters = parameter_count(weights.net, weights.width, max(weights.outputs, 1), weights.top)
    head = [
        f"# {shown(name)}",
        "",
        f"Net {weights.net} of Simonyan & Zisserman (Table 1), width {weights.width:g}, up to {weights.top}: "
        f"{parameters:,} parameters, {dtype}.",
        f"Licence: {shown(weights.licence)}. File: `{weights.path.name}`, sha256 `{weights.sha256}`.",
    ]
    parts = [
        head,
        _data(config["data"], weights.classes or (), result),
        _recipe(config, len(epochs), bool(result)),
        _scores(config["data"]["val"], min(epochs, key=lambda row: row["val_top1"]), result),
        _use(weights),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _data(data: dict[str, Any], classes: tuple[str, ...], result: dict[str, Any]) -> list[str]:
    more = f", and {len(classes) - CLASSES_SHOWN} more" if len(classes) > CLASSES_SHOWN else ""
    left_out = result.get("unreadable")
    return [
        "## Data",
        f"{data['train']:,} training and {data['val']:,} validation images; sha256 of all names and labels: "
        f"`{shown(str(data['sha256']))}`. The {len(classes):,} classes, in the order of the outputs: "
        f"{', '.join(map(shown, classes[:CLASSES_SHOWN]))}{more}.",
        *([f"{left_out:,} images could not be read and were left out."] if left_out else []),
    ]


def _recipe(config: dict[str, Any], epochs: int, finished: bool) -> list[str]:
    start = config["start"]
    begun = f"the weights {start['source']} (sha256 {start['sha256']})" if start.get("source") else "random weights"
    settings = {**config["recipe"], "lr": start.get("lr")}
    return [
        "## Recipe",
        f"Started from {shown(begun)}; {epochs} epochs" + ("." if finished else ", not finished yet."),
        "",
        "| setting | value |",
        "|---|---|",
        *(f"| {shown(str(key))} | {shown(str(value))} |" for key, value in settings.items()),
    ]


def _scores(images: int, best: dict[str, float], result: dict[str, Any]) -> list[str]:
    rows = {"one centre crop per image": (best["val_top1"], best["val_top5"])}
    if result.get("dense"):
        rows["dense, with mirror images"] = (result["dense"]["top1"], result["dense"]["top5"])
    return [
        "## Scores",
        f"Of epoch {best['epoch']:.0f} (counted from 0), the one with the lowest top-1 validation error:",
        "",
        "| validation error, per cent (± standard error) | top-1 | top-5 |",
        "|---|---|---|",
        *(f"| {how} | {_with_error(one, images)} | {_with_error(five, images)} |" for how, (one, five) in rows.items()),
    ]


def _with_error(per_cent: float, images: int) -> str:
    share = per_cent / 100
    return f"{per_cent:.2f} ± {100 * math.sqrt(share * (1 - share) / max(images, 1)):.2f}"


def _use(weights: Weights) -> list[str]:
    return [
        "## Input",
        f"{weights.preprocessing}; the file says so itself, and vggfeat reads it from there.",
        "",
        "## Use",
        "```",
        f"vggfeat classify photo.jpg --weights {weights.path.name}",
        f"vggfeat extract photos/ --weights {weights.path.name}",
        "```",
    ]
