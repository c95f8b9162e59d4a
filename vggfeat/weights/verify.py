"""What a weights file is, whether it is whole, and what it can be used for."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from vggfeat._util.printable import printable
from vggfeat.errors import WeightsError
from vggfeat.weights.convert import recognised, sniff
from vggfeat.weights.header import Weights, shown
from vggfeat.weights.lineage import by_checksum, by_first_layer
from vggfeat.weights.names import class_names
from vggfeat.weights.native import check_finite, header_of, reading
from vggfeat.weights.published import REGISTRY
from vggfeat.weights.registry import ASSETS, PublishedFile, Registry
from vggfeat.weights.tensorfile import TensorFile

_FORMS = {
    "native": "vggfeat's format",
    "torchvision": "a state dict of torchvision or timm",
    "keras": "Keras' HDF5",
    "caffe": "a Caffe model",
    "matconvnet": "a net of MatConvNet",
}


@dataclass(frozen=True)
class VerifiedFile:
    """What `verify` found in a file. As a text: the lines that `vggfeat weights verify` prints.

    Parameters
    ----------
    form : {"native", "torchvision", "keras", "caffe", "matconvnet"}
        The format of the file.
    weights : Weights
        What the file says of itself, or will say when it is converted.
    dtypes : tuple of str
        The precisions of the tensors, such as ("float32",).
    values : int
        How many numbers the tensors hold.
    published : PublishedFile or None
        The published file with the same checksum.
    """

    form: str
    weights: Weights
    dtypes: tuple[str, ...]
    values: int
    published: PublishedFile | None

    @property
    def assumed(self) -> bool:
        """Whether the preprocessing is that of the published files of the same form, because nothing tells it."""
        return self.weights.assumed

    @property
    def _published(self) -> str:
        if self.published:
            return self.published.urls[0]
        in_package = self.weights.path.resolve().parent == ASSETS.resolve()
        return "a part of this package" if in_package else "not a published file that is known"

    def __str__(self) -> str:
        weights = self.weights
        assumed = f" (assumed for {weights.lineage}: not known; convert with --lineage)" if self.assumed else ""
        lines = {
            "file": f"{weights.path}: {_FORMS[self.form]}",
            "sha256": weights.sha256,
            "published": self._published,
            "net": f"{weights.net}, width {weights.width:g}, up to {weights.top}",
            "values": f"{self.values:,}, {' and '.join(self.dtypes)}, all finite",
            "input": f"{weights.preprocessing}{assumed}",
            "training": shown(f"{weights.lineage}, source {weights.source}, licence {weights.licence}"),
            "serves": f"--layer {', '.join(weights.layers)}; {_service(weights)}",
        }
        return "\n".join(printable(f"{key:<10} {text}") for key, text in lines.items())


def _service(weights: Weights) -> str:
    """What fc8 is good for."""
    if weights.boxes:
        each = "a box for each class" if weights.boxes == "pcr" else "one box for all classes"
        return f"localize ({len(weights.classes or ())} classes, {each}); cannot classify"
    named = "named" if class_names(weights) else "without names"
    return f"classify ({weights.outputs} classes, {named})" if weights.outputs else "cannot classify"


def verify(path: str | Path, *, registry: Registry = REGISTRY) -> VerifiedFile:
    """Read a native file, or a file of another framework, from end to end.

    Parameters
    ----------
    path : str or Path
        The file.
    registry : Registry
        The published files that are known, see `vggfeat.weights.published`.

    Returns
    -------
    VerifiedFile
        What the file is.

    Raises
    ------
    WeightsError
        If the file is missing, truncated, not a weights file or not a net of the paper; if it has the name of a
        published file, but not its checksum; if values are not finite or metadata are invalid; if a native file
        holds a published first layer, but another preprocessing.
    """
    path = Path(path)
    form = sniff(path)
    if form == "native":
        with reading(path) as raw:
            file = TensorFile(path, raw)
            weights = header_of(file)
            dtypes, values = _dtypes_and_values(path, file.tensors())
            weights = replace(weights, sha256=file.sha256)
            known = by_first_layer(*(file.tensor(f"conv1_1.{kind}") for kind in ("weight", "bias")))
        if known and known.preprocessing != weights.preprocessing:
            raise WeightsError(
                f"{path}: its first layer is {known.lineage}'s, for {known.preprocessing}, but it says "
                f"{weights.preprocessing}; convert its source again"
            )
        return VerifiedFile(form, weights, dtypes, values, None)
    with recognised(path, registry=registry) as found:
        dtypes, values = _dtypes_and_values(path, ((name, found.tensor(name)) for name in found.tensors))
        weights = replace(found.weights, sha256=found.content.sum("sha256"))
        return VerifiedFile(form, weights, dtypes, values, by_checksum(found.content, registry))


def _dtypes_and_values(path: Path, tensors: Iterable[tuple[str, Tensor]]) -> tuple[tuple[str, ...], int]:
    """The precisions and the number of values, which are all checked; one tensor at a time is in memory."""
    dtypes, values = set(), 0
    for name, tensor in tensors:
        check_finite(path, {name: tensor})
        dtypes.add(str(tensor.dtype).removeprefix("torch."))
        values += tensor.numel()
    return tuple(sorted(dtypes)), values
