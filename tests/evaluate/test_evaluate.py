"""Evaluation end to end: images -> runs -> errors, names of classes, resumption, the command and the page."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.kit.posterior_runs import make_run
from vggfeat import cli, weights
from vggfeat.classify import Classifier
from vggfeat.data.imagenet import Classified, read, synset_names
from vggfeat.errors import DataError, ImageError, StoreError, UsageError
from vggfeat.evaluate import evaluate, open_runs, table, write_report
from vggfeat.evaluate.classes import match_classes, read_classes
from vggfeat.evaluate.runner import known_train_scale
from vggfeat.evaluate.settings import parse_train_scale
from vggfeat.store import Store, load

Weights = Callable[..., Path]
SCALES = (224, 240)


def photo(seed: int) -> np.ndarray:
    """uint8 (H, W, 3): coarse squares; sides differ."""
    height, width = 225 + 3 * seed, 240 - 2 * seed
    small = np.random.default_rng(seed).integers(0, 256, (height // 32 + 1, width // 32 + 1, 3), dtype=np.uint8)
    return small.repeat(32, 0).repeat(32, 1)[:height, :width]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images of the classes 0, 3 and 6 of the tiny nets, and one that can't be read."""
    top = tmp_path_factory.mktemp("data") / "set"
    for seed in range(6):
        folder = top / "val" / f"class {3 * (seed % 3)}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(seed)).save(folder / f"{seed}.png")
    (top / "val/class 3/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    return top


@pytest.fixture
def options(tiny_weights: Weights) -> dict[str, Any]:
    return {"weights": tiny_weights("A"), "scales": SCALES, "device": "cpu", "partial": True, "workers": 1}


def test_the_errors_are_those_of_the_posteriors(root: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    """Counted by hand from the classifier's posteriors of each image."""
    result = evaluate(root, tmp_path, **options)
    images = read(root)
    assert images.labels is not None
    good = [i for i, path in enumerate(images.paths) if "broken" not in path]
    truth = np.array([3 * int(images.labels[i]) for i in good])
    assert [(row.scales, row.images) for row in result.rows] == [((224,), 6), ((240,), 6), (SCALES, 6)]
    for row in result.rows:
        classifier = Classifier(scales=row.scales, weights=options["weights"], device="cpu")
        posteriors = classifier.posteriors([images.images[i] for i in good])
        order = np.argsort(-posteriors, axis=1)
        first = sum(best[0] != true for best, true in zip(order, truth, strict=True))
        five = sum(true not in best[:5] for best, true in zip(order, truth, strict=True))
        assert (row.top1, row.top5) == (pytest.approx(100 * first / 6), pytest.approx(100 * five / 6))


def test_broken_images_are_listed(root: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    result = evaluate(root, tmp_path, **options)
    assert list(result.failures) == ["val/class 3/broken.jpg"]
    assert any(note.startswith("warning: 1 of 7 images could not be read and count nowhere") for note in result.notes)
    assert "images of 3 classes, judged among the net's 7" in result.notes
    (run,) = result.stores
    assert "broken.jpg" in (Path(run) / "failures.csv").read_text()
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        evaluate(root, tmp_path / "other", on_error="fail", **options)


def test_both_methods_and_two_nets(root: Path, tmp_path: Path, options: dict[str, Any], tiny_weights: Weights) -> None:
    options |= {"weights": f"{tiny_weights('A')},{tiny_weights('B')}", "scales": (224,), "grid": 2}
    result = evaluate(root, tmp_path, net="A,B", method="both", **options)
    a, b = "A ×0.0625", "B ×0.0625"
    assert [(row.net, row.methods) for row in result.rows] == [
        *((net, methods) for net in (a, b) for methods in (("dense",), ("multi-crop",), ("dense", "multi-crop"))),
        *((f"{a} & {b}", methods) for methods in (("dense",), ("multi-crop",), ("dense", "multi-crop"))),
    ]
    assert len(result.stores) == 4
    assert [weights["net"] for weights in result.weights] == ["A", "B"]
    again = evaluate(root, tmp_path, net="A,B", method="both", **options)
    assert again == result
    assert [net.title for net in open_runs([tmp_path])] == [a, b]
    assert any(line.ours for line in table(6, open_runs([tmp_path])).lines)


def test_a_killed_run_continues(root: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    """As if killed after the part with two images: the rest is added, and the whole is that of an unbroken run."""
    unbroken = evaluate(root, tmp_path / "unbroken", **options)
    result = evaluate(root, tmp_path / "killed", **options)
    (run,) = map(Path, result.stores)
    table = Store(run).read()
    (run / "run.json").unlink()
    pq.write_table(table.slice(0, 2), run / "part-00000.parquet")
    assert evaluate(root, tmp_path / "killed", **options).rows == unbroken.rows
    assert sorted(Store(run).paths) == sorted(table["path"].to_pylist())


def test_the_progress_bar_says_which_net_and_method(
    root: Path, tmp_path: Path, options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(root, tmp_path, method="both", grid=1, **options | {"scales": (224,)})
    lines = [line.partition(" [")[0] for line in capsys.readouterr().err.splitlines()]
    assert lines == [f"A (A-0.0625-7-fc8-BGR), {method}: 7/7" for method in ("dense", "multi-crop")]


def test_other_settings_have_runs_of_their_own(root: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    for more in ({}, {"mirror": False}, {"method": "centre"}, {"scales": (224,)}):
        evaluate(root, tmp_path, **{**options, **more})  # type: ignore[arg-type]
    assert len([*tmp_path.iterdir()]) == 4


def test_two_sets_of_one_name_have_runs_of_their_own(root: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    other = tmp_path / "elsewhere" / root.name
    shutil.copytree(root, other)
    Image.fromarray(photo(9)).save(other / "val/class 0/0.png")
    first, second = (evaluate(folder, tmp_path / "runs", **options) for folder in (root, other))
    assert first.stores != second.stores
    posteriors = [load(run, normalize="none", scales=(224,)).X for run in (*first.stores, *second.stores)]
    different = ~np.isclose(posteriors[0], posteriors[1]).all(axis=1)
    assert different.sum() == 1  # the changed image
    with pytest.raises(StoreError, match=r"both are of set val, but val/class 0/0.png has a different image in each"):
        open_runs([tmp_path / "runs"])


def test_a_replaced_image_is_classified_again(root: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    own = shutil.copytree(root, tmp_path / "own")
    before = load(evaluate(own, tmp_path / "runs", **options).stores[0], normalize="none")
    Image.fromarray(photo(9)).save(own / "val/class 0/0.png")
    after = load(evaluate(own, tmp_path / "runs", **options).stores[0], normalize="none")
    fresh = load(evaluate(own, tmp_path / "fresh", **options).stores[0], normalize="none")
    order = [after.paths.index(path) for path in fresh.paths]
    np.testing.assert_allclose(after.X[order], fresh.X, atol=1e-6)
    assert not np.allclose(
        before.X[before.paths.index("val/class 0/0.png")], fresh.X[fresh.paths.index("val/class 0/0.png")]
    )


def test_test_images_have_posteriors_but_no_errors(root: Path, tmp_path: Path, tiny_weights: Weights) -> None:
    paths = tuple(sorted(str(path.relative_to(root)) for path in root.glob("val/class 0/*.png")))
    classes = tuple(f"class {i}" for i in range(7))
    images = Classified("set test", classes, paths, [root / path for path in paths], None)
    result = evaluate(images, tmp_path, weights=tiny_weights("A"), scales=(224,), device="cpu")
    assert (result.rows, result.per_class, result.evidence) == ([], {}, None)
    assert len(Store(result.stores[0])) == 2


def test_no_images(tmp_path: Path, tiny_weights: Weights) -> None:
    classes = tuple(f"class {i}" for i in range(7))
    with pytest.raises(DataError, match="nothing: has no images"):
        evaluate(Classified("nothing", classes, (), (), None), tmp_path, weights=tiny_weights("A"), device="cpu")


def test_s_is_known_of_oxfords_nets_and_of_those_that_say_it(tiny_weights: Weights) -> None:
    plain = weights.read(tiny_weights("A"))
    assert known_train_scale(plain) is None
    assert known_train_scale(replace(plain, lineage="oxford", net="E", width=1.0)) == (256, 512)
    assert known_train_scale(replace(plain, lineage="torchvision", net="E", width=1.0)) is None
    assert known_train_scale(replace(plain, source="vggfeat train, S=384, 2000 images")) == (384,)
    assert known_train_scale(replace(plain, source="S=256-512")) == (256, 512)


def test_s_may_be_said(root: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    evaluate(root, tmp_path, train_scale=parse_train_scale("256-512"), **options)
    assert open_runs([tmp_path])[0].train_scale == (256, 512)
    assert parse_train_scale("384") == (384,)
    for text in ("", "a", "512-256", "1-2-3", "-256"):
        with pytest.raises(UsageError, match="give one side, 256, or a range, 256-512"):
            parse_train_scale(text)


# Names of classes


def test_equal_names_match_whatever_their_order() -> None:
    assert match_classes(("b", "c", "a"), ("a", "b", "c")) == {"a": 2, "b": 0, "c": 1}


def test_synsets_match_names_and_names_match_synsets() -> None:
    synsets, names = ("n01440764", "n02102040"), ("English springer", "tench")
    assert match_classes(names, synsets) == {"n01440764": 1, "n02102040": 0}
    assert match_classes(synsets, names) == {"English springer": 1, "tench": 0}
    all_names = tuple(synset_names().values())
    found = match_classes(all_names, tuple(synset_names()))
    assert list(found.values()) == list(range(1000))
    assert match_classes(all_names, synsets, partial=True) == {"n01440764": 0, "n02102040": 217}


def test_classes_that_do_not_match_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"1 of the data set's 2 classes, first 'n09999999', are none of the weights' 2"
    ) as raised:
        match_classes(("tench", "goldfish"), ("n01440764", "n09999999"))
    assert "\n" not in str(raised.value)
    with pytest.raises(DataError, match=r"the weights have 3 classes, the data set 2 of them; pass --partial"):
        match_classes(("a", "b", "c"), ("a", "b"))
    with pytest.raises(DataError, match="are none of the weights'"):  # which of two equal names would be a guess
        match_classes(("crane", "crane"), ("crane",), partial=True)
    with pytest.raises(UsageError, match="'n01440764' and 'tench' are the same output, 'tench'"):
        match_classes(("tench", "goldfish"), ("n01440764", "tench"), partial=True)


def test_classes_may_be_named() -> None:
    assert match_classes(("fish", "dog", "cat"), ("n01", "dog"), named={"n01": "fish"}) == {"n01": 0, "dog": 1}
    with pytest.raises(UsageError, match="the data set has no class 'n02'"):
        match_classes(("fish",), ("n01",), named={"n02": "fish"})
    with pytest.raises(UsageError, match="the weights have no class 'bird'"):
        match_classes(("fish",), ("n01",), named={"n01": "bird"})


def test_a_file_of_names(tmp_path: Path) -> None:
    file = tmp_path / "classes.csv"
    file.write_text('n01440764,tench\nn02102040,"springer, English"\n\n')
    assert read_classes(file) == {"n01440764": "tench", "n02102040": "springer, English"}
    for text in ("", "a,b,c\n", "a\n"):
        file.write_text(text)
        with pytest.raises(DataError, match=r"classes\.csv: must have lines `class,output`"):
            read_classes(file)
    file.write_text("a,b\na,c\n")
    with pytest.raises(DataError, match="names a class twice; remove one of the lines"):
        read_classes(file)
    with pytest.raises(DataError, match=r"none\.csv: cannot be read"):
        read_classes(tmp_path / "none.csv")


# The command and the page


def invoke(*arguments: Any) -> str:
    return CliRunner().invoke(cli.app, ["evaluate", *map(str, arguments)], catch_exceptions=False).stdout


def report_of(*arguments: Any) -> str:
    invoke(*arguments, "--report", "page.html")
    return Path("page.html").read_text()


def test_the_command(root: Path, tmp_path: Path, tiny_weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = ("--weights", tiny_weights("A"), "--scales", "224,240", "--device", "cpu", "--train-scale", "224")
    said = invoke("--data", root, "--out", "runs", "--partial", *net, "--json", "r.json", "--report", "r.html")
    assert "A ×0.0625  dense  224,240" in said
    assert "warning: 1 of 7 images could not be read and count nowhere" in said
    result = json.loads(Path("r.json").read_text())
    assert [row["scales"] for row in result["rows"]] == [[224], [240], [224, 240]]
    page = Path("r.html").read_text()
    assert all(words in page for words in ("Calibration", "Confusions", "broken.jpg", "class 3", "data:image/jpeg"))
    shown, folded = page.split("<details", 1)
    assert shown.index(f"Images of {root}") < shown.index("Surest mistakes") < shown.index("Calibration")
    assert folded.index("broken.jpg") < folded.index("How it was measured") < folded.index("Provenance")

    assert invoke("--runs", "runs").splitlines()[:4] == [
        line for line in said.splitlines() if "set" in line or "A ×" in line
    ]
    assert "data:image/jpeg" not in report_of("--runs", "runs")
    assert "data:image/jpeg" in report_of("--runs", "runs", "--data", root)
    said = invoke("--runs", "runs", "--table", 3, "--json", "t.json")
    assert [line.split()[:4] for line in said.splitlines() if "×" in line] == [["A", "×0.0625", "224", "224"]]
    assert json.loads(Path("t.json").read_text())["number"] == 3


def test_photos_of_other_images_are_not_shown(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = make_run(tmp_path / "run", {256: [[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]}, [0, 1], data="set test")
    with pytest.raises(
        UsageError, match="the runs are of set test, not of set val; give --data and --subset of the runs"
    ):
        report_of("--runs", made, "--data", root)


def test_the_command_writes_a_submission(tmp_path: Path) -> None:
    (tmp_path / "devkit").mkdir()
    (tmp_path / "devkit/map_clsloc.txt").write_text("b 1 b\nc 2 c\na 3 a\n")
    (tmp_path / "devkit/ILSVRC2012_validation_ground_truth.txt").write_text("1\n")
    made = make_run(tmp_path / "run", {256: [[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]}, None)
    said = invoke("--runs", made, "--submission", tmp_path / "out.txt", "--kit", tmp_path / "devkit")
    assert (tmp_path / "out.txt").read_text() == "1 2 3\n3 2 1\n"
    assert said.splitlines()[-1] == f"submission: {tmp_path / 'out.txt'}, 2 lines"


def test_what_the_command_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="--table needs stored runs; name them as --runs"):
        invoke("--table", 3)
    with pytest.raises(UsageError, match=r"no such folder for r\.html"):
        invoke("--report", "none/r.html")
    with pytest.raises(UsageError, match="a table has no report"):
        invoke("--table", 3, "--runs", "runs", "--report", "r.html")
    with pytest.raises(UsageError, match=r"json: is a folder; name a file"):
        (tmp_path / "json").mkdir()
        invoke("--json", "json")
    with pytest.raises(UsageError, match=r"--runs computes nothing, so --net, --train-scale has no effect"):
        invoke("--runs", "runs", "--net", "D", "--train-scale", "256", "--subset", "test")
    result = CliRunner().invoke(cli.app, ["evaluate", "--train-scale", "512-256"])
    assert result.exit_code == 2
    assert "training scale '512-256': give one side, 256, or a range, 256-512" in result.stderr
    monkeypatch.delenv("VGGFEAT_DATA", raising=False)
    with pytest.raises(DataError, match="ilsvrc2012: no folder given"):
        invoke()


def test_an_interrupt_is_one_line(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["vggfeat", "evaluate", "--data", str(root), "--out", str(tmp_path)])
    monkeypatch.setattr("os.scandir", interrupted)  # while the images are listed
    with pytest.raises(SystemExit) as raised:
        cli.main()
    assert raised.value.code == 130
    assert capsys.readouterr().err == "vggfeat: interrupted; what is done is kept, the same command continues it\n"


def test_a_page_without_photos_and_of_a_test_set(root: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    result = evaluate(root, tmp_path / "runs", **options)
    page = write_report(result, tmp_path / "r.html", command=["/bin/vggfeat", "evaluate"]).read_text()
    assert "Surest mistakes" not in page
    assert "vggfeat evaluate" in page
    images = read(root)
    unlabelled = Classified("x", images.classes, images.paths, images.images, None)
    result = evaluate(unlabelled, tmp_path / "runs", **options)
    assert "no labels" in write_report(result, tmp_path / "t.html").read_text()


@pytest.mark.slow
def test_the_slim_net_on_real_photos(shared: Callable[[str], Path], tmp_path: Path) -> None:
    """The record of the slim net: 71.2 % right on centre crops at Q = 256, 72.6 % densely."""
    data = shared("data/imagenette-128")
    for method, right in (("centre", 71.2), ("dense", 72.6)):
        (row,) = evaluate(data, tmp_path, weights="slim", scales=(256,), method=method).rows
        assert (100 - row.top1, row.images) == (pytest.approx(right, abs=0.21), 500)


def test_the_slim_nets_names_are_matched_to_synsets(shared: Callable[[str], Path], tmp_path: Path) -> None:
    """Twenty photos, two a class; chance would get two of them right."""
    images = read(shared("data/imagenette-128"))
    assert images.labels is not None
    rows = np.concatenate([np.flatnonzero(images.labels == k)[:2] for k in range(10)])
    some = Classified(
        images.name,
        images.classes,
        [images.paths[i] for i in rows],
        [images.images[i] for i in rows],
        images.labels[rows],
    )
    result = evaluate(some, tmp_path, weights="slim", scales=(224,), device="cpu")
    assert result.rows[0].top1 < 60
    assert os.path.basename(result.stores[0]).startswith("A-slim-dense-224-")  # noqa: PTH119
