"""From the folder of a training run to one weights file with a model card."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from vggfeat._util.csv_files import Columns, read_table
from vggfeat._util.files import write_text
from vggfeat._util.json_files import read_json
from vggfeat._util.options import check_choice
from vggfeat._util.printable import reason_of, say
from vggfeat.errors import UsageError, WeightsError
from vggfeat.nets import parameter_count
from vggfeat.weights.header import Weights, shown
from vggfeat.weights.native import check_out, load, read, save_as
from vggfeat.weights.run_files import (
    BOX_EPOCHS,
    CONFIG,
    EPOCHS,
    LOG,
    RESULT,
    RunConfig,
    RunResult,
    TrainingData,
    standard_error,
)

Dtype = Literal["float32", "float16", "bfloat16"]
T = TypeVar("T")

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
    config = _parsed(run / CONFIG, partial(read_json, kind=RunConfig), "configuration")
    best = read(run / "best.safetensors")
    epochs, result = _tables(run, BOX_EPOCHS if best.boxes else EPOCHS)
    _verify(best, result)
    state = load(best, best.top, dtype=getattr(torch, dtype)).state_dict()
    weights = save_as(out, state, replace(best, licence=licence))
    card = out.with_suffix(".md")
    try:
        write_text(card, _card(name or out.stem, weights, dtype, config, epochs, result))
    except OSError as error:
        raise WeightsError(
            f"{card}: cannot be written ({reason_of(error)}); make room, or name another file"
        ) from error
    return PublishedRun(weights, card)


def _tables(run: Path, columns: Columns) -> tuple[list[dict[str, Any]], RunResult | None]:
    """The rows of log.csv, and result.json; None if the run is not finished or went on."""
    epochs = _parsed(run / LOG, lambda file: list(read_table(file, columns)), "log")
    if not epochs:
        raise WeightsError(f"{run / LOG}: has no epoch yet; train on")
    result = None
    if (run / RESULT).is_file():
        result = _parsed(run / RESULT, partial(read_json, kind=RunResult), "result")
    return epochs, result if result and result.epochs == len(epochs) else None


def _parsed(file: Path, read: Callable[[Path], T], what: str) -> T:
    """What `read` makes of a file of the run. Raises WeightsError."""
    try:
        return read(file)
    except OSError as error:
        if not file.parent.is_dir():
            raise WeightsError(f"{file.parent}: no such folder; name the folder of a run of vggfeat train") from None
        reason = reason_of(error)
        raise WeightsError(f"{file}: cannot be read ({reason}); name the folder of a run of vggfeat train") from None
    except ValueError as error:
        remedy = "train on, and it is written again" if what == "result" else "name the folder of such a run"
        raise WeightsError(f"{file}: is not the {what} of a run of vggfeat train ({error}); {remedy}") from None


def _verify(best: Weights, result: RunResult | None) -> None:
    """Raise WeightsError if the run wrote other weights. Prints a line if the run has not noted their checksum."""
    if result is None or not result.sha256:
        why = "the run is not finished" if result is None else "an earlier version made the run"
        say(f"{best.path}: has no checksum to compare with, because {why}")
    elif result.sha256 != best.sha256:
        raise WeightsError(
            f"{best.path}: is not the file that the run wrote: {RESULT} has another sha256; put that file back"
        )


def _card(
    name: str,
    weights: Weights,
    dtype: str,
    config: RunConfig,
    epochs: list[dict[str, Any]],
    result: RunResult | None,
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
        _data(config.data, weights.classes or (), result),
        _recipe(config, len(epochs), result is not None),
        _box_scores(config.data.val, epochs) if weights.boxes else _scores(config.data.val, epochs, result),
        _use(weights),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _data(data: TrainingData, classes: tuple[str, ...], result: RunResult | None) -> list[str]:
    more = f", and {len(classes) - CLASSES_SHOWN} more" if len(classes) > CLASSES_SHOWN else ""
    left_out = result.unreadable if result else 0
    return [
        "## Data",
        f"{data.train:,} training and {data.val:,} validation images; sha256 of all names and labels: "
        f"`{shown(data.sha256)}`. The {len(classes):,} classes, in the order of the outputs: "
        f"{', '.join(map(shown, classes[:CLASSES_SHOWN]))}{more}.",
        *([f"{left_out:,} images could not be read and were left out."] if left_out else []),
    ]


def _recipe(config: RunConfig, epochs: int, finished: bool) -> list[str]:
    start = config.start
    source = f"the weights {start['source']} (sha256 {start.get('sha256')})" if start.get("source") else ""
    begun = source or "random weights"
    settings = {**config.recipe, "lr": start.get("lr")}
    return [
        "## Recipe",
        f"Started from {shown(begun)}; {epochs} epochs" + ("." if finished else ", not finished yet."),
        "",
        "| setting | value |",
        "|---|---|",
        *(f"| {shown(str(key))} | {shown(str(value))} |" for key, value in settings.items()),
    ]


def _box_scores(images: int, epochs: list[dict[str, Any]]) -> list[str]:
    best = min(epochs, key=lambda row: row["val_error"])
    return [
        "## Scores",
        f"Of epoch {best['epoch']} (counted from 0), the one with the lowest validation error, of one centre crop per "
        "image and the box of the true class:",
        "",
        "| validation error at IoU 0.5, per cent (± standard error) | mean IoU |",
        "|---|---|",
        f"| {_with_error(best['val_error'], images)} | {best['val_iou']:.3f} |",
    ]


def _scores(images: int, epochs: list[dict[str, Any]], result: RunResult | None) -> list[str]:
    best = min(epochs, key=lambda row: row["val_top1"])
    rows = {"one centre crop per image": (best["val_top1"], best["val_top5"])}
    if result and result.dense:
        rows["dense, with mirror images"] = (result.dense["top1"], result.dense["top5"])
    return [
        "## Scores",
        f"Of epoch {best['epoch']} (counted from 0), the one with the lowest top-1 validation error:",
        "",
        "| validation error, per cent (± standard error) | top-1 | top-5 |",
        "|---|---|---|",
        *(f"| {how} | {_with_error(one, images)} | {_with_error(five, images)} |" for how, (one, five) in rows.items()),
    ]


def _with_error(per_cent: float, images: int) -> str:
    return f"{per_cent:.2f} ± {standard_error(per_cent, images):.2f}"


def _use(weights: Weights) -> list[str]:
    return [
        "## Input",
        f"{weights.preprocessing}; the file says so itself, and vggfeat reads it from there.",
        "",
        "## Use",
        "```",
        f"vggfeat localize predict {weights.path.name} photo.jpg"
        if weights.boxes
        else f"vggfeat classify photo.jpg --weights {weights.path.name}",
        f"vggfeat extract photos/ --weights {weights.path.name}",
        "```",
    ]
