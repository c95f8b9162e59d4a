"""scikit-learn's handwritten digits as images: no download, on any machine, to see that everything works.

One scale, the smallest that fc7 allows, and the net inside the package: 8x8 pixels hold no more.
"""

from vggfeat.bench.benchmark import Benchmark
from vggfeat.bench.recall import RECALL
from vggfeat.data import READERS

DIGITS = Benchmark(
    name="digits",
    title="Digits",
    read=READERS["digits"],
    protocol=RECALL,
    train_per_class=30,
    test_per_class=50,
    scales=(224,),
    weights="slim",
)
