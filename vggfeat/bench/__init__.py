"""The benchmarks of Appendix B and their runner.

>>> list(BENCHMARKS)
['voc2007', 'voc2012', 'voc2012-actions', 'caltech101', 'caltech256', 'folder', 'digits']
"""

from vggfeat.bench.actions import VOC2012_ACTIONS
from vggfeat.bench.archives import download
from vggfeat.bench.benchmark import Benchmark, Recipe, Result
from vggfeat.bench.caltech import CALTECH101, CALTECH256
from vggfeat.bench.digits import DIGITS
from vggfeat.bench.folder import FOLDER
from vggfeat.bench.page import write_report
from vggfeat.bench.record import check, read_record, record_of
from vggfeat.bench.runner import run
from vggfeat.bench.voc import VOC2007, VOC2012
from vggfeat.report import check_target

BENCHMARKS: dict[str, Benchmark] = {
    b.name: b for b in (VOC2007, VOC2012, VOC2012_ACTIONS, CALTECH101, CALTECH256, FOLDER, DIGITS)
}

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Recipe",
    "Result",
    "check",
    "check_target",
    "download",
    "read_record",
    "record_of",
    "run",
    "write_report",
]
