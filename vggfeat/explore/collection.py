"""The rows of a store as the explorer takes them: in a random order, so that the first of them are a fair sample."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vggfeat._util.printable import say
from vggfeat.errors import StoreError
from vggfeat.index.building import basis_of, graph_of
from vggfeat.index.files import Basis
from vggfeat.index.graph import K
from vggfeat.neighbours import Neighbours, nearest
from vggfeat.store import Store, load
from vggfeat.store.identity import COLUMNS, Identity

MOST_ROWS = 100_000  # of more, a random sample is shown: neighbours are found by comparing with every row
_BLOCK = 8192  # rows that are hashed at once


@dataclass(frozen=True, eq=False)
class Collection:
    """Rows of a store, in a random order that is the same each time.

    basis : what the rows are made of. order : int64 (N,), their numbers in the store. X : float32 (N, D), of norm 1.
    names : of the photos. labels : None for a photo without one. sizes : int32 (N, 2), width and height in pixels, as
    described. identities : of the files that were described.
    """

    store: Store
    basis: Basis
    order: np.ndarray
    X: np.ndarray
    names: list[str]
    labels: list[str | None]
    sizes: np.ndarray
    identities: list[Identity]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def total(self) -> int:
        """The number of rows of the store."""
        return len(self.store)

    @property
    def exif(self) -> bool:
        """Whether the photos were described upright, as EXIF says."""
        return self.store.fingerprint.get("exif", True)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of descriptors and names, hexadecimal: what is computed of them belongs to this digest."""
        digest = hashlib.sha256("\0".join(self.names).encode(errors="surrogatepass"))
        for start in range(0, len(self.X), _BLOCK):
            digest.update(np.ascontiguousarray(self.X[start : start + _BLOCK]).data)
        return digest.hexdigest()

    @cached_property
    def classes(self) -> list[str]:
        """The labels, each once, sorted."""
        return sorted({label for label in self.labels if label is not None})

    @cached_property
    def classes_of_rows(self) -> np.ndarray:
        """int32 (N,), places in `classes`; -1 for a photo without a label."""
        place = {label: number for number, label in enumerate(self.classes)}
        return np.array([-1 if label is None else place[label] for label in self.labels], np.int32)

    def neighbours(self, vector: np.ndarray, k: int) -> Neighbours:
        """The k nearest rows of a descriptor, exactly."""
        return nearest(self.X, k, vector[None])

    def graph(self) -> Neighbours:
        """The K nearest rows of each row: by the graph of the store; of a sample, or if there is none, computed now."""
        if len(self) == self.total:
            try:
                found = graph_of(self.store, self.basis)
                place = np.append(np.argsort(self.order), -1)  # row -1 is the last one
                rows = place[found.rows[self.order]]
                if (rows >= 0).all():
                    return Neighbours(rows, found.cosines[self.order])
            except StoreError as error:
                say(f"{error} (the neighbours on the page do not come from the index)")
        return nearest(self.X, K)


def read_collection(path: str | Path, most: int = MOST_ROWS) -> Collection:
    """Read a store. most : how many rows are taken. Raises StoreError."""
    store = Store(path)
    if not len(store):
        raise StoreError(f"{store.path}: has no rows yet; run the extraction again to continue it")
    basis = basis_of(store)
    order = np.random.default_rng(0).permutation(len(store))[:most]
    if len(order) < len(store):
        say(f"{store.path}: {len(order):,} of {len(store):,} rows are shown, chosen at random")
    found = load(path, rows=order, agg=basis.agg, normalize=basis.normalize)
    table = store.read([*COLUMNS, "width", "height"]).take(order)
    identities = [Identity(**row) for row in table.select(list(COLUMNS)).to_pylist()]
    sizes = np.stack([table["width"], table["height"]], axis=1)
    return Collection(store, basis, order, found.X, found.paths, found.labels, sizes, identities)
