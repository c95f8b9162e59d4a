"""Benchmarks: the protocol of Appendix B, from stores that are made once."""

import doctest
import json
import math
import re
import subprocess
import sys
from dataclasses import fields, replace
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.kit.reports import deciding
from vggfeat import bench, cli
from vggfeat.bench import BENCHMARKS, BenchmarkSettings, run
from vggfeat.bench.choices import descriptor_spec
from vggfeat.bench.mean_class_recall import MEAN_CLASS_RECALL, class_splits
from vggfeat.bench.probe import Probe
from vggfeat.bench.protocol import draw_folds
from vggfeat.bench.record import record_of
from vggfeat.bench.stored import Stores
from vggfeat.data import READERS
from vggfeat.data.base import Sample, single_label
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, UsageError
from vggfeat.spec import DescriptorSpec
from vggfeat.svm import SOLVERS
from vggfeat.svm.path import NewtonPath
from vggfeat.svm.settings import NewtonTuning

COLOURS = {"blue": (20, 40, 230), "green": (30, 220, 30), "red": (230, 30, 20)}


def colour_photos(folder, per_class, seed=0):
    """Photos of one colour a class, with noise: what a linear SVM on any sensible descriptor tells apart."""
    rng = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            noisy = np.clip(rng.normal(colour, 25, (48, 64, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / name / f"{i:02}.png")
    return folder


@pytest.fixture
def options(tmp_path):
    return {
        "weights": "slim",
        "layer": "pool5",
        "scales": (64,),
        "stores": tmp_path / "stores",
        "jobs": 1,
    }


def numbered_set(per_class=10, classes=("a", "b"), subset=None):
    """An ImageSet of 1x1 images, for protocols that never look at them."""
    samples = [
        Sample(f"{name}/{i:03}", np.zeros((1, 1, 3), np.uint8), k, subset(i) if subset else "")
        for k, name in enumerate(classes)
        for i in range(per_class)
    ]
    return single_label("numbered", classes, samples)


def test_a_folder_of_ones_own(tmp_path, options):
    result = run(BENCHMARKS["folder"], root=colour_photos(tmp_path / "photos", 10), seeds=2, **options)
    assert result.value > 90  # chance is 33
    assert result.per_class.keys() == {"blue", "green", "red"}
    assert result.value == pytest.approx(np.mean([split["value"] for split in result.splits]))
    assert [split["seed"] for split in result.splits] == [0, 1]
    assert result.config["train_per_class"] == 5  # half of the smallest class


def test_a_class_too_small_for_what_is_asked_is_named():
    images = numbered_set(per_class=8)
    one_test_image = "fewer than 5 test images: 2 of 2 classes; a has 1, and each changes the value by 50.0 points"
    assert class_splits(BENCHMARKS["folder"], images, BenchmarkSettings(train_per_class=7)).notes == (one_test_image,)
    assert class_splits(BENCHMARKS["folder"], images, BenchmarkSettings(train_per_class=3)).notes == ()
    few = class_splits(BENCHMARKS["folder"], images, BenchmarkSettings(train_per_class=8))
    with pytest.raises(
        DataError, match="numbered: cannot hold out samples to choose C: no class has two training images"
    ):
        class_splits(BENCHMARKS["folder"], images, BenchmarkSettings(train_per_class=1))
    assert few.notes == ("fewer than 8 training images: 2 of 2 classes; a has 7", one_test_image)


def test_its_own_train_and_test_are_one_split_without_deviation(tmp_path, options):
    colour_photos(tmp_path / "photos" / "train", 5)
    colour_photos(tmp_path / "photos" / "test", 3, seed=1)
    result = run(BENCHMARKS["folder"], root=tmp_path / "photos", **options)
    assert result.value > 90
    assert (result.std, len(result.splits)) == (None, 1)


def test_the_second_run_opens_no_image(tmp_path, options, monkeypatch):
    photos = colour_photos(tmp_path / "photos", 6)
    first = run(BENCHMARKS["folder"], root=photos, seeds=1, **options)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("an image was opened"))
    again = run(BENCHMARKS["folder"], root=photos, seeds=1, **options)
    assert (again.splits, again.per_class, again.notes) == (first.splits, first.per_class, first.notes)


def test_another_setting_gets_another_store(tmp_path, options):
    photos = colour_photos(tmp_path / "photos", 4)
    run(BENCHMARKS["folder"], root=photos, seeds=1, **options)
    run(BENCHMARKS["folder"], root=photos, seeds=1, **{**options, "mirror": False})
    assert len(list(options["stores"].iterdir())) == 2


def test_the_papers_data_sets_are_read_as_stored_and_a_folder_upright(tmp_path, options):
    for name, benchmark in BENCHMARKS.items():
        assert descriptor_spec(benchmark, BenchmarkSettings()).exif == (name in ("folder", "sample", "digits")), name
        assert descriptor_spec(benchmark, BenchmarkSettings(exif=True)).exif
        assert descriptor_spec(benchmark, BenchmarkSettings(allow_truncated=True)).allow_truncated
    photos = colour_photos(tmp_path / "photos", 4)
    upright = run(BENCHMARKS["folder"], root=photos, seeds=1, **options)
    stored = run(BENCHMARKS["folder"], root=photos, seeds=1, exif=False, **options)
    assert (upright.config["exif"], stored.config["exif"]) == (True, False)
    assert len(list(options["stores"].iterdir())) == 2


def test_broken_images_are_left_out_and_said(tmp_path, options):
    photos = colour_photos(tmp_path / "photos", 8)
    (photos / "red" / "00.png").write_bytes(b"")
    result = run(BENCHMARKS["folder"], root=photos, seeds=1, **options)
    said = "1 of 24 images could not be read and were left out, such as red/00.png: is empty"
    assert any(note.startswith(said) for note in result.notes), result.notes


def test_fusion_of_two_nets(tmp_path, options, tiny_weights):
    two = ",".join(str(tiny_weights(net, top="pool5")) for net in "AB")
    result = run(
        BENCHMARKS["folder"], root=colour_photos(tmp_path / "p", 6), seeds=1, **{**options, "weights": two}, net="A,B"
    )
    assert result.config["net"] == "A&B"
    assert len(result.weights) == 2
    assert len(list(options["stores"].iterdir())) == 2


def test_rows_of_the_matrix_are_those_of_the_image_set(tmp_path, options):
    images = READERS["folder"](colour_photos(tmp_path / "p", 4))
    describer = Describer(weights=options["weights"], layer="pool5", scales=(64,))
    stores = Stores(tmp_path / "stores", images, np.array([7, 2, 11]))
    stores.fill(describer)
    X, found = stores.read(describer)
    assert np.flatnonzero(found).tolist() == [2, 7, 11]
    for i in (2, 7, 11):
        np.testing.assert_allclose(X[i], describer.describe(images.images[i]), atol=1e-6)


def test_json_holds_the_promised_keys(tmp_path, options):
    result = run(BENCHMARKS["folder"], root=colour_photos(tmp_path / "p", 4), seeds=2, **options)
    data = json.loads(result.json())
    promised = "benchmark metric value std splits per_class paper config weights timing version"
    assert set(promised.split()) <= data.keys()
    assert data["splits"][0].keys() == {"seed", "value", "C"}
    assert data["converged"] == [True, True]
    assert data["config"]["validation"] == "5-fold cross-validation"
    assert data["weights"][0].keys() == {"name", "sha256"}
    assert data["timing"].keys() == {"extract_s", "svm_s"}


def test_mean_class_recall_weighs_classes_not_images():
    """Class a: 8 test images, all right; class b: 2 test images, 1 right. Recall 100 and 50: 75, not 90."""
    images = numbered_set(10, subset=lambda i: "train" if i < 2 else "test")
    X = np.zeros((20, 2), np.float32)
    X[:10, 0] = X[10:, 1] = 1
    X[12] = [1, 0]
    found = np.ones(20, bool)
    found[14:] = False  # class b keeps rows 12 and 13 in its test
    splits = class_splits(BENCHMARKS["folder"], images, BenchmarkSettings())
    evaluation = Probe(images, MEAN_CLASS_RECALL, jobs=1).evaluate(X, found, splits)
    assert evaluation.splits[0]["value"] == 75
    assert evaluation.per_class == [100, 50]


def test_a_class_without_test_images_has_no_recall_and_no_weight():
    images = numbered_set(4, ("a", "b", "c"), subset=lambda i: "train" if i < 2 else "test")
    found = np.ones(12, bool)
    found[10:] = False
    X = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    splits = class_splits(BENCHMARKS["folder"], images, BenchmarkSettings())
    evaluation = Probe(images, MEAN_CLASS_RECALL, jobs=1).evaluate(X, found, splits)
    assert evaluation.per_class == [100, 100, None]
    assert evaluation.splits[0]["value"] == 100


def test_the_test_images_never_choose_C():
    """C must come from the training rows: the same training rows with other test rows give the same C."""
    images = numbered_set(20, subset=lambda i: "train" if i < 10 else "test")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 5)).astype(np.float32) + np.repeat([[0.5], [0]], 20, axis=0).astype(np.float32)
    test = images.subset == "test"
    splits = class_splits(BENCHMARKS["folder"], images, BenchmarkSettings())
    chosen = set()
    for seed in range(4):
        X[test] = np.random.default_rng(seed).normal(size=(test.sum(), 5))
        probed = Probe(images, MEAN_CLASS_RECALL, jobs=1).evaluate(X, np.ones(40, bool), splits)
        chosen.add(probed.splits[0]["C"])
    assert len(chosen) == 1


def test_a_val_folder_chooses_C_and_then_trains():
    images = numbered_set(9, subset=lambda i: ("train", "val", "test")[i // 3])
    splits = class_splits(BENCHMARKS["folder"], images, BenchmarkSettings())
    assert splits.by_seed[0].validation.tolist() == [3, 4, 5, 12, 13, 14]
    assert splits.by_seed[0].train.tolist() == [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14]
    assert splits.by_seed[0].test.tolist() == [6, 7, 8, 15, 16, 17]


def test_without_val_five_folds_of_the_training_images_choose_C():
    images = numbered_set(6, subset=lambda i: "train" if i < 4 else "test")
    own = class_splits(BENCHMARKS["folder"], images, BenchmarkSettings())
    drawn = class_splits(BENCHMARKS["digits"], numbered_set(6), BenchmarkSettings(train_per_class=4))
    paper = class_splits(BENCHMARKS["caltech101"], numbered_set(6), BenchmarkSettings(train_per_class=4))
    assert own.by_seed[0].validation is None and own.by_seed[0].train.tolist() == [0, 1, 2, 3, 6, 7, 8, 9]
    assert all(fold.validation is None for fold in drawn.by_seed.values())
    assert all(len(fold.validation) == 2 for fold in paper.by_seed.values())  # a fifth of 4, at least one, of 2 classes


def test_samples_of_an_image_are_in_one_fold():
    images = numbered_set(12)
    paths = [f"{i // 2:02}.jpg#{i % 2 + 1}" for i in range(24)]
    people = replace(images, paths=tuple(paths), boxes=np.tile([0, 0, 1, 1], (24, 1)))
    folds = draw_folds(people, np.arange(24))
    assert set(folds) == set(range(5))
    np.testing.assert_array_equal(folds[::2], folds[1::2])


def test_a_class_with_one_training_image_blocks_nothing():
    """Its image always trains, and class c keeps its column."""
    images = numbered_set(8, ("a", "b", "c"), subset=lambda i: "train" if i < 6 else "test")
    found = np.ones(24, bool)
    found[17:22] = False  # c trains on row 16 alone
    X = np.repeat(np.eye(3, dtype=np.float32), 8, axis=0)
    splits = class_splits(BENCHMARKS["folder"], images, BenchmarkSettings())
    evaluation = Probe(images, BENCHMARKS["folder"].protocol, jobs=1).evaluate(X, found, splits)
    assert evaluation.per_class[:2] == [100, 100]
    assert np.isfinite(evaluation.scores[0].values).all()
    assert evaluation.notes == []


def test_a_class_without_a_readable_training_image_is_named():
    images = numbered_set(8, ("a", "b", "c"), subset=lambda i: "train" if i < 6 else "test")
    found = np.ones(24, bool)
    found[16:22] = False
    splits = class_splits(BENCHMARKS["folder"], images, BenchmarkSettings())
    with pytest.raises(DataError, match="numbered: no training image of class c can be read; replace them"):
        Probe(images, BENCHMARKS["folder"].protocol, jobs=1).evaluate(np.zeros((24, 3), np.float32), found, splits)


def test_a_folder_with_a_small_class_still_chooses_C():
    """Half of three images would be one, by which nothing can be chosen."""
    splits = class_splits(BENCHMARKS["folder"], numbered_set(3), BenchmarkSettings())
    assert splits.config["train_per_class"] == 2


def test_a_grid_of_C_that_ended_at_its_bound_is_said():
    """The measure gets better from call to call, so that C grows without end."""
    better = count(1)
    protocol = replace(BENCHMARKS["folder"].protocol, per_class=lambda *_: np.full(2, next(better) / 100))
    images = numbered_set(8, subset=lambda i: "train" if i < 6 else "test")
    X = np.random.default_rng(0).normal(size=(16, 30)).astype(np.float32)
    splits = class_splits(BENCHMARKS["folder"], images, BenchmarkSettings())
    evaluation = Probe(images, protocol, jobs=1).evaluate(X, np.ones(16, bool), splits)
    assert evaluation.splits[0]["C"] == 2**20
    said = "split 0: C=1.04858e+06 is the best and the highest that was tried; a higher one may do better"
    assert evaluation.notes[0] == said


def test_svms_that_did_not_converge_are_said(monkeypatch):
    """One Newton step at a time, in float32 alone, does not reach the minimum."""
    one_step = partial(NewtonPath, tuning=NewtonTuning(precisions=(("float32", 1),)))
    monkeypatch.setitem(SOLVERS, "one step", one_step)
    images = numbered_set(20, subset=lambda i: "train" if i < 10 else "test")
    X = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    splits = class_splits(BENCHMARKS["folder"], images, BenchmarkSettings())
    found = np.ones(40, bool)
    stopped, solved = (
        Probe(images, BENCHMARKS["folder"].protocol, jobs=1, solver=solver).evaluate(X, found, splits)
        for solver in ("one step", None)
    )
    C = stopped.splits[0]["C"]
    assert f"split 0: 2 of 2 SVMs did not converge at C={C:g}" in stopped.notes
    assert any(
        note.startswith("split 0: some of the SVMs that choose C did not converge at C=") for note in stopped.notes
    )
    assert (stopped.scores[0].converged, solved.scores[0].converged) == (False, True)
    assert solved.notes == []


def test_the_standard_deviation_is_that_of_a_sample(tmp_path, options):
    values = iter([0.90, 0.94])

    def measure(scores, labels, ignore):
        """Of the six test images of a split; the three that choose C are all the same."""
        return np.full(3, next(values) if len(labels) == 6 else 0.5)

    benchmark = replace(BENCHMARKS["folder"], protocol=replace(MEAN_CLASS_RECALL, per_class=measure), seeds=2)
    result = run(benchmark, root=colour_photos(tmp_path / "p", 4), **options)
    assert [split["value"] for split in result.splits] == pytest.approx([90, 94])
    assert result.value == pytest.approx(92)
    assert math.isclose(result.std, 8**0.5)  # (2^2 + 2^2) / (2 - 1)
    assert "92.00 ± 2.83" in result.table()


def test_caltech101_is_the_papers_protocol(shared):
    images = READERS["caltech101"](shared("data/caltech101"))
    splits = class_splits(BENCHMARKS["caltech101"], images, BenchmarkSettings())
    assert list(splits.by_seed) == [0, 1, 2]
    for split in splits.by_seed.values():
        per_class = np.bincount(images.label_index[split.train])
        assert (per_class == 30).all()
        assert len(per_class) == 102
        tests = np.bincount(images.label_index[split.test])
        sizes = np.bincount(images.label_index)
        assert (tests == np.minimum(sizes - 30, 50)).all()
    assert BENCHMARKS["caltech101"].paper["E"] == 92.3


def test_the_command_names_every_benchmark():
    assert ", ".join(BENCHMARKS) == cli.bench.BENCHMARKS
    assert doctest.testmod(bench).attempted > 0 == doctest.testmod(bench).failed


def test_digits_runs_anywhere(tmp_path):
    result = run(BENCHMARKS["digits"], seeds=1, train_per_class=5, test_per_class=3, stores=tmp_path, jobs=1)
    assert result.value > 60  # ten classes: chance is 10
    assert result.weights[0]["name"] == "slim"
    assert result.config["scales"] == [224]


def test_a_background_class_can_be_left_out(tmp_path, options):
    photos = colour_photos(tmp_path / "101_ObjectCategories", 4)
    (photos / "red").rename(photos / "BACKGROUND_Google")
    result = run(BENCHMARKS["caltech101"], root=tmp_path, seeds=1, train_per_class=2, background=False, **options)
    assert result.per_class.keys() == {"blue", "green"}
    with pytest.raises(UsageError, match="folder has no background class"):
        run(BENCHMARKS["folder"], root=tmp_path, background=False, **options)


def test_wrong_numbers_and_missing_data(tmp_path, options):
    with pytest.raises(UsageError, match="seeds must be at least 1"):
        run(BENCHMARKS["folder"], root=tmp_path, seeds=0, **options)
    with pytest.raises(DataError, match=str(tmp_path / "nowhere")):
        run(BENCHMARKS["folder"], root=tmp_path / "nowhere", **options)
    colour_photos(tmp_path / "p" / "train", 2)
    with pytest.raises(DataError, match="no test folder"):
        run(BENCHMARKS["folder"], root=tmp_path / "p", **options)
    photos = colour_photos(tmp_path / "q", 3)
    for name, number in (("train_per_class", -1), ("train_per_class", 0), ("test_per_class", 0)):
        with pytest.raises(UsageError, match=f"{name} must be at least 1, not {number}"):
            run(BENCHMARKS["folder"], root=photos, **{name: number}, **options)
    with pytest.raises(UsageError, match="jobs must be"):
        run(BENCHMARKS["folder"], root=photos, **{**options, "jobs": 0})


FIVE_SEEDS = "seeds 0, 1, 2, 3, 4 (recorded 0, 1, 2)"


def test_what_cannot_be_written_or_compared_is_said_before_the_work(tmp_path):
    stores = tmp_path / "stores"
    (tmp_path / "record.json").write_text("[1]")
    (tmp_path / "digits.json").write_bytes(Path(__file__).parents[2].joinpath(record_of("digits")).read_bytes())
    for words, error, said in [
        (["--json", tmp_path], UsageError, "is a folder; name a file"),
        (["--json", tmp_path / "none/r.json"], UsageError, "no such folder for r.json"),
        (["--save-splits", tmp_path], UsageError, "is a folder; name a file"),
        (["--report", tmp_path / "r.pdf"], UsageError, "r.pdf: a report is an HTML page"),
        (["--submission", tmp_path / "record.json"], UsageError, "record.json: is a file, not a folder"),
        (["--check", "--record", tmp_path / "digits.json", "--seeds", 5], DataError, FIVE_SEEDS),
        (["--check", "--record", tmp_path / "none.json"], DataError, "no such record"),
        (["--check", "--record", tmp_path / "record.json"], DataError, "is no record, which is a list of results"),
        (["--record", tmp_path / "record.json"], UsageError, "--record needs --check"),
    ]:
        ran = CliRunner().invoke(cli.app, ["bench", "digits", "--stores", str(stores), *map(str, words)])
        assert isinstance(ran.exception, error) and said in str(ran.exception)
        assert not stores.exists(), "the work was begun"


def test_the_papers_deviations_stand_beside_its_figures():
    result = deciding(("ant", "bee"), paper_std=dict(BENCHMARKS["caltech101"].paper_std))
    lines = [line.split() for line in result.table().splitlines()]
    assert ["paper:", "E", "92.3", "±", "0.5"] in lines
    assert BENCHMARKS["caltech101"].paper_std.keys() == BENCHMARKS["caltech101"].paper.keys()
    assert BENCHMARKS["caltech256"].paper_std.keys() == BENCHMARKS["caltech256"].paper.keys()


def test_settings_are_light_and_have_the_defaults_of_the_descriptors():
    code = "import sys, vggfeat.bench.settings; print(*{'torch', 'numpy', 'pandas', 'pyarrow'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == ""
    settings, spec = BenchmarkSettings(), DescriptorSpec()
    for name in ("net", "mirror", "normalize", "device", "precision", "ceil"):
        assert getattr(settings, name) == getattr(spec, name)
    assert descriptor_spec(BENCHMARKS["folder"], settings) == spec
    for field in fields(settings):
        assert re.search(rf"^    {field.name} : ", BenchmarkSettings.__doc__, re.MULTILINE), field.name


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layer": "fc8"}, "no layer 'fc8'"),
        ({"agg": "median"}, "no aggregation 'median'"),
        ({"scales": (64, 64)}, "a scale is given twice"),
        ({"comp": 2}, "a competition needs a submission"),
        ({"splits": "s.json", "seeds": 2}, "a file of splits decides the splits"),
    ],
)
def test_invalid_settings(wrong, message):
    with pytest.raises(UsageError, match=message):
        BenchmarkSettings(**wrong)
