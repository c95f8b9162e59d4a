"""What is searched for: images, descriptors, or the rows of another store."""

from pathlib import Path
from typing import Any

import numpy as np

from vggfeat.errors import StoreError, UsageError
from vggfeat.index.files import State
from vggfeat.store import Store
from vggfeat.store.files import difference
from vggfeat.store.loading import load


def is_store(query: Any) -> bool:
    """Whether a query is a store: an open one, or the path of its folder."""
    return isinstance(query, Store) or (isinstance(query, str | Path) and (Path(query) / "meta.json").is_file())


def opened(query: Any) -> Store:
    """The store of a query for which `is_store`. Raises StoreError."""
    return query if isinstance(query, Store) else Store(query)


def stored_vectors(query: Any, store: Store, state: State) -> np.ndarray:
    """The descriptors float32 (n, dim) of a store of queries. Raises StoreError if it was made in another way."""
    other = opened(query)
    made, wanted = ({key: one[key] for key in one if key != "dtype"} for one in (other.fingerprint, store.fingerprint))
    if differs := difference(made, wanted):
        key, one, another = differs
        raise StoreError(
            f"{other.path}: was made with {key} {one}, and {store.path} has {another}; "
            "compare descriptors that were made alike"
        )
    return load(other.path, agg=state.agg, normalize=state.normalize).X


def given_vectors(query: Any, dim: int) -> np.ndarray | None:
    """Descriptors, float (dim,) or (n, dim), as float32 (n, dim) of norm 1; None if the query is something else.

    Raises UsageError for another dimension, or values that are not finite.
    """
    if not (isinstance(query, np.ndarray) and query.dtype.kind == "f"):
        return None
    vectors = np.atleast_2d(query).astype(np.float32)
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise UsageError(f"descriptors have the shape {query.shape}; this index has descriptors of {dim} values")
    if not np.isfinite(vectors).all():
        raise UsageError("a descriptor has a value that is not finite")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms == 0, 1, norms)
