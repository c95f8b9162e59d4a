"""Evaluates nets on a data set: images -> stored posteriors -> errors (Sect. 3.2 and 4)."""

import hashlib
import json
import re
from pathlib import Path

from vggfeat._util.fetch import cache_dir
from vggfeat._util.options import takes
from vggfeat.data.imagenet import Classified, read
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError
from vggfeat.evaluate.classes import Outputs, match_classes, match_outputs, read_classes
from vggfeat.evaluate.finished import write_facts
from vggfeat.evaluate.methods import posterior_describers
from vggfeat.evaluate.result import EvaluationResult, summarise
from vggfeat.evaluate.runs import facts_of, open_runs
from vggfeat.evaluate.settings import EvaluationSettings, parse_train_scale
from vggfeat.extraction.run import extract
from vggfeat.sources import Item
from vggfeat.weights import Weights
from vggfeat.weights.names import output_names

# S of the published nets: the training scale was drawn from [256, 512] for each image.
PUBLISHED_SCALES = {("oxford", "D"): (256, 512), ("oxford", "E"): (256, 512)}


@takes(settings=EvaluationSettings)
def evaluate(
    data: str | Path | Classified | None = None,
    out: str | Path | None = None,
    *,
    settings: EvaluationSettings,
) -> EvaluationResult:
    """Measure nets as the paper does: store the posteriors of each image once, and compute the errors of averages.

    Parameters
    ----------
    data : str, path or Classified, optional
        Folder of the data set (see `vggfeat.data.imagenet.read`), or the images. Default: $VGGFEAT_DATA/ilsvrc2012.
    out : str or path, optional
        Folder for the runs: one store for each net and method. A run that was killed is continued. Default: a folder
        in the cache.
    net, scales, method, weights, lineage, subset, classes, partial, train_scale, grid
        See `EvaluationSettings`.
    mirror, device, precision, ceil, exif, allow_truncated, kit, blacklist, on_error, workers
        See `EvaluationSettings`.
    settings : EvaluationSettings
        All of these as one object, instead of them.

    Returns
    -------
    EvaluationResult

    Raises
    ------
    DataError
        If the data set is missing or damaged, or if its classes do not match those of the weights.
    WeightsError
        If the weights are missing or damaged.
    StoreError
        If a store in `out` is damaged, in use, or cannot be written.
    ImageError
        If an image cannot be read and `on_error` is "fail".
    UsageError
        If an argument is invalid.

    References
    ----------
    Sect. 3.2 "Testing" and Sect. 4 "Classification Experiments".
    """
    images = data
    if not isinstance(images, Classified):
        images = read(images, settings.subset, kit=settings.kit, blacklist=settings.blacklist)
    items = _items(images)
    folder = Path(out) if out is not None else cache_dir() / "evaluations"
    stores = []
    for describer, outputs in _planned(images, settings):
        weights = describer.engine.nets[0].weights
        stores.append(folder / run_name(describer, images))
        extract(items, stores[-1], describer=describer, settings=settings.extraction)
        write_facts(stores[-1], facts_of(images, outputs, settings.train_scale or known_train_scale(weights)))
    return summarise(open_runs(stores))


def _planned(images: Classified, settings: EvaluationSettings) -> list[tuple[Describer, Outputs]]:
    """The describers and the classes of their outputs. Raises now, before the work, if nets cannot be averaged."""
    classes = settings.classes
    named = read_classes(Path(classes)) if isinstance(classes, str | Path) else classes
    planned = []
    for describer in posterior_describers(
        settings.method, settings.spec, grid=settings.grid, mirror=settings.mirror, data=images
    ):
        weights = describer.engine.nets[0].weights
        names = output_names(weights)
        places = match_classes(names, images.classes, named, settings.partial)
        planned.append((describer, Outputs(str(weights.path), names, places)))
        match_outputs(planned[0][1], planned[-1][1])
    return planned


def run_name(describer: Describer, images: Classified) -> str:
    """D-oxford-dense-256-384-512-1f2e3d: the same for the same folder of images and settings, and only for them."""
    weights = describer.engine.nets[0].weights
    place = str(images.images[0]).removesuffix(images.paths[0])
    decides = json.dumps([place, describer.fingerprint()], sort_keys=True)
    digest = hashlib.sha256(decides.encode()).hexdigest()[:6]
    scales = "-".join(map(str, describer.spec.scales))
    return f"{weights.net}-{Path(weights.name).stem}-{describer.facts['method']}-{scales}-{digest}"


def known_train_scale(weights: Weights) -> tuple[int, ...] | None:
    """(S,) or (Smin, Smax): from S=256 or S=256-512 in the `source` of the weights, and of Oxford's nets; else None."""
    if found := re.search(r"\bS=(\d{1,5}(?:-\d{1,5})?)\b", weights.source):
        return parse_train_scale(found[1])
    return PUBLISHED_SCALES.get((weights.lineage, weights.net)) if weights.width == 1 else None


def _items(images: Classified) -> list[Item]:
    if not len(images):
        raise DataError(f"{images.name}: has no images; name another data set or subset")
    labels = [None] * len(images) if images.labels is None else [images.classes[i] for i in images.labels]
    rows = zip(images.paths, images.images, labels, strict=True)
    return [Item(path, image, label) for path, image, label in rows]
