"""Stored posteriors, their averages and errors computed by hand, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.kit.posterior_runs import make_run
from vggfeat.errors import DataError, StoreError, UsageError
from vggfeat.evaluate import StoredNet, open_runs, summarise
from vggfeat.evaluate.averages import Choice, average
from vggfeat.evaluate.scores import calibration_error, confusions, judge, reliability
from vggfeat.evaluate.submission import kit_of, write_submission
from vggfeat.metrics import top_k_error

A = [[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.6, 0.1, 0.3], [0.2, 0.2, 0.6]]
B = [[0.1, 0.7, 0.2], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6], [0.8, 0.1, 0.1]]
TRUTH = [0, 1, 2, 2]


def matrix_of(
    net: StoredNet, methods: tuple[str, ...] = ("dense",), scales: tuple[int, ...] | None = None
) -> np.ndarray:
    return average([Choice(net, methods, scales or net.scales(*methods))]).matrix


def test_the_mean_over_scales(tmp_path: Path) -> None:
    (net,) = open_runs([make_run(tmp_path / "d", {256: A, 384: B}, TRUTH)])
    np.testing.assert_allclose(matrix_of(net), (np.array(A) + B) / 2, rtol=1e-6)
    for q, own in ((256, A), (384, B)):  # the mean over one scale is that scale
        np.testing.assert_array_equal(matrix_of(net, scales=(q,)), np.asarray(own, np.float32))


def test_the_mean_over_methods_is_of_their_means_over_scales(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "d", {256: A, 384: B}, TRUTH),
        make_run(tmp_path / "m", {256: B}, TRUTH, method="multi-crop"),
    ]
    (net,) = open_runs(runs)
    assert (net.methods, net.scales("dense"), net.scales("dense", "multi-crop")) == (
        ["dense", "multi-crop"],
        (256, 384),
        (256,),
    )
    np.testing.assert_allclose(matrix_of(net, ("dense", "multi-crop")), (np.array(A) + B) / 2, rtol=1e-6)


def test_each_net_of_a_fusion_has_the_same_weight_whatever_its_scales(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "d", {224: A, 256: B, 288: B}, TRUTH),
        make_run(tmp_path / "e", {384: A}, TRUTH, net="E"),
    ]
    nets = open_runs(runs)
    fused = average([Choice(net, ("dense",), net.scales("dense")) for net in nets]).matrix
    np.testing.assert_allclose(fused, ((np.array(A) + 2 * np.array(B)) / 3 + A) / 2, rtol=1e-6)


def test_fusion_of_a_net_with_itself_is_itself(tmp_path: Path) -> None:
    (net,) = open_runs([make_run(tmp_path / "d", {256: A, 384: B}, TRUTH)])
    choice = Choice(net, ("dense",), (256, 384))
    np.testing.assert_allclose(average([choice, choice]).matrix, average([choice]).matrix, rtol=1e-6)


def test_rows_are_joined_by_name(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "d", {256: A}, TRUTH),
        make_run(tmp_path / "e", {256: B}, TRUTH, net="E", order=[3, 1, 0, 2]),
    ]
    found = average([Choice(net, ("dense",), (256,)) for net in open_runs(runs)])
    np.testing.assert_allclose(found.matrix, (np.array(A) + B) / 2, rtol=1e-6)
    assert found.truth is not None
    assert (found.paths, found.truth.tolist()) == (["0.jpg", "1.jpg", "2.jpg", "3.jpg"], TRUTH)


def test_errors_by_hand(tmp_path: Path) -> None:
    """A: right, right, wrong (0.6 against 0.3), right. B: wrong, right, right, wrong."""
    result = summarise(open_runs([make_run(tmp_path / "d", {256: A, 384: B}, TRUTH)]))
    assert [(row.scales, row.top1, row.top5, row.images) for row in result.rows] == [
        ((256,), 25, 0, 4),
        ((384,), 50, 0, 4),
        ((256, 384), 50, 0, 4),  # means of the true class 0.3, 0.6, 0.45, 0.35 against 0.5, 0.2, 0.4, 0.5
    ]
    assert result.per_class == {
        "a": {"images": 1, "top1": 100, "top5": 0},
        "b": {"images": 1, "top1": 0, "top5": 0},
        "c": {"images": 2, "top1": 50, "top5": 0},
    }
    assert result.notes == ["with 3 classes no top-5 error can be other than 0"]
    assert result.confusions == [
        {"true": "a", "predicted": "b", "images": 1, "share": 100.0},
        {"true": "c", "predicted": "a", "images": 1, "share": 50.0},
    ]


def test_ties_count_as_errors() -> None:
    """Seven classes: equal posteriors are an error; with five equal ones only top-1 is an error."""
    flat = np.full((1, 7), 1 / 7, np.float32)
    tied = np.array([[0.2, 0.2, 0.2, 0.2, 0.2, 0, 0]], np.float32)
    assert judge(flat, np.array([0])).ranks.tolist() == [7]
    assert judge(flat, np.array([0])).error(5) == 100
    assert (judge(tied, np.array([0])).error(1), judge(tied, np.array([0])).error(5)) == (100, 0)


@settings(deadline=None)
@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(1, 20), st.integers(1, 8)), elements=st.sampled_from([0, 0.25, 0.5, 1])
    ),
    st.randoms(use_true_random=False),
)
def test_errors_are_those_of_the_metrics(matrix: np.ndarray, random: Any) -> None:
    truth = np.array([random.randrange(matrix.shape[1]) for _ in matrix])
    scores = judge(matrix, truth)
    for k in (1, 5):
        assert scores.error(k) == pytest.approx(100 * top_k_error(matrix, truth, k))
        there = ~np.isnan(scores.per_class(k))
        weights = np.bincount(truth, minlength=matrix.shape[1])
        assert np.average(scores.per_class(k)[there], weights=weights[there]) == pytest.approx(scores.error(k))


def test_calibration_by_hand() -> None:
    """Ten bins: 0.95 right, 0.95 wrong: |0.95 - 0.5|; 0.55 right: |0.55 - 1|; so (2 * 0.45 + 0.45) / 3."""
    matrix = np.array([[0.95, 0.05], [0.95, 0.05], [0.45, 0.55]])
    scores = judge(matrix, np.array([0, 1, 1]))
    bins = reliability(scores, 10)
    assert [(one.images, one.accuracy) for one in bins] == [(1, 1.0), (2, 0.5)]
    assert [(one.low, one.high) for one in bins] == [(0.5, 0.6), (0.9, 1.0)]
    assert calibration_error(bins) == pytest.approx(0.45)
    sure = judge(np.eye(3), np.arange(3))
    assert calibration_error(reliability(sure)) == 0
    assert confusions(sure, "abc") == []


def test_broken_images_are_listed_and_do_not_count(tmp_path: Path) -> None:
    """Of five images one is broken: 1 wrong of 4 is 25 %, not 40 % and not 20 %."""
    result = summarise(open_runs([make_run(tmp_path / "d", {256: A}, TRUTH, failures={"x.jpg": "is empty"})]))
    assert (result.rows[0].top1, result.rows[0].images) == (25, 4)
    assert result.failures == {"x.jpg": "is empty"}
    assert result.notes[0].startswith("warning: 1 of 5 images could not be read and count nowhere")


def test_an_image_that_one_run_lacks_counts_in_no_average(tmp_path: Path) -> None:
    make_run(tmp_path / "d", {256: A}, TRUTH)
    make_run(tmp_path / "e", {256: B[:3]}, TRUTH[:3], net="E", failures={"3.jpg": "too large"})
    result = summarise(open_runs([tmp_path]))
    assert [(row.net, row.images) for row in result.rows] == [("D", 4), ("E", 3), ("D & E", 3)]


def test_json_and_table(tmp_path: Path) -> None:
    result = summarise(open_runs([make_run(tmp_path / "d", {256: A, 384: B}, TRUTH, width=0.5)]))
    values = json.loads(result.json())
    assert values["rows"][0] == {
        "net": "D ×0.5",
        "methods": ["dense"],
        "scales": [256],
        "top1": 25.0,
        "top5": 0.0,
        "images": 4,
    }
    assert "evidence" not in values
    lines = result.table().splitlines()
    assert lines[1] == "  D ×0.5  dense  256      25.00 /  0.00  of 4 images"
    assert lines[-1] == f"  posteriors: {tmp_path}"


def test_invalid_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run given"):
        open_runs([])
    with pytest.raises(StoreError, match="is neither a run nor a folder of runs"):
        open_runs([tmp_path])
    made = make_run(tmp_path / "one" / "d", {256: A}, TRUTH)
    assert [net.name for net in open_runs([tmp_path / "one"])] == ["D"]
    (made / "run.json").write_text("{")
    with pytest.raises(StoreError, match=r"run\.json: cannot be read"):
        open_runs([made])
    with pytest.raises(StoreError, match="killed: is not finished; run the command that made it again to continue it"):
        open_runs([make_run(tmp_path / "killed", {256: A}, TRUTH, facts=False)])


def test_a_run_must_hold_its_images(tmp_path: Path) -> None:
    made = make_run(tmp_path / "d", {256: A}, TRUTH)
    facts = json.loads((made / "run.json").read_text())
    for images, says in ((5, "holds 4 of 5 images"), (3, "holds images that set val no longer has")):
        (made / "run.json").write_text(json.dumps({**facts, "images": images}))
        with pytest.raises(StoreError, match=says):
            open_runs([made])


def test_a_damaged_part(tmp_path: Path) -> None:
    made = make_run(tmp_path / "d", {256: A}, TRUTH)
    (net,) = open_runs([made])
    (made / "part-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"part-00001\.parquet: .*damaged"):
        matrix_of(net)


def test_a_damaged_page_is_noticed(tmp_path: Path) -> None:
    """The file can still be read, but a value in it has changed: only the checksums of the pages show it."""
    posteriors = np.random.default_rng(0).random((40, 7), np.float32)
    made = make_run(tmp_path / "d", {256: posteriors}, [0] * 40, classes="abcdefg")
    (net,) = open_runs([made])
    np.testing.assert_array_equal(matrix_of(net)[0], posteriors[0])
    part = made / "part-00000.parquet"
    pages = pq.ParquetFile(part).metadata.row_group(0)
    (column,) = (c for c in map(pages.column, range(pages.num_columns)) if c.path_in_schema.startswith("q256"))
    data = bytearray(part.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    part.write_bytes(data)
    assert pq.read_table(part).num_rows == 20  # without the checksums
    with pytest.raises(StoreError, match=r"part-00000\.parquet: .*damaged"):
        matrix_of(net)
    with pytest.raises(StoreError, match=r"part-00000\.parquet: .*damaged"):
        summarise([net])


def test_a_run_that_lacks_a_column(tmp_path: Path) -> None:
    made = make_run(tmp_path / "d", {256: A}, TRUTH)
    meta = json.loads((made / "meta.json").read_text())
    meta["fingerprint"]["scales"] = [256, 384]
    (made / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(
        StoreError, match=r"part-00000\.parquet: was made with scales \[256\], but its store with \[256, 384\]"
    ):
        summarise(open_runs([made]))


def test_runs_that_cannot_be_averaged(tmp_path: Path) -> None:
    make_run(tmp_path / "d", {256: A}, TRUTH)
    with pytest.raises(UsageError, match=r"f: is of other val, .*d of set val; give runs of one"):
        summarise(open_runs([tmp_path / "d", make_run(tmp_path / "f", {256: A}, TRUTH, net="E", data="other val")]))
    with pytest.raises(UsageError, match="nothing to average"):
        average([])
    with pytest.raises(UsageError, match="have no image in common; give runs of the same images"):
        summarise(open_runs([tmp_path / "d", make_run(tmp_path / "g", {256: A}, TRUTH, net="E", first=4)]))


def test_the_same_posteriors_may_be_stored_twice_but_not_different_ones(tmp_path: Path) -> None:
    make_run(tmp_path / "d", {256: A, 384: A}, TRUTH)
    make_run(tmp_path / "e", {256: A, 512: A}, TRUTH)
    (net,) = open_runs([tmp_path])
    assert net.scales("dense") == (256, 384, 512)
    make_run(tmp_path / "f", {256: A}, TRUTH, precision="bfloat16")
    with pytest.raises(
        StoreError, match=r"f and .*d: both have D, dense, Q=256, but were made with different settings"
    ):
        open_runs([tmp_path])


def test_nets_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    """By S if it differs; else by the name of the weights; else by their checksum as well."""
    for i, S in enumerate([(256,), (256, 512)]):
        make_run(tmp_path / f"s/{i}", {256: A}, TRUTH, train_scale=S)
        make_run(tmp_path / f"w/{i}", {256: A}, TRUTH, train_scale=(256,), sha256=f"{i}23456789")
    assert [net.title for net in open_runs([tmp_path / "s"])] == ["D (S=256)", "D (S=256-512)"]
    meta = json.loads((tmp_path / "w/1/meta.json").read_text())
    assert [net.title for net in open_runs([tmp_path / "w"])] == ["D (made up, 023456)", "D (made up, 123456)"]
    (tmp_path / "w/1/meta.json").write_text(json.dumps({**meta, "weights": "mine.safetensors"}))
    nets = open_runs([tmp_path / "w"])
    assert [net.title for net in nets] == ["D (made up)", "D (mine)"]
    assert [row.net for row in summarise(nets).rows] == ["D (made up)", "D (mine)", "D (made up) & D (mine)"]
    assert [net.title for net in open_runs([tmp_path / "w/0"])] == ["D"]


def test_runs_of_one_net_must_agree_on_its_training(tmp_path: Path) -> None:
    make_run(tmp_path / "d", {256: A}, TRUTH, sha256="x", train_scale=(256,))
    make_run(tmp_path / "m", {256: A}, TRUTH, sha256="x", method="multi-crop")
    with pytest.raises(StoreError, match=r"m: differs in train_scale: None, not \[256\] from another run"):
        open_runs([tmp_path])
    make_run(tmp_path / "n/m", {256: A}, TRUTH, sha256="x", train_scale=(256,), method="multi-crop")
    facts = json.loads((tmp_path / "n/m/run.json").read_text())
    (tmp_path / "n/m/run.json").write_text(json.dumps({**facts, "notes": ["in the words of an older version"]}))
    assert open_runs([tmp_path / "d", tmp_path / "n"])[0].methods == ["dense", "multi-crop"]


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """Numbers that are not the classes' places: a is 3, b is 1, c is 2."""
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit/map_clsloc.txt").write_text("b 1 b\nc 2 c\na 3 a\n")
    (tmp_path / "kit/ILSVRC2012_validation_ground_truth.txt").write_text("1\n")
    return tmp_path / "kit"


def test_the_submission_by_hand(tmp_path: Path, kit: Path) -> None:
    """The most likely class first, in the kit's numbers; a broken image has a line; scales are averaged."""
    made = make_run(tmp_path / "d", {256: A, 384: B}, None, failures={"2b.jpg": "is empty"})
    nets = open_runs([made])
    note = write_submission(nets, tmp_path / "out.txt", kit_of(None, kit))
    # means .3 .5 .2 | .2 .6 .2 | .4 .15 .45 | zeros | .5 .15 .35; of equals the first
    assert (tmp_path / "out.txt").read_text().splitlines() == ["1 3 2", "1 3 2", "2 3 1", "0 0 0", "3 2 1"]
    assert note.endswith("out.txt, 5 lines, 1 of them zeros, as the image could not be read")
    result = summarise(nets)
    assert (result.rows, result.ece) == ([], None)
    assert result.notes[-1] == "no labels, so no errors; write the predictions with --submission"
    assert result.table().splitlines()[0] == "set val"


def test_a_submission_needs_the_kits_classes(tmp_path: Path, kit: Path) -> None:
    made = make_run(tmp_path / "d", {256: A}, None, classes=("a", "b", "z"))
    with pytest.raises(DataError, match="kit: has no number for the class 'z'; evaluate"):
        write_submission(open_runs([made]), tmp_path / "out.txt", kit)
    with pytest.raises(DataError, match="name its folder as --kit"):
        kit_of(tmp_path / "d", None)
    with pytest.raises(DataError, match="name its folder as --kit"):
        kit_of(None, None)


def test_five_of_seven_classes(tmp_path: Path) -> None:
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit/map_clsloc.txt").write_text("".join(f"{name} {i} x\n" for i, name in enumerate("gfedcba", 1)))
    row = [[0.01, 0.3, 0.04, 0.2, 0.15, 0.2, 0.1]]
    made = make_run(tmp_path / "d", {256: row * 2}, None, classes="abcdefg")
    write_submission(open_runs([made]), tmp_path / "out.txt", tmp_path / "kit")
    assert (tmp_path / "out.txt").read_text() == "6 4 2 3 1\n" * 2
