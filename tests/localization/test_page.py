"""The page of an evaluation of boxes: what it says, and which photos it shows."""

import re

import pytest
from PIL import Image

from tests.kit.located import TRUE, boxed_of, located, protocol_2, result_of, score_row
from tests.kit.reports import HOSTILE
from vggfeat.localization.page import MOST, page, write_report
from vggfeat.localization.result import Score
from vggfeat.report import Bars, Gallery


def section(made, title):
    return next(one for one in made.sections if one.title == title)


def pictures(made, title):
    (gallery,) = (block for block in section(made, title).blocks if isinstance(block, Gallery))
    return gallery.pictures


def shifted(by):
    return (TRUE[0] + by, TRUE[1], TRUE[2] + by, TRUE[3])


ROW = score_row(1, 4, Score(25.0, None, 0.5), Score(40.7, None, 0.52), Score(61.2, None, 0.41))


def test_the_result_and_both_baselines_come_first():
    made = page(protocol_2())
    assert made.headline.value == 22.25
    assert made.headline.label == "top-5 localisation error, per cent"
    assert made.lead[0].rows == [
        ["this run", 22.25, 33.75, 0.61],
        ["constant box", 48.0, 55.0, 0.4],
        ["whole image", 70.0, 77.0, 0.3],
    ]
    assert [row[1] for row in made.lead[-1].rows] == [29.5, 28.2, 27.5, 26.9]  # Table 9
    first = page(result_of([], [ROW]))
    assert [row[1] for row in first.lead[-1].rows] == [36.4, 34.3, 33.1]  # Table 8
    assert first.lead[0].rows[1] == ["constant box", 40.7, 0.52]
    without = page(result_of([], [score_row(1, 4, ROW.score, None, ROW.whole)]))
    assert [row[0] for row in without.lead[0].rows] == ["this run", "whole image"]


def test_the_worst_boxes_and_the_best():
    evidence = [located(f"{by}.jpg", "cat", [("cat", 1.0, shifted(by))]) for by in (0, 30, 1, 20)]
    made = page(result_of(evidence, [ROW]), images=boxed_of(evidence))
    assert [one.name for one in pictures(made, "Worst boxes")] == ["30.jpg", "20.jpg"]
    assert [one.name for one in pictures(made, "Best boxes")] == ["0.jpg", "1.jpg"]
    assert pictures(made, "Best boxes")[0].title == "IoU 1.00"
    assert pictures(made, "Worst boxes")[0].title == "IoU 0.14"  # 10 of 40 columns are shared: 10 / 70


def test_a_photo_whose_class_was_not_found_is_no_worst_box():
    """Of the surest mistake the box of the wrong class is drawn beside the true one."""
    evidence = [
        located("a.jpg", "cat", [("dog", 0.4, shifted(9))]),
        located("b.jpg", "cat", [("dog", 0.9, shifted(9))]),
        located("c.jpg", "cat", []),
        located("d.jpg", "cat", [("dog", 0.5, TRUE), ("cat", 0.3, shifted(30))]),
    ]
    made = page(result_of(evidence, [ROW]), images=boxed_of(evidence))
    missed = pictures(made, "Class not among the guesses")
    assert [one.name for one in missed] == ["b.jpg", "a.jpg", "c.jpg"]
    assert [one.title for one in missed] == ["taken for dog, 90 %", "taken for dog, 40 %", "no box was found"]
    assert [one.name for one in pictures(made, "Worst boxes")] == ["d.jpg"]
    assert "Best boxes" not in [one.title for one in made.sections]


def test_boxes_without_classes_are_of_every_class():
    evidence = [located("a.jpg", "cat", [("", 1.0, shifted(30))])]
    made = page(result_of(evidence, [ROW]), images=boxed_of(evidence))
    assert [one.title for one in pictures(made, "Worst boxes")] == ["IoU 0.14"]


def test_a_page_has_a_bounded_number_of_photos_and_marks_those_that_are_gone(tmp_path):
    evidence = [located(f"{i:02}.jpg", "cat", [("cat", 1.0, TRUE)]) for i in range(MOST + 5)]
    images = boxed_of(evidence)
    images.images[MOST + 4] = tmp_path / "gone.jpg"
    Image.new("RGB", (60, 80)).save(tmp_path / "turned.png")
    images.images[MOST + 3] = tmp_path / "turned.png"
    shown = pictures(page(result_of(evidence, [ROW]), images=images), "Best boxes")
    assert [one.uri is None for one in shown] == [True] * 2 + [False] * (MOST - 2)
    assert "Best boxes" not in [one.title for one in page(result_of(evidence, [ROW])).sections]


def test_classes_come_worst_first():
    evidence = [located(f"{k}.jpg", "abc"[k], [("abc"[k], 1.0, shifted(by))]) for k, by in enumerate((0, 30, 20))]
    (bars,) = (
        one for one in section(page(result_of(evidence, [ROW])), "Errors by class").blocks if isinstance(one, Bars)
    )
    assert bars.items == [("b", 100.0), ("c", 100.0), ("a", 0.0)]
    assert bars.mean == pytest.approx(200 / 3)


def test_no_name_can_do_harm_and_the_file_is_complete(tmp_path):
    result = protocol_2()
    file = write_report(
        result, tmp_path / "page.html", images=boxed_of(result.evidence), command=["vggfeat", HOSTILE[0]]
    )
    html = file.read_text(encoding="utf-8")
    assert not re.search(r"<script|<img src=x|\x1b|\u202e", html)
    assert html.count("data:image/jpeg;base64,") == len(result.evidence)
    assert "22.25" in html
    assert "ab12ab12" in html
