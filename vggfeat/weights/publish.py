"""From the folder of a training run to one weights file, with a model card that says what it is."""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from vggfeat.errors import UsageError, WeightsError
from vggfeat.nets import parameter_count
from vggfeat.weights import native
from vggfeat.weights.header import Weights, shown

Dtype = Literal["float32", "float16", "bfloat16"]

MAX_FILE = 16 << 20  # bytes of a run's tables
CLASSES_SHOWN = 20


@dataclass(frozen=True)
class Published:
    """The native file, and the card beside it."""

    weights: Weights
    card: Path


def publish(run: str | Path, out: str | Path, *, licence: str, dtype: Dtype = "float32", name: str = "") -> Published:
    """Write the best weights of a run to `out` (.safetensors), and a model card to the same name with .md.

    run : the folder of `vggfeat train`. licence : of the weights, as the file and the card will say. dtype : of the
    tensors; the scores are those of float32. name : the card's title; the file's name where it is empty.

    Raises WeightsError, naming the file, for a folder that is no run, or has no epoch behind it; UsageError for
    another suffix, an unknown dtype or no licence.
    """
    run, out = Path(run), Path(out)
    if out.suffix != ".safetensors":
        raise UsageError(f"{out}: weights are published as .safetensors; name the file so")
    if dtype not in get_args(Dtype):
        raise UsageError(f"no dtype {dtype!r}; take one of {', '.join(get_args(Dtype))}")
    if not licence.strip():
        raise UsageError("say under which licence the weights are published, such as CC-BY-4.0")
    config, epochs = _config(run / "config.json"), _epochs(run / "log.csv")
    result = _result(run / "result.json", len(epochs))
    best = native.read(run / "best.safetensors")
    state = native.load(best, best.top, dtype=getattr(torch, dtype)).state_dict()
    weights = native.save(
        out,
        state,
        net=best.net,
        width=best.width,
        preprocessing=best.preprocessing,
        lineage=best.lineage,
        source=best.source,
        licence=licence,
        classes=best.classes,
    )
    card = out.with_suffix(".md")
    try:
        card.write_text(_card(name or out.stem, weights, dtype, config, epochs, result), encoding="utf-8")
    except OSError as error:
        raise WeightsError(f"can't write {card}: {error.strerror}") from error
    return Published(weights, card)


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_FILE:
            raise WeightsError(f"{file}: is larger than {MAX_FILE:,} bytes; it is no file of a training run")
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"{file}: can't be read ({reason}); name the folder of a run of vggfeat train") from None


def _config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(_text(file))
        return {key: dict(config[key]) for key in ("recipe", "data", "start")}
    except (ValueError, KeyError, TypeError):
        raise WeightsError(f"{file}: is not that of a run of vggfeat train that has begun") from None


def _result(file: Path, epochs: int) -> dict[str, Any]:
    """What the run came to; nothing where it isn't at its end, such as one that went on after it was."""
    if not file.is_file():
        return {}
    try:
        result = dict(json.loads(_text(file)))
        if result.get("dense"):
            _ = [result["dense"][name] + 0.0 for name in ("top1", "top5")]
    except (ValueError, KeyError, TypeError):
        raise WeightsError(f"{file}: is not that of a run of vggfeat train; train on, which writes it anew") from None
    return result if result.get("epochs") == epochs else {}


def _epochs(file: Path) -> list[dict[str, float]]:
    try:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(_text(file).splitlines())]
        _ = [(row["epoch"], row["val_top1"], row["val_top5"]) for row in rows]
    except (ValueError, KeyError, TypeError):
        raise WeightsError(f"{file}: is not the log of a run of vggfeat train") from None
    if not rows:
        raise WeightsError(f"{file}: has no epoch yet; train on")
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
        f"Begun with {shown(begun)}; {epochs} epochs" + ("." if finished else ", and not at its end yet."),
        "",
        "| setting | value |",
        "|---|---|",
        *(f"| {shown(str(key))} | {shown(str(value))} |" for key, value in settings.items()),
    ]


def _scores(images: int, best: dict[str, float], result: dict[str, Any]) -> list[str]:
    rows = {"one centre crop an image": (best["val_top1"], best["val_top5"])}
    if result.get("dense"):
        rows["applied densely, mirrored"] = (result["dense"]["top1"], result["dense"]["top5"])
    return [
        "## Scores",
        f"Of epoch {best['epoch']:.0f} (counted from 0), which the validation images chose:",
        "",
        "| validation error, per cent (± standard error) | top-1 | top-5 |",
        "|---|---|---|",
        *(f"| {how} | {_with_error(one, images)} | {_with_error(five, images)} |" for how, (one, five) in rows.items()),
    ]


def _with_error(per_cent: float, images: int) -> str:
    share = per_cent / 100
    return f"{per_cent:.2f} ± {100 * math.sqrt(share * (1 - share) / max(images, 1)):.2f}"


def _use(weights: Weights) -> list[str]:
    prep = weights.preprocessing
    return [
        "## Input",
        f"{prep.colour}, 0..{prep.range:g}, minus {_triple(prep.mean)}, over {_triple(prep.std)}; "
        "the file says so itself, and vggfeat reads it from there.",
        "",
        "## Use",
        "```",
        f"vggfeat classify photo.jpg --weights {weights.path.name}",
        f"vggfeat extract photos/ --weights {weights.path.name}",
        "```",
    ]


def _triple(values: tuple[float, float, float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
