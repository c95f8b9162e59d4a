"""One-vs-rest linear SVMs on descriptors, and the choice of C on held-out training samples.

Each class minimises, over its samples i that are not ignored, y_i = +1 or -1,

    (|w|^2 + b^2) / 2  +  C * sum_i max(0, 1 - y_i (w . x_i + b))^2

The bias is regularised, as liblinear does it: a constant feature of 1 beside a descriptor of norm 1. At a
small C it holds b near 0; choosing C on held-out samples makes up for it.

Two solvers reach the same minimum: `newton` (the default) does all classes together, `liblinear` is
scikit-learn's LinearSVC, one fit after the other, by which `newton` is checked.
"""

from vggfeat.svm.holdout import stratified_holdout
from vggfeat.svm.model import CS, SOLVERS, CSearch, LinearSVM, choose_C
from vggfeat.svm.problem import Problem, Progress, Settings, Solution

__all__ = [
    "CS",
    "SOLVERS",
    "CSearch",
    "LinearSVM",
    "Problem",
    "Progress",
    "Settings",
    "Solution",
    "choose_C",
    "stratified_holdout",
]
