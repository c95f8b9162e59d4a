"""What all measurements of a run share: the benchmark, the splits, the stores, and how SVMs are trained."""

from dataclasses import dataclass

from vggfeat.bench.benchmark import Benchmark
from vggfeat.bench.probe import Probe, ProbeResult
from vggfeat.bench.protocol import Splits
from vggfeat.bench.stored import Stores
from vggfeat.descriptors import Describer


@dataclass(frozen=True)
class Trial:
    """Measures descriptors of the same samples on the same splits."""

    benchmark: Benchmark
    splits: Splits
    stores: Stores
    probe: Probe

    def measure(self, describer: Describer, box: bool, what: str) -> ProbeResult:
        """Train and test on each split, from stores that are filled. what : for the progress bar."""
        X, found = self.stores.read(describer, box)
        return self.probe.evaluate(X, found, self.splits, what)
