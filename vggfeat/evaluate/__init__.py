"""ILSVRC evaluation (Sect. 3.2 and 4): posteriors are stored once, and every table is computed from them.

    settings    EvaluationSettings: what `evaluate` can be asked for
    runner      evaluate: images -> stored posteriors -> errors
    methods     the describers of dense, multi-crop and centre-crop posteriors
    classes     which output of a net is which class, by name
    finished    run.json, which makes a store a finished run
    runs        runs (stores of posteriors), the nets that they are of, and averages
    scores      errors, calibration and confusions of posteriors
    result      EvaluationResult; summarise: the errors of stored runs
    paper       the numbers of Tables 3 to 7
    tables      these tables with ours beside the paper's
    submission  the file of ILSVRC's server
    page        the HTML page

evaluate("ilsvrc2012", "runs", net="D,E", method="both")     images -> runs -> errors
summarise(open_runs(["runs"]))                               the errors of stored runs, and of all nets together
table(5, open_runs(["runs"]))                                ours beside the paper's
"""

from typing import TYPE_CHECKING

from vggfeat._util.lazy import attach
from vggfeat.evaluate.settings import EvaluationSettings

if TYPE_CHECKING:
    from vggfeat.evaluate.page import write_report
    from vggfeat.evaluate.result import EvaluationResult, summarise
    from vggfeat.evaluate.runner import evaluate
    from vggfeat.evaluate.runs import StoredNet, open_runs
    from vggfeat.evaluate.submission import write_submission
    from vggfeat.evaluate.tables import PaperTable, table

__getattr__ = attach(
    __name__,
    {
        "EvaluationResult": "vggfeat.evaluate.result",
        "PaperTable": "vggfeat.evaluate.tables",
        "StoredNet": "vggfeat.evaluate.runs",
        "evaluate": "vggfeat.evaluate.runner",
        "open_runs": "vggfeat.evaluate.runs",
        "summarise": "vggfeat.evaluate.result",
        "table": "vggfeat.evaluate.tables",
        "write_report": "vggfeat.evaluate.page",
        "write_submission": "vggfeat.evaluate.submission",
    },
)

__all__ = [
    "EvaluationResult",
    "EvaluationSettings",
    "PaperTable",
    "StoredNet",
    "evaluate",
    "open_runs",
    "summarise",
    "table",
    "write_report",
    "write_submission",
]
