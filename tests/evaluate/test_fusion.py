"""Fusion of nets whose outputs have a different order or different names, and which nets cannot be fused."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.kit.posterior_runs import make_run
from vggfeat import weights
from vggfeat.errors import UsageError
from vggfeat.evaluate import evaluate, open_runs, summarise, table, write_submission
from vggfeat.evaluate.averages import Choice, Posteriors, average
from vggfeat.evaluate.classes import Outputs, match_classes, match_outputs

A = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.6, 0.1, 0.3], [0.2, 0.2, 0.6]], np.float32)
B = np.array([[0.1, 0.7, 0.2], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6], [0.8, 0.1, 0.1]], np.float32)
TRUTH = [0, 1, 2, 2]


def fused(*runs: Path) -> Posteriors:
    return average([Choice(net, ("dense",), net.scales("dense")) for net in open_runs(runs)])


def outputs(names: Sequence[str], classes: Sequence[str] | None = None, of: str = "run", **named: str) -> Outputs:
    return Outputs(of, names, match_classes(names, names if classes is None else classes, named, partial=True))


def test_by_hand(tmp_path: Path) -> None:
    """E's columns are c, a, b. Image 0: (0.5 + 0.7) / 2, (0.3 + 0.2) / 2, (0.2 + 0.1) / 2."""
    d = make_run(tmp_path / "d", {256: [[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]}, [0, 1])
    e = make_run(tmp_path / "e", {384: [[0.1, 0.7, 0.2], [0.2, 0.1, 0.7]]}, [0, 1], net="E", outputs="cab")
    found = fused(d, e)
    np.testing.assert_allclose(found.matrix, [[0.6, 0.25, 0.15], [0.15, 0.45, 0.4]], rtol=1e-6)
    assert (found.facts.outputs, found.truth is not None and found.truth.tolist()) == (["a", "b", "c"], [0, 1])
    np.testing.assert_allclose(fused(e, d).matrix, [[0.15, 0.6, 0.25], [0.4, 0.15, 0.45]], rtol=1e-6)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 0)], ids=str)
def test_a_different_order_changes_no_bit(tmp_path: Path, order: tuple[int, ...]) -> None:
    d = make_run(tmp_path / "d", {256: A}, TRUTH)
    same = make_run(tmp_path / "e", {256: B, 384: A}, TRUTH, net="E")
    permuted = {256: B[:, order], 384: A[:, order]}
    other = make_run(tmp_path / "f", permuted, TRUTH, net="E", outputs=[*np.array(["a", "b", "c"])[list(order)]])
    expected, found = fused(d, same), fused(d, other)
    np.testing.assert_array_equal(found.matrix, expected.matrix)
    np.testing.assert_array_equal(found.truth, expected.truth)  # type: ignore[arg-type]
    *_, row = summarise(open_runs([d, other])).rows
    *_, known = summarise(open_runs([d, same])).rows
    assert row == known
    assert [line.ours for line in table(6, open_runs([d, other])).lines][-1] == (row.top1, row.top5)


@given(st.permutations(range(6)), st.permutations(range(6)), st.integers(0, 6))
def test_laws_of_the_matching(one: list[int], other: list[int], known: int) -> None:
    """However many of the classes the data set has: equal names match, and matching back gives the same pairs."""
    names = np.array(list("uvwxyz"))
    first, second = (outputs([*names[order]], "uvwxyz"[:known]) for order in (one, other))
    there, back = match_outputs(first, second), match_outputs(second, first)
    assert [second.names[place] for place in there] == first.names
    assert [there[place] for place in back] == list(range(6))


def test_synsets_are_the_classes_that_they_name(tmp_path: Path) -> None:
    classes = ("n01440764", "n01443537", "n02102040")
    d = make_run(tmp_path / "d", {256: A}, TRUTH, classes=classes, outputs=("tench", "goldfish", "English springer"))
    e = make_run(tmp_path / "e", {256: B[:, ::-1]}, TRUTH, classes=classes, outputs=classes[::-1], net="E")
    np.testing.assert_allclose(fused(d, e).matrix, (A + B) / 2, rtol=1e-6)
    np.testing.assert_allclose(fused(e, d).matrix, (A + B)[:, ::-1] / 2, rtol=1e-6)


def test_outputs_of_the_same_class_match_despite_different_names() -> None:
    """ "n1" is named fish in one net and poisson in another; dog is dog in both."""
    first = outputs(("fish", "dog", "cat"), ("n1", "dog", "cat"), n1="fish")
    other = outputs(("cat", "poisson", "dog"), ("n1", "dog", "cat"), n1="poisson")
    assert match_outputs(first, other) == [1, 2, 0]


def test_outputs_that_are_no_class_of_the_data_set_match_by_name() -> None:
    first = outputs(("tench", "dog", "goldfish", "cat"), ("n01440764",))
    other = outputs(("cat", "n01443537", "tench", "dog"), ("n01440764",))
    assert match_outputs(first, other) == [2, 3, 1, 0]


def test_equal_lists_match_by_position() -> None:
    """Two outputs with the same name match only if both lists are equal."""
    twice = outputs(("crane", "crane", "a"), ("a",))
    assert match_outputs(twice, outputs(("crane", "crane", "a"), ("a",), "another")) == [0, 1, 2]
    with pytest.raises(UsageError, match="'crane' is one of the 3 classes of run, and none of the 3 of another"):
        match_outputs(twice, outputs(("a", "crane", "crane"), ("a",), "another"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("abd", r"'c' is one of the 3 classes of run, and none of the 3 of another"),
        ("ab", r"'c' is one of the 3 classes of run, and none of the 2 of another"),
        ("dcba", r"'d' is one of the 4 classes of another, and none of the 3 of run"),
    ],
)
def test_nets_with_different_classes_are_refused(names: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        match_outputs(outputs("abc", "ab"), outputs(names, "ab", "another"))
    assert "\n" not in str(raised.value)


def test_two_names_of_one_class_are_not_two_classes() -> None:
    with pytest.raises(UsageError, match="'tench' is one of the 2 classes of run"):
        match_outputs(outputs(("tench", "n01440764"), ()), outputs(("tench",), (), "another"))


def test_the_error_names_the_runs(tmp_path: Path) -> None:
    d = make_run(tmp_path / "d", {256: A}, TRUTH)
    wide = np.concatenate([A, A], axis=1) / 2
    e = make_run(tmp_path / "e", {256: wide}, TRUTH, net="E", outputs="abcdef")
    with pytest.raises(UsageError, match=r"'d' is one of the 6 classes of .*/e, and none of the 3 of .*/d: "):
        summarise(open_runs([d, e]))


def test_the_classes_of_the_last_row_are_its_own_nets(tmp_path: Path) -> None:
    """Without a common method there is no fusion: the details are those of the last net, by its own outputs."""
    d = make_run(tmp_path / "d", {256: A}, TRUTH)
    e = make_run(tmp_path / "e", {256: B[:, (1, 2, 0)]}, TRUTH, net="E", method="centre", outputs="bca")
    result = summarise(open_runs([d, e]))
    assert [row.net for row in result.rows] == ["D", "E"]
    assert {name: one["top1"] for name, one in result.per_class.items()} == {"a": 100, "b": 0, "c": 50}
    assert [(one["true"], one["predicted"]) for one in result.confusions] == [("c", "a"), ("a", "b")]


def test_confusions_have_the_data_sets_names(tmp_path: Path) -> None:
    """Not those of the first net: synsets by their names, outputs that are no class by their own names."""
    classes = ("n01440764", "dog")
    wrong = [[0.2, 0.1, 0.7], [0.8, 0.1, 0.1], [0.2, 0.7, 0.1]]
    names = ("n01443537", "fish", "hound")
    made = make_run(
        tmp_path / "d", {256: wrong}, [0, 0, 1], classes=classes, outputs=names,
        named={"n01440764": "fish", "dog": "hound"},
    )  # fmt: skip
    result = summarise(open_runs([made]))
    assert [(one["true"], one["predicted"]) for one in result.confusions] == [
        ("tench", "goldfish"), ("tench", "dog"), ("dog", "tench"),
    ]  # fmt: skip


def test_a_submission_of_nets_with_different_orders(tmp_path: Path) -> None:
    """Means .3 .5 .2 | .2 .6 .2 | .4 .15 .45 | .5 .15 .35; a is 3, b is 1, c is 2 in the kit; of equals E's first."""
    (tmp_path / "map_clsloc.txt").write_text("b 1 b\nc 2 c\na 3 a\n")
    e = make_run(tmp_path / "e", {256: B[:, (1, 2, 0)]}, None, net="E", outputs="bca")
    d = make_run(tmp_path / "d", {256: A}, None)
    write_submission(open_runs([e, d]), tmp_path / "out.txt", tmp_path)
    assert (tmp_path / "out.txt").read_text().splitlines() == ["1 3 2", "1 2 3", "2 3 1", "3 2 1"]


# From images


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("class 2", "class 5"):
        (tmp_path / "set/val" / name).mkdir(parents=True)
        pixels = np.random.default_rng(int(name[-1])).integers(0, 256, (8, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((240, 226), Image.Resampling.NEAREST).save(tmp_path / "set/val" / name / "0.png")
    return tmp_path / "set"


def permuted(file: Path, order: Sequence[int], out: Path) -> Path:
    """The same net with its outputs in a different order."""
    known = weights.read(file)
    tensors = weights.load(known).state_dict()
    for name in ("fc8.weight", "fc8.bias"):
        tensors[name] = tensors[name][torch.tensor(order)].clone()
    assert known.classes is not None
    weights.save(
        out, tensors, net="A", width=known.width, preprocessing=known.preprocessing, lineage="random", source="",
        licence="", classes=tuple(known.classes[i] for i in order),
    )  # fmt: skip
    return out


def test_a_net_and_the_same_net_in_a_different_order(
    root: Path, tmp_path: Path, tiny_weights: Callable[..., Path]
) -> None:
    plain = tiny_weights("A")
    other = permuted(plain, (3, 0, 6, 2, 5, 1, 4), tmp_path / "other.safetensors")
    options: dict[str, Any] = {"scales": (224,), "device": "cpu", "partial": True, "workers": 1}
    result = evaluate(root, tmp_path / "runs", weights=f"{plain},{other}", **options)
    one, same, both = result.rows
    assert (one.top1, one.top5) == (same.top1, same.top5) == (both.top1, both.top5)
    alone, _ = open_runs(result.stores)
    assert result.evidence is not None
    expected = average([Choice(alone, ("dense",), (224,))])
    np.testing.assert_allclose(result.evidence.posteriors.matrix, expected.matrix, rtol=1e-5)
    assert float(expected.matrix.std(axis=1).min()) > 1e-3  # otherwise any order would pass


def test_nets_with_different_classes_are_refused_before_any_work(
    root: Path, tmp_path: Path, tiny_weights: Callable[..., Path]
) -> None:
    files = f"{tiny_weights('A')},{tiny_weights('A', classes=8)}"
    with pytest.raises(UsageError, match=r"'class 7' is one of the 8 classes of .*A-0.0625-8"):
        evaluate(root, tmp_path / "runs", weights=files, scales=(224,), device="cpu", partial=True)
    assert not (tmp_path / "runs").exists()
