"""Evaluates nets on a data set: images -> stored posteriors -> errors (Sect. 3.2 and 4)."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from vggfeat._util.fetch import cache_dir
from vggfeat.data.imagenet import Classified, Subset, read
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, UsageError
from vggfeat.evaluate.classes import Outputs, columns, match, output_names, read_classes
from vggfeat.evaluate.methods import GRID, Methods, posterior_describers
from vggfeat.evaluate.result import Evaluation, summarise
from vggfeat.evaluate.runs import open_runs, write_facts
from vggfeat.extraction.run import extract
from vggfeat.sources import Item
from vggfeat.spec import SCALES, PosteriorSpec, Precision
from vggfeat.weights import Weights

# S of the published nets: the training scale was drawn from [256, 512] for each image.
PUBLISHED_SCALES = {("oxford", "D"): (256, 512), ("oxford", "E"): (256, 512)}


def evaluate(
    data: str | Path | Classified | None = None,
    out: str | Path | None = None,
    *,
    net: str | None = None,
    scales: Sequence[int] = SCALES,
    method: Methods = "dense",
    weights: str | Path = "auto",
    subset: Subset = "val",
    classes: str | Path | Mapping[str, str] | None = None,
    partial: bool = False,
    train_scale: Sequence[int] | None = None,
    grid: int = GRID,
    mirror: bool | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    ceil: bool = False,
    kit: str | Path | None = None,
    blacklist: bool = False,
    on_error: Literal["skip", "fail"] = "skip",
    workers: int | None = None,
) -> Evaluation:
    """Measure nets as the paper does: posteriors of each image, stored once, and the errors of their averages.

    data : the data set's folder (see `data.imagenet.read`, also for subset, kit and blacklist), or what that gives;
        None: $VGGFEAT_DATA/ilsvrc2012.
    out : a folder for the runs, a store for each net and method; None: in the cache. A killed run continues.
    net, scales, weights, device, precision, ceil : see Describer. Several nets, "D,E", are evaluated one by one and
        together.
    method : "dense", the whole image; "multi-crop", 224x224 crops; "both", and the average of the two; "centre", the
        centre crop. grid : crops a side. mirror : average with the mirror image; None: but for the centre crop.
    classes : class of the data set -> class of the weights where they are called otherwise, or a CSV file of them.
        partial : the data set has some of the weights' classes only.
    train_scale : S, or (Smin, Smax), that the net was trained at, for the tables; None: as far as it is known.
    on_error, workers : see extract.

    Raises DataError for data or classes that don't fit, WeightsError, StoreError, UsageError; ImageError with
    on_error="fail".
    """
    images = data if isinstance(data, Classified) else read(data, subset, kit=kit, blacklist=blacklist)
    named = read_classes(Path(classes)) if isinstance(classes, str | Path) else classes
    spec = PosteriorSpec(net, scales=tuple(scales), weights=str(weights), device=device, precision=precision, ceil=ceil)
    folder = Path(out) if out is not None else cache_dir() / "evaluations"
    todo = []
    for describer in posterior_describers(method, spec, grid=grid, mirror=mirror, data=images):
        found = describer.engine.nets[0].weights
        names = output_names(found)
        todo.append((describer, Outputs(str(found.path), names, match(names, images.classes, named, partial))))
        columns(todo[0][1], todo[-1][1])  # complains now about nets that can't be averaged, not after the work
    stores = []
    for describer, outputs in todo:
        store = folder / run_name(describer)
        extract(_items(images), store, describer=describer, on_error=on_error, workers=workers)
        write_facts(store, images, outputs, train_scale or known_train_scale(describer.engine.nets[0].weights))
        stores.append(store)
    return summarise(open_runs(stores))


def run_name(describer: Describer) -> str:
    """D-oxford-dense-256-384-512-1f2e3d: the same for the same data and settings, and only for them."""
    net = describer.engine.nets[0].weights
    decides = json.dumps(describer.fingerprint(), sort_keys=True)
    digest = hashlib.sha256(decides.encode()).hexdigest()[:6]
    scales = "-".join(map(str, describer.spec.scales))
    return f"{net.net}-{Path(net.name).stem}-{describer.facts['method']}-{scales}-{digest}"


def known_train_scale(weights: Weights) -> tuple[int, ...] | None:
    """S, or (Smin, Smax): where the weights' `source` says S=256 or S=256-512, and of Oxford's nets; else None."""
    if said := re.search(r"\bS=(\d{1,5}(?:-\d{1,5})?)\b", weights.source):
        return parse_train_scale(said[1])
    return PUBLISHED_SCALES.get((weights.lineage, weights.net)) if weights.width == 1 else None


def parse_train_scale(text: str) -> tuple[int, ...]:
    """256 -> (256,), 256-512 -> (256, 512). Raises UsageError."""
    words = text.split("-")
    if len(words) > 2 or not all(word.isdecimal() for word in words) or int(words[0]) > int(words[-1]):
        raise UsageError(f"training scale {text!r}: give one side, 256, or a range, 256-512")
    return tuple(map(int, words))


def _items(images: Classified) -> list[Item]:
    if not len(images):
        raise DataError(f"{images.name}: has no images")
    labels = [None] * len(images) if images.labels is None else [images.classes[i] for i in images.labels]
    rows = zip(images.paths, images.images, labels, strict=True)
    return [Item(path, image, label) for path, image, label in rows]
