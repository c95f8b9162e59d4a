"""VOC-2012 action classification (Appendix B, Table 12): a sample is a person, given by a box in an image.

Image only, or image and box, each described on its own and stacked (the default). People who do none of the ten
actions (`other`) are negatives for all of them, and no class of their own: mAP is over the ten. The result is of
val, as for VOC-2012. The paper stacks D and E, and doesn't say which scales it used here: the recipe takes those it
found best on VOC, the mean over five.
"""

import os
from dataclasses import replace

from vggfeat.bench.benchmark import Benchmark, Recipe
from vggfeat.bench.precision import MAP_2012
from vggfeat.bench.submission import Submission
from vggfeat.bench.voc import RECIPE
from vggfeat.data import READERS, ImageSet


def read(root: str | os.PathLike[str] | None = None) -> ImageSet:
    """The people of the lists with ten classes: who does `other` has the label of none."""
    people = READERS["voc2012-actions"](root)
    ten = [k for k, name in enumerate(people.classes) if name != "other"]
    return replace(
        people,
        classes=tuple(people.classes[k] for k in ten),
        labels=people.labels[:, ten],
        ignore=people.ignore[:, ten],
        listed=None if people.listed is None else people.listed[:, ten],
    )


VOC2012_ACTIONS = Benchmark(
    name="voc2012-actions",
    title="VOC-2012 actions",
    read=read,
    protocol=MAP_2012,
    paper={"D & E, image only": 79.2, "D & E, image and box": 84.0, "Hoai": 76.3, "Gkioxari et al.": 73.6},
    claims={"image only": "below image and box"},
    paper_on="trainval -> test, by the evaluation server",
    recipe=Recipe(RECIPE.scales, RECIPE.agg, net="D,E"),
    reported="val",
    boxes=True,
    submission=Submission("VOC2012/Action", "action", comps=(9, 10), comp=10),
)
