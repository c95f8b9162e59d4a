"""The benchmarks of Appendix B, with the paper's numbers; and three more, for other folders and for a quick look.

VOC-2007 and VOC-2012: 20 classes, the mean over five scales. The labels of VOC-2012's test are not public: the result
is of val, trained on train alone, and a submission is trained on trainval.

VOC-2012 actions: a sample is a person, given by a box in an image. Image only, or image and box, each described on
its own and stacked (the default). The paper stacks D and E, and does not say which scales it used here: the settings
are those that it found best on VOC, the mean over five.

Caltech-101 and Caltech-256: random splits, the three scales stacked. The class without an object counts: 102 and 257
classes.

The data sets of the paper are read as they are stored, without EXIF's orientation, as the paper's tools read them: a
photo of Caltech-256 has an orientation that is wrong, and boxes are in stored pixels.

folder: a folder of any images, ROOT/<class>/*.jpg, split at random, or ROOT/train and ROOT/test as they are.

sample: the photos inside the package, described by the real net inside the package, at one small scale.

digits: scikit-learn's handwritten digits, 8x8 pixels: nothing to download, on any machine, to see that everything
works. One scale, the smallest that fc7 allows, and the net inside the package.
"""

import os
from dataclasses import replace

from vggfeat.bench.benchmark import Benchmark, PaperSettings
from vggfeat.bench.mean_average_precision import MAP_2007, MAP_2012
from vggfeat.bench.mean_class_recall import CROSS_VALIDATED_RECALL, MEAN_CLASS_RECALL
from vggfeat.bench.submission import Submission
from vggfeat.data import READERS, ImageSet


def read_ten_actions(root: str | os.PathLike[str] | None = None) -> ImageSet:
    """The people of VOC-2012, with the ten actions as classes.

    People who do none of the ten (`other`) are negatives of all of them, and no class of their own.
    """
    people = READERS["voc2012-actions"](root)
    ten = [k for k, name in enumerate(people.classes) if name != "other"]
    return replace(
        people,
        classes=tuple(people.classes[k] for k in ten),
        labels=people.labels[:, ten],
        ignore=people.ignore[:, ten],
        listed=None if people.listed is None else people.listed[:, ten],
    )


_SERVER = "trainval -> test, by the evaluation server"
_VOC = PaperSettings((256, 384, 512, 640, 768), "mean")
_VOC_CLAIMS = {
    "stack": "on val: similar to the mean",
    "three": "on val: 0.3 below five scales",
    "E": "on test: as D",
    "D & E": "on test: slightly above D and E",
}
_CALTECH = PaperSettings((256, 384, 512), "stack")
_CALTECH_CLAIMS = {"stack": "above mean and max", "E": "above D", "D & E": "above D and E"}

_TABLE = [
    Benchmark(
        "voc2007", "VOC-2007", READERS["voc2007"], MAP_2007,
        paper={"D": 89.3, "E": 89.3, "D & E": 89.7, "Chatfield et al.": 82.4, "He et al.": 82.4, "Wei et al.": 81.5},
        claims=_VOC_CLAIMS,
        paper_settings=_VOC, exif=False,
        submission=Submission("VOC2007/Main", "cls", comps=(1, 2), comp=2),
    ),
    Benchmark(
        "voc2012", "VOC-2012", READERS["voc2012"], MAP_2012, reported="val",
        paper={"D": 89.0, "E": 89.0, "D & E": 89.3,
               "Zeiler & Fergus": 79.0, "Chatfield et al.": 83.2, "Wei et al.": 81.7},
        claims=_VOC_CLAIMS, paper_on=_SERVER,
        paper_settings=_VOC, exif=False,
        submission=Submission("VOC2012/Main", "cls", comps=(1, 2), comp=2),
    ),
    Benchmark(
        "voc2012-actions", "VOC-2012 actions", read_ten_actions, MAP_2012, reported="val", boxes=True,
        paper={"D & E, image only": 79.2, "D & E, image and box": 84.0, "Hoai": 76.3, "Gkioxari et al.": 73.6},
        claims={"image only": "below image and box"}, paper_on=_SERVER,
        paper_settings=replace(_VOC, net="D,E"), exif=False,
        submission=Submission("VOC2012/Action", "action", comps=(9, 10), comp=10),
    ),
    Benchmark(
        "caltech101", "Caltech-101", READERS["caltech101"], MEAN_CLASS_RECALL,
        paper={"D": 91.8, "E": 92.3, "D & E": 92.7,
               "Zeiler & Fergus": 86.5, "Chatfield et al.": 88.4, "He et al.": 93.4},
        paper_std={"D": 1.0, "E": 0.5, "D & E": 0.5,
                   "Zeiler & Fergus": 0.5, "Chatfield et al.": 0.6, "He et al.": 0.5},
        claims=_CALTECH_CLAIMS,
        paper_settings=_CALTECH, exif=False,
        train_per_class=30, test_per_class=50, background="BACKGROUND_Google",
    ),
    Benchmark(
        "caltech256", "Caltech-256", READERS["caltech256"], MEAN_CLASS_RECALL,
        paper={"D": 85.0, "E": 85.1, "D & E": 86.2, "Zeiler & Fergus": 74.2, "Chatfield et al.": 77.6},
        paper_std={"D": 0.2, "E": 0.3, "D & E": 0.3, "Zeiler & Fergus": 0.3, "Chatfield et al.": 0.1},
        claims=_CALTECH_CLAIMS,
        paper_settings=_CALTECH, exif=False,
        train_per_class=60, background="257.clutter",
    ),
    Benchmark("folder", "Your folder", READERS["folder"], CROSS_VALIDATED_RECALL),
    Benchmark(
        "sample", "Sample photos", READERS["sample"], CROSS_VALIDATED_RECALL,
        train_per_class=15, seeds=5, scales=(128,), layer="pool5", weights="oxford-int8",
    ),
    Benchmark(
        "digits", "Digits", READERS["digits"], CROSS_VALIDATED_RECALL,
        train_per_class=30, test_per_class=50, scales=(224,), weights="slim",
    ),
]  # fmt: skip

BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in _TABLE}
