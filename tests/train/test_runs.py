"""Whole runs: what they leave behind, what they refuse, and the paper's chain."""

import csv
import json
import math
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch

from tests.kit.training_photos import COLOURS, TINY, photo, photo_set
from vggfeat import weights
from vggfeat.classify import Classifier
from vggfeat.cli import app
from vggfeat.data.imagenet import Classified, synset_names
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, UsageError, VggfeatError, WeightsError
from vggfeat.evaluate.runner import known_train_scale
from vggfeat.images import read
from vggfeat.metrics import top_k_error
from vggfeat.train import Recipe, checkpoint, train, train_paper
from vggfeat.train.crops import centre_window, crop_of
from vggfeat.train.folder import RunFolder
from vggfeat.train.learner import Learner
from vggfeat.train.pixel_statistics import ILSVRC
from vggfeat.train.sets import read_sets
from vggfeat.train.start import pixel_statistics
from vggfeat.weights.publish import publish

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return photo_set(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run of two epochs, measured densely as well, and its result."""
    out = tmp_path_factory.mktemp("runs") / "run"
    state = torch.random.get_rng_state()
    result = train(data, out, dense=True, tensorboard=True, **TINY)
    assert torch.equal(torch.random.get_rng_state(), state)  # the caller's random numbers are left alone
    return out, result


def interrupted(data, out, step, **settings):
    """Train until the step-th step from now, in which the process is asked to stop."""
    plain, calls = Learner.step, count(1)

    def asked(self, *arguments):
        if next(calls) == step:
            signal.raise_signal(signal.SIGTERM)
        return plain(self, *arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Learner, "step", asked)
        train(data, out, **settings)


def rows(path):
    with path.open() as lines:
        return list(csv.DictReader(lines))


# ---- what a run leaves behind


def test_the_best_weights_classify_and_describe_at_once(finished, data):
    out, result = finished
    file = weights.read(out / "best.safetensors")
    assert (file.net, file.width, file.classes) == ("A", 1 / 32, ("blue", "green", "red"))
    assert known_train_scale(file) == Recipe(**TINY).scales[:1]  # so that tables know S
    pixels = np.concatenate([read(path).reshape(-1, 3) for path in sorted((data / "train").glob("*/*"))])
    assert (file.preprocessing.colour, file.preprocessing.range, file.preprocessing.std) == ("RGB", 255, (1, 1, 1))
    assert file.preprocessing.mean == pytest.approx(pixels.mean(0).tolist(), rel=1e-9)
    images = sorted((data / "val").glob("*/*"))
    classifier = Classifier(weights=out / "best.safetensors", scales=(256,))
    assert classifier.names == ("blue", "green", "red")
    labels = [list(COLOURS).index(path.parent.name) for path in images]
    dense = 100 * top_k_error(classifier.posteriors(images), labels, 1)
    assert result.dense == {"top1": pytest.approx(dense), "top5": 0, "images": len(images)}
    assert Describer(weights=out / "best.safetensors", scales=(256,)).describe(images[0]).shape == (128,)


def test_the_log_has_a_row_an_epoch_and_a_row_a_step(finished):
    out, result = finished
    epochs, steps = rows(out / "log.csv"), rows(out / "steps.csv")
    assert [(row["epoch"], row["step"]) for row in steps] == [(str(e), str(s)) for e in (0, 1) for s in range(3)]
    for epoch, row in enumerate(epochs):
        losses = [float(step["loss"]) for step in steps if step["epoch"] == str(epoch)]
        assert float(row["train_loss"]) == pytest.approx(np.mean(losses), rel=1e-6)
    best = min(epochs, key=lambda row: float(row["val_top1"]))
    assert (str(result.best_epoch), result.top1) == (best["epoch"], float(best["val_top1"]))
    assert json.loads((out / "result.json").read_text())["top1"] == result.top1
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert any((out / "tensorboard").iterdir())


def test_the_validation_error_is_that_of_the_centre_crops(finished, data):
    out, _ = finished
    file = weights.read(out / "last.safetensors")
    net = weights.load(file)
    images = sorted((data / "val").glob("*/*"))
    photos = [read(path) for path in images]
    crops = np.stack([crop_of(photo, centre_window(photo.shape[:2], 256)) for photo in photos]).astype(np.float32)
    crops -= np.float32(file.preprocessing.mean)
    scores = net(torch.from_numpy(crops).permute(0, 3, 1, 2))
    labels = torch.tensor([list(COLOURS).index(path.parent.name) for path in images])
    loss = torch.nn.functional.cross_entropy(scores, labels).item()
    assert float(rows(out / "log.csv")[-1]["val_loss"]) == pytest.approx(loss, rel=1e-4)


def test_config_says_everything(finished, data):
    out, _ = finished
    config = json.loads((out / "config.json").read_text())
    assert config["recipe"]["batch"] == 6 and config["settings"]["epochs"] == 2
    assert config["data"]["folders"] == ["blue", "green", "red"] and config["data"]["train"] == 21
    assert config["start"]["lr"] == 0.001 and config["began_on"]["precision"] == "float32"
    tensors, progress, about = checkpoint.load(out / "checkpoint.safetensors")
    assert about.recipe == config["recipe"] and about.data == config["data"]["sha256"]
    assert (progress.epoch, progress.step, progress.finished) == (2, 0, "2 epochs are done")
    assert {name.split("/")[0] for name in tensors} == {"net", "momentum"}


def test_a_finished_run_is_not_done_again(finished, data, tmp_path):
    out = shutil.copytree(finished[0], tmp_path / "run")
    before = (out / "checkpoint.safetensors").read_bytes()
    assert train(data, out, **TINY).top1 == finished[1].top1
    assert (out / "checkpoint.safetensors").read_bytes() == before
    longer = train(data, out, **{**TINY, "epochs": 3, "micro": 6})
    assert longer.epochs == 3 and len(rows(out / "log.csv")) == 3


def test_fewer_epochs_than_are_begun_end_it_with_those_that_are_done(finished, data, tmp_path):
    out = shutil.copytree(finished[0], tmp_path / "run")
    interrupted(data, out, step=1, **{**TINY, "epochs": 4})
    assert checkpoint.load(out / "checkpoint.safetensors")[1].step == 1
    fewer = train(data, out, **{**TINY, "epochs": 1})
    assert (fewer.finished, fewer.epochs, fewer.top1) == ("2 epochs are done", 2, finished[1].top1)
    assert train(data, out, **{**TINY, "epochs": 4}).epochs == 4


def test_a_run_of_an_earlier_version_goes_on(finished, data, tmp_path):
    """It has no warm-up, no norm of gradients, and two columns less in its log."""
    out = shutil.copytree(finished[0], tmp_path / "run")
    config = json.loads((out / "config.json").read_text())
    del config["recipe"]["warmup"]
    (out / "config.json").write_text(json.dumps(config))
    tensors, state, about = checkpoint.load(out / "checkpoint.safetensors")
    about.recipe.pop("warmup")
    checkpoint.save(out / "checkpoint.safetensors", tensors, state, about)
    log = (out / "log.csv").read_text().splitlines()
    assert log[0].endswith(",seconds,dead,gradient")
    (out / "log.csv").write_text("".join(line.rsplit(",", 2)[0] + "\n" for line in log))
    assert train(data, out, **{**TINY, "epochs": 3}).epochs == 3
    found = [(row["dead"], row["gradient"]) for row in rows(out / "log.csv")]
    assert found[:2] == [("", ""), ("", "")] and float(found[2][1]) > 0
    assert [row["lr"] for row in rows(out / "log.csv")] == ["0.001"] * 3


def test_a_default_rate_stays_that_with_which_the_run_began(data, tmp_path, capfd):
    settings = {**TINY, "lr": None, "epochs": 1}
    train(data, tmp_path / "run", **settings)
    said = capfd.readouterr().err
    assert "learning rate 0.000234375 for batches of 6, as 0.01 for batches of 256; --lr sets another\n" in said
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["start"]["lr"] = 0.002
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    (tmp_path / "run" / "checkpoint.safetensors").unlink()  # it was killed before the first one
    train(data, tmp_path / "run", **settings)
    train(data, tmp_path / "run", **{**settings, "epochs": 2})
    assert [row["lr"] for row in rows(tmp_path / "run" / "steps.csv")] == ["0.002"] * 6
    config["start"]["lr"] = -1
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    with pytest.raises(VggfeatError, match=r"config\.json: cannot be read \(a learning rate of -1.*\); remove"):
        train(data, tmp_path / "run", **settings)


def test_a_lost_log_costs_no_result(finished, data, tmp_path):
    out = shutil.copytree(finished[0], tmp_path / "run")
    (out / "log.csv").unlink()
    again = train(data, out, **TINY)
    assert (again.top1, again.top5, again.best_epoch) == (
        finished[1].top1, finished[1].top5, finished[1].best_epoch
    )  # fmt: skip
    (out / "log.csv").write_text("epoch,lr\n0,nonsense\n")
    with pytest.raises(VggfeatError, match=r"log\.csv: cannot be read \(its columns are not epoch,lr,.*\); remove it"):
        train(data, out, **TINY)


def test_weights_to_start_from_may_be_named_otherwise_later(finished, data, tmp_path, monkeypatch):
    """As the sha256 is the same; other ones of the same name are refused."""
    base = shutil.copytree(finished[0], tmp_path / "base")
    tuning = {**TINY, "epochs": 1}
    train(data, tmp_path / "run", **tuning, init=f"from:{base / 'best.safetensors'}")
    moved = base.rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    result = train(data, tmp_path / "run", **{**tuning, "epochs": 2}, init="from:best.safetensors")
    assert result.epochs == 2
    shutil.copy(tmp_path / "run" / "best.safetensors", "other.safetensors")
    with pytest.raises(UsageError, match=r"was begun with init 'from:.*base/best\.safetensors', not 'from:other"):
        train(data, tmp_path / "run", **tuning, init="from:other.safetensors")


def test_a_bar_and_a_line_tell_how_it_went(data, tmp_path, capsys):
    from typer.testing import CliRunner

    options = ["--net", "A", "--width", "0.03125", "--batch", "6", "--epochs", "1", "--lr", "0.001"]
    done = CliRunner().invoke(app, ["train", "--data", str(data), "--out", str(tmp_path / "run"), *options])
    assert done.exit_code == 0, done.output
    assert "1 epochs are done; epoch 0 is the best: validation error top-1" in done.output
    assert "training" in done.output or "loss" in done.output


def test_the_rate_is_divided_and_the_run_ends(data, tmp_path, capfd):
    settings = {**TINY, "gain": 200.0, "patience": 1, "drops": 1, "epochs": 9}  # none but the first is good enough
    result = train(data, tmp_path / "run", **settings)
    assert result.finished == "the validation error stopped improving"
    assert [float(row["lr"]) for row in rows(tmp_path / "run" / "log.csv")] == pytest.approx([1e-3, 1e-3, 1e-4])
    said = capfd.readouterr().err
    assert said.count("learning rate 0.0001 from now on: no improvement of 200 points in 1 epochs") == 1
    assert said.count("\nepoch 2: loss ") == 1


def test_ilsvrcs_own_layout(tmp_path):
    """Three of the synsets in train/, flat photos in val/ with the kit's ground truth, whose numbers are a trap."""
    folders = {"n01440764": "red", "n02110185": "green", "n02119789": "blue"}
    photo_set(tmp_path / "plain")
    for synset, colour in folders.items():
        shutil.copytree(tmp_path / "plain" / "train" / colour, tmp_path / "data" / "train" / synset)
    numbers = {"n02119789": 1, "n02100735": 2, "n02110185": 3, "n01440764": 4}  # of the kit
    truth = [*(numbers[synset] for synset in folders for _ in range(2)), numbers["n02100735"]]  # the last: not trained
    kit, val = tmp_path / "data" / "ILSVRC2012_devkit_t12" / "data", tmp_path / "data" / "val"
    kit.mkdir(parents=True)
    val.mkdir()
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{number}\n" for number in truth))
    (kit / "map_clsloc.txt").write_text("".join(f"{synset} {number} name\n" for synset, number in numbers.items()))
    for number, colour in enumerate([*(c for c in folders.values() for _ in range(2)), "red"], start=1):
        name = f"ILSVRC2012_val_{number:08}.JPEG"
        shutil.copy(tmp_path / "plain" / "val" / colour / f"{number % 2}.png", val / name)
    result = train(tmp_path / "data", tmp_path / "run", **{**TINY, "epochs": 1})
    assert weights.read(tmp_path / "run" / "best.safetensors").classes == ("tench", "Siberian husky", "kit fox")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["data"]["train"], config["data"]["val"], result.epochs) == (21, 6, 1)
    assert "images left out, because their classes were not asked for: 1" in config["notes"]


# ---- what it refuses


def test_a_loss_that_is_no_number_names_the_last_good_checkpoint(data, tmp_path):
    with pytest.raises(VggfeatError, match=r"the loss became (nan|inf) in step \d+ of epoch \d+") as error:
        train(data, tmp_path / "run", **{**TINY, "lr": 1e6, "save_minutes": 0, "epochs": 5})
    message = str(error.value)
    kept = tmp_path / "run" / "checkpoint.safetensors"
    tensors, progress, _ = checkpoint.load(kept)
    assert f"the last good checkpoint is {kept} (epoch {progress.epoch}, step {progress.step})" in message
    assert "\n" not in message
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    assert all(math.isfinite(float(row["loss"])) for row in rows(tmp_path / "run" / "steps.csv"))


@pytest.mark.parametrize("change", [{"lr": 0.01}, {"net": "B"}, {"seed": 1}, {"scale": "256-512"}], ids=str)
def test_a_run_begun_otherwise_is_not_continued(finished, data, change):
    ((name, value),) = change.items()
    with pytest.raises(UsageError, match=f"was begun with {name} .*, not {value!r}; name another folder"):
        train(data, finished[0], **{**TINY, **change})


def test_other_images_or_labels_are_not_continued_on(finished, data, tmp_path):
    other = photo_set(tmp_path / "other")
    (other / "train" / "blue" / "0.png").rename(other / "train" / "red" / "new.png")
    with pytest.raises(DataError, match="was begun with different images or labels"):
        train(other, finished[0], **TINY)


def test_the_checkpoint_of_another_net_is_refused(finished, data, tmp_path):
    out = tmp_path / "run"
    settings = {**TINY, "net": "B", "epochs": 1}
    train(data, out, **settings)
    shutil.copy(finished[0] / "checkpoint.safetensors", out)
    with pytest.raises(WeightsError, match=r"checkpoint\.safetensors: is of a run with net 'A', not 'B'"):
        train(data, out, **settings)
    (out / "checkpoint.safetensors").write_bytes(b"rubbish")
    with pytest.raises(WeightsError, match=r"checkpoint\.safetensors: is damaged; remove it to start again"):
        train(data, out, **settings)
    shutil.copy(finished[0] / "best.safetensors", out / "checkpoint.safetensors")
    with pytest.raises(WeightsError, match="is not a checkpoint in the format"):
        train(data, out, **settings)


def test_the_checkpoint_of_a_run_from_other_weights_is_refused(finished, data, tmp_path):
    out = shutil.copytree(finished[0], tmp_path / "run")
    tensors, state, about = checkpoint.load(out / "checkpoint.safetensors")
    other = replace(about, start=replace(about.start, sha256="ab"))
    checkpoint.save(out / "checkpoint.safetensors", tensors, state, other)
    with pytest.raises(WeightsError, match=r"checkpoint\.safetensors: is of a run that began with other weights"):
        train(data, out, **TINY)
    checkpoint.save(out / "checkpoint.safetensors", tensors, replace(state, step=9, sums=(1, 1, 1, 1)), about)
    with pytest.raises(WeightsError, match=r"is of step 9 of an epoch of 3 steps; remove it"):
        train(data, out, **TINY)


def test_the_best_weights_are_those_that_were_written(finished, data, tmp_path):
    """Neither the end of a run nor publishing takes a file that has changed since."""
    out = shutil.copytree(finished[0], tmp_path / "run")
    publish(out, tmp_path / "good.safetensors", licence="MIT")
    changed = bytearray((out / "best.safetensors").read_bytes())
    changed[-1] ^= 1  # the sign or a digit of the last number
    (out / "best.safetensors").write_bytes(changed)
    with pytest.raises(WeightsError, match=r"best\.safetensors: is not the file that this run wrote after epoch \d"):
        train(data, out, **TINY)
    with pytest.raises(
        WeightsError, match=r"best\.safetensors: is not the file that the run wrote: result\.json has another sha256"
    ):
        publish(out, tmp_path / "bad.safetensors", licence="MIT")
    assert not (tmp_path / "bad.safetensors").exists()


def test_a_folder_in_use_or_with_other_things_is_refused(data, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match="other things in it"):
        train(data, tmp_path, **TINY)
    run = tmp_path / "run"
    run.mkdir()
    hold = "import fcntl, sys; f = open(sys.argv[1], 'wb'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", hold, str(run / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(VggfeatError, match="another process is training there"):
            train(data, run, **TINY)
        other.stdin.write(b"\n")


@pytest.mark.parametrize("left", [".config.json.part", ".config.json.123.tmp"])
def test_what_a_killed_start_left_is_removed(data, tmp_path, left):
    """Earlier versions wrote .part files."""
    (tmp_path / left).touch()
    train(data, tmp_path, **{**TINY, "epochs": 1})
    assert not (tmp_path / left).exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".movie.part").touch()
    with pytest.raises(UsageError, match="other things in it, not a run; name another folder"):
        train(data, tmp_path / "other", **TINY)


def test_data_that_cannot_be_trained_on(data, tmp_path):
    def refused(match, change=lambda root: None, **settings):
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(data, root)
        change(root)
        with pytest.raises(DataError, match=match) as error:
            train(root, tmp_path / "run", **{**TINY, **settings})
        assert "\n" not in str(error.value)

    refused("21 training images are fewer than a batch of 256", batch=256)
    refused("train/yellow: no image in this class folder", lambda root: (root / "train" / "yellow").mkdir())
    refused(
        "val/yellow: is a class that train does not have",
        lambda root: photo(root / "val" / "yellow" / "0.png", (9, 9, 9), 0),
    )
    refused("has no val/; give a folder with train/", lambda root: shutil.rmtree(root / "val"))
    refused("folder not found; give a folder with", shutil.rmtree)
    assert not (tmp_path / "run").exists()  # a wrong name leaves nothing behind

    def one_class(root):
        for part in ("train", "val"):
            for name in ("green", "red"):
                shutil.rmtree(root / part / name)

    refused("training needs two classes, and there is 1", one_class)


def test_unreadable_images_are_skipped_counted_and_listed(data, tmp_path):
    root = shutil.copytree(data, tmp_path / "data")
    (root / "train" / "blue" / "1.png").write_bytes(b"")
    (root / "val" / "red" / "0.png").write_bytes(b"no image")
    result = train(root, tmp_path / "run", **{**TINY, "batch": 7, "epochs": 1})
    failures = rows(tmp_path / "run" / "failures.csv")
    assert [row["path"] for row in failures] == ["train/blue/1.png", "val/red/0.png"]
    assert failures[0]["reason"] == "is empty" and result.unreadable == 2
    assert "2 images were left out (failures.csv)" in str(result)
    for path in (root / "val").glob("*/*"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 6 validation images could be read"):
        train(root, tmp_path / "other", **{**TINY, "epochs": 1})


def test_unreadable_images_of_steps_before_a_checkpoint_are_listed(data, tmp_path):
    root = shutil.copytree(data, tmp_path / "data")
    bad = [f"train/{name}/{i}.png" for name in COLOURS for i in range(2)]
    for name in bad:
        (root / name).write_bytes(b"no image")
    settings = {**TINY, "epochs": 1, "save_minutes": 1000}
    interrupted(root, tmp_path / "run", step=2, **settings)
    train(root, tmp_path / "run", **settings)
    train(root, tmp_path / "whole", **settings)
    assert rows(tmp_path / "run" / "failures.csv") == rows(tmp_path / "whole" / "failures.csv")
    with pytest.raises(DataError, match=r"no image of step \d+ of epoch 0 could be read; see failures\.csv"):
        train(root, tmp_path / "one", **{**settings, "batch": 1})
    assert {row["path"] for row in rows(tmp_path / "one" / "failures.csv")} <= set(bad)


def test_images_that_can_not_be_seen_whole_are_listed_and_counted(data, tmp_path):
    root = shutil.copytree(data, tmp_path / "data")
    long = photo(root / "val" / "red" / "long.png", COLOURS["red"], 0, size=(2000, 1))
    result = train(root, tmp_path / "run", dense=True, **{**TINY, "epochs": 1})
    assert result.dense["images"] == 6 and "(of 6 images)" in str(result)
    (row,) = rows(tmp_path / "run" / "failures.csv")
    assert row["path"] == "val/red/long.png" and "would become" in row["reason"]
    for path in (root / "val").glob("*/?.png"):
        shutil.copy(long, path)
    with pytest.raises(DataError, match="none of the 7 validation images can be described whole"):
        train(root, tmp_path / "other", dense=True, **{**TINY, "epochs": 1})


def test_asked_during_validation_it_saves_and_stops(data, tmp_path, monkeypatch, capfd):
    settings = {**TINY, "epochs": 1, "save_minutes": 1000}
    train(data, tmp_path / "unbroken", **settings)
    judge = Learner.judge

    def asked(self, *arguments):
        signal.raise_signal(signal.SIGTERM)
        return judge(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "judge", asked)
        with pytest.raises(KeyboardInterrupt):
            train(data, tmp_path / "run", **settings)
    assert "stopping when this step is done and saved" in capfd.readouterr().err
    _, progress, _ = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")
    assert (progress.epoch, progress.step) == (0, 3)
    train(data, tmp_path / "run", **settings)
    for name in ("steps.csv", "best.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "config.json",
            "[]",
            r"config\.json: cannot be read \(Expected .object., got .array.\); remove .*run and begin the run again",
        ),
        ("config.json", '{"recipe": []}', r"config\.json: cannot be read .*; remove .*run and begin"),
        ("failures.csv", "file\nx\n", r"failures\.csv: cannot be read \(its columns are not path,reason\); remove it"),
        ("steps.csv", "\udcff", r"steps\.csv: cannot be read .*; remove it"),
        ("result.json", "[1]", r"result\.json: cannot be read \(Expected .object., got .array.\); remove it"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(finished, data, tmp_path, name, text, said):
    out = shutil.copytree(finished[0], tmp_path / "run")
    (out / name).write_text(text, errors="surrogateescape")
    with pytest.raises(VggfeatError, match=said):
        train(data, out, **{**TINY, "epochs": 3})


@pytest.mark.parametrize("text", ["{}", '{"mean": [1, 2], "values": [1, 2, 3], "vectors": [], "images": 1}'])
def test_damaged_statistics_are_named(data, tmp_path, text):
    settings = {**TINY, "epochs": 1, "save_minutes": 1000}
    interrupted(data, tmp_path / "run", step=1, **settings)
    (tmp_path / "run" / "checkpoint.safetensors").unlink()
    (tmp_path / "run" / "statistics.json").write_text(text)
    with pytest.raises(VggfeatError, match=r"statistics\.json: cannot be read .*; remove it"):
        train(data, tmp_path / "run", **settings)


@pytest.mark.parametrize("call", [train, train_paper])
def test_a_recipe_and_settings_beside_it_are_refused(data, tmp_path, call):
    with pytest.raises(UsageError, match="epochs is given beside a recipe: put it into the recipe"):
        call(data, tmp_path / "run", Recipe(**TINY), epochs=3)


def test_the_fully_connected_layers_alone_are_trained_of_the_same_net_only(finished, data, tmp_path):
    start = {"init": f"from:{finished[0] / 'best.safetensors'}", "finetune": "fc"}
    with pytest.raises(UsageError, match="to train only the fully connected layers of B, start from a trained B"):
        train(data, tmp_path / "run", **{**TINY, "net": "B"}, **start)
    train(data, tmp_path / "same", **{**TINY, "epochs": 1}, **start)


def test_a_checkpoint_holds_nothing_that_could_run(finished, tmp_path):
    out = shutil.copytree(finished[0], tmp_path / "run")
    file = out / "checkpoint.safetensors"
    torch.save({"net": Recipe()}, file)  # a pickle
    with pytest.raises(WeightsError, match=r"checkpoint\.safetensors: is damaged; remove it to start again"):
        checkpoint.load(file)


def test_pixel_statistics_are_ilsvrcs_for_its_thousand_classes(tmp_path):
    def sets(root, subset, classes=None):
        names = tuple(synset_names())
        return Classified("ilsvrc", names, ("a", "b"), ("a", "b"), np.array([0, 999]))

    for part in ("train", "val"):
        (tmp_path / part).mkdir()
    found = read_sets(tmp_path, 2, sets)
    assert pixel_statistics(RunFolder(tmp_path), Recipe(), found) == ILSVRC
    assert json.loads((tmp_path / "statistics.json").read_text())["images"] == 0
    assert found.classes[217] == "English springer"


# ---- the paper's chain


def test_the_chain_starts_each_net_from_the_one_before(data, tmp_path, capfd):
    settings = {"net": "B", "width": 1 / 32, "batch": 10, "epochs": 1}
    results = train_paper(data, tmp_path / "chain", **settings)
    assert [result.out.rpartition("/")[2] for result in results] == ["A-256", "B-256", "B-384", "B-256-512"]
    configs = [json.loads((tmp_path / "chain" / r.out.rpartition("/")[2] / "config.json").read_text()) for r in results]
    assert [config["recipe"]["net"] for config in configs] == ["A", "B", "B", "B"]
    assert [len(config["start"]["copied"]) for config in configs] == [0, 7, 13, 13]
    assert [config["start"]["lr"] for config in configs] == [rate * 10 / 256 for rate in (0.01, 0.01, 0.001, 0.001)]
    for before, config in zip(results, configs[1:], strict=False):
        assert config["start"]["sha256"] == weights.read(f"{before.out}/best.safetensors").sha256
    said = capfd.readouterr().err
    assert "A-256: the net has collapsed, or has not begun to learn: after epoch 0 its outputs are the same" in said
    assert "for all 6 validation images (loss 1.099, and ln 3 is 1.099); if this lasts, begin again" in said
    earlier = tmp_path / "chain" / "B-256"  # as versions began it that had one rate for all batches
    tensors, state, about = checkpoint.load(earlier / "checkpoint.safetensors")
    checkpoint.save(
        earlier / "checkpoint.safetensors", tensors, state, replace(about, recipe={**about.recipe, "lr": 0.01})
    )
    configs[1]["recipe"]["lr"] = 0.01
    (earlier / "config.json").write_text(json.dumps(configs[1]))
    assert train_paper(data, tmp_path / "chain", **settings) == results  # nothing is left to do
    with pytest.raises(UsageError, match="has its own scale"):
        train_paper(data, tmp_path / "chain", **settings, scale="384")
