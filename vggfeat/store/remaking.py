"""Making descriptors again: from the fingerprint of a store to the spec and the describer of its rows."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta as Limits

from vggfeat._util.json_files import checked
from vggfeat.descriptors import Describer
from vggfeat.errors import StoreError, UsageError, VggfeatError, WeightsError
from vggfeat.spec import Aggregation, DescriptorLayer, DescriptorSpec, Lineage, Normalisation
from vggfeat.store.files import difference
from vggfeat.store.reading import Store
from vggfeat.weights.header import shown
from vggfeat.weights.published import REGISTRY

NO_VALUES = {"dtype", "lineage"}  # what they decide is in the store, and in the preprocessing


class Fingerprint(TypedDict):
    """The fingerprint of descriptors of whole photos by one net. Other keys mean that they are of something else."""

    net: str
    width: float
    weights_sha256: Annotated[str, Limits(pattern="^[0-9a-f]{64}$")]
    preprocessing: dict[str, Any]
    layer: DescriptorLayer
    scales: Annotated[list[int], Limits(min_length=1, max_length=256)]
    mirror: bool
    pooling: Literal["ceil", "floor"]
    precision: Literal["float32", "tf32", "bfloat16", "float16", "mixed"]
    rescaling: Any
    exif: NotRequired[bool]
    allow_truncated: NotRequired[bool]
    lineage: NotRequired[str]
    dtype: NotRequired[str]


def spec_of(
    fingerprint: Mapping[str, Any], weights: str, agg: Aggregation = "mean", normalize: Normalisation = "l2"
) -> DescriptorSpec:
    """The spec that makes descriptors of this fingerprint. Raises ValueError, with one line, if there is none."""
    known: Fingerprint = checked(dict(fingerprint), Fingerprint)
    if other := fingerprint.keys() - Fingerprint.__annotations__.keys():
        raise ValueError(f"its descriptors depend on {min(other)}, which only whole photos of one net lack")
    return DescriptorSpec(
        net=known["net"] if known["width"] == 1 else None,
        scales=tuple(known["scales"]),
        weights=weights,
        mirror=known["mirror"],
        precision=known["precision"],
        ceil=known["pooling"] == "ceil",
        exif=known.get("exif", True),
        allow_truncated=known.get("allow_truncated", False),
        agg=agg,
        layer=known["layer"],
        normalize=normalize,
    )


def describer_of(
    spec: DescriptorSpec, fingerprint: Mapping[str, Any], name: str, recorded: str, error: type[VggfeatError]
) -> Describer:
    """A describer that makes descriptors of this fingerprint.

    name : of what holds the descriptors, for messages. recorded : the name of the weights that they were made with.

    Raises WeightsError for other weights, and `error` for other differences.
    """
    wanted = f"{shown(recorded)} (net {shown(fingerprint['net'])}, sha256 {fingerprint['weights_sha256'][:12]}…)"
    published = recorded in REGISTRY.names
    remedy = (
        f"give --weights {recorded}, or leave it out"
        if published
        else f"name the file {shown(recorded)} with --weights, and its --lineage if one was given"
    )
    in_this_folder = Path(recorded).name == recorded and Path(recorded).is_file()  # its checksum is compared below
    if spec.weights == recorded and not (published or in_this_folder):
        raise WeightsError(f"{name}: was made with the weights {wanted}, which are in no list; {remedy}")
    try:
        describer = Describer(spec=spec)
    except UsageError as wrong:
        raise error(f"{name}: {wrong}") from wrong
    found: dict[str, Any] = json.loads(json.dumps(describer.fingerprint()[0]))  # lists instead of tuples
    if found["weights_sha256"] != fingerprint["weights_sha256"]:
        if published and spec.weights == recorded:
            remedy = f"this version of vggfeat has another {recorded}: make it again here"
        other = f"{shown(spec.weights)} (net {found['net']}, sha256 {found['weights_sha256'][:12]}…)"
        raise WeightsError(f"{name}: was made with the weights {wanted}, not with {other}; {remedy}")
    if differ := difference(*({key: one[key] for key in one if key not in NO_VALUES} for one in (fingerprint, found))):
        key, made, here = differ
        raise error(f"{name}: was made of descriptors with {key} {made}, not {here}; make it again here")
    return describer


def describer_of_store(
    store: Store,
    agg: Aggregation,
    normalize: Normalisation = "l2",
    weights: str | Path | None = None,
    lineage: Lineage | None = None,
    device: str = "auto",
) -> Describer:
    """A describer that makes the rows of a store, for images that are not in it.

    weights : where the weights of the store are. Default: those with the name that the store has recorded. lineage : of
    these weights, if it was given when the store was made.

    Raises StoreError if the store does not say how it was made, or this machine makes others; WeightsError.
    """
    recorded = store.meta.get("weights", "")
    try:
        spec = spec_of(store.fingerprint | {"scales": list(store.scales)}, str(weights or recorded), agg, normalize)
    except (ValueError, UsageError) as error:
        raise StoreError(f"{store.path}: cannot describe other images ({error}); extract it again") from error
    spec = replace(spec, lineage=lineage, device=device)
    return describer_of(spec, store.fingerprint, str(store.path), recorded, StoreError)
