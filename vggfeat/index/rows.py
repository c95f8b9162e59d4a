"""Which rows of a store an index has: they are known again by name and checksum, wherever they stand."""

from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from vggfeat._util.files import size_and_change
from vggfeat.index.files import PartMark
from vggfeat.store import Store

KEY = "S16"  # a digest; that two of ten million rows have the same one has a probability of 1.5e-25


class Match(NamedTuple):
    """places : int64 (n,), for each row of the index its row in the store, -1 for none. new : int64, rows of the store
    that the index lacks; of a row that the store has twice, the first.
    """

    places: np.ndarray
    new: np.ndarray


def marks_of(store: Store) -> list[PartMark]:
    """By what the parts of a store are known again without reading them."""
    return [PartMark(part.name, *(value or 0 for value in size_and_change(part))) for part in store.parts]


def keys_of(store: Store, marks: list[PartMark]) -> np.ndarray:
    """The keys of all rows: of name and checksum. Without a checksum, as in stores of earlier versions, of the part."""
    keys: list[bytes] = []
    for part, mark in enumerate(marks):
        row = 0
        for batch in store.batches(["path", "sha256"], part=part):
            for path, sha256 in zip(batch["path"].to_pylist(), batch["sha256"].to_pylist(), strict=True):
                content = sha256 or f"{mark.name} {mark.size} {mark.changed_ns} {row}"
                text = f"{path}\0{content}".encode(errors="surrogatepass")
                keys.append(blake2b(text, digest_size=16).digest())
                row += 1
    return np.array(keys, KEY)


def match(indexed: np.ndarray, stored: np.ndarray) -> Match:
    """Compare the keys of an index with those of the store."""
    order = np.argsort(stored, kind="stable")
    ordered = stored[order]
    at = np.searchsorted(ordered, indexed)
    found = at < len(stored)
    found[found] = ordered[at[found]] == indexed[found]
    places = np.full(len(indexed), -1, np.int64)
    places[found] = order[at[found]]
    _, first = np.unique(stored, return_index=True)
    return Match(places, np.sort(first[~np.isin(stored[first], indexed)]).astype(np.int64))
