"""The paper's tables: which scales are chosen, where ours are shown, and the paper's numbers."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kit.posterior_runs import make_run
from vggfeat.errors import UsageError
from vggfeat.evaluate import open_runs, paper, table
from vggfeat.evaluate.tables import several

RIGHT, WRONG = [0.9, 0.06, 0.04], [0.1, 0.8, 0.1]


def wrong(count: int) -> np.ndarray:
    """Posteriors of ten images of class a; `count` of them are taken for b: an error of 10 % each."""
    return np.array([WRONG] * count + [RIGHT] * (10 - count))


def run(path: Path, errors: dict[int, int], **options: Any) -> Path:
    return make_run(path, {q: wrong(count) for q, count in errors.items()}, [0] * 10, **options)


def ours(number: int, *paths: Path) -> dict[tuple[str, ...], tuple[float | None, ...]]:
    return {line.words: line.ours for line in table(number, open_runs(paths)).lines if line.ours is not None}


def test_the_test_scales_of_the_paper() -> None:
    assert several((256,)) == (224, 256, 288)
    assert several((384,)) == (352, 384, 416)
    assert several((256, 512)) == (256, 384, 512)


def test_table_3_takes_s_or_the_middle(tmp_path: Path) -> None:
    fixed = run(tmp_path / "d", {224: 1, 256: 2, 288: 3}, train_scale=(256,))
    jittered = run(tmp_path / "e", {256: 4, 384: 5, 512: 6}, net="E", train_scale=(256, 512))
    other = run(tmp_path / "a", {256: 7, 384: 8, 512: 9}, net="A", width=0.25)
    assert ours(3, fixed, jittered, other) == {
        ("D", "256", "256"): (20, 0),
        ("E", "[256;512]", "384"): (50, 0),
        ("A ×0.25", "?", "384"): (80, 0),
    }
    lines = table(3, open_runs([fixed, jittered, other])).lines
    assert [line.paper for line in lines if line.ours] == [(27.0, 8.8), (25.5, 8.0), None]
    assert len(lines) == 13


def test_table_4_averages_over_scales(tmp_path: Path) -> None:
    """Image 0 is wrong at all scales, image 1 at two of three: (0.1 + 0.1 + 0.9) / 3 < (0.8 + 0.8 + 0.06) / 3."""
    fixed = run(tmp_path / "d", {352: 2, 384: 2, 416: 1}, train_scale=(384,))
    assert ours(4, fixed) == {("D", "384", "352,384,416"): (20, 0)}
    assert ours(4, run(tmp_path / "e", {352: 2, 384: 1, 416: 1}, net="E", train_scale=(384,))) == {
        ("E", "384", "352,384,416"): (10, 0)
    }


def test_table_5_has_both_methods_and_their_mean(tmp_path: Path) -> None:
    scales = (256, 384, 512)
    dense = run(tmp_path / "d", dict.fromkeys(scales, 4), train_scale=(256, 512))
    crops = run(tmp_path / "m", dict.fromkeys(scales, 2), train_scale=(256, 512), method="multi-crop")
    key = ("D", "[256;512]", "256,384,512")
    assert ours(5, dense, crops) == {
        (*key, "dense"): (40, 0),
        (*key, "multi-crop"): (20, 0),
        (*key, "dense & multi-crop"): (20, 0),  # means of 0.1 and 0.9 against 0.8 and 0.06: right
    }
    notes = table(5, open_runs([dense])).notes
    assert notes[:2] == ["not stored: D, multi-crop", "not stored: D, dense & multi-crop"]


def test_table_6_fuses_all_nets(tmp_path: Path) -> None:
    scales = (256, 384, 512)
    runs = [
        run(tmp_path / f"{net}{method}", dict.fromkeys(scales, count), net=net, method=method, train_scale=(256, 512))
        for net, count in (("D", 3), ("E", 1))
        for method in ("dense", "multi-crop")
    ]
    found = table(6, open_runs(runs))
    assert [(line.words, line.ours) for line in found.lines] == [
        (("ILSVRC submission: 7 nets", "dense"), None),
        (("D & E", "dense"), (10, 0)),
        (("D & E", "multi-crop"), (10, 0)),
        (("D & E", "dense & multi-crop"), (10, 0)),
    ]
    assert "a fusion takes the runs of two nets or more" in table(6, open_runs(runs[:1])).notes
    third = run(tmp_path / "B", {224: 0, 256: 0, 288: 0}, net="B", train_scale=(256,))
    assert ours(6, *runs, third) == {("D & E & B", "dense"): (10, 0)}


def test_the_seven_nets_of_the_submission(tmp_path: Path) -> None:
    kinds = [("D", 256), ("D", 384), ("D", (256, 512)), ("C", 256), ("C", 384), ("E", 256), ("E", 384)]
    runs = []
    for net, S in kinds:
        trained = S if isinstance(S, tuple) else (S,)
        errors = dict.fromkeys(several(trained), 2)
        runs.append(run(tmp_path / f"{net}{S}", errors, net=net, train_scale=trained))
    found = table(6, open_runs(runs))
    assert [line.ours for line in found.lines] == [(20, 0), None, None, None]


def test_table_7_names_the_best_net_and_all_of_them(tmp_path: Path) -> None:
    scales = (256, 384, 512)
    runs = [
        run(tmp_path / net, dict.fromkeys(scales, count), net=net, train_scale=(256, 512))
        for net, count in (("C", 5), ("D", 2), ("E", 3))
    ]
    assert ours(7, *runs) == {("vggfeat (3 nets, dense)",): (30, 0), ("vggfeat (1 net, D, dense)",): (20, 0)}
    assert len(table(7, open_runs(runs)).lines) == 2 + 15


def test_notes_say_what_the_numbers_are(tmp_path: Path) -> None:
    told = run(tmp_path / "d", {384: 1}, train_scale=(256, 512))
    untold = run(tmp_path / "e", {384: 1}, net="E")
    third, unknown = "third figure is its top-5 error on the test set", "training scale S of E is unknown"
    for number, runs, said in ((3, [told], ()), (3, [told, untold], (unknown,)), (6, [told], (third,))):
        notes = " ".join(table(number, open_runs(runs)).notes)
        assert [words for words in (third, unknown) if words in notes] == list(said)


def test_a_note_on_scales_that_are_not_stored(tmp_path: Path) -> None:
    found = table(4, open_runs([run(tmp_path / "d", {256: 1, 384: 1}, train_scale=(256,))]))
    assert all(line.ours is None for line in found.lines)
    assert found.notes[0] == "not stored: D, dense at Q=224,288"


def test_a_note_on_images_that_do_not_count(tmp_path: Path) -> None:
    made = run(tmp_path / "d", {384: 1}, failures={"x.jpg": "is empty"})
    assert "10 of 11 images count: the others could not be read" in table(3, open_runs([made])).notes


def test_text_and_json(tmp_path: Path) -> None:
    found = table(3, open_runs([run(tmp_path / "d", {256: 2}, train_scale=(256,))]))
    lines = found.text().splitlines()
    assert lines[0] == "Table 3: a single test scale, dense; top-1 / top-5 error in per cent on set val"
    assert "  D      256        256     27.0 / 8.8   20.0 / 0.0" in lines
    assert lines[-1] == "  the paper's errors are on ILSVRC-2012's validation set: set val cannot be compared with them"
    values = json.loads(found.json())
    assert (values["number"], values["lines"][6]["paper"], values["lines"][6]["ours"]) == (3, [27.0, 8.8], [20.0, 0.0])


def test_invalid_arguments(tmp_path: Path) -> None:
    made = run(tmp_path / "d", {256: 1})
    with pytest.raises(UsageError, match="no table 8; take one of 3, 4, 5, 6, 7"):
        table(8, open_runs([made]))
    with pytest.raises(UsageError, match="runs of different data, other and set val; give runs of one data set"):
        table(3, open_runs([made, run(tmp_path / "e", {256: 1}, net="E", data="other")]))
    unlabelled = make_run(tmp_path / "t", {256: wrong(0)}, None)
    with pytest.raises(UsageError, match="has no labels, so there are no errors; give runs of val"):
        table(3, open_runs([unlabelled]))


def test_the_papers_numbers_agree_with_its_text(shared) -> None:
    """The text has no tables, but statements about them."""
    text = Path(shared("docs/paper.txt")).read_text()
    best = min(paper.TABLE_4, key=lambda row: row.errors)
    assert re.search(
        rf"best single-network performance on the validation set is {best.errors[0]}%/{best.errors[1]}%", text
    )
    assert f"reduced the test error to {paper.TABLE_6[1].errors[2]}% using dense evaluation" in text
    assert f"and {paper.TABLE_6[3].errors[2]}% using combined dense and multi-crop evaluation" in text
    assert f"GoogLeNet with {paper.TABLE_7['GoogLeNet (7 nets)'][2]}% error" in text
    single = paper.TABLE_7["VGG (1 net, multi-crop & dense)"][2]
    assert single is not None
    assert f"best result ({single}% test error), outperforming a single GoogLeNet by 0.9%" in text
    assert paper.TABLE_7["GoogLeNet (1 net)"][2] == pytest.approx(single + 0.9)
    assert f"and {paper.TABLE_7['Clarifai (multiple nets)'][2]}% without it" in text


@pytest.mark.parametrize("number", [3, 4, 5, 6])
def test_the_papers_numbers_are_those_of_the_protocols(shared: Callable[[str], Path], number: int) -> None:
    """PROTOCOLS.md has them in the order of the paper's rows, as 29.6/10.4."""
    text = Path(shared("docs/PROTOCOLS.md")).read_text()
    _, _, rest = text.partition(f"\nTable {number}, ")
    pairs = re.findall(r"\b(\d+\.\d)/(\d+\.\d)\b", re.split(r"\nTable |\n\n", rest)[0])
    rows = {3: paper.TABLE_3, 4: paper.TABLE_4, 5: paper.TABLE_5, 6: paper.TABLE_6}[number]
    assert [(float(top1), float(top5)) for top1, top5 in pairs] == [row.errors[:2] for row in rows]


def test_the_papers_tables_agree_with_each_other() -> None:
    """Tables 4 and 5 share their dense rows, Tables 5, 6 and 7 their best ones."""
    four = {(row.net, row.train_scale): row.errors for row in paper.TABLE_4}
    for row in paper.TABLE_5:
        if row.methods == ("dense",):
            assert four[row.net, row.train_scale] == row.errors
    assert paper.TABLE_7["VGG (2 nets, multi-crop & dense)"] == paper.TABLE_6[-1].errors
    assert paper.TABLE_7["VGG (ILSVRC submission, 7 nets, dense)"] == paper.TABLE_6[0].errors
    assert paper.TABLE_7["VGG (1 net, multi-crop & dense)"][:2] == paper.TABLE_5[-1].errors
