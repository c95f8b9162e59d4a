"""ILSVRC evaluation (Sect. 3.2 and 4): posteriors are stored once, and every table is arithmetic on them.

evaluate("ilsvrc2012", "runs", net="D,E", method="both")     images -> runs -> errors
summarise(open_runs(["runs"]))                               the errors of what is stored, all nets together
table(5, open_runs(["runs"]))                                ours beside the paper's
"""

from vggfeat.data.imagenet import read
from vggfeat.evaluate.methods import posterior_describers
from vggfeat.evaluate.page import write_report
from vggfeat.evaluate.result import Evaluation, summarise
from vggfeat.evaluate.runner import evaluate, parse_train_scale
from vggfeat.evaluate.runs import average, open_runs
from vggfeat.evaluate.submission import kit_of, write_submission
from vggfeat.evaluate.tables import Table, table

__all__ = [
    "Evaluation",
    "Table",
    "average",
    "evaluate",
    "kit_of",
    "open_runs",
    "parse_train_scale",
    "posterior_describers",
    "read",
    "summarise",
    "table",
    "write_report",
    "write_submission",
]
