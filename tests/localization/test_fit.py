"""Training of box nets: the same trainer, so the same laws; a step by hand; what a run leaves behind."""

import csv
import json
import shutil
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from typer.testing import CliRunner

from tests.kit.training_photos import box_csv
from tests.kit.training_processes import run
from tests.train.test_ranks import free_port, together
from vggfeat import weights
from vggfeat.boxes import decode, iou
from vggfeat.cli import app
from vggfeat.errors import DataError, UsageError, WeightsError
from vggfeat.images import read
from vggfeat.localization import BoxRecipe, fit
from vggfeat.train import train
from vggfeat.train.crops import centre_window, crop_of
from vggfeat.train.sets import read_boxes
from vggfeat.weights.publish import publish

KILLED = -signal.SIGKILL
EVERY_LAYER = {"finetune": "all", "epochs": 2, "draws": 1, "lr": 0.03}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return box_csv(tmp_path_factory.mktemp("boxes"))


@pytest.fixture(scope="module")
def settings(tiny_weights):
    """Of tiny runs from convolutions alone."""
    file = tiny_weights("A", width=1 / 32, top="pool5")
    return {"init": f"from:{file}", "batch": 6, "micro": 4, "epochs": 3, "draws": 2, "device": "cpu"}


def jobs(data, top, settings):
    """What makes a job whose run is top / out."""

    def job(out, **more):
        own = {**settings, **more.pop("settings", {})}
        return {"data": str(data), "out": str(top / out), "settings": own, "boxes": True, **more}

    return job


@pytest.fixture(scope="module")
def runs(data, settings, tmp_path_factory):
    """Runs in processes of their own: unbroken, killed, of two processes, and without kept maps."""
    top = tmp_path_factory.mktemp("runs")
    job = jobs(data, top, settings)
    exact, cached = {"dropout": 0.0, "epochs": 2}, {"cache_dir": str(top / "kept")}
    groups = [
        [job("unbroken")],
        [job("killed", die=["maps", 3])],  # the second draw
        [job("killed", die=["step", 11], settings={"save_minutes": 0})],  # in the second epoch
        [job("killed", settings={"workers": 2})],
        [job("one", settings=exact)],
        together(2, free_port(), **job("two", settings={**exact, **cached})),
        [job("plain", settings={**exact, "draws": 0})],
        [job("all", settings=EVERY_LAYER)],
    ]
    ends = run(groups)
    assert ends == [[0], [KILLED], [KILLED], [0], [0], [0, 0], [0], [0]]
    return top


def rows(file):
    with file.open() as lines:
        return list(csv.DictReader(lines))


def losses(folder):
    return [float(row["loss"]) for row in rows(folder / "steps.csv")]


def test_a_run_that_is_killed_ends_as_one_that_was_not(runs):
    for file in ("steps.csv", "best.safetensors", "last.safetensors", "statistics.json"):
        assert (runs / "killed" / file).read_bytes() == (runs / "unbroken" / file).read_bytes()
    assert len(losses(runs / "killed")) == 3 * (21 // 6)
    kept = {file.name: file.read_bytes() for file in (runs / "unbroken" / "maps").glob("*.npy")}
    assert len(kept) == 3  # two draws, and the centre crops
    assert {file.name: file.read_bytes() for file in (runs / "killed" / "maps").glob("*.npy")} == kept


def test_two_processes_train_as_one(runs):
    assert losses(runs / "two") == pytest.approx(losses(runs / "one"), rel=1e-4)
    one, two = ({**rows(runs / name / "log.csv")[-1]} for name in ("one", "two"))
    for column in ("val_loss", "val_iou", "train_iou"):
        assert float(two[column]) == pytest.approx(float(one[column]), rel=1e-3)
    assert (one["train_outside"], one["val_error"]) == (two["train_outside"], two["val_error"])
    assert len(list((runs / "kept").glob("*.npy"))) == 3 and not (runs / "two" / "maps").exists()


def test_kept_maps_train_as_the_convolutions(runs):
    """Each of two epochs has a draw of its own in both."""
    assert losses(runs / "plain") == pytest.approx(losses(runs / "one"), rel=2e-3)
    plain, kept = (weights.load(weights.read(runs / name / "last.safetensors")) for name in ("plain", "one"))
    for name, value in plain.named_parameters():
        torch.testing.assert_close(kept.get_parameter(name), value, rtol=1e-2, atol=1e-4)


def test_only_connected_layers_change(runs, settings):
    began = weights.load(weights.read(settings["init"].removeprefix("from:")), "pool5").state_dict()
    ended = weights.load(weights.read(runs / "one" / "last.safetensors")).state_dict()
    assert all(torch.equal(ended[name], value) for name, value in began.items())


def test_every_layer_learns_if_all_are_tuned(runs, settings):
    began = weights.load(weights.read(settings["init"].removeprefix("from:")), "pool5").state_dict()
    ended = weights.load(weights.read(runs / "all" / "last.safetensors")).state_dict()
    assert "conv1_1.weight" in began
    assert not any(torch.equal(ended[name], value) for name, value in began.items())
    first, last = (float(row["train_loss"]) for row in rows(runs / "all" / "log.csv"))  # of the same crops
    assert last < 0.9 * first
    assert not (runs / "all" / "maps").exists()


@pytest.mark.slow
def test_tuning_of_all_layers_is_continued_and_shared_as_well(runs, data, settings):
    job = jobs(data, runs, settings)
    groups = [
        [job("all killed", die=["step", 9], settings={**EVERY_LAYER, "save_minutes": 0})],  # in the second epoch
        [job("all killed", settings=EVERY_LAYER)],
        together(2, free_port(), **job("all of two", settings=EVERY_LAYER)),
    ]
    assert run(groups) == [[KILLED], [0], [0, 0]]
    for file in ("steps.csv", "best.safetensors", "last.safetensors", "statistics.json"):
        assert (runs / "all killed" / file).read_bytes() == (runs / "all" / file).read_bytes()
    assert losses(runs / "all of two") == pytest.approx(losses(runs / "all"), rel=1e-3)


def test_validation_is_that_of_plain_torch(runs, data, settings):
    """The loss of the validation photos after the last epoch, from the files alone."""
    file = weights.read(runs / "one" / "last.safetensors")
    assert (file.boxes, file.outputs, file.classes) == ("pcr", 12, ("blue", "green", "red"))
    net, found = weights.load(file), [row for row in rows(data) if row["subset"] == "val"]
    total, overlaps = 0.0, []
    for row in sorted(found, key=lambda row: row["path"]):
        pixels = read(data.parent / "images" / row["path"])
        height, width = pixels.shape[:2]
        window = centre_window((height, width), 256)
        h, w = (256, round(256 * width / height)) if height < width else (round(256 * height / width), 256)
        crop = crop_of(pixels, window)[:, :, ::-1].astype(np.float32) - np.float32(file.preprocessing.mean)
        code = net(torch.from_numpy(crop).permute(2, 0, 1)[None])[0]
        k = file.classes.index(row["label"])
        x0, x1 = (float(row[name]) * w / width - window.left for name in ("x0", "x1"))
        y0, y1 = (float(row[name]) * h / height - window.top for name in ("y0", "y1"))
        target = torch.tensor([(x0 + x1) / 2 - 112, (y0 + y1) / 2 - 112, x1 - x0, y1 - y0]) / 224
        total += functional.mse_loss(code[4 * k : 4 * k + 4], target, reduction="sum").item() / 2
        guess = decode(code[None, 4 * k : 4 * k + 4], torch.zeros(1, 2))
        low, high = torch.tensor([-window.left, -window.top] * 2), torch.tensor([w - window.left, h - window.top] * 2)
        overlaps.append(iou(guess.clamp(low, high), torch.tensor([[x0, y0, x1, y1]])).item())
    last = rows(runs / "one" / "log.csv")[-1]
    assert float(last["val_loss"]) == pytest.approx(total / len(found), rel=1e-3)
    assert float(last["val_iou"]) == pytest.approx(np.mean(overlaps), rel=1e-3)
    assert float(last["val_error"]) == pytest.approx(100 * np.mean(np.array(overlaps) < 0.5))


def test_the_result_and_the_card_tell_error_and_overlap(runs, tmp_path):
    result = json.loads((runs / "one" / "result.json").read_text())
    best = min(rows(runs / "one" / "log.csv"), key=lambda row: float(row["val_error"]))
    assert result["error"] == float(best["val_error"]) and result["iou"] == float(best["val_iou"])
    published = publish(runs / "one", tmp_path / "mine.safetensors", licence="CC-BY-4.0")
    assert published.weights.boxes == "pcr"
    card = published.card.read_text()
    assert f"{result['error']:.2f} ± " in card and f"{result['iou']:.3f}" in card
    assert "vggfeat localize predict mine.safetensors photo.jpg" in card and "vggfeat classify" not in card


def test_labels_of_a_csv_are_learnt_too(data, settings, tmp_path):
    result = train(data, tmp_path / "run", net="auto", finetune="fc", **{**settings, "epochs": 1})
    file = weights.read(tmp_path / "run" / "best.safetensors")
    assert (file.boxes, file.outputs, file.net, file.width) == (None, 3, "A", 1 / 32)
    assert 0 <= result.top1 <= 100


def test_a_run_of_classes_is_no_run_of_boxes(runs, data, settings, tmp_path):
    out = shutil.copytree(runs / "one", tmp_path / "run")
    with pytest.raises(UsageError, match="was begun with regression 'pcr', not 'scr'"):
        fit(data, out, **{**settings, "dropout": 0.0, "regression": "scr"})
    with pytest.raises(UsageError, match="was begun with regression 'pcr', not None"):
        train(data, out, net="auto", finetune="fc", fill="scaled", dropout=0.0, **settings)


def test_boxes_that_changed_are_noticed(runs, data, settings, tmp_path):
    folder = shutil.copytree(data.parent, tmp_path / "data")
    head, first, *others = (folder / "boxes.csv").read_text().splitlines()
    path, label, x0, *corners = first.split(",")
    changed = ",".join([path, label, str(int(x0) + 1), *corners])
    (folder / "boxes.csv").write_text("\n".join([head, changed, *others]))
    out = shutil.copytree(runs / "one", tmp_path / "run")
    with pytest.raises(DataError, match="was begun with different images or labels"):
        fit(folder / "boxes.csv", out, **{**settings, "dropout": 0.0})


def test_photos_that_exif_turns_are_learnt_as_they_are_stored(data, tmp_path):
    folder = shutil.copytree(data.parent, tmp_path / "data")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    name = "train-blue-0.png"
    with Image.open(folder / "images" / name) as stored:
        pixels = np.asarray(stored)
        stored.save(folder / "images" / name, exif=exif)
    assert read(folder / "images" / name, exif=True).shape != pixels.shape
    sets = read_boxes(folder / "boxes.csv")
    for photos in (sets.train, sets.without_boxes().train):
        assert np.array_equal(photos.pixels(list(photos.paths).index(name)), pixels)


def test_without_validation_photos_some_are_held_out(data, settings, tmp_path, capsys):
    folder = shutil.copytree(data.parent, tmp_path / "data")
    table = [row for row in (folder / "boxes.csv").read_text().splitlines() if not row.endswith(",val")]
    (folder / "boxes.csv").write_text("\n".join(row.rpartition(",")[0] for row in table))
    options = [f"--{name.replace('_', '-')}={value}" for name, value in {**settings, "epochs": 1}.items()]
    command = ["localize", "fit", str(folder / "boxes.csv"), "--out", str(tmp_path / "run"), "--regression=scr"]
    done = CliRunner().invoke(app, [*command, *options])
    assert done.exit_code == 0, done.output
    assert "validation error at IoU 0.5" in done.output
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["data"]["train"], config["data"]["val"]) == (18, 3)
    assert "boxes.csv: has no val photos; 3 of train, some of each class, are held out" in config["notes"][-1]


def test_settings_are_refused_in_one_line(data, settings, tmp_path):
    with pytest.raises(UsageError, match="no regression 'both'; take one of scr, pcr"):
        BoxRecipe(regression="both")
    with pytest.raises(UsageError, match="net auto is that of trained weights: give init from:FILE"):
        BoxRecipe(init="glorot", finetune="all")
    with pytest.raises(WeightsError, match=r"pool5-BGR\.safetensors: is of width 0\.03125, not 0\.5: leave --width"):
        fit(data, tmp_path / "run", **{**settings, "width": 0.5})
    with pytest.raises(DataError, match="21 training images are fewer than a batch of 32; give a smaller --batch"):
        fit(data, tmp_path / "run")
