"""fit: from labelled photos to a model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from vggfeat._util.options import takes
from vggfeat._util.printable import say
from vggfeat.decisions import read_decisions
from vggfeat.errors import DataError, StoreError, UsageError
from vggfeat.extraction import default_out, extract
from vggfeat.model.classifier import Model
from vggfeat.model.clock import Clock
from vggfeat.model.figures import Figures
from vggfeat.model.file import Content
from vggfeat.model.folds import can_be_held_out
from vggfeat.model.held_out import held_out_of
from vggfeat.model.measuring import figures_of, hold_out
from vggfeat.model.samples import Candidate, Samples, samples_of_store
from vggfeat.model.settings import FitSettings, FitSpec
from vggfeat.model.training import Trained, Trainer, candidates_of
from vggfeat.model.twins import find_twins
from vggfeat.sources.folders import is_store
from vggfeat.spec import DescriptorSpec
from vggfeat.store import Store
from vggfeat.store.remaking import spec_of

OF_THE_MACHINE = {"weights", "lineage", "device"}  # what may be given with a store


@takes(spec=FitSpec, settings=FitSettings)
def fit(
    source: str | Path,
    *,
    store: str | Path | None = None,
    decisions: str | Path | None = None,
    spec: DescriptorSpec,
    settings: FitSettings,
) -> Model:
    """Train a classifier on labelled photos, and measure how good it is.

    The photos are described into a store, which is continued or used again if it exists. Aggregation, scales and C are
    chosen by cross-validation. Twins, which are equal or nearly equal photos, are never on both sides of a split. The
    figures come from photos that were held out from everything, and are printed on stderr by the command.

    Parameters
    ----------
    source : str or path
        A folder whose first folders are the classes, a list with labels, a tar, or a glob, as for `extract`; or a store
        of labelled photos.
    store : str or path, optional
        Where the descriptors are stored. Default: as for `extract`.
    decisions : str or path, optional
        A table `path,decision,label,reason`, as `vggfeat explore` writes it: photos to remove do not train, and photos
        to relabel get their new labels. The store stays as it is.
    net, scales, agg, layer, weights, lineage, mirror, normalize, device, precision, ceil, exif, allow_truncated
        See `DescriptorSpec` and `NetSpec`; the layer is pool5 by default. Of a store only weights and device count.
        agg and normalize cannot be given: the aggregation is chosen, and the norm is 1.
    minutes, keep, most, jobs, seed, anonymous
        See `FitSettings`.
    spec : DescriptorSpec, optional
        The settings of the descriptors as one object, instead of single settings.
    settings : FitSettings, optional
        The settings of the training as one object, instead of single settings.

    Returns
    -------
    Model

    Raises
    ------
    DataError
        If the photos have no labels, are all of one class, or a class has only one photo; if the table of decisions is
        damaged.
    StoreError, WeightsError, UsageError
        As for `extract`.
    """
    decided = read_decisions(decisions) if decisions is not None else {}
    opened = _store_of(source, store, spec)
    known = str(opened.path), opened.fingerprint, opened.meta.get("weights", "")
    made_by = made_spec(*known, spec)
    samples = samples_of_store(opened, settings.most, settings.seed, decided)
    for line in samples.remarks.lines():
        say(f"{opened.path}: {line}")
    content, figures = train_on(samples, *known[1:], settings, spec.device)
    chosen = tuple(content.fingerprint["scales"])
    return Model(content, replace(made_by, scales=chosen, agg=content.agg), "the model", figures)


def _store_of(source: str | Path, store: str | Path | None, spec: DescriptorSpec) -> Store:
    """The store of a source, described now if it is none itself. Raises UsageError, and as `extract`."""
    if not is_store(Path(source)):
        opened = extract(source, store or default_out(source), spec=spec)
        if failed := len(opened.failures):
            say(f"{opened.path}: {failed} images failed (failures.csv)")
        return opened
    if store is not None:
        raise UsageError(f"{source}: is a store already; leave out --store")
    default = FitSpec()
    for field in fields(DescriptorSpec):
        differs = getattr(spec, field.name) != getattr(default, field.name)
        if differs and field.name not in OF_THE_MACHINE:
            raise UsageError(f"{source}: is a store, whose descriptors are made already; leave out {field.name}")
    return Store(source)


def made_spec(name: str, fingerprint: Mapping[str, Any], weights: str, given: DescriptorSpec) -> DescriptorSpec:
    """The spec of descriptors that were made, with the place of the weights and the device that were given.

    name : of the store, for messages. Raises StoreError if a model cannot make such descriptors.
    """
    try:
        spec = spec_of(fingerprint, weights, "mean")
    except (ValueError, UsageError) as error:
        raise StoreError(f"{name}: cannot train a model ({error}); extract whole photos into a new store") from error
    place = weights if given.weights == "auto" else given.weights
    return replace(spec, weights=place, lineage=given.lineage, device=given.device)


def train_on(
    samples: Samples,
    fingerprint: Mapping[str, Any],
    weights: str,
    settings: FitSettings,
    device: str,
    silent: bool = False,
) -> tuple[Content, Figures]:
    """Choose, measure, and train on all samples.

    fingerprint, weights : of the descriptors. device : of the solver. silent : shows no progress.

    Raises DataError if too few photos can be held out.
    """
    candidates = candidates_of(tuple(samples.scales))
    twins = find_twins(samples.matrix(candidates[0]), samples.sha256)
    trainer = Trainer(samples, twins.groups, settings, device)
    notes = list(_untested(samples, twins.groups))
    clock = Clock(settings.minutes)
    held, tried = hold_out(trainer, candidates, clock, silent)
    if left := candidates[len(tried) :]:
        notes.append(f"not tried, for lack of time (--minutes): {'; '.join(map(str, left))}")
    trained = trainer.train(np.arange(len(samples)), tried)
    held_out = None if settings.anonymous else held_out_of(samples, trained, notes)
    figures = figures_of(trainer, held, trained, clock, [str(twins), _choice(trained, tried), *notes])
    content = Content(
        classes=samples.classes,
        coef=trained.coef,
        intercept=trained.intercept,
        agg=trained.candidate.agg,
        C=trained.C,
        temperature=trained.temperature,
        threshold=trained.threshold,
        keep=settings.keep,
        weights=weights,
        fingerprint={**fingerprint, "scales": list(trained.candidate.scales)},
        figures={name: value for name, value in figures.as_json().items() if name != "confusion"},  # K x K numbers
        held_out=held_out,
    )
    return content, figures


def _choice(trained: Trained, tried: Sequence[Candidate]) -> str:
    others = [str(candidate) for candidate in tried if candidate != trained.candidate]
    return f"chosen: {trained.candidate}, C={trained.C:g}" + (f"; tried as well: {'; '.join(others)}" if others else "")


def _untested(samples: Samples, groups: np.ndarray) -> Iterator[str]:
    """A line on the classes whose photos are all twins. Raises DataError if fewer than two classes are left."""
    can = can_be_held_out(samples.labels, groups)
    if can.sum() < 2:
        raise DataError(
            f"{can.sum()} of {len(can)} classes have two photos that are no twins of each other; at least two such "
            "classes are needed to choose and to measure: add other photos"
        )
    names = [name for name, tested in zip(samples.classes, can, strict=True) if not tested]
    if names:
        yield f"not tested, because all photos of the class are twins: {', '.join(names[:10])}" + (
            f" and {len(names) - 10} more" if len(names) > 10 else ""
        )
