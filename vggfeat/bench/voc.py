"""PASCAL VOC image classification (Appendix B): 20 classes, mAP, the mean over five scales.

VOC-2007: C by train -> val, then trainval -> test; 11-point AP. VOC-2012: the labels of test are not public; the
result is of val, trained on train alone, and a submission is trained on trainval. AP by area.
"""

from vggfeat.bench.benchmark import Benchmark, Recipe
from vggfeat.bench.precision import MAP_2007, MAP_2012
from vggfeat.bench.submission import Submission
from vggfeat.data import READERS

RECIPE = Recipe((256, 384, 512, 640, 768), "mean")
CLAIMS = {
    "stack": "on val: similar to the mean",
    "three": "on val: 0.3 below five scales",
    "E": "on test: as D",
    "D & E": "on test: slightly above D and E",
}

VOC2007 = Benchmark(
    name="voc2007",
    title="VOC-2007",
    read=READERS["voc2007"],
    protocol=MAP_2007,
    paper={"D": 89.3, "E": 89.3, "D & E": 89.7, "Chatfield et al.": 82.4, "He et al.": 82.4, "Wei et al.": 81.5},
    claims=CLAIMS,
    recipe=RECIPE,
    submission=Submission("VOC2007/Main", "cls", comps=(1, 2), comp=2),
)
VOC2012 = Benchmark(
    name="voc2012",
    title="VOC-2012",
    read=READERS["voc2012"],
    protocol=MAP_2012,
    paper={"D": 89.0, "E": 89.0, "D & E": 89.3, "Zeiler & Fergus": 79.0, "Chatfield et al.": 83.2, "Wei et al.": 81.7},
    paper_on="trainval -> test, by the evaluation server",
    claims=CLAIMS,
    recipe=RECIPE,
    reported="val",
    submission=Submission("VOC2012/Main", "cls", comps=(1, 2), comp=2),
)
