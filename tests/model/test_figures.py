"""Figures as lines and as JSON."""

import numpy as np
import pytest

from vggfeat.model.figures import Figures, Outsiders, Point


@pytest.fixture
def figures():
    return Figures(
        classes=("cat", "d\x1bog", "twins"),
        confusion=np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]),
        recall=0.875,
        recalls=(0.75, 1.0, None),
        folds=3,
        calibration_error=0.0421,
        keep=0.95,
        kept=5 / 6,
        outsiders=Outsiders(0.5, 2),
        curve=(Point(2, 0.5), Point(4, 0.875, 0.375, 0.02)),
        class_gains=(0.25, 0.5, None),
        photos=8,
        twins=2,
        notes=("a note",),
    )


def test_the_lines_say_the_numbers(figures):
    text = "\n".join(figures.lines())
    assert "mean class recall 87.5 % of 6 photos held out (3 of 5 folds)" in text
    assert "lowest recalls: cat 75 %" in text
    assert "cat as d\\x1bog 1 of 4" in text
    assert "expected calibration error 4.2 points" in text
    assert "set to keep 95 % of the photos of the classes, kept 83.3 %; refused 50.0 %" in text
    assert "from 2 to 4 photos a class: +37.5 ± 2.0 points; most for d\\x1bog +50, cat +25" in text
    assert text.endswith("a note")


def test_json_is_in_per_cent(figures):
    found = figures.as_json()
    assert found["per_class"] == {"cat": 75, "d\x1bog": 100, "twins": None}
    assert found["learning_curve"][1] == {"photos": 4, "recall": 87.5, "gain": 37.5, "gain_error": 2}
    assert found["class_gains"] == {"cat": 25, "d\x1bog": 50}
    assert found["confusion"]["counts"] == [[3, 1, 0], [0, 2, 0], [0, 0, 0]]
