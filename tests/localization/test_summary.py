"""Scores of stored predictions, worked out by hand: protocols, fusions, rules, limits, baselines, errors."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.kit.box_runs import make_box_run
from tests.kit.posterior_runs import make_run
from vggfeat.errors import StoreError, UsageError
from vggfeat.localization.result import LocalizationResult
from vggfeat.localization.rules import MergeRule
from vggfeat.localization.spec import LocalizationSettings
from vggfeat.localization.summary import open_runs, summarise

CAT, DOG = 0, 1
TRUTH = {"0.jpg": ("cat", [[0, 0, 50, 50]]), "1.jpg": ("dog", [[50, 50, 100, 100], [0, 0, 10, 10]])}
RIGHT = {"0.jpg": [[CAT, 1, 0, 0, 50, 50]], "1.jpg": [[DOG, 1, 0, 0, 10, 10]]}
POSTERIORS = {256: [[0.9, 0.1], [0.6, 0.4]]}
CLASSES = ("cat", "dog")


def scores(*paths: Path, merging: MergeRule | None = None, **settings: Any) -> LocalizationResult:
    return summarise(open_runs(paths), settings=LocalizationSettings(**settings), merging=merging)


def posteriors(folder: Path, **options: Any) -> Path:
    return make_run(folder, POSTERIORS, (0, 1), classes=CLASSES, **options)


def test_a_guess_is_right_in_class_and_box(tmp_path: Path) -> None:
    run = make_box_run(tmp_path / "boxes", TRUTH, {256: RIGHT})
    (row,) = scores(run, posteriors(tmp_path / "classes")).rows
    assert (row.score.error, row.score.top1, row.score.mean_iou) == (0, 50, 1)  # the second guess of 1.jpg is right
    assert row.classes == (50, 0)


def test_without_a_candidate_of_the_class_the_guess_is_wrong(tmp_path: Path) -> None:
    boxes = {**RIGHT, "1.jpg": [[CAT, 1, 0, 0, 10, 10]]}
    run = make_box_run(tmp_path / "boxes", TRUTH, {256: boxes})
    found = scores(run, posteriors(tmp_path / "classes"))
    assert found.rows[0].score.error == 50
    assert found.rows[0].score.mean_iou == 0.5
    assert any(note.startswith("2 guesses have no box") for note in found.notes)  # dog for 0.jpg as well


def test_protocol_1_takes_the_box_of_the_true_class(tmp_path: Path) -> None:
    boxes = {"0.jpg": [[0, 0, 50, 25], [0, 0, 50, 50]], "1.jpg": [[0, 0, 10, 10], [90, 90, 120, 120]]}
    run = make_box_run(tmp_path / "centre", TRUTH, {256: boxes}, protocol=1)
    (row,) = scores(run).rows
    # 0.jpg has IoU 1/2; 1.jpg, clipped to 90..100, 100 of 2,500 pixels
    assert (row.score.error, row.score.top1, row.classes) == (50, None, None)
    assert row.score.mean_iou == pytest.approx((0.5 + 0.04) / 2)


@pytest.mark.parametrize(("reading", "error"), [("kit", 50), ("paper", 100)])
def test_just_one_half_is_right_for_the_kit_only(tmp_path: Path, reading: str, error: float) -> None:
    boxes = {"0.jpg": [[0, 0, 50, 25]], "1.jpg": [[90, 90, 100, 100]]}
    run = make_box_run(tmp_path / "centre", TRUTH, {256: boxes}, protocol=1, regression="scr")
    assert scores(run, reading=reading).rows[0].score.error == error
    assert scores(run, reading=reading, iou=0.04).rows[0].score.error == (0 if reading == "kit" else 50)


def test_both_baselines_take_the_place_of_the_guesses(tmp_path: Path) -> None:
    run = make_box_run(tmp_path / "boxes", TRUTH, {256: RIGHT}, constant=(0, 0, 0.5, 1))
    (row,) = scores(run, posteriors(tmp_path / "classes")).rows
    assert row.constant is not None
    # 0.jpg: 2,500 of 5,000 pixels; 1.jpg: 100 of 5,000. The whole: 2,500 and 2,500 of 10,000
    assert (row.constant.error, row.constant.top1, row.constant.mean_iou) == (50, 50, pytest.approx(0.26))
    assert (row.whole.error, row.whole.mean_iou) == (100, 0.25)
    no_training = make_box_run(tmp_path / "other", TRUTH, {256: RIGHT})
    assert scores(no_training, tmp_path / "classes").rows[0].constant is None


def test_scales_and_nets_are_united_and_then_merged(tmp_path: Path) -> None:
    # alone: one net is right at one scale; the sum of two near boxes beats the one that is surest
    sure = {"0.jpg": [[CAT, 0.7, 60, 60, 90, 90]], "1.jpg": [[DOG, 1, 0, 0, 10, 10]]}
    near = [{**RIGHT, "0.jpg": [[CAT, 0.4, 0, 0, 50, y]]} for y in (48, 52)]
    one = make_box_run(tmp_path / "one", TRUTH, {256: sure, 352: near[0]}, sha256="1")
    two = make_box_run(tmp_path / "two", TRUTH, {384: near[1]}, sha256="2")
    found = scores(one, two, posteriors(tmp_path / "classes"))
    assert [(row.scales, row.score.error) for row in found.rows] == [
        ((256,), 50),
        ((352,), 0),
        ((256, 352), 50),
        ((384,), 0),
        ((256, 352, 384), 0),
    ]
    assert found.rows[-1].net == "D (one) & D (two)"
    assert found.evidence
    merged = found.evidence[0].guesses[0]
    assert merged.box == (0, 0, 50, 50)
    assert (merged.confidence, merged.candidates) == (pytest.approx(0.8), 2)
    alone = scores(one, two, tmp_path / "classes", merging=MergeRule(rule="none"))
    assert alone.rows[-1].score.error == 50
    assert alone.rule["rule"] == "none"


def test_runs_in_another_order_and_with_another_order_of_classes(tmp_path: Path) -> None:
    turned = {"1.jpg": [[0, 1, 0, 0, 10, 10]], "0.jpg": [[1, 1, 0, 0, 50, 50]]}
    one = make_box_run(tmp_path / "one", TRUTH, {256: RIGHT}, sha256="1")
    two = make_box_run(tmp_path / "two", TRUTH, {256: turned}, sha256="2", classes=("dog", "cat"))
    found = scores(one, two, posteriors(tmp_path / "classes"))
    assert [row.score.error for row in found.rows] == [0, 0, 0]
    assert [image.guesses[0].label for image in found.evidence or []] == ["cat", "cat"]


def test_errors_by_class_failures_and_json(tmp_path: Path) -> None:
    truth = {**TRUTH, "2.jpg": ("dog", [[0, 0, 10, 10]])}
    run = make_box_run(
        tmp_path / "centre",
        truth,
        {256: {"0.jpg": [[0, 0, 1, 1]], "1.jpg": [[0, 0, 10, 10]]}},
        protocol=1,
        regression="scr",
        failures={"2.jpg": "no image"},
    )
    found = scores(run)
    assert found.per_class == {
        "cat": {"images": 1, "error": 100, "mean_iou": pytest.approx(1 / 2500)},
        "dog": {"images": 1, "error": 0, "mean_iou": 1},
    }
    assert found.failures == {"2.jpg": "no image"}
    assert any("1 of 3 images could not be read" in note for note in found.notes)
    written = json.loads(found.json())
    assert written["rows"][0]["score"] == {"error": 50, "top1": None, "mean_iou": pytest.approx((1 + 1 / 2500) / 2)}
    assert "evidence" not in written


def test_one_class_needs_no_posteriors(tmp_path: Path) -> None:
    truth = {"0.jpg": ("face", [[0, 0, 50, 50]]), "1.jpg": ("face", [[0, 0, 5, 5]])}
    boxes = {256: {"0.jpg": [[0, 1, 0, 0, 50, 50]], "1.jpg": [[0, 1, 0, 0, 50, 50]]}}
    run = make_box_run(tmp_path / "boxes", truth, boxes, regression="scr", classes=("face",))
    (row,) = scores(run).rows
    assert (row.score.error, row.classes) == (50, (0, 0))


def test_several_classes_do(tmp_path: Path) -> None:
    run = make_box_run(tmp_path / "boxes", TRUTH, {256: RIGHT})
    with pytest.raises(UsageError, match="has boxes of 2 classes, and no run says which class a photo has"):
        scores(run)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"data": "other val"}, "two: is of other val, .*one of set val; give runs of one"),
        ({"content": "1", "sha256": "2"}, "0.jpg is a different image in each; evaluate both again"),
        ({"keep": 5}, "both have the same net, protocol and Q=256, but were made with different settings"),
        ({"facts": False}, "two: is not finished; run the command that made it again"),
        ({"failures": {"2.jpg": "?"}}, "two: holds images that .* no longer has; remove it"),
    ],
)
def test_runs_that_do_not_belong_together(tmp_path: Path, other: dict[str, Any], said: str) -> None:
    one = make_box_run(tmp_path / "one", TRUTH, {256: RIGHT}, content="0")
    two = make_box_run(tmp_path / "two", TRUTH, {256: RIGHT}, **other)
    with pytest.raises((StoreError, UsageError), match=said):
        scores(one, two, posteriors(tmp_path / "classes"))


@pytest.mark.parametrize(
    ("first", "second", "titles"),
    [
        ({}, {"regression": "scr"}, "D (pcr) & D (scr)"),  # both are best.safetensors of a run
        ({"train_scale": 256}, {"train_scale": 384}, "D (S=256) & D (S=384)"),
        ({}, {}, "D (best, 111111) & D (best, 222222)"),
        ({}, {"net": "E"}, "D & E"),
    ],
)
def test_nets_are_told_apart(tmp_path: Path, first: dict[str, Any], second: dict[str, Any], titles: str) -> None:
    for name, options in (("1", first), ("2", second)):
        (tmp_path / name).mkdir()
        make_box_run(tmp_path / name / "best", TRUTH, {256: RIGHT}, sha256=6 * name, **options)
    found = scores(tmp_path / "1" / "best", tmp_path / "2" / "best", posteriors(tmp_path / "classes"))
    assert found.rows[-1].net == titles


def test_true_boxes_that_differ(tmp_path: Path) -> None:
    one = make_box_run(tmp_path / "one", TRUTH, {256: RIGHT}, sha256="1")
    changed = {**TRUTH, "1.jpg": ("dog", [[0, 0, 10, 11]])}
    two = make_box_run(tmp_path / "two", changed, {256: RIGHT}, sha256="2")
    said = "have different true boxes of set val; evaluate both again, or give only one of them"
    with pytest.raises(StoreError, match=f"two and .*one: {said}"):
        scores(one, two, posteriors(tmp_path / "classes"))


def test_labels_that_differ_from_those_of_the_posteriors(tmp_path: Path) -> None:
    run = make_box_run(tmp_path / "boxes", TRUTH, {256: RIGHT})
    other = make_run(tmp_path / "classes", POSTERIORS, (0, 0), classes=CLASSES)
    with pytest.raises(StoreError, match=r"classes: 1\.jpg has a different label there than in the runs of boxes"):
        scores(run, other)


@pytest.mark.parametrize("rows", [[[2, 1, 0, 0, 9, 9]], [[0.5, 1, 0, 0, 9, 9]], [[0, 1, 0, 0, 9]]])
def test_rows_that_are_no_candidates(tmp_path: Path, rows: Any) -> None:
    run = make_box_run(tmp_path / "boxes", TRUTH, {256: {**RIGHT, "1.jpg": rows}})
    with pytest.raises(
        StoreError, match=r"boxes: 1\.jpg has a label or boxes that do not fit its run.json; remove the"
    ):
        scores(run, posteriors(tmp_path / "classes"))


def test_what_is_no_run_of_boxes(tmp_path: Path) -> None:
    classes = posteriors(tmp_path / "runs" / "classes")
    with pytest.raises(UsageError, match="no run of boxes given"):
        open_runs([classes])
    with pytest.raises(StoreError, match="nothing: is neither a run nor a folder of runs"):
        open_runs([tmp_path / "nothing"])
    make_box_run(tmp_path / "runs" / "boxes", TRUTH, {256: RIGHT})
    assert len(open_runs([tmp_path / "runs"]).nets) == 1
    (tmp_path / "runs" / "boxes" / "run.json").write_text('{"data": 1}')
    with pytest.raises(StoreError, match=r"run.json: cannot be read \(.*\); run the command"):
        open_runs([tmp_path / "runs"])


def test_other_tools_refuse_boxes(tmp_path: Path) -> None:
    from vggfeat.evaluate import open_runs as open_posteriors
    from vggfeat.store import load

    run = make_box_run(tmp_path / "boxes", TRUTH, {256: RIGHT})
    with pytest.raises(StoreError, match="boxes: holds boxes, not descriptors; read it with `vggfeat localize"):
        load(run)
    with pytest.raises(StoreError, match="boxes: holds boxes, not posteriors; read it with `vggfeat localize"):
        open_posteriors([run])
