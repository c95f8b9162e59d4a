"""Evaluates box nets on photos with true boxes: images -> stored predictions -> errors (Appendix A.2)."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vggfeat._util.fetch import cache_dir
from vggfeat._util.json_files import read_json
from vggfeat._util.options import takes
from vggfeat.data.base import MissingSubsetError
from vggfeat.data.boxed import Boxed, read_boxed
from vggfeat.data.imagenet import Classified
from vggfeat.errors import DataError, UsageError
from vggfeat.evaluate.classes import Outputs, match_classes
from vggfeat.evaluate.finished import write_facts
from vggfeat.evaluate.runner import known_train_scale
from vggfeat.evaluate.runs import facts_of
from vggfeat.extraction.run import extract_with
from vggfeat.localization.criterion import constant_box
from vggfeat.localization.describing import POSTERIORS, BoxDescriber
from vggfeat.localization.models import Model, Models, open_models
from vggfeat.localization.posteriors import Predictions
from vggfeat.localization.predictions import BoxFacts
from vggfeat.localization.result import LocalizationResult
from vggfeat.localization.rules import MergeRule
from vggfeat.localization.spec import LocalizationSettings, LocalizerSpec
from vggfeat.localization.summary import open_runs, summarise
from vggfeat.sources import Item
from vggfeat.weights import Weights
from vggfeat.weights.run_files import CONFIG, RunConfig


@takes(spec=LocalizerSpec, settings=LocalizationSettings, merging=MergeRule)
def evaluate(
    data: str | Path | Boxed,
    models: Model | Sequence[Model],
    classifier: Model | None = None,
    out: str | Path | None = None,
    *,
    train_data: str | Path | Boxed | None = None,
    images: str | Path | None = None,
    spec: LocalizerSpec,
    settings: LocalizationSettings,
    merging: MergeRule,
) -> LocalizationResult:
    """Measure box nets as the paper does: store the boxes of each photo once, and compute all errors from them.

    Parameters
    ----------
    data, models, classifier, out, train_data, images
        See `store_boxes`.
    scales, mirror, keep, device, precision, exif, allow_truncated
        See `LocalizerSpec`.
    protocol, subset, iou, reading, on_error, workers
        See `LocalizationSettings`.
    rule, vertical, horizontal, apart, score, average
        See `MergeRule`.
    spec : LocalizerSpec
        Its settings as one object, instead of single ones.
    settings : LocalizationSettings
        Its settings as one object, instead of single ones.
    merging : MergeRule
        Its settings as one object, instead of single ones.

    Returns
    -------
    LocalizationResult

    Raises
    ------
    DataError, WeightsError, StoreError, ImageError, UsageError
        As `store_boxes`.

    References
    ----------
    Appendix A.2.
    """
    stored = store_boxes(
        data, models, classifier, out, train_data=train_data, images=images, spec=spec, settings=settings
    )
    return summarise(stored, settings=settings, merging=merging)


@takes(spec=LocalizerSpec, settings=LocalizationSettings)
def store_boxes(
    data: str | Path | Boxed,
    models: Model | Sequence[Model],
    classifier: Model | None = None,
    out: str | Path | None = None,
    *,
    train_data: str | Path | Boxed | None = None,
    images: str | Path | None = None,
    spec: LocalizerSpec,
    settings: LocalizationSettings,
) -> Predictions:
    """Store the boxes of box nets, before any merging, and the posteriors of a classifier.

    Parameters
    ----------
    data : str, path or Boxed
        Photos with true boxes; see `vggfeat.data.boxed.read_boxed`.
    models : str, path or Weights, or a sequence of these
        Nets that predict boxes: files, or folders of runs.
    classifier : str, path or Weights, optional
        A net that classifies: a name of the registry, a file, or the folder of a run. Protocol 2 needs it if there are
        several classes.
    out : str or path, optional
        Folder for the runs: one store for each net and protocol. A run that was killed is continued. Default: a folder
        in the cache.
    train_data : str, path or Boxed, optional
        Data whose subset train gives the mean box, which is one of the baselines. Default: `data`.
    images : str or path, optional
        The folder of the photos of a CSV file.
    scales, mirror, keep, device, precision, exif, allow_truncated
        See `LocalizerSpec`.
    protocol, subset, iou, reading, on_error, workers
        See `LocalizationSettings`; `iou` and `reading` serve the scores.
    spec : LocalizerSpec
        Its settings as one object, instead of single ones.
    settings : LocalizationSettings
        Its settings as one object, instead of single ones.

    Returns
    -------
    Predictions

    Raises
    ------
    DataError
        If the data are missing or damaged, or have other classes than the nets.
    WeightsError
        If weights are missing or damaged, or predict something else.
    StoreError
        If a store in `out` is damaged, in use, or cannot be written.
    ImageError
        If a photo cannot be read and `on_error` is "fail".
    UsageError
        If an argument is invalid, protocol 2 lacks a classifier, or `exif` is set: true boxes are in stored pixels.

    References
    ----------
    Appendix A.1 "Testing".
    """
    if spec.exif:
        raise UsageError("true boxes are in pixels of the stored photos, which exif would turn; leave exif out")
    nets = open_models(models, classifier)
    boxed = data if isinstance(data, Boxed) else read_boxed(data, settings.subset, images=images)
    _check_classes(nets, boxed, settings.protocols)
    constant, notes = _constant(boxed, train_data if train_data is not None else data, images)
    folder = Path(out) if out is not None else cache_dir() / "localization"
    stores: list[Path] = []
    for protocol in settings.protocols:
        describer = BoxDescriber(nets, protocol, spec, {"data": boxed.name, "images": len(boxed)})
        of_layer = {layer: folder / _run_name(describer, layer, boxed) for layer in describer.layers}
        extract_with(describer, _items(boxed), of_layer, settings.extraction)
        for layer, net in zip(describer.layers, describer.engine.nets, strict=True):
            classes = nets.classes if protocol == 2 else net.weights.classes if net.weights.boxes == "pcr" else ()
            outputs = _outputs(classes or (), boxed, net.weights)
            if layer == POSTERIORS:
                facts: Any = facts_of(_classified(boxed), outputs, known_train_scale(net.weights))
            else:
                facts = _facts(boxed, net.weights, outputs, constant, notes)
            write_facts(of_layer[layer], facts)
        stores += of_layer.values()
    return open_runs(stores)


def _check_classes(models: Models, boxed: Boxed, protocols: Sequence[int]) -> None:
    """Raise UsageError, DataError, before the work begins, if the nets do not know the classes of the photos."""
    if 2 in protocols and models.classifier is None and len(models.classes) != 1:
        raise UsageError(
            f"protocol 2 needs a net that classifies, because {boxed.name} or the box nets have several classes: give "
            "--classifier, or --protocol 1"
        )
    named = next((one for one in models.boxes if one.boxes == "pcr"), models.boxes[0])
    _outputs(models.classes, boxed, models.classifier or named)


def _outputs(classes: Sequence[str], boxed: Boxed, weights: Weights) -> Outputs:
    """Which class of some weights each class of the photos is. Raises DataError."""
    try:
        places = match_classes(classes, boxed.classes, partial=True) if classes else {}
    except DataError:
        first = sorted(set(boxed.classes) - set(classes))[0]
        raise DataError(
            f"{boxed.name}: its class {first!r} is none of the {len(classes)} classes of {weights.path} "
            f"({classes[0]!r}, ...); give nets that were trained on these classes"
        ) from None
    return Outputs(str(weights.path), classes, places)


def _constant(
    boxed: Boxed, source: str | Path | Boxed, images: str | Path | None
) -> tuple[list[float] | None, list[str]]:
    """The mean box of the training photos, and a note if there are none. Photos to judge are no training photos."""
    train = source if isinstance(source, Boxed) and source is not boxed else None
    if not isinstance(source, Boxed):
        with suppress(MissingSubsetError):
            train = read_boxed(source, "train", images=images)
    if train is None:
        return None, ["no training photos, so no mean box stands beside the scores; name them as --train-data"]
    return constant_box(train.boxes, train.sizes).tolist(), []


def _items(boxed: Boxed) -> list[Item]:
    labels = [boxed.classes[i] for i in boxed.labels]
    return [Item(*row) for row in zip(boxed.paths, boxed.images, labels, strict=True)]


def _run_name(describer: BoxDescriber, layer: str, boxed: Boxed) -> str:
    """D-birds-pcr-dense-256-1f2e3d: the same for the same photos and settings, and only for them."""
    made, name = describer.stored(layer)
    place = str(boxed.images[0]).removesuffix(boxed.paths[0])
    digest = hashlib.sha256(json.dumps([place, made], sort_keys=True).encode()).hexdigest()[:6]
    what = "classes" if layer == POSTERIORS else made["boxes"]
    scales = "-".join(map(str, made["scales"]))
    return f"{made['net']}-{Path(name).stem}-{what}-{made['method']}-{scales}-{digest}"


def _classified(boxed: Boxed) -> Classified:
    return Classified(boxed.name, boxed.classes, boxed.paths, boxed.images, boxed.labels, boxed.notes)


def _facts(
    boxed: Boxed, weights: Weights, outputs: Outputs, constant: list[float] | None, notes: Sequence[str]
) -> BoxFacts:
    scale = known_train_scale(weights)
    return BoxFacts(
        data=boxed.name,
        images=len(boxed),
        outputs=list(outputs.names),
        places=dict(outputs.places),
        truth={path: boxes.tolist() for path, boxes in zip(boxed.paths, boxed.boxes, strict=True)},
        constant=constant,
        train_scale=list(scale) if scale else None,
        tuned=tuned_layers(weights),
        notes=[*boxed.notes, *notes],
    )


def tuned_layers(weights: Weights) -> Any:
    """Which layers of a box net were fine-tuned, "all" or "fc", if its run says so; else None."""
    with suppress(OSError, ValueError):
        config: RunConfig = read_json(weights.path.parent / CONFIG, RunConfig)
        tuned = config.recipe.get("finetune")
        return tuned if tuned in ("all", "fc") else None
    return None
