"""What is searched for: images, descriptors, or the rows of another store."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from vggfeat.descriptors import Describer
from vggfeat.errors import StoreError, UsageError
from vggfeat.index.files import State
from vggfeat.spec import DescriptorSpec
from vggfeat.store import Store
from vggfeat.store.files import difference
from vggfeat.store.loading import load
from vggfeat.weights.published import REGISTRY


def describer_of(store: Store, state: State, weights: str | Path | None = None, device: str = "auto") -> Describer:
    """A describer with the settings and the weights by which the rows of a store were made.

    weights : where the weights of the store are. Default: those with the name that the store has recorded.
    Raises StoreError if the store does not say how it was made, or by other weights, WeightsError.
    """
    made, name = store.fingerprint, store.meta.get("weights", "")
    for key in ("net", "weights_sha256", "layer", "mirror", "pooling", "precision"):
        if key not in made:
            raise StoreError(f"{store.path / 'meta.json'}: does not say {key}; extract the store again")
    known = name in (*REGISTRY.names, "oxford-int8", "slim")
    if weights is None and not known:
        raise UsageError(f"{store.path}: was made with weights {name}; name their file with --weights")
    describer = Describer(
        spec=DescriptorSpec(
            net=made["net"] if made.get("width", 1) == 1 else None,
            scales=store.scales,
            weights=str(weights or name),
            mirror=made["mirror"],
            device=device,
            precision=made["precision"],
            ceil=made["pooling"] == "ceil",
            exif=made.get("exif", True),
            allow_truncated=made.get("allow_truncated", False),
            agg=state.agg,
            layer=made["layer"],
            normalize=state.normalize,
        )
    )
    found = json.loads(json.dumps(describer.fingerprint()[0]))  # as a store has it: with lists instead of tuples
    if found["weights_sha256"] != made["weights_sha256"]:
        raise StoreError(
            f"{store.path}: was made with weights {name} (sha256 {made['weights_sha256'][:12]}), not with "
            f"{weights or name} (sha256 {found['weights_sha256'][:12]}); name the file of the first with --weights"
        )
    _check_same(store.path, made, found, "this version of vggfeat")
    return describer


def _check_same(store: Path, made: Any, found: Any, other: str) -> None:
    """Raise StoreError if two fingerprints differ in what decides values, besides the type of the numbers."""
    made, found = ({key: value for key, value in one.items() if key != "dtype"} for one in (made, found))
    if differs := difference(made, found):
        key, one, another = differs
        raise StoreError(
            f"{store}: was made with {key} {one}, and {other} has {another}; compare descriptors that were made alike"
        )


def is_store(query: Any) -> bool:
    """Whether a query is a store: an open one, or the path of its folder."""
    return isinstance(query, Store) or (isinstance(query, str | Path) and (Path(query) / "meta.json").is_file())


def opened(query: Any) -> Store:
    """The store of a query for which `is_store`. Raises StoreError."""
    return query if isinstance(query, Store) else Store(query)


def stored_vectors(query: Any, store: Store, state: State) -> np.ndarray:
    """The descriptors float32 (n, dim) of a store of queries. Raises StoreError if it was made in another way."""
    other = opened(query)
    _check_same(other.path, other.fingerprint, store.fingerprint, str(store.path))
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
