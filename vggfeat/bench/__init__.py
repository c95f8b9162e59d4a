"""The benchmarks of Appendix B: descriptors and linear SVMs, measured by the protocols of the paper.

    settings                  BenchmarkSettings: what a benchmark can be asked for
    benchmark                 Benchmark: a data set, a protocol, and the numbers of the paper
    benchmarks                BENCHMARKS: the table of all benchmarks
    protocol                  what a protocol decides: folds and a measure
    mean_average_precision    the protocol of VOC
    mean_class_recall         the protocol of Caltech
    choices                   which settings a benchmark uses if none are given
    runner                    run: settings -> images -> splits -> describer -> stores -> SVMs -> result
    split_files               splits in a file
    stored                    descriptors of an image set from stores
    described                 how samples were described: by nets in this run, or in stores of `vggfeat extract`
    probe                     linear SVMs on descriptors
    trial                     what all measurements of a run share
    ablation                  each of the paper's choices about descriptors on its own
    submission                files for the VOC evaluation server
    result                    BenchmarkResult: JSON and table
    paper                     run_paper: Tables 11 and 12, with all data sets at hand
    paper_result, paper_page  PaperResult: both tables, JSON; and their page
    comparison                how settings differ from the paper's
    record                    records of results, and whether a result agrees with one
    page, evidence            the page of a result
    archives                  download: the public archives of the data sets

>>> from vggfeat.bench import BENCHMARKS
>>> list(BENCHMARKS)
['voc2007', 'voc2012', 'voc2012-actions', 'caltech101', 'caltech256', 'folder', 'sample', 'digits']
"""

from typing import TYPE_CHECKING

from vggfeat._util.lazy import attach
from vggfeat.bench.settings import BenchmarkSettings

if TYPE_CHECKING:
    from vggfeat.bench.archives import download
    from vggfeat.bench.benchmark import Benchmark
    from vggfeat.bench.benchmarks import BENCHMARKS
    from vggfeat.bench.page import write_report
    from vggfeat.bench.paper import run_paper
    from vggfeat.bench.paper_page import write_paper_report
    from vggfeat.bench.paper_result import PaperResult
    from vggfeat.bench.record import check, read_record, record_of
    from vggfeat.bench.result import BenchmarkResult
    from vggfeat.bench.runner import run
    from vggfeat.report import check_target

__getattr__ = attach(
    __name__,
    {
        "BENCHMARKS": "vggfeat.bench.benchmarks",
        "Benchmark": "vggfeat.bench.benchmark",
        "BenchmarkResult": "vggfeat.bench.result",
        "PaperResult": "vggfeat.bench.paper_result",
        "check": "vggfeat.bench.record",
        "check_target": "vggfeat.report",
        "download": "vggfeat.bench.archives",
        "read_record": "vggfeat.bench.record",
        "record_of": "vggfeat.bench.record",
        "run": "vggfeat.bench.runner",
        "run_paper": "vggfeat.bench.paper",
        "write_paper_report": "vggfeat.bench.paper_page",
        "write_report": "vggfeat.bench.page",
    },
)

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "BenchmarkResult",
    "BenchmarkSettings",
    "PaperResult",
    "check",
    "check_target",
    "download",
    "read_record",
    "record_of",
    "run",
    "run_paper",
    "write_paper_report",
    "write_report",
]
