"""Caltech-101 (Appendix B): 30 training images a class, at most 50 of the others for the test, 3 splits."""

from vggfeat.bench.benchmark import Benchmark
from vggfeat.data import READERS

CALTECH101 = Benchmark(
    name="caltech101",
    title="Caltech-101",
    read=READERS["caltech101"],
    paper={"D": 91.8, "E": 92.3, "D & E": 92.7, "Chatfield et al.": 88.4, "He et al.": 93.4},
    train_per_class=30,
    test_per_class=50,
    background="BACKGROUND_Google",
)
