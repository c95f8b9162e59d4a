"""Descriptors of an image set, from stores that are made once: one for each net and scale, and the same for boxes.

A store of several scales would serve only runs with the same scales. With one scale in each store, every run uses what
any other has made: a new scale computes only itself, and any choice of scales is joined when it is read. In return an
image is decoded once for each scale, in threads beside the net, which takes far longer.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
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
from vggfeat.formats import STORE
from vggfeat.sources import Item
from vggfeat.store import Store, load


class Column(NamedTuple):
    """One scale of one net: the M samples to describe, which may share an image, and the store that has them."""

    items: list[Item]
    describer: Describer
    store: Path


@dataclass(frozen=True)
class Stores:
    """Descriptors of some rows of an image set, in the stores of a folder.

    In each method `box` stacks the descriptor of the image and that of the sample's box.
    """

    folder: Path
    images: ImageSet
    rows: np.ndarray

    def fill(self, describer: Describer, box: bool = False) -> None:
        """Describe the samples that the stores of a describer's nets and scales lack."""
        for columns in self._columns(describer, box):
            for column in columns:
                unique = {item.path: item for item in column.items}  # samples that share an image share a row
                extract(list(unique.values()), column.store, describer=column.describer)

    def read(self, describer: Describer, box: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """X float32 (N, dim) for the N samples of the image set, from filled stores, and bool (N,): rows with values.

        A row without values is not in `rows`, or could not be read. With `box` (Appendix B, setting (ii) of the
        actions) dim is twice as long: both descriptors have norm 1, and so has the whole.
        """
        spec, parts, found = describer.spec, [], np.zeros(len(self.images), bool)
        found[self.rows] = True
        for columns in self._columns(describer, box):
            scales, there = zip(*map(_read, columns), strict=True)
            parts.append(aggregate(scales, spec.agg, spec.normalize))
            found[self.rows] &= np.all(there, axis=0)
        X = np.zeros((len(self.images), sum(part.shape[1] for part in parts)), np.float32)
        X[self.rows] = fuse(parts, spec.normalize)
        return X, found

    def opened(self, describer: Describer, box: bool = False) -> list[Store]:
        """The stores of a describer, which are filled."""
        return [Store(column.store) for columns in self._columns(describer, box) for column in columns]

    def _columns(self, describer: Describer, box: bool) -> Iterator[list[Column]]:
        """The columns of all scales, for each net, and with `box` for the boxes as well."""
        sources: list[tuple[list[Item], View]] = [(self._whole_images(), Whole())]
        if box:
            sources.append((self._boxes(), Box()))
        for engine, (items, view) in product(describer.engine.apart(), sources):
            singles = [describer.variant(engine, view, scales=(q,)) for q in describer.spec.scales]
            yield [Column(items, one, self.folder / store_name(self.images, one)) for one in singles]

    def _whole_images(self) -> list[Item]:
        images = self.images
        single = images.boxes is None and bool((images.labels.sum(axis=1) == 1).all())
        return [
            Item(
                shared_image(images, i),
                images.images[i],
                images.classes[images.labels[i].argmax()] if single else None,
            )
            for i in self.rows
        ]

    def _boxes(self) -> list[Item]:
        images = self.images
        if images.boxes is None:
            raise DataError(f"{images.name}: has no boxes")
        regions = [(i, Region(images.images[i], tuple(images.boxes[i].tolist()))) for i in self.rows]
        # The box is in the name, so that a changed annotation gets a new row.
        return [Item(f"{images.paths[i]}@{','.join(map(str, region.box))}", region) for i, region in regions]


def store_name(images: ImageSet, describer: Describer) -> str:
    """The name of the store of a describer of one net and one scale: equal if images and settings are equal."""
    first = images.images[0]
    folder = str(first).removesuffix(shared_image(images, 0)) if isinstance(first, Path) else ""
    decides = json.dumps([folder, describer.fingerprint()], sort_keys=True)
    digest = hashlib.sha256(decides.encode()).hexdigest()[:10]
    name = images.name + ("-boxes" if isinstance(describer.view, Box) else "")
    return f"{name}-{describer.engine.nets[0].weights.net}-{describer.spec.layer}-{digest}{STORE}"


def _read(column: Column) -> tuple[np.ndarray, np.ndarray]:
    """(M, C) and bool (M,); the values of rows that could not be read are meaningless."""
    data = load(column.store, normalize="none")
    place = {name: i for i, name in enumerate(data.paths)}
    at = np.array([place.get(item.path, -1) for item in column.items])
    return data.X[at], at >= 0
