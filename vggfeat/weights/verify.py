"""Is a weights file whole, is it what it should be, and what can be done with it?"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from vggfeat.nets import TOPS
from vggfeat.weights.convert import recognised, sniff
from vggfeat.weights.header import Weights, shown
from vggfeat.weights.names import class_names
from vggfeat.weights.native import check_finite, digest, opened, read
from vggfeat.weights.published import Entry, published

_FORMS = {
    "native": "vggfeat's format",
    "torchvision": "a state dict of torchvision or timm",
    "keras": "Keras' HDF5",
    "caffe": "a Caffe model",
    "matconvnet": "a net of MatConvNet",
}


@dataclass(frozen=True)
class Report:
    """What `verify` found; as text, the lines that the command prints.

    `form` is "native" or the other framework's; `weights` is what the file says, or would say converted.
    `dtypes` and `values` are the tensors' kinds, in torch's words, and how many numbers they hold. `published` is
    the known file whose checksum this one has, if any. `assumed`: as in `convert.Recognised`.
    """

    form: str
    weights: Weights
    dtypes: tuple[str, ...]
    values: int
    published: Entry | None
    assumed: bool = False

    @property
    def layers(self) -> tuple[str, ...]:
        """What `--layer` can be."""
        return tuple(top for top in TOPS[: TOPS.index(self.weights.top) + 1] if top != "fc8")

    def __str__(self) -> str:
        weights, prep = self.weights, self.weights.preprocessing
        mean, std = (", ".join(f"{value:g}" for value in triple) for triple in (prep.mean, prep.std))
        named = "named" if class_names(weights) else "without names"
        classify = f"; classify ({weights.outputs} classes, {named})" if weights.outputs else "; classify can't be done"
        taken = f" (taken for {weights.lineage}'s: the file doesn't say)" if self.assumed else ""
        lines = {
            "file": f"{weights.path}: {_FORMS[self.form]}",
            "sha256": weights.sha256,
            "published": self.published.urls[0] if self.published else "no file that is known by its checksum",
            "net": f"{weights.net}, width {weights.width:g}, up to {weights.top}",
            "values": f"{self.values:,}, {' and '.join(self.dtypes)}, all finite",
            "input": f"{prep.colour}, 0..{prep.range:g}, minus {mean}, over {std}{taken}",
            "training": shown(f"{weights.lineage}, source {weights.source}, licence {weights.licence}"),
            "serves": f"--layer {', '.join(self.layers)}{classify}",
        }
        return "\n".join(f"{key:<10} {text}" for key, text in lines.items())


def verify(path: str | Path) -> Report:
    """Read a native file or another framework's from end to end.

    Raises WeightsError, one line that names the file and what is wrong with it: truncated, of another kind,
    other than its published checksum, tensors that are not a net's or not finite, preprocessing that can't be
    meant.
    """
    path = Path(path)
    form = sniff(path)
    if form == "native":
        weights = read(path)
        with opened(path) as file:
            dtypes, values = _values(path, file.keys(), file.get_tensor)
        return Report(form, weights, dtypes, values, None)
    with recognised(path) as found:
        dtypes, values = _values(path, found.parts, found.read)
        weights = replace(found.weights, sha256=digest(path))
    known = _known(path)
    return Report(form, weights, dtypes, values, known, found.assumed and known is None)


def _values(path: Path, names: Iterable[str], get: Callable[[str], Tensor]) -> tuple[tuple[str, ...], int]:
    """The kinds and the number of values, all looked at; one tensor at a time is in memory."""
    dtypes, values = set(), 0
    for name in names:
        tensor = get(name)
        check_finite(path, {name: tensor})
        dtypes.add(str(tensor.dtype).removeprefix("torch."))
        values += tensor.numel()
    return tuple(sorted(dtypes)), values


def _known(path: Path) -> Entry | None:
    """The published file with the same checksum, under whatever name this one lies here."""
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    sums = {"sha256": digest(path), "sha256_prefix": digest(path), "md5": md5}
    for entry in published():
        if entry.check and all(sums[kind].startswith(str(value)) for kind, value in entry.check.items()):
            return entry
    return None
