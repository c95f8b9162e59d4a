"""Neighbours, twins and doubtful labels of descriptors and scores worked out by hand."""

import numpy as np
import pytest

from tests.kit.reports import image_set
from vggfeat.bench.probe import FoldScores, ProbeResult
from vggfeat.demo.findings import BetterFit, doubts, near, twins
from vggfeat.neighbours import nearest


def described(angles):
    """Photos in the plane, at angles in degrees: their names, which are the angles, and their graph."""
    radians = np.radians(np.array(angles, np.float64))
    X = np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)
    return [str(angle) for angle in angles], nearest(X, 15)


def test_the_nearest_come_first_without_the_photo_itself():
    (found,) = near(*described([0, 90, 30, 60]), ["30"], 2)
    assert found.name == "30"
    assert {name for name, _ in found.others} == {"0", "60"}
    assert [cosine for _, cosine in found.others] == pytest.approx([np.cos(np.radians(30))] * 2, abs=1e-6)
    (found,) = near(*described([0, 90, 30, 65]), ["90"], 3)
    assert [name for name, _ in found.others] == ["65", "30", "0"]


def test_twins_are_much_nearer_than_neighbours_are():
    found = twins(*described([0, 1, 40, 80, 120, 160, 200, 240, 280, 281.5]))
    assert [(pair.first, pair.second) for pair in found.pairs] == [("0", "1"), ("280", "281.5")]
    assert found.pairs[0].cosine == pytest.approx(np.cos(np.radians(1)), abs=1e-6)
    assert not twins(*described(range(0, 360, 30))).pairs


def test_a_label_is_doubtful_if_every_split_says_another_class():
    images = image_set([[1, 0], [1, 0], [0, 1], [0, 1]], ["cat", "dog"])
    scores = {
        # rows 0 and 1 are cats: the first is taken for a dog twice, the second once; row 3 is taken for a cat once
        0: FoldScores(np.array([0, 1, 2]), np.float32([[-1.0, 0.5], [-1, 1], [-1, 1]]), 1.0),
        1: FoldScores(np.array([0, 1, 3]), np.float32([[-0.5, 0], [1, -1], [2, -2]]), 1.0),
    }
    result = ProbeResult(images, np.ones(4, bool), scores, "", [], [], {}, [])
    assert doubts(result) == [BetterFit("00003.jpg", "dog", "cat", 4.0), BetterFit("00000.jpg", "cat", "dog", 1.0)]
