"""The file of a model: safetensors, with JSON in its metadata.

    format     vggfeat-model/1
    vggfeat    the version that wrote it
    model      JSON: classes, agg, C, temperature, threshold, keep, weights, fingerprint, figures
    coef       float32 (classes, dim), the weights of the SVMs
    intercept  float32 (classes,)
    photos     uint8: JSON of the photos of a store that trained it: store, paths, sha256, labels
    margins    float32 (photos, classes), of these photos while they were held out

The last two are missing in models of earlier versions, in anonymous ones, and in those that were trained without a
store. The fingerprint is that of the store which trained the model, with the scales that were chosen. It has the
SHA-256 of the net's weights.
A file from outside is bounded, and checked before it is used.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
from msgspec import Meta as Limits
from safetensors.numpy import save_file

from vggfeat import __version__
from vggfeat._util.files import replacing
from vggfeat._util.json_files import MAX_BYTES as MAX_JSON
from vggfeat._util.json_files import parse_json
from vggfeat._util.printable import reason_of
from vggfeat._util.regular_files import open_regular
from vggfeat.errors import ModelError, UsageError, WeightsError
from vggfeat.model.held_out import HeldOutPhotos, held_out_from
from vggfeat.spec import Aggregation, DescriptorSpec
from vggfeat.store.remaking import spec_of
from vggfeat.weights.tensorfile import TensorFile

FORMAT = "vggfeat-model/1"
MAX_BYTES = 2**32  # of a file; 10,000 classes of three stacked scales of fc7 take half a GB

Name = Annotated[str, Limits(min_length=1, max_length=2**14)]
Finite = Annotated[float, Limits(ge=-1e30, le=1e30)]
Positive = Annotated[float, Limits(gt=0, le=1e30)]


class Facts(TypedDict):
    """What the JSON of a model holds. Raises ValueError if it is anything else."""

    classes: Annotated[list[Name], Limits(min_length=2)]
    agg: Aggregation
    C: Positive
    temperature: Positive
    threshold: Finite
    keep: Annotated[float, Limits(gt=0, lt=1)]
    weights: Name
    fingerprint: dict[str, Any]
    figures: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Content:
    """What the file of a model holds.

    Parameters
    ----------
    classes : tuple of K str
        The names of the classes.
    coef : ndarray, float32, shape (K, dim)
        The weights of the SVMs.
    intercept : ndarray, float32, shape (K,)
        Their biases.
    agg : {"mean", "max", "stack"}
        Aggregation over the scales.
    C : float
        The C of the SVMs.
    temperature : float
        The probabilities are the softmax of the margins over it.
    threshold : float
        A photo whose largest margin is below it shows none of the classes.
    keep : float
        The share of the photos of the classes that the threshold is set to keep.
    weights : str
        The name of the net's weights.
    fingerprint : mapping
        Everything that decides the values of the descriptors.
    figures : mapping
        What was measured on held-out photos, as `Figures.as_json` without the confusion.
    held_out : HeldOutPhotos or None
        The photos of a store that trained it, with their margins while they were held out.
    """

    classes: tuple[str, ...]
    coef: np.ndarray
    intercept: np.ndarray
    agg: Aggregation
    C: float
    temperature: float
    threshold: float
    keep: float
    weights: str
    fingerprint: Mapping[str, Any]
    figures: Mapping[str, Any]
    held_out: HeldOutPhotos | None = None


def write(content: Content, file: Path) -> None:
    """Write a model, whole or not at all. Raises OSError."""
    facts = {name: getattr(content, name) for name in Facts.__annotations__}
    metadata = {"format": FORMAT, "vggfeat": __version__, "model": json.dumps(facts)}
    arrays = {"coef": content.coef, "intercept": content.intercept}
    if held := content.held_out:
        arrays |= {"margins": held.margins, "photos": np.frombuffer(held.photos(), np.uint8).copy()}
    with replacing(file) as temporary:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary, metadata)


def read(file: Path, max_bytes: int = MAX_BYTES) -> tuple[Content, DescriptorSpec]:
    """A model, and the spec of its descriptors. Raises ModelError."""
    try:
        with open_regular(file) as opened:
            if os.fstat(opened.fileno()).st_size > max_bytes:
                raise ValueError(f"more than {max_bytes:,} bytes")
            tensors = TensorFile(file, opened)
            if tensors.metadata.get("format") != FORMAT:
                raise ValueError(f"not of the format {FORMAT}")
            facts: Facts = parse_json(tensors.metadata.get("model", ""), Facts)
            return _content(tensors, facts), spec_of(facts["fingerprint"], facts["weights"], facts["agg"])
    except FileNotFoundError:
        raise ModelError(f"{file}: no such model; make one with vggfeat fit, or name another file") from None
    except WeightsError as error:
        reason = str(error).removeprefix(f"{file}: ").partition(";")[0]
        raise ModelError(f"{file}: {reason}; name a model, or make it again with vggfeat fit") from None
    except (OSError, ValueError, UsageError) as error:
        reason = reason_of(error)
        raise ModelError(
            f"{file}: cannot be read as a model ({reason}); name another file, or make it again with vggfeat fit"
        ) from error


def _content(tensors: TensorFile, facts: Facts) -> Content:
    """Raises ValueError if the parts of the file do not fit each other."""
    count = len(facts["classes"])
    if len(set(facts["classes"])) < count:
        raise ValueError("it has a class twice")
    arrays: dict[str, Any] = {}
    for name, dimensions in (("coef", 2), ("intercept", 1)):
        info = tensors.infos.get(name)
        if info is None or info.dtype != "F32" or len(info.shape) != dimensions or info.shape[0] != count:
            raise ValueError(f"{name} is not float32 with a row for each of its {count} classes")
        arrays[name] = _finite(tensors, name)
    others: dict[str, Any] = {**facts, "classes": tuple(facts["classes"])}
    return Content(**others, **arrays, held_out=_held_out(tensors, count))


def _held_out(tensors: TensorFile, count: int) -> HeldOutPhotos | None:
    """The held-out photos of a model of so many classes, if its file has them. Raises ValueError."""
    photos, margins = tensors.infos.get("photos"), tensors.infos.get("margins")
    if photos is None and margins is None:
        return None
    if photos is None or photos.dtype != "U8" or len(photos.shape) != 1 or photos.shape[0] > MAX_JSON:
        raise ValueError(f"photos is not uint8 of at most {MAX_JSON:,} bytes")
    if margins is None or margins.dtype != "F32" or len(margins.shape) != 2 or margins.shape[1] != count:
        raise ValueError(f"margins is not float32 with a column for each of its {count} classes")
    return held_out_from(tensors.tensor("photos").numpy().tobytes(), _finite(tensors, "margins"))


def _finite(tensors: TensorFile, name: str) -> np.ndarray:
    array: np.ndarray = tensors.tensor(name).numpy()
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has values that are not finite")
    return array
