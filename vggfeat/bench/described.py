"""How the samples of a result were described: by nets in this run, or before, in stores of `vggfeat extract`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

import numpy as np

from vggfeat.bench.benchmark import Benchmark
from vggfeat.bench.protocol import shared_image
from vggfeat.bench.settings import BenchmarkSettings
from vggfeat.data import ImageSet
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, StoreError, UsageError
from vggfeat.extraction.identity import checksum, stamp
from vggfeat.sources import patterns
from vggfeat.sources.item import utf8
from vggfeat.spec import DescriptorLayer, DescriptorSpec, PosteriorSpec
from vggfeat.store import Store, load


@dataclass(frozen=True)
class Described:
    """The settings of the descriptors of a result. nets : net, name and sha256 of the weights of each."""

    spec: DescriptorSpec | PosteriorSpec
    nets: tuple[dict[str, str], ...]
    precision: str
    device: str


def by_nets(describer: Describer) -> Described:
    """The settings of samples that are described in this run."""
    weights = [net.weights for net in describer.engine.nets]
    nets = tuple({"net": one.net, "name": one.name, "sha256": one.sha256} for one in weights)
    return Described(describer.spec, nets, describer.engine.precision, str(describer.engine.device))


def in_stores(benchmark: Benchmark, settings: BenchmarkSettings, stores: Sequence[Store]) -> Described:
    """The settings of samples that were described before.

    Raises UsageError for settings that contradict the stores or need the nets, StoreError if the stores do not hold
    descriptors or differ in their settings.
    """
    for refused, why in (
        (settings.ablate, "the ablation needs the nets; leave out --ablate"),
        (settings.box and benchmark.boxes, "a store has whole images; add --no-box"),
        (settings.recipe is not None, "the stores decide how images are described; leave out --recipe"),
        (settings.net or settings.weights, "the stores say which net; leave out --net and --weights"),
    ):
        if refused:
            raise UsageError(f"--store: {why}")
    first = stores[0].fingerprint
    for store in stores:
        made = store.fingerprint
        if made.get("layer") not in get_args(DescriptorLayer):
            raise StoreError(f"{store.path}: holds {made.get('layer')}, not descriptors; name a store of `extract`")
        said = made | store.meta
        if missing := [
            key for key in ("net", "weights_sha256", "mirror", "pooling", "precision", "weights") if key not in said
        ]:
            raise StoreError(f"{store.path / 'meta.json'}: does not say {missing[0]}; extract the store again")
        for key in ("layer", "mirror", "pooling", "precision", "exif", "allow_truncated"):
            if made.get(key) != first.get(key):
                raise StoreError(f"{store.path}: has {key} {made.get(key)}, not {first.get(key)} as {stores[0].path}")
    spec = DescriptorSpec(
        scales=settings.scales or stores[0].scales,
        agg=settings.agg or benchmark.agg,
        layer=first["layer"],
        mirror=first["mirror"],
        normalize=settings.normalize,
        ceil=first["pooling"] == "ceil",
        exif=first.get("exif", True),
        allow_truncated=first.get("allow_truncated", False),
    )
    _refuse_other(settings, spec, stores[0])
    nets = tuple(
        {"net": s.fingerprint["net"], "name": s.meta["weights"], "sha256": s.fingerprint["weights_sha256"]}
        for s in stores
    )
    return Described(spec, nets, first["precision"], "-")


def _refuse_other(settings: BenchmarkSettings, spec: DescriptorSpec, store: Store) -> None:
    """Raise UsageError for a setting that was given and is not the store's."""
    defaults = {field.name: field.default for field in fields(BenchmarkSettings)}
    for name in ("layer", "mirror", "ceil", "exif", "allow_truncated"):
        given = getattr(settings, name)
        if given not in (defaults[name], getattr(spec, name)):
            raise UsageError(f"{store.path}: was made with {name} {getattr(spec, name)}, not {given}; leave out {name}")


def read_stores(
    stores: Sequence[Store], spec: DescriptorSpec | PosteriorSpec, images: ImageSet, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """X float32 (N, dim) for the N samples, and bool (N,): rows with values, as `Stores.read`; and notes.

    Raises DataError if an image of `rows` has neither a row nor a line in failures.csv, or has changed since.
    """
    notes = [note for store in stores for note in _check(store, images, rows)]
    data = load([store.path for store in stores], agg=spec.agg, normalize=spec.normalize, scales=spec.scales)
    place = {name: i for i, name in enumerate(data.paths)}
    at = np.array([place.get(_name(stores[0], images, i), -1) for i in rows])
    X, found = np.zeros((len(images), data.X.shape[1]), np.float32), np.zeros(len(images), bool)
    X[rows[at >= 0]], found[rows] = data.X[at[at >= 0]], at >= 0
    return X, found, notes


def _name(store: Store, images: ImageSet, row: int) -> str:
    """The name that the image of a sample has in a store of its folder, or of a folder above it."""
    image, source = images.images[row], store.meta.get("source")
    if not isinstance(image, Path):
        raise DataError(f"{images.name}: its images are not in files, so no store of `extract` has them")
    if not source:
        return shared_image(images, row)
    folder = Path(source) if Path(source).is_dir() else Path(patterns.fixed_part(str(Path(source).parent)))
    return "/".join(utf8(part) for part in Path(os.path.relpath(image, folder)).parts)


def _check(store: Store, images: ImageSet, rows: np.ndarray) -> list[str]:
    """Raise DataError if a sample has no row, or its image is not the one that was described. Returns notes."""
    table = store.read(["path", "size", "changed_ns", "sha256"])
    known = {name: row for name, *row in zip(*(table[c].to_pylist() for c in table.column_names), strict=True)}
    names = {i: _name(store, images, i) for i in rows}
    without = [i for i in rows if names[i] not in known and names[i] not in store.failures]
    if without:
        raise DataError(
            f"{store.path}: has no row of {len(without)} of {len(rows)} images, such as {images.images[without[0]]}; "
            "make a store of the same images, or leave out --store"
        )
    for i in rows:
        if names[i] in known and _changed(images.images[i], *known[names[i]]):
            raise DataError(
                f"{images.images[i]}: has changed since {store.path} was made; run that `vggfeat extract` again"
            )
    unidentified = sum(names[i] in known and known[names[i]][2] is None for i in rows)
    failed = sum(names[i] not in known for i in rows)
    said = {
        "images whose rows do not say what they were made from, as an earlier version wrote them": unidentified,
        "images left out, because they could not be read when the store was made": failed,
    }
    return [f"{store.path}: {what}: {count:,}" for what, count in said.items() if count]


def _changed(image: Any, size: int | None, changed_ns: int | None, sha256: str | None) -> bool:
    if sha256 is None or stamp(image)[:2] == (size, changed_ns):
        return False
    return checksum(image) != sha256
