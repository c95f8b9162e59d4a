"""The benchmarks of Appendix B and their runner.

>>> sorted(BENCHMARKS)
['caltech101', 'digits', 'folder']
"""

from vggfeat.bench.benchmark import Benchmark, Result
from vggfeat.bench.caltech import CALTECH101
from vggfeat.bench.digits import DIGITS
from vggfeat.bench.folder import FOLDER
from vggfeat.bench.runner import run

BENCHMARKS: dict[str, Benchmark] = {b.name: b for b in (CALTECH101, FOLDER, DIGITS)}

__all__ = ["BENCHMARKS", "Benchmark", "Result", "run"]
