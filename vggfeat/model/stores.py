"""Stores whose rows a model takes in the place of photos, and the store that trained it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vggfeat._util.printable import printable
from vggfeat.aggregate import aggregate
from vggfeat.errors import ModelError, StoreError
from vggfeat.model.file import Content
from vggfeat.sources.folders import is_store
from vggfeat.store import Store
from vggfeat.store.files import difference
from vggfeat.store.loading import matrix_of, say_what_is_odd
from vggfeat.store.remaking import NO_VALUES


def store_among(images: Any) -> Store | None:
    """The store that stands in the place of images, opened or as a path; None for images. Raises StoreError."""
    if isinstance(images, Store):
        return images
    return Store(images) if isinstance(images, str | Path) and is_store(Path(images)) else None


def rows_for(store: Store, content: Content, name: str) -> Iterator[tuple[list[str], np.ndarray]]:
    """The rows of a store as a model takes them, a few at once: names, and descriptors float32 (n, dim) of norm 1.

    name : of the model, for messages. Raises StoreError for other descriptors, and damaged ones.
    """
    refuse_other_descriptors(store, content, name)
    say_what_is_odd(store, store.read(["path"])["path"])
    columns = [f"q{q}" for q in content.fingerprint["scales"]]
    for batch in store.batches(["path", *columns]):
        yield batch["path"].to_pylist(), aggregate([matrix_of(batch[one]) for one in columns], content.agg)


def refuse_other_descriptors(store: Store, content: Content, name: str) -> None:
    """Raise StoreError unless a store has the descriptors that a model takes. name : of the model, for messages."""
    kinds: list[dict[str, Any]] = [
        {key: value for key, value in one.items() if key not in NO_VALUES | {"scales"}}
        for one in (store.fingerprint, content.fingerprint)
    ]
    differs = difference(*kinds)
    wanted = content.fingerprint["scales"]
    if not differs and not set(wanted) <= set(store.scales):
        differs = "scales", str(list(store.scales)), str(wanted)
    if differs:
        key, made, asked = differs
        raise StoreError(
            f"{store.path}: was made with {key} {made}, and {name} needs {asked}; give the photos themselves, "
            "or a store that was made in the same way"
        )


def store_of(content: Content, file: Path) -> Store:
    """The store that trained a model: where it was, or beside the file of the model.

    Raises ModelError if it is not found, or the model has none; StoreError if it is damaged, or was made anew in
    another way.
    """
    held = content.held_out
    if held is None:
        raise ModelError(
            f"{file}: does not have the photos that trained it, because it was trained with --anonymous or without a "
            "store, or by an earlier version; train it again with vggfeat fit STORE, or explore a store"
        )
    known = Path(held.store)
    found = next(
        (place for place in (known, file.resolve().parent / known.name) if (place / "meta.json").is_file()), None
    )
    if found is None:
        raise ModelError(
            f"{file}: its store {known} is not found; put the store beside the model, or train again with vggfeat fit"
        )
    store = Store(found)
    refuse_other_descriptors(store, content, str(file))
    _refuse_other_photos(store, content, file)
    return store


def _refuse_other_photos(store: Store, content: Content, file: Path) -> None:
    """Raise ModelError if photos that trained the model are gone, or have changed since. New ones do no harm."""
    held = content.held_out
    assert held is not None
    table = store.read(["path", "sha256"])
    now = dict(zip(table["path"].to_pylist(), table["sha256"].to_pylist(), strict=True))
    before = zip(held.paths, held.sha256, strict=True)
    if other := [path for path, checksum in before if now.get(path, "gone") != (checksum or None)]:
        raise ModelError(
            f"{file}: its store {store.path} has changed; {len(other):,} of {len(held.paths):,} photos that trained "
            f"the model are gone or others, such as {printable(other[0])}; train it again with vggfeat fit"
        )
