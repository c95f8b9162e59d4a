"""The ablation: its rungs, that each is a result of its own, and that no image is described twice for it."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from sklearn.svm import LinearSVC
from typer.testing import CliRunner

from tests.kit.voc_kits import action_kit, classification_kit
from vggfeat import cli, svm
from vggfeat.bench import BENCHMARKS, ablation, check, run
from vggfeat.bench.probe import FitCounter
from vggfeat.bench.stored import store_name
from vggfeat.data import ImageSet
from vggfeat.data.base import Sample, single_label
from vggfeat.descriptors import Describer
from vggfeat.engine import Box
from vggfeat.errors import DataError, UsageError
from vggfeat.store import Store
from vggfeat.svm.settings import SolverName

TWO = ("A", "B")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three classes of blurred noise, each with a faint colour of its own: hard enough that settings differ."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for k in range(3):
        (folder / f"class {k}").mkdir()
        for n in range(12):
            coarse = np.clip(rng.normal([60 + 30 * k, 120, 180 - 30 * k], 60, (6, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(coarse).resize((64, 48)).save(folder / f"class {k}" / f"{n}.png")
    return folder


@pytest.fixture(scope="module")
def options(photos, tiny_weights, tmp_path_factory):
    """Of `run`, for nets A and B; the stores are shared by the tests of this file."""
    return {
        "root": photos,
        "net": "A,B",
        "weights": ",".join(str(tiny_weights(net, top="pool5")) for net in TWO),
        "layer": "pool5",
        "scales": (32, 64),
        "stores": tmp_path_factory.mktemp("stores"),
        "jobs": 1,
        "seeds": 2,
    }


@pytest.fixture(scope="module")
def ablated(options):
    return run(BENCHMARKS["folder"], ablate=True, agg="max", **options)


@pytest.fixture
def read(monkeypatch):
    """Images that were read and prepared, each as often as it was."""
    images, prepared = [], Describer.prepared
    monkeypatch.setattr(
        Describer, "prepared", lambda self, pixels, image: images.append(image) or prepared(self, pixels, image)
    )
    return images


def described(stores):
    """(net, scale, mirror) -> rows in the stores of a folder."""
    counted = Counter()
    for store in map(Store, stores.iterdir()):
        facts = store.fingerprint
        counted[facts["net"], facts["scales"][0], facts["mirror"]] += len(store)
    return counted


def one_net(options, net="A"):
    return {**options, "net": net, "weights": options["weights"].split(",")[TWO.index(net)]}


def of_net(net):
    return [
        f"{net}, Q=32, no mirror image", f"{net}, Q=32", f"{net}, Q=64",
        f"{net}, Q=32,64, mean", f"{net}, Q=32,64, max", f"{net}, Q=32,64, stack",
    ]  # fmt: skip


def test_the_ladder_has_a_row_for_each_choice(ablated):
    fused = [f"A & B, Q=32,64, {agg}" for agg in ("mean", "max", "stack")]
    assert [one["row"] for one in ablated.ablation] == [*of_net("A"), *of_net("B"), *fused]
    assert len({one["value"] for one in ablated.ablation}) > 3, "the set is too easy to tell rows apart"
    for one in ablated.ablation:
        assert set(one) == {"row", "net", "layer", "scales", "agg", "mirror", "value", "std", "C", "paper"}
        assert (one["layer"], len(one["C"]), one["paper"]) == ("pool5", 2, None)
    assert [one["mirror"] for one in ablated.ablation].count(False) == 2


@pytest.mark.parametrize(
    ("row", "settings"),
    [
        ("A, Q=32, no mirror image", {"net": "A", "scales": (32,), "mirror": False}),
        ("B, Q=64", {"net": "B", "scales": (64,)}),
        ("A, Q=32,64, stack", {"net": "A", "agg": "stack"}),
        ("A & B, Q=32,64, mean", {"agg": "mean"}),
    ],
)
def test_a_row_is_what_a_run_of_its_own_gives(row, settings, ablated, options, read):
    """And such a run finds everything in the stores of the ablation."""
    if "net" in settings:
        settings = one_net(options, settings["net"]) | settings
    own = run(BENCHMARKS["folder"], **options | settings)
    [one] = [one for one in ablated.ablation if one["row"] == row]
    assert (one["value"], one["std"]) == (own.value, own.std)
    assert one["C"] == [split["C"] for split in own.splits]
    assert one["net"] == own.config["net"] and one["scales"] == own.config["scales"]
    assert not read


def test_the_result_is_the_same_without_the_ablation(ablated, options):
    alone = run(BENCHMARKS["folder"], agg="max", **options)
    assert alone.ablation == []
    assert (alone.value, alone.splits, alone.config) == (ablated.value, ablated.splits, ablated.config)
    assert {one["row"]: one["value"] for one in ablated.ablation}["A & B, Q=32,64, max"] == alone.value


def test_every_image_is_described_once_for_each_net_and_scale(options, read, tmp_path):
    settings = {**options, "stores": tmp_path, "seeds": 1, "test_per_class": 2, "scales": (64,)}
    run(BENCHMARKS["folder"], **settings)
    used = 3 * (6 + 2)  # of each class half train, and two test
    first = {("A", 64, True): used, ("B", 64, True): used}
    assert described(tmp_path) == first
    assert len(read) == 2 * used
    run(BENCHMARKS["folder"], ablate=True, **settings | {"scales": (64, 32)})
    both = first | {(net, 32, mirror): used for net in TWO for mirror in (True, False)}
    assert described(tmp_path) == both
    assert len(read) == 6 * used
    run(BENCHMARKS["folder"], ablate=True, **settings | {"scales": (32, 64)})
    assert described(tmp_path) == both
    assert len(read) == 6 * used
    run(BENCHMARKS["folder"], **settings | {"test_per_class": 3})
    assert described(tmp_path) == both | {(net, 64, True): used + 3 for net in TWO}
    assert len(read) == 6 * used + 2 * 3
    assert len(list(tmp_path.iterdir())) == 6


def test_one_scale_has_two_rows_a_net(options):
    result = run(BENCHMARKS["folder"], ablate=True, **options | {"scales": (32,), "seeds": 1})
    rows = ["A, Q=32, no mirror image", "A, Q=32", "B, Q=32, no mirror image", "B, Q=32", "A & B, Q=32"]
    assert [one["row"] for one in result.ablation] == rows


def test_without_the_mirror_image_the_ladder_is_the_same(ablated, options, tmp_path):
    result = run(BENCHMARKS["folder"], ablate=True, mirror=False, **one_net(options))
    assert result.ablation == ablated.ablation[:6]
    assert result.config["mirror"] is False


def test_an_image_that_is_too_large_at_one_scale_is_noted(options, tmp_path):
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(12)]
    pixels[1] = rng.integers(0, 255, (1, 2100, 3), np.uint8)  # 32x67,200 and 64x134,400; 2^23 pixels are allowed
    samples = [Sample(f"{'ab'[i % 2]}/{i:02}", one, i % 2) for i, one in enumerate(pixels)]
    folder = replace(BENCHMARKS["folder"], read=lambda root: single_label("folder", "ab", samples))
    result = run(folder, ablate=True, **one_net(options) | {"stores": tmp_path, "seeds": 1})
    assert any(note.startswith("1 of 12 images could not be read and were left out, such as ") for note in result.notes)
    assert "A, Q=32: 12 images could be described, not 11" in result.notes
    assert not any(note.startswith("A, Q=64:") for note in result.notes)


# --- what the paper says ---


@pytest.fixture(scope="module")
def claims(tiny_weights):
    """name, Describer options -> row -> what the paper says of it; nothing is described."""
    weights = ",".join(str(tiny_weights(net)) for net in "DE")

    def rows(name, box=False, **settings):
        mirrored, bare = (
            Describer("D,E", **{"weights": weights, "mirror": mirror, **settings}) for mirror in (True, False)
        )
        bare = bare.variant(scales=(ablation.middle(bare.spec.scales),))
        rungs = ablation.ladder(BENCHMARKS[name], mirrored, bare, box)
        return {ablation.row_text(BENCHMARKS[name], rung): ablation.claim(BENCHMARKS[name], rung) for rung in rungs}

    return rows


def test_the_papers_figures_stand_at_its_own_settings(claims):
    voc = claims("voc2007", scales=(256, 384, 512, 640, 768), agg="mean")
    five = "Q=256,384,512,640,768"
    assert len(voc) == 2 * 10 + 3
    assert voc[f"D, {five}, mean"] == "89.3"
    assert voc[f"E, {five}, mean"] == "89.3; on test: as D"
    assert voc[f"D & E, {five}, mean"].startswith("89.7; ")
    assert voc["E, Q=256,384,512, mean"] == "on val: 0.3 below five scales"
    assert voc[f"D, {five}, stack"] == "on val: similar to the mean"
    assert voc["D, Q=512, no mirror image"] is None and voc["D, Q=512"] is None
    caltech = claims("caltech101", agg="stack")
    assert len(caltech) == 2 * 7 + 3
    assert caltech["E, Q=256,384,512, stack"] == "92.3; above mean and max; above D"
    assert caltech["E, Q=256,384,512, mean"] is None


@pytest.mark.parametrize("other", [{"layer": "pool5"}, {"normalize": "per-scale"}, {"scales": (256, 384)}])
def test_other_settings_have_no_figure_of_the_paper(other, claims):
    rows = claims("caltech256", **other)
    assert not any(said and said[0].isdigit() for said in rows.values())
    assert any(said == "above mean and max; above D and E" for said in rows.values())


def test_people_end_with_the_image_only(claims):
    rows = claims("voc2012-actions", box=True, scales=(256, 384, 512, 640, 768))
    both, alone = "D & E, Q=256,384,512,640,768, mean", "D & E, Q=256,384,512,640,768, mean, image only"
    assert list(rows)[-1] == alone
    assert rows[both] == "84.0"
    assert rows[alone] == "79.2; below image and box"


def test_two_nets_of_one_letter_have_the_names_of_their_weights(tiny_weights):
    files = [tiny_weights("A", top="pool5", width=width) for width in (1 / 16, 1 / 8)]
    nets = Describer("A,A", weights=",".join(map(str, files)), layer="pool5", scales=(32,)).engine.nets
    assert ablation.net_names(nets) == [f"A ({file.name})" for file in files]


@pytest.mark.parametrize(("scales", "one"), [((7,), 7), ((5, 3), 3), ((1, 9, 5), 5), ((5, 4, 3, 2, 1), 3)])
def test_the_middle_scale(scales, one):
    assert ablation.middle(scales) == one


# --- from the command line ---


def bench(name, options, *more):
    words = ["bench", name, "--root", options["root"], "--net", options["net"], "--weights", options["weights"]]
    words += ["--layer", "pool5", "--scales", "32,64", "--stores", options["stores"], "--jobs", "1", "--ablate", *more]
    return CliRunner().invoke(cli.app, list(map(str, words)), catch_exceptions=False).stdout


def test_table_json_and_record(options, ablated, tmp_path):
    printed = bench("folder", options, "--agg", "max", "--seeds", "2", "--json", tmp_path / "r.json")
    lines = printed.splitlines()
    ladder = lines[lines.index("  ablation") + 1 :][:15]
    assert [line.split("  ")[2] for line in ladder] == [one["row"] for one in ablated.ablation]
    at = {line.index(" ± ") for line in ladder}
    assert max(at) - min(at) <= 1, "the values stand below each other"
    measured = json.loads((tmp_path / "r.json").read_text())
    assert measured["ablation"] == ablated.ablation

    record = tmp_path / "record.json"
    record.write_text(json.dumps([measured]))
    assert check(ablated, record).endswith("they agree, and so do 15 rows of the ablation")
    assert check(replace(ablated, ablation=[]), record).endswith("they agree")
    measured["ablation"][2]["value"] += 0.3
    record.write_text(json.dumps([measured]))
    with pytest.raises(DataError, match=r"1 rows of the ablation differ by more than 0.2 points: A, Q=64: "):
        check(ablated, record)
    for broken in (3, [{"row": "x"}], ["row"]):
        record.write_text(json.dumps([{**measured, "ablation": broken}]))
        with pytest.raises(DataError, match="ablation"):
            check(ablated, record)


@pytest.mark.parametrize("name", ["voc2007", "voc2012-actions"])
def test_the_kits(name, options, tmp_path, read):
    kit = action_kit(tmp_path) if name == "voc2012-actions" else classification_kit(tmp_path, 2007)
    options = one_net(options) | {"root": kit, "stores": tmp_path / "stores"}
    printed = bench(name, options, "--json", tmp_path / "r.json")
    rows = {one["row"]: one for one in json.loads((tmp_path / "r.json").read_text())["ablation"]}
    assert "on val: similar to the mean" in printed or name == "voc2012-actions"
    assert len(rows) == 6 + (name == "voc2012-actions")
    counted = described(tmp_path / "stores")
    assert len(counted) == 3 and len(set(counted.values())) == 1  # all samples at each scale
    assert len(read) == sum(counted.values())  # once
    settings = {key: options[key] for key in ("root", "net", "weights", "layer", "scales", "stores", "jobs")}
    if name == "voc2012-actions":
        own = run(BENCHMARKS[name], box=False, **settings)
        row = rows["A, Q=32,64, mean, image only"]
        assert row["box"] is False and rows["A, Q=32,64, mean"]["box"] is True
    else:
        own = run(BENCHMARKS[name], agg="stack", **settings)
        row = rows["A, Q=32,64, stack"]
    assert row["value"] == own.value
    assert described(tmp_path / "stores") == counted and len(read) == sum(counted.values())


# --- solvers ---


def test_the_solver_is_passed_on_and_recorded(options, monkeypatch):
    problems, fit = set(), LinearSVC.fit

    def recording(svm, X, y):
        problems.add((svm.C, X.tobytes(), np.asarray(y).tobytes()))
        return fit(svm, X, y)

    monkeypatch.setattr(LinearSVC, "fit", recording)
    settings = one_net(options) | {"seeds": 1, "scales": (32,)}
    result = run(BENCHMARKS["folder"], solver="liblinear", ablate=True, **settings)
    # five folds at each C and the SVMs of three classes, for the result and the rung without the mirrored image
    assert len(problems) == 2 * (5 * len(svm.CS) + 1) * 3
    assert result.config["solver"] == "liblinear"
    assert run(BENCHMARKS["folder"], **settings).config["solver"] == svm.LinearSVM().solver
    with pytest.raises(UsageError, match="no SVM solver 'none'; take one of newton, liblinear"):
        run(BENCHMARKS["folder"], solver="none", **settings)


def test_the_settings_name_the_solvers():
    assert set(svm.SOLVERS) == set(get_args(SolverName))


@pytest.mark.parametrize("told", [[1, 2, 3, 4, 5, 6, 1, 2], [6, 2], [2, 6, 2], [6, 1, 2]])
def test_the_bar_moves_by_all_svms(told):
    """Six SVMs choose C, two are the result; a solver may tell of each, or of many at once."""
    moves = []
    count = FitCounter(moves.append)
    first = told.index(6) + 1
    for done in told[:first]:
        count(done, 6)
    for done in told[first:]:
        count(done, 2)
    assert sum(moves) == 8 and min(moves) > 0


def test_stores_of_earlier_versions_are_found_again():
    """The names are made as in the first version; a different name would describe everything again."""
    samples = [Sample(f"{name}/1.jpg", Path(f"/data/set/{name}/1.jpg"), k) for k, name in enumerate("ab")]
    describer = Describer("A", scales=(64,), layer="pool5", weights="slim", device="cpu")
    assert store_name(single_label("set", "ab", samples), describer) == "set-A-pool5-d07c2f5fb0.vggfeat"
    labels, boxes = np.eye(2, dtype=bool), np.tile([0, 0, 1, 1], (2, 1))
    photo = [Path("/data/people/a.jpg")] * 2
    people = ImageSet(
        "people", ("run", "ride"), ("a.jpg#1", "a.jpg#2"), photo, labels, np.zeros_like(labels), boxes=boxes
    )
    assert store_name(people, describer) == "people-A-pool5-e955fa28d0.vggfeat"
    assert store_name(people, describer.variant(view=Box())) == "people-boxes-A-pool5-76b3c64a78.vggfeat"
