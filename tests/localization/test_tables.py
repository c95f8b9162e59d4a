"""Tables 8 to 10: the paper's rows, ours beside them, and the baselines."""

from pathlib import Path

import pytest

from tests.kit.box_runs import make_box_run
from tests.kit.posterior_runs import make_run
from vggfeat.errors import UsageError
from vggfeat.localization import MergeRule, open_runs, table

TRUTH = {"0.jpg": ("cat", [[0, 0, 50, 50]]), "1.jpg": ("dog", [[0, 0, 10, 10]])}
RIGHT = {"0.jpg": [[0, 0.9, 0, 0, 50, 50]], "1.jpg": [[1, 0.9, 0, 0, 10, 10]]}
HALF = {**RIGHT, "1.jpg": [[1, 0.6, 0, 0, 99, 99]]}  # surer than RIGHT only if two of them are merged
CONSTANT = (0, 0, 0.5, 0.5)  # right for 0.jpg


def centre(path: Path, error: int, **options: object) -> Path:
    wrong = [90, 90, 99, 99]
    boxes = {"0.jpg": [wrong if error else [0, 0, 50, 50]], "1.jpg": [[0, 0, 10, 10]]}
    boxes = {name: rows * (2 if options.get("regression") != "scr" else 1) for name, rows in boxes.items()}
    return make_box_run(path, TRUTH, {384: boxes}, protocol=1, constant=CONSTANT, sha256=path.name, **options)  # type: ignore[arg-type]


def classes(path: Path) -> Path:
    return make_run(path, {256: [[0.9, 0.1], [0.1, 0.9]]}, (0, 1), classes=("cat", "dog"))


def lines_of(number: int, *paths: Path) -> list[tuple[object, ...]]:
    return [(line.words, line.paper, line.ours) for line in table(number, open_runs(paths)).lines]


def test_table_8_is_of_the_centre_crop(tmp_path: Path) -> None:
    runs = [
        centre(tmp_path / "scr", 1, train_scale=384, tuned="fc", regression="scr"),
        centre(tmp_path / "pcr", 0, train_scale=384, tuned="all"),
        centre(tmp_path / "narrow", 1, train_scale=384, tuned="fc", width=0.25),
        centre(tmp_path / "unknown", 0),
    ]
    assert lines_of(8, *runs) == [
        (("D", "384", "fc", "scr"), (36.4,), (50.0,)),
        (("D", "384", "fc", "pcr"), (34.3,), None),
        (("D", "384", "all", "pcr"), (33.1,), (0.0,)),
        (("D ×0.25", "384", "fc", "pcr"), None, (50.0,)),
        (("D (unknown)", "?", "?", "pcr"), None, (0.0,)),
        (("the mean training box for all images", "", "", ""), None, (50.0,)),
        (("the whole image", "", "", ""), None, (100.0,)),
    ]
    made = table(8, open_runs(runs))
    assert "the training scale S of D (unknown) is unknown" in made.notes
    assert made.notes[0].endswith("set val cannot be compared with them")
    assert made.text().startswith("Table 8: the box of the true class from the central crop (protocol 1); error in per")


def test_table_9_is_of_scales_and_of_both_nets_together(tmp_path: Path) -> None:
    small = make_box_run(tmp_path / "256", TRUTH, {256: HALF}, sha256="256", train_scale=256, tuned="all")
    large = make_box_run(tmp_path / "384", TRUTH, {352: HALF, 384: RIGHT}, sha256="384", train_scale=384, tuned="all")
    found = lines_of(9, small, large, classes(tmp_path / "classes"))
    assert [line[1:] for line in found[:4]] == [
        ((29.5,), (50.0,)),
        ((28.2,), (0.0,)),
        ((27.5,), (0.0,)),
        ((26.9, 25.3), (50.0,)),
    ]
    assert found[4][0] == ("D (384)", "384/352")
    assert found[5] == (("the whole image", ""), None, (100.0,))


def test_table_10_takes_all_nets_together(tmp_path: Path) -> None:
    run = make_box_run(tmp_path / "boxes", TRUTH, {256: RIGHT})
    found = lines_of(10, run, classes(tmp_path / "classes"))
    assert found[0] == (("vggfeat (D)",), None, (0.0,))
    assert found[1] == (("VGG",), (26.9, 25.3), None)
    made = table(10, open_runs([run, tmp_path / "classes"]), merging=MergeRule(rule="none"))
    assert "the paper's second figure is its error on the test set" in made.notes


def test_tables_that_cannot_be_made(tmp_path: Path) -> None:
    run = open_runs([centre(tmp_path / "centre", 0)])
    with pytest.raises(UsageError, match="no table 7; take one of 8, 9, 10"):
        table(7, run)
    with pytest.raises(UsageError, match="Table 9 needs runs of protocol 2; evaluate with --protocol 2"):
        table(9, run)
