"""Descriptors of images that are not in the store, made as its rows were."""

import json
from typing import Any

from vggfeat.errors import StoreError
from vggfeat.spec import DescriptorSpec
from vggfeat.store import Store
from vggfeat.store.files import difference


def describer_of(store: Store) -> Any:
    """A Describer that makes the descriptors of a store. Raises StoreError, WeightsError."""
    from vggfeat.descriptors import Describer  # torch

    made = store.fingerprint
    missing = {"net", "layer", "mirror", "pooling", "precision"} - made.keys()
    if missing:
        raise StoreError(f"{store.path / 'meta.json'}: does not say {min(missing)}; extract the photos again")
    spec = DescriptorSpec(
        net=made["net"] if made.get("width", 1) == 1 else None,
        scales=store.scales,
        agg=store.meta.get("agg", "mean"),
        layer=made["layer"],
        weights=store.meta.get("weights", "auto"),
        mirror=made["mirror"],
        precision=made["precision"],
        ceil=made["pooling"] == "ceil",
        exif=made.get("exif", True),
        allow_truncated=made.get("allow_truncated", False),
    )
    describer = Describer(spec=spec)
    found = json.loads(json.dumps(describer.fingerprint()[0]))  # as a store has it: with lists instead of tuples
    differs = difference(*({key: one[key] for key in one if key != "dtype"} for one in (made, found)))
    if differs:
        key, one, other = differs
        raise StoreError(f"{store.path}: was made with {key} {one}, and this machine has {other}; extract it again")
    return describer
