"""Caltech-101 and Caltech-256 (Appendix B): 3 random splits, the three scales stacked.

30 training images a class and at most 50 of the others for the test; in Caltech-256 60 a class, the rest for the
test. The class without an object counts: 102 and 257 classes.
"""

from vggfeat.bench.benchmark import Benchmark, Recipe
from vggfeat.bench.recall import RECALL
from vggfeat.data import READERS

CLAIMS = {"stack": "above mean and max", "E": "above D", "D & E": "above D and E"}

CALTECH101 = Benchmark(
    name="caltech101",
    title="Caltech-101",
    read=READERS["caltech101"],
    protocol=RECALL,
    paper={"D": 91.8, "E": 92.3, "D & E": 92.7, "Zeiler & Fergus": 86.5, "Chatfield et al.": 88.4, "He et al.": 93.4},
    paper_std={"D": 1.0, "E": 0.5, "D & E": 0.5, "Zeiler & Fergus": 0.5, "Chatfield et al.": 0.6, "He et al.": 0.5},
    claims=CLAIMS,
    recipe=Recipe((256, 384, 512), "stack"),
    train_per_class=30,
    test_per_class=50,
    background="BACKGROUND_Google",
)
CALTECH256 = Benchmark(
    name="caltech256",
    title="Caltech-256",
    read=READERS["caltech256"],
    protocol=RECALL,
    paper={"D": 85.0, "E": 85.1, "D & E": 86.2, "Zeiler & Fergus": 74.2, "Chatfield et al.": 77.6},
    paper_std={"D": 0.2, "E": 0.3, "D & E": 0.3, "Zeiler & Fergus": 0.3, "Chatfield et al.": 0.1},
    claims=CLAIMS,
    recipe=Recipe((256, 384, 512), "stack"),
    train_per_class=60,
    background="257.clutter",
)
