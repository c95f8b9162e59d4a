"""Results of an evaluation of boxes, made of true boxes and shifted copies of them."""

import numpy as np

from tests.kit.reports import HOSTILE, photo
from vggfeat.data.boxed import Boxed
from vggfeat.localization.guesses import Located
from vggfeat.localization.result import LocalizationResult, LocatedImage, Score, ScoreRow

TRUE = (20.0, 10.0, 60.0, 50.0)


def overlap(first, second):
    """Intersection over union of two boxes, written out."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0.0) * max(height, 0.0)
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return shared / (area - shared)


def located(path, label, guesses, truth=TRUE, size=(60, 80)):
    """An image with guesses as (label, probability, box)."""
    found = tuple(Located(name, chance, box, chance, 3) for name, chance, box in guesses)
    own = [overlap(truth, one.box) for one in found if one.label in (label, "")]
    iou = max(own, default=0.0)
    return LocatedImage(path, label, size, (truth,), found, iou, iou >= 0.5)


def score_row(protocol, images, score, constant, whole, classes=None, regression="pcr", scales=(256,)):
    return ScoreRow("E", regression, protocol, scales, images, score, constant, whole, classes)


def result_of(evidence, rows, **changes):
    """The result of images, by class as they are; the scores of its rows are given."""
    labels = sorted({one.label for one in evidence})
    of = {label: [one for one in evidence if one.label == label] for label in labels}
    per_class = {
        label: {
            "images": len(some),
            "error": 100 * float(np.mean([not one.right for one in some])),
            "mean_iou": float(np.mean([one.iou for one in some])),
        }
        for label, some in of.items()
    }
    made = {
        "data": "made val",
        "rows": rows,
        "per_class": per_class,
        "rule": {"rule": "library", "vertical": 0.5, "horizontal": 0.3, "apart": 0.5},
        "iou": 0.5,
        "reading": "kit",
        "failures": {},
        "notes": ["a note on the data"],
        "weights": [{"net": "E", "name": "made", "sha256": "ab12" * 16, "boxes": "pcr"}],
        "stores": ["runs/E"],
        "version": "9.8.7",
        "evidence": evidence,
    }
    return LocalizationResult(**made | changes)


def boxed_of(evidence):
    """The photos of a result, made of noise."""
    classes = sorted({one.label for one in evidence})
    return Boxed(
        name="made val",
        classes=tuple(classes),
        paths=[one.path for one in evidence],
        images=[photo(k, k) for k in range(len(evidence))],
        labels=np.array([classes.index(one.label) for one in evidence]),
        boxes=tuple(np.array(one.truth) for one in evidence),
        sizes=np.array([one.size for one in evidence]),
    )


def protocol_2(classes=HOSTILE, per_class=3):
    """A result of both protocols with classes of these names; of each class one class, one box and no box is wrong."""
    evidence = []
    for k, name in enumerate(classes):
        other = classes[k - 1]
        for i in range(per_class):
            box = (TRUE[0] + (0, 3, 15)[i % 3], *TRUE[1:])
            guesses = [(other, 0.6, TRUE)] if i % 3 == 1 else [(other, 0.6, TRUE), (name, 0.3, box)]
            evidence.append(located(f"{name}/{k}-{i}.jpg", name, guesses))
    images = len(evidence)
    rows = [
        score_row(1, images, Score(12.5, None, 0.71), Score(41.5, None, 0.52), Score(63.5, None, 0.41)),
        score_row(
            2, images, Score(22.25, 33.75, 0.61), Score(48.0, 55.0, 0.4), Score(70.0, 77.0, 0.3), classes=(21.0, 3.25)
        ),
    ]
    return result_of(evidence, rows, failures={"a.jpg": HOSTILE[0]})
