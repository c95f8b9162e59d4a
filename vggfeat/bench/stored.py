"""Descriptors of an image set, from stores that are made once: one a net, and one more for boxes."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from vggfeat import images as reading
from vggfeat.aggregate import fuse
from vggfeat.bench.protocol import shared_image
from vggfeat.data import ImageSet
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, ImageError
from vggfeat.extract import Item, extract
from vggfeat.store import load


def descriptors(
    images: ImageSet, rows: np.ndarray, describer: Describer, stores: Path, *, box: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """X float32 (N, dim) with the given rows of an image set filled in, and bool (N,): which of them are.

    A row that isn't is one that was not asked for, or could not be read. Samples that share an image share its
    descriptor, made once. box: stack the descriptor of the image and that of the sample's box (Appendix B, setting
    (ii) of the actions), each of norm 1, the whole scaled to norm 1; dim is twice as long then.
    """
    parts, found = [], np.zeros(len(images), bool)
    found[rows] = True
    for one in describer.apart():
        for wanted, of_part in ((_images(images, rows), one), *([(_boxes(images, rows), Boxes(one))] if box else [])):
            X, there = _from_store(wanted, of_part, stores / store_name(images, of_part))
            parts.append(X)
            found[rows] &= there
    X = np.zeros((len(images), sum(part.shape[1] for part in parts)), np.float32)
    X[rows] = fuse(parts, describer.normalize)
    return X, found


def store_name(images: ImageSet, describer: Describer) -> str:
    """The same for the same images and settings, and only for them."""
    first = images.images[0]
    folder = str(first).removesuffix(shared_image(images, 0)) if isinstance(first, Path) else ""
    decides = json.dumps([folder, describer.fingerprint()], sort_keys=True)
    digest = hashlib.sha256(decides.encode()).hexdigest()[:10]
    name = images.name + ("-boxes" if isinstance(describer, Boxes) else "")
    return f"{name}-{describer.nets[0].weights.net}-{describer.layer}-{digest}.vggfeat"


def _from_store(wanted: list[Item], describer: Describer, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(M, dim) and bool (M,), for M items that may repeat; rows that could not be read hold nothing of use."""
    store = extract(list({item.path: item for item in wanted}.values()), path, describer=describer)
    data = load(store.path, agg=describer.agg, normalize=describer.normalize)
    place = {name: i for i, name in enumerate(data.paths)}
    at = np.array([place.get(item.path, -1) for item in wanted])
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


class Crop(NamedTuple):
    """A part of an image: x0, y0, x1, y1 in pixels from 0, the part being image[y0:y1, x0:x1]."""

    image: Any
    box: tuple[int, int, int, int]

    def __str__(self) -> str:
        return f"{self.image}, box {','.join(map(str, self.box))}"


def _boxes(images: ImageSet, rows: Iterable[int]) -> list[Item]:
    if images.boxes is None:
        raise DataError(f"{images.name}: has no boxes")
    crops = [(i, Crop(images.images[i], tuple(images.boxes[i].tolist()))) for i in rows]
    # The box is in the name: a row can't be taken for that of another box, should an annotation change.
    return [Item(f"{images.paths[i]}@{','.join(map(str, crop.box))}", crop) for i, crop in crops]


class Boxes(Describer):
    """A describer of Crops, each clipped to its image and described as an image of its own; shares the nets."""

    def __init__(self, whole: Describer) -> None:
        vars(self).update(vars(whole))

    def fingerprint(self) -> list[dict[str, Any]]:
        return [{**one, "part": "box, clipped to the image"} for one in super().fingerprint()]

    def prepare(self, image: Crop, max_pixels: int = reading.MAX_PIXELS) -> Tensor:
        """Raises ImageError, naming the file, also where the box lies outside the image."""
        pixels = reading.read(image.image, max_pixels)
        x0, y0, x1, y1 = image.box
        part = pixels[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
        if not part.size:
            height, width = pixels.shape[:2]
            raise ImageError(f"{image}: lies outside the image of {width}x{height}; mend the annotation")
        return super().prepare(np.ascontiguousarray(part), max_pixels)
