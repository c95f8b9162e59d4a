"""The weights that vggfeat knows by name, and where they are published."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

from vggfeat.weights.header import OXFORD, TORCHVISION, Preprocessing

Form = Literal["torchvision", "keras"]

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_TORCH = "https://download.pytorch.org/models"
ASSETS = Path(__file__).parents[1] / "assets"

# What a form says of its files: where their training comes from, and what the net wants to see.
LINEAGES: dict[Form, tuple[str, Preprocessing]] = {
    "torchvision": ("torchvision", TORCHVISION),
    "keras": ("oxford", OXFORD),
}


class Check(TypedDict, total=False):
    """The checksum arguments of `fetch.download`, lower-case hexadecimal."""

    sha256: str
    md5: str
    sha256_prefix: str


@dataclass(frozen=True)
class Entry:
    """One published file.

    `top1` and `top5` are the accuracy in per cent on ILSVRC-2012's validation set, one centre crop an image.
    `conv` is the smaller file with the convolutional layers alone, where there is one. A native entry lies
    in the package and has no `urls`.
    """

    file: str
    urls: tuple[str, ...]
    form: Form | Literal["native"]
    lineage: str
    licence: str
    check: Check = field(default_factory=Check)
    top1: float | None = None
    top5: float | None = None
    conv: "Entry | None" = None


def _oxford(file: str, md5: str, top1: float | None, top5: float | None, conv: Entry | None = None) -> Entry:
    url = f"{_KERAS}/{file.partition('_')[0]}/{file}"
    return Entry(file, (url,), "keras", "oxford", "CC-BY-4.0", Check(md5=md5), top1, top5, conv)


def _torchvision(file: str, top1: float, top5: float) -> Entry:
    check = Check(sha256_prefix=Path(file).stem.rpartition("-")[2])
    return Entry(file, (f"{_TORCH}/{file}",), "torchvision", "torchvision", "BSD-3-Clause", check, top1, top5)


_NOTOP = "weights_tf_dim_ordering_tf_kernels_notop.h5"
_FULL = "weights_tf_dim_ordering_tf_kernels.h5"
_NOTOP_D = _oxford(f"vgg16_{_NOTOP}", "6d6bbae143d832006294945121d1f1fc", None, None)
_NOTOP_E = _oxford(f"vgg19_{_NOTOP}", "253f8cb515780f3b799900260a226db6", None, None)

# (name, net) -> file. Nobody publishes weights of A-LRN, C or B-5x5.
REGISTRY: dict[tuple[str, str], Entry] = {
    ("oxford", "D"): _oxford(f"vgg16_{_FULL}", "64373286793e3c8b2b4e3219cbf3544b", 70.97, 89.88, _NOTOP_D),
    ("oxford", "E"): _oxford(f"vgg19_{_FULL}", "cbe5617147190e668d6c5d5026f83318", 71.3, 90.1, _NOTOP_E),
    ("torchvision", "A"): _torchvision("vgg11-8a719046.pth", 69.02, 88.63),
    ("torchvision", "B"): _torchvision("vgg13-19584684.pth", 69.93, 89.25),
    ("torchvision", "D"): _torchvision("vgg16-397923af.pth", 71.59, 90.38),
    ("torchvision", "E"): _torchvision("vgg19-dcbb9e9d.pth", 72.38, 90.88),
    ("slim", "A"): Entry("slim.safetensors", (), "native", "slim", "Apache-2.0"),
}


def by_file(name: str) -> Entry | None:
    """The entry whose published file bears this name."""
    entries = [one for entry in REGISTRY.values() for one in (entry, entry.conv) if one]
    return next((entry for entry in entries if entry.file == name), None)
