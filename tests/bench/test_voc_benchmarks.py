"""The VOC benchmarks: which samples train, choose and test; ignored ones; people and boxes; submissions."""

import json
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score
from sklearn.svm import LinearSVC
from typer.testing import CliRunner

from tests.kit.voc_kits import action_kit, classification_kit
from vggfeat import cli
from vggfeat.bench import BENCHMARKS, BenchmarkSettings, run
from vggfeat.bench.choices import descriptor_spec
from vggfeat.bench.mean_average_precision import MAP_2007, MAP_2012, official_splits
from vggfeat.bench.mean_average_precision import test_fold as fold_of_test
from vggfeat.bench.probe import Probe
from vggfeat.bench.protocol import Fold, Splits, hold_out
from vggfeat.bench.stored import Stores
from vggfeat.data import ImageSet
from vggfeat.data.actions import ACTIONS
from vggfeat.data.voc import CLASSES
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, UsageError
from vggfeat.metrics import average_precision
from vggfeat.store import Store


@pytest.fixture(scope="module")
def kits(tmp_path_factory):
    """name of the benchmark -> root of its small kit"""
    top = tmp_path_factory.mktemp("kits")
    return {
        "voc2007": classification_kit(top / "2007", 2007),
        "voc2012": classification_kit(top / "2012", 2012),
        "voc2012-actions": action_kit(top / "actions"),
    }


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Of `run`; the stores are shared by the tests of this file."""
    return {
        "weights": "slim",
        "layer": "pool5",
        "scales": (64,),
        "stores": tmp_path_factory.mktemp("stores"),
        "jobs": 1,
    }


def made_set(n=(40, 40, 40), classes=3, seed=0, boxes=False):
    """An ImageSet that is never looked at, in subsets of n samples; X tells its classes apart, but not quite."""
    rng = np.random.default_rng(seed)
    total = sum(n)
    labels = rng.random((total, classes)) < 0.35
    X = np.concatenate([labels + rng.normal(0, 0.8, labels.shape), rng.normal(0, 1, (total, 5))], axis=1)
    # two samples an image where samples have boxes
    paths = [f"{i // 2:04d}.jpg#{i % 2 + 1}" if boxes else f"{i:04d}.jpg" for i in range(total)]
    images = ImageSet(
        name="made",
        classes=tuple("abcdefgh"[:classes]),
        paths=tuple(paths),
        images=[np.zeros((1, 1, 3), np.uint8)] * total,
        labels=labels,
        ignore=np.zeros_like(labels),
        subset=np.repeat(["train", "val", "test"], n),
        boxes=np.tile([0, 0, 1, 1], (total, 1)) if boxes else None,
    )
    return images, X.astype(np.float32)


# --- which samples do what ---


def test_voc2007_tunes_on_train_to_val_and_tests_trainval_on_test():
    images, _ = made_set((4, 3, 5))
    [fold] = official_splits(BENCHMARKS["voc2007"], images, BenchmarkSettings()).by_seed.values()
    assert fold.train.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert fold.validation.tolist() == [4, 5, 6]
    assert fold.test.tolist() == [7, 8, 9, 10, 11]


def test_voc2012_reports_val_which_chooses_nothing():
    images, X = made_set()
    splits = official_splits(BENCHMARKS["voc2012"], images, BenchmarkSettings())
    [fold] = splits.by_seed.values()
    assert fold.train.tolist() == list(range(40)) and fold.test.tolist() == list(range(40, 80))
    assert set(fold.validation) < set(fold.train) and len(fold.validation) in (7, 8, 9)
    chosen = set()
    for seed in range(3):
        X[40:] = np.random.default_rng(seed).normal(size=X[40:].shape)
        chosen.add(Probe(images, MAP_2012, jobs=1).score(X, np.ones(120, bool), fold).C)
    assert len(chosen) == 1


@pytest.mark.parametrize("seed", range(5))
def test_what_chooses_C_holds_every_class_and_leaves_some_of_it(seed):
    images, _ = made_set((60, 1, 1), classes=6, seed=seed)
    rows = np.arange(60)
    held = np.isin(rows, hold_out(images, rows, seed))
    assert 0.1 < held.mean() < 0.3
    assert images.labels[rows][held].any(axis=0).all()
    assert images.labels[rows][~held].any(axis=0).all()


def test_people_of_an_image_choose_C_together():
    images, _ = made_set((60, 2, 2), boxes=True)
    held = set(hold_out(images, np.arange(60), 0).tolist())
    assert held and all((i ^ 1) in held for i in held)


def test_a_kit_without_the_subset_is_one_line():
    images, _ = made_set((5, 5, 0))
    with pytest.raises(DataError, match="the kit has no test list"):
        official_splits(BENCHMARKS["voc2007"], images, BenchmarkSettings())
    hidden, _ = made_set((5, 5, 5))
    hidden.ignore[10:], hidden.labels[10:] = True, False
    with pytest.raises(DataError, match="test images have no labels"):
        official_splits(BENCHMARKS["voc2007"], hidden, BenchmarkSettings())
    assert fold_of_test(hidden).test.tolist() == [10, 11, 12, 13, 14]
    with pytest.raises(UsageError, match="official split"):
        official_splits(BENCHMARKS["voc2012"], images, BenchmarkSettings(seeds=3))


# --- what counts ---


def with_ignored(rows, k):
    images, X = made_set()
    ignore = images.ignore.copy()
    ignore[rows, k] = True
    return replace(images, labels=images.labels & ~ignore, ignore=ignore), X


def test_an_ignored_sample_is_dropped_for_its_class_only():
    """Against scikit-learn on the rows that are left, and on all of them."""
    rows = np.arange(0, 80, 3)
    images, X = with_ignored(rows, 1)
    scores = Probe(images, MAP_2007, jobs=1).score(X, np.ones(120, bool), fold_of_test(images))
    for k in range(3):
        kept = np.setdiff1d(np.arange(80), rows) if k == 1 else np.arange(80)
        model = LinearSVC(C=scores.C, dual=False, tol=1e-8, max_iter=10_000).fit(X[kept], images.labels[kept, k])
        np.testing.assert_allclose(scores.values[:, k], model.decision_function(X[80:]), atol=2e-3)


def test_an_ignored_sample_is_neither_a_hit_nor_a_miss():
    images, X = with_ignored(np.arange(80, 100), 0)
    fold = fold_of_test(images)
    evaluation = Probe(images, MAP_2007, jobs=1).evaluate(X, np.ones(120, bool), Splits({0: fold}, {}))
    values = evaluation.scores[0].values
    kept = slice(20, 40)
    expected = average_precision(values[kept, 0], images.labels[100:, 0], kind="11-point")
    assert evaluation.per_class[0] == pytest.approx(100 * expected)
    expected = average_precision(values[:, 1], images.labels[80:, 1], kind="11-point")
    assert evaluation.per_class[1] == pytest.approx(100 * expected)


def test_the_other_two_precisions_stand_beside_it():
    images, X = made_set()
    splits = official_splits(BENCHMARKS["voc2007"], images, BenchmarkSettings())
    evaluation = Probe(images, MAP_2007, jobs=1).evaluate(X, np.ones(120, bool), splits)
    values, wanted = evaluation.scores[0].values, images.labels[80:]
    of_sklearn = [average_precision_score(wanted[:, k], values[:, k]) for k in range(3)]
    assert evaluation.metrics["mAP (scikit-learn)"] == pytest.approx(100 * np.mean(of_sklearn))
    area = [average_precision(values[:, k], wanted[:, k]) for k in range(3)]
    assert evaluation.metrics["mAP (area)"] == pytest.approx(100 * np.mean(area))
    assert evaluation.splits[0]["value"] == pytest.approx(np.mean(evaluation.per_class))


def test_a_class_without_examples_has_no_value_and_no_weight():
    images, X = made_set(classes=4)
    labels = images.labels.copy()
    labels[:80, 1] = False  # none to train on
    labels[80:, 2] = False  # none to test on
    images = replace(images, labels=labels)
    splits = official_splits(BENCHMARKS["voc2007"], images, BenchmarkSettings())
    evaluation = Probe(images, MAP_2007, jobs=1).evaluate(X, np.ones(120, bool), splits)
    a, b, c, d = evaluation.per_class
    assert (b, c) == (None, None)
    assert evaluation.splits[0]["value"] == pytest.approx((a + d) / 2)
    assert any(note.endswith("left out of the mean: b, c") for note in evaluation.notes)


def test_too_little_to_choose_C_is_one_line():
    images, X = made_set((10, 1, 5))
    images = replace(images, labels=np.where(images.subset[:, None] == "val", False, images.labels))
    fold = Fold(np.arange(11), np.array([10]), np.arange(11, 16))
    with pytest.raises(DataError, match="too few images to choose C"):
        Probe(images, MAP_2007).score(X, np.ones(16, bool), fold)


def test_test_images_that_can_not_be_read_are_one_line():
    images, X = made_set()
    with pytest.raises(DataError, match="none of the 40 test images could be read"):
        Probe(images, MAP_2007).score(X, np.arange(120) < 80, fold_of_test(images))


# --- people and boxes ---


def test_people_share_an_image_and_have_a_box_each(kits, options, tmp_path):
    images = BENCHMARKS["voc2012-actions"].read(kits["voc2012-actions"])
    describer = Describer(weights="slim", layer="pool5", scales=(64,))
    rows = np.array([0, 1, 2, 50])
    of_rows = Stores(tmp_path, images, rows)
    of_rows.fill(describer, box=True)
    X, found = of_rows.read(describer, box=True)
    assert np.flatnonzero(found).tolist() == rows.tolist()
    stores = {len(Store(path)): Store(path) for path in tmp_path.iterdir()}
    assert set(stores) == {3, 4}  # three images, four people
    assert stores[3].fingerprint != stores[4].fingerprint
    for row in rows:
        pixels = np.asarray(Image.open(images.images[row]))
        x0, y0, x1, y1 = images.boxes[row]
        whole, part = describer.describe([images.images[row], pixels[y0:y1, x0:x1].copy()])
        np.testing.assert_allclose(X[row], np.concatenate([whole, part]) / 2**0.5, atol=1e-6)
    alone, _ = of_rows.read(describer)  # from the same store of the images
    np.testing.assert_allclose(alone[rows], X[rows, : describer.dim] * 2**0.5, atol=1e-6)


def test_a_box_outside_its_image_is_left_out(kits, tmp_path):
    images = BENCHMARKS["voc2012-actions"].read(kits["voc2012-actions"])
    images.boxes[0] = [64, 0, 80, 48]  # the photo has the columns 0 to 63
    describer = Describer(weights="slim", layer="pool5", scales=(64,))
    stores = Stores(tmp_path, images, np.array([0, 1]))
    stores.fill(describer, box=True)
    _, found = stores.read(describer, box=True)
    assert np.flatnonzero(found).tolist() == [1]
    reasons = [reason for path in tmp_path.iterdir() for reason in Store(path).failures.values()]
    assert len(reasons) == 1 and "lies outside the image of 64x48" in reasons[0]


def test_other_is_ten_times_a_negative_and_no_class(kits):
    images = BENCHMARKS["voc2012-actions"].read(kits["voc2012-actions"])
    assert images.classes == ACTIONS
    other = images.paths.index("JPEGImages/2010_000010.jpg#2")  # 10 % 11: does none
    assert not images.labels[other].any() and not images.ignore[other].any()


# --- from the command line ---


def bench(name, root, options, *more):
    """The benchmark by the command: what it prints."""
    words = ["bench", name, "--root", root, "--weights", options["weights"], "--layer", options["layer"]]
    words += ["--scales", "64", "--stores", options["stores"], "--jobs", "1", *more]
    return CliRunner().invoke(cli.app, list(map(str, words)), catch_exceptions=False).stdout


@pytest.mark.parametrize(
    ("name", "metric", "classes", "files"),
    [
        ("voc2007", "mAP (11-point)", CLASSES, "VOC2007/Main/comp2_cls_test_"),
        ("voc2012", "mAP (area)", CLASSES, "VOC2012/Main/comp1_cls_test_"),
        ("voc2012-actions", "mAP (area)", ACTIONS, "VOC2012/Action/comp10_action_test_"),
    ],
)
def test_table_json_and_submission(name, metric, classes, files, kits, options, tmp_path):
    more = ["--comp", "1"] if "comp1_" in files else []
    file = tmp_path / "result.json"
    printed = bench(name, kits[name], options, "--json", file, "--submission", tmp_path / "sent", *more)
    assert printed.startswith(f"{name}: {metric}, per cent")
    assert "paper: D & E" in printed
    result = json.loads(file.read_text())
    assert f"{result['value']:.2f}" in printed
    assert result["per_class"].keys() == set(classes)
    assert result["value"] > 20  # by chance 5 to 15
    assert len(result["metrics"]) == 2

    # the submission, parsed back
    with tarfile.open(tmp_path / "sent" / "results.tgz") as archive:
        members = {member.name: archive.extractfile(member).read().decode() for member in archive if member.isfile()}
    assert members.keys() == {f"results/{files}{k}.txt" for k in classes}
    precisions = []
    for k, of_class in enumerate(classes):
        lines = [line.split() for line in members[f"results/{files}{of_class}.txt"].splitlines()]
        if name == "voc2012-actions":
            listed = [n for n in range(22) if (of_class, n) != ("jumping", 3)]
            assert [line[:-1] for line in lines] == [[f"2010_2{n:05d}", i] for n in listed for i in "23"]
            does = [(n + (i == "3")) % 11 == k for n in listed for i in "23"]
        else:
            assert [line[:-1] for line in lines] == [[f"{name[3:]}_2{n:05d}"] for n in range(40)]
            does = np.arange(40) % 20 == k
        precisions.append(average_precision([float(line[-1]) for line in lines], np.array(does)))
    assert np.mean(precisions) > 0.2


def test_image_only_is_another_result(kits, options):
    both = run(BENCHMARKS["voc2012-actions"], root=kits["voc2012-actions"], **options)
    alone = run(BENCHMARKS["voc2012-actions"], root=kits["voc2012-actions"], box=False, **options)
    assert (both.config["box"], alone.config["box"]) == (True, False)
    assert both.value > alone.value  # the image is the same for two people who do different things
    with pytest.raises(UsageError, match="no boxes to leave out"):
        run(BENCHMARKS["voc2012"], root=kits["voc2012"], box=False, **options)


def test_the_splits_of_people_go_to_a_file_and_come_back(kits, options, tmp_path):
    root, file = kits["voc2012-actions"], tmp_path / "s.json"
    first = run(BENCHMARKS["voc2012-actions"], root=root, save_splits=file, **options)
    assert any(note.endswith("ours: official, train -> val") for note in first.notes)
    again = run(BENCHMARKS["voc2012-actions"], root=root, splits=file, **options)
    assert (again.value, again.splits) == (first.value, first.splits)
    assert any("ours: given, sha256 " in note for note in again.notes)


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("voc2012", {"comp": 10, "submission": "x"}, "comp10 for this benchmark; take 1 or 2"),
        ("voc2012", {"comp": 2}, "a competition needs a submission"),
        ("caltech101", {"submission": "x"}, "no server to submit to"),
        ("voc2007", {"seeds": 2}, "official split"),
        ("voc2007", {"recipe": "mine"}, "no recipe 'mine'"),
        ("digits", {"recipe": "paper"}, "not in the paper"),
    ],
)
def test_wrong_usage(name, more, message, kits, options):
    with pytest.raises(UsageError, match=message):
        run(BENCHMARKS[name], root=kits.get(name), **{**options, **more})


@pytest.mark.parametrize("name", ["voc2007", "voc2012-actions"])
def test_a_submission_that_cannot_be_written_is_refused_before_the_work(name, kits, options, tmp_path):
    stores = tmp_path / "stores"
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DataError, match=r"taken.*cannot be written"):
        run(BENCHMARKS[name], root=kits[name], submission=tmp_path / "taken", **options | {"stores": stores})
    assert not stores.exists(), "the work was begun"


def test_real_photos_from_the_kit_to_the_table(shared, options, tmp_path):
    """voc-mini holds six classes, the others have no value; and no test, so nothing to submit."""
    root, options = shared("data/voc-mini"), {**options, "scales": (32,)}
    result = run(BENCHMARKS["voc2012"], root=root, **options)
    known = {name for name, value in result.per_class.items() if value is not None}
    assert known == {"cat", "cow", "dog", "horse", "person", "sheep"}
    assert result.config["splits"] == "official, train -> val"
    with pytest.raises(DataError, match="no test list"):
        run(BENCHMARKS["voc2012"], root=root, submission=tmp_path / "sent", **options)


def test_the_papers_recipe_and_what_wins_over_it():
    """Appendix B: VOC averages five scales, Caltech stacks three; the actions use D and E stacked."""

    def asked(name, **more):
        spec = descriptor_spec(BENCHMARKS[name], BenchmarkSettings(recipe="paper", **more))
        return spec.net, spec.scales, spec.agg

    five, three = (256, 384, 512, 640, 768), (256, 384, 512)
    assert asked("voc2007") == asked("voc2012") == (None, five, "mean")
    assert asked("caltech101") == asked("caltech256") == (None, three, "stack")
    assert asked("voc2012-actions") == ("D,E", five, "mean")
    assert asked("voc2012-actions", weights="slim", scales=(224,)) == (None, (224,), "mean")
    assert asked("caltech101", net="E", agg="max") == ("E", three, "max")


def test_a_submission_packs_whole_files_only(tmp_path):
    """What a killed process left in the folder is not sent."""
    images, X = made_set()
    scores = Probe(images, MAP_2007, jobs=1).score(X, np.ones(120, bool), fold_of_test(images))
    server = BENCHMARKS["voc2007"].submission
    (server.prepare(tmp_path) / ".comp2_cls_test_a.txt.123.tmp").write_text("half")
    with tarfile.open(server.write(images, scores, tmp_path)) as archive:
        files = [member.name for member in archive if member.isfile()]
    assert sorted(files) == [f"results/VOC2007/Main/comp2_cls_test_{name}.txt" for name in "abc"]
