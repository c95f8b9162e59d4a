"""Descriptors of an image set, from stores that are made once: one for each net and scale, and the same for boxes.

A store of several scales would serve only runs with those very scales. With one a scale every run finds what any
other has made: a further scale computes nothing but itself, and any choice of scales is joined when it is read. In
return an image is decoded once for each scale, in threads beside the net, which takes far longer.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vggfeat.aggregate import aggregate, fuse
from vggfeat.bench.protocol import shared_image
from vggfeat.data import ImageSet
from vggfeat.descriptors import Describer
from vggfeat.engine import Box, Region, View, Whole
from vggfeat.errors import DataError
from vggfeat.extraction.run import extract
from vggfeat.sources import Item
from vggfeat.store import load


def fill(images: ImageSet, rows: np.ndarray, describer: Describer, stores: Path, *, box: bool = False) -> None:
    """Describe what the stores of a describer's nets and scales lack of the given rows of an image set."""
    for columns in _parts(images, rows, describer, stores, box):
        for column in columns:
            named = {item.path: item for item in column.items}  # samples that share an image share a row
            extract(list(named.values()), column.store, describer=column.describer)


def descriptors(
    images: ImageSet, rows: np.ndarray, describer: Describer, stores: Path, *, box: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """X float32 (N, dim) with the given rows of an image set, from stores that `fill` has filled, and bool (N,):
    which of them are.

    A row that isn't is one that was not asked for, or could not be read. Samples that share an image share its
    descriptor. box: stack the descriptor of the image and that of the sample's box (Appendix B, setting (ii) of the
    actions), each of norm 1, the whole scaled to norm 1; dim is twice as long then.
    """
    parts, found = [], np.zeros(len(images), bool)
    found[rows] = True
    for columns in _parts(images, rows, describer, stores, box):
        scales, there = zip(*map(_read, columns), strict=True)
        parts.append(aggregate(scales, describer.spec.agg, describer.spec.normalize))
        found[rows] &= np.all(there, axis=0)
    X = np.zeros((len(images), sum(part.shape[1] for part in parts)), np.float32)
    X[rows] = fuse(parts, describer.spec.normalize)
    return X, found


def store_name(images: ImageSet, describer: Describer) -> str:
    """Of a describer of one net and one scale: the same for the same images and settings, and only for them."""
    first = images.images[0]
    folder = str(first).removesuffix(shared_image(images, 0)) if isinstance(first, Path) else ""
    decides = json.dumps([folder, describer.fingerprint()], sort_keys=True)
    digest = hashlib.sha256(decides.encode()).hexdigest()[:10]
    name = images.name + ("-boxes" if isinstance(describer.view, Box) else "")
    return f"{name}-{describer.engine.nets[0].weights.net}-{describer.spec.layer}-{digest}.vggfeat"


class _Column(NamedTuple):
    """One scale of one net: the M samples to describe, which may share an image, and the store that has them."""

    items: list[Item]
    describer: Describer
    store: Path


def _parts(
    images: ImageSet, rows: np.ndarray, describer: Describer, stores: Path, box: bool
) -> Iterator[list[_Column]]:
    """The columns of all scales, for each net and, with `box`, for the boxes as well."""
    sources: list[tuple[list[Item], View]] = [(_images(images, rows), Whole())]
    if box:
        sources.append((_boxes(images, rows), Box()))
    for engine, (items, view) in product(describer.engine.apart(), sources):
        singles = [describer.variant(engine, view, scales=(q,)) for q in describer.spec.scales]
        yield [_Column(items, one, stores / store_name(images, one)) for one in singles]


def _read(column: _Column) -> tuple[np.ndarray, np.ndarray]:
    """(M, C) and bool (M,); rows that could not be read hold nothing of use."""
    data = load(column.store, normalize="none")
    place = {name: i for i, name in enumerate(data.paths)}
    at = np.array([place.get(item.path, -1) for item in column.items])
    return data.X[at], at >= 0


def _images(images: ImageSet, rows: Iterable[int]) -> list[Item]:
    single = images.boxes is None and bool((images.labels.sum(axis=1) == 1).all())
    return [
        Item(
            shared_image(images, i),
            images.images[i],
            images.classes[images.labels[i].argmax()] if single else None,
        )
        for i in rows
    ]


def _boxes(images: ImageSet, rows: Iterable[int]) -> list[Item]:
    if images.boxes is None:
        raise DataError(f"{images.name}: has no boxes")
    crops = [(i, Region(images.images[i], tuple(images.boxes[i].tolist()))) for i in rows]
    # The box is in the name: a row can't be taken for that of another box, should an annotation change.
    return [Item(f"{images.paths[i]}@{','.join(map(str, crop.box))}", crop) for i, crop in crops]
