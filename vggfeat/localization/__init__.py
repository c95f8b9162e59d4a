"""Localisation, the system that won ILSVRC-2014 (Appendix A): where the objects of an image are.

    settings     BoxRecipe: the settings of a training run
    training     fit: train a net that predicts boxes; fitted: FittedBoxes, what it results in
    objective    what such a net learns
    spec         LocalizerSpec, LocalizationSettings: what a localiser and its evaluation can be asked for
    rules        MergeRule: when and how boxes are merged
    models       the nets of a localiser, and whether they fit together
    describing   image -> boxes and posteriors at each scale
    merging      merge: the boxes of one class become fewer
    guesses      Located: for each of the likeliest classes one box
    localizer    Localizer, localize: image -> what is in it and where
    answers      what it says of photos as text, CSV and JSON; drawing: copies of photos with boxes
    runner       store_boxes, evaluate: images -> stored predictions -> errors
    predictions  runs, stores of boxes; posteriors: which classes their photos have
    criterion    when a guess is right; errors, mean IoU, and the baselines
    judging      the guesses of photos and of both baselines, judged
    summary      open_runs, summarise: the errors of stored predictions
    result       LocalizationResult
    paper        the numbers of Tables 8 to 10
    tables       these tables with ours beside the paper's
    page         the HTML page

fit("boxes.csv", "run"); evaluate("boxes.csv", "run", "oxford", "runs")
localize("photo.jpg", "run", classifier="oxford")
"""

from typing import TYPE_CHECKING

from vggfeat._util.lazy import attach
from vggfeat.localization.rules import MergeRule
from vggfeat.localization.settings import BoxRecipe
from vggfeat.localization.spec import LocalizationSettings, LocalizerSpec

if TYPE_CHECKING:
    from vggfeat.localization.fitted import FittedBoxes
    from vggfeat.localization.guesses import Located
    from vggfeat.localization.localizer import Localizer, LocatedPhoto, localize
    from vggfeat.localization.merging import Merged, merge
    from vggfeat.localization.page import write_report
    from vggfeat.localization.posteriors import Predictions
    from vggfeat.localization.result import LocalizationResult
    from vggfeat.localization.runner import evaluate, store_boxes
    from vggfeat.localization.summary import open_runs, summarise
    from vggfeat.localization.tables import table
    from vggfeat.localization.training import fit

__getattr__ = attach(
    __name__,
    {
        "FittedBoxes": "vggfeat.localization.fitted",
        "Located": "vggfeat.localization.guesses",
        "LocatedPhoto": "vggfeat.localization.localizer",
        "LocalizationResult": "vggfeat.localization.result",
        "Localizer": "vggfeat.localization.localizer",
        "Merged": "vggfeat.localization.merging",
        "Predictions": "vggfeat.localization.posteriors",
        "evaluate": "vggfeat.localization.runner",
        "fit": "vggfeat.localization.training",
        "localize": "vggfeat.localization.localizer",
        "merge": "vggfeat.localization.merging",
        "open_runs": "vggfeat.localization.summary",
        "store_boxes": "vggfeat.localization.runner",
        "summarise": "vggfeat.localization.summary",
        "table": "vggfeat.localization.tables",
        "write_report": "vggfeat.localization.page",
    },
)

__all__ = [
    "BoxRecipe",
    "FittedBoxes",
    "LocalizationResult",
    "LocalizationSettings",
    "Localizer",
    "LocalizerSpec",
    "Located",
    "LocatedPhoto",
    "MergeRule",
    "Merged",
    "Predictions",
    "evaluate",
    "fit",
    "localize",
    "merge",
    "open_runs",
    "store_boxes",
    "summarise",
    "table",
    "write_report",
]
