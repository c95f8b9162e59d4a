"""What is known of the photos that trained a model: how it scored each of them without having learnt from it."""

import json
from dataclasses import dataclass
from typing import Annotated, TypedDict

import numpy as np
from msgspec import Meta as Limits

from vggfeat._util.json_files import MAX_BYTES, parse_json
from vggfeat.model.samples import Samples
from vggfeat.model.training import Trained

MOST_MARGINS = 2**25  # 128 MiB; 10,000 photos of 3,000 classes
TOO_MANY = "the model does not keep its held-out photos, because they are too many: explore cannot open the model"

Text = Annotated[str, Limits(max_length=2**14)]


class _Photos(TypedDict):
    """The JSON of the photos."""

    store: Annotated[str, Limits(min_length=1, max_length=2**16)]
    paths: list[Text]
    sha256: list[Annotated[str, Limits(pattern="^([0-9a-f]{64})?$")]]
    labels: list[Annotated[int, Limits(ge=0, le=2**31)]]


@dataclass(frozen=True, eq=False)
class HeldOutPhotos:
    """The photos that trained a model, with their margins by SVMs that did not learn from them.

    Their aggregation, scales and C are those of the model, whose choice these margins made: the figures of the model
    come from others. Twins were held out together.

    Parameters
    ----------
    store : str
        The folder of their descriptors, an absolute path.
    paths : tuple of M str
        Their names in the store.
    sha256 : tuple of M str
        The checksums of their files; "" for an unknown one.
    labels : ndarray, int, shape (M,)
        Their classes, after the decisions of a user, as places in the classes of the model.
    margins : ndarray, float32, shape (M, K)
        Above 0 means the class.
    """

    store: str
    paths: tuple[str, ...]
    sha256: tuple[str, ...]
    labels: np.ndarray
    margins: np.ndarray

    def photos(self) -> bytes:
        """All but the margins, as JSON."""
        values = {name: getattr(self, name) for name in _Photos.__annotations__}
        return json.dumps({**values, "labels": self.labels.tolist()}).encode()


def held_out_of(
    samples: Samples, trained: Trained, notes: list[str], most: int = MOST_MARGINS, most_bytes: int = MAX_BYTES
) -> HeldOutPhotos | None:
    """The photos of a store that trained a model. None for photos without a store, and for too many, which is noted."""
    if not samples.store:
        return None
    rows = trained.tested
    paths, sha256 = (tuple(values[row] for row in rows) for values in (samples.paths, samples.sha256))
    found = HeldOutPhotos(samples.store, paths, sha256, samples.labels[rows], trained.tested_margins)
    if found.margins.size <= most and len(found.photos()) <= most_bytes:
        return found
    notes.append(TOO_MANY)
    return None


def held_out_from(photos: bytes, margins: np.ndarray) -> HeldOutPhotos:
    """What the file of a model holds. Raises ValueError if the parts do not fit each other."""
    known: _Photos = parse_json(photos, _Photos)
    labels = np.array(known["labels"], np.int64)
    counts = {len(margins), len(labels), len(known["paths"]), len(known["sha256"])}
    if len(counts) > 1 or (labels >= margins.shape[1]).any():
        raise ValueError("its held-out photos, their labels and margins do not fit each other")
    return HeldOutPhotos(known["store"], tuple(known["paths"]), tuple(known["sha256"]), labels, margins)
