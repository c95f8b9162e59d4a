"""A folder of one's own: ROOT/<class>/*.jpg, split at random, or ROOT/train and ROOT/test as they are."""

from vggfeat.bench.benchmark import Benchmark
from vggfeat.bench.recall import RECALL
from vggfeat.data import READERS

FOLDER = Benchmark(name="folder", title="Your folder", read=READERS["folder"], protocol=RECALL)
