"""From a training run to a file for others, with its card."""

import json

import pytest
import torch

from vggfeat import weights
from vggfeat.cli import app
from vggfeat.errors import UsageError, WeightsError
from vggfeat.weights.publish import publish

LOG = "epoch,lr,train_loss,train_top1,train_top5,val_loss,val_top1,val_top5,images_per_s,seconds\n"


@pytest.fixture
def run(tmp_path, tiny_weights):
    """The folder of a run as training leaves it, without the training."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "best.safetensors").write_bytes(tiny_weights("A", classes=7).read_bytes())
    config = {
        "recipe": {"net": "A", "lr": None, "scale": "256"},
        "data": {"sha256": "ab12", "train": 1000, "val": 100},
        "start": {"lr": 0.01, "source": "", "sha256": ""},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "log.csv").write_text(
        LOG + "0,0.01,2,90,50,2,60,25,9,9\n1,0.01,2,80,40,2,20,10,9,9\n2,0.01,1,70,30,2,30,5,9,9\n"
    )
    (folder / "result.json").write_text(
        json.dumps({"epochs": 3, "unreadable": 3, "dense": {"top1": 10.0, "top5": 0.0}})
    )
    return folder


def test_the_file_holds_the_best_weights_under_the_licence(run, tmp_path):
    published = publish(run, tmp_path / "mine.safetensors", licence="CC-BY-4.0")
    assert (
        published.weights.licence == "CC-BY-4.0"
        and published.weights.classes == weights.read(run / "best.safetensors").classes
    )
    one, two = (weights.load(weights.read(f)).state_dict() for f in (published.weights.path, run / "best.safetensors"))
    assert all(torch.equal(one[name], two[name]) for name in two)
    half = publish(run, tmp_path / "half.safetensors", licence="CC-BY-4.0", dtype="float16").weights
    assert 0.49 < half.path.stat().st_size / published.weights.path.stat().st_size < 0.52
    assert weights.verify(half.path).dtypes == ("float16",)


def test_the_card_has_data_recipe_and_scores(run, tmp_path):
    published = publish(run, tmp_path / "mine.safetensors", licence="CC-BY-4.0", name="Ten things")
    card = published.card.read_text()
    assert published.card == tmp_path / "mine.md" and card.startswith("# Ten things\n")
    assert published.weights.sha256 in card and "CC-BY-4.0" in card
    assert "1,000 training and 100 validation images" in card and "ab12" in card
    assert "class 0, class 1" in card and "3 images could not be read" in card
    assert "| lr | 0.01 |" in card and "Started from random weights; 3 epochs." in card
    # the best epoch is the second; 20 % of 100 images: 100 * sqrt(0.2 * 0.8 / 100) = 4
    assert "Of epoch 1 " in card and "| one centre crop per image | 20.00 ± 4.00 | 10.00 ± 3.00 |" in card
    assert "| dense, with mirror images | 10.00 ± 3.00 | 0.00 ± 0.00 |" in card
    assert "BGR, 0..255, minus 103.939, 116.779, 123.68, over 1, 1, 1" in card
    assert f"{weights.verify(published.weights.path).values:,} parameters, float32" in card


def test_the_result_of_a_run_that_went_on_is_left_out(run, tmp_path):
    """Its dense errors may be of a different net than the best one now."""
    with (run / "log.csv").open("a") as log:
        log.write("3,0.01,1,70,30,2,15,5,9,9\n")
    card = publish(run, tmp_path / "mine.safetensors", licence="CC-BY-4.0").card.read_text()
    assert "4 epochs, not finished yet." in card and "dense, with" not in card and "Of epoch 3 " in card


@pytest.mark.parametrize("text", ['{"epochs": 3, "dense"', "[1]", '{"epochs": 3, "dense": {"top1": "low"}}'])
def test_a_damaged_result_is_named(run, tmp_path, text):
    (run / "result.json").write_text(text)
    with pytest.raises(WeightsError, match=r"result\.json: is not the result of a run of vggfeat train"):
        publish(run, tmp_path / "mine.safetensors", licence="CC-BY-4.0")


def test_a_run_that_goes_on_says_so(run, tmp_path):
    (run / "result.json").unlink()
    config = json.loads((run / "config.json").read_text())
    config["start"] |= {"source": "a.safetensors", "sha256": "cd34"}
    (run / "config.json").write_text(json.dumps(config))
    card = publish(run, tmp_path / "mine.safetensors", licence="CC-BY-4.0").card.read_text()
    assert "Started from the weights a.safetensors (sha256 cd34); 3 epochs, not finished yet." in card


def test_the_card_is_whole_or_not_there(run, tmp_path):
    publish(run, tmp_path / "mine.safetensors", licence="MIT")
    assert {file.name for file in tmp_path.iterdir()} == {"run", "mine.safetensors", "mine.md"}
    (tmp_path / "x.md").mkdir()
    with pytest.raises(WeightsError, match=r"x\.md: cannot be written \(Is a directory\)"):
        publish(run, tmp_path / "x.safetensors", licence="MIT")


def test_the_command_publishes(run, tmp_path):
    from typer.testing import CliRunner

    out = tmp_path / "mine.safetensors"
    done = CliRunner().invoke(app, ["weights", "publish", str(run), str(out), "--licence", "MIT"])
    assert done.exit_code == 0 and "mine.md" in done.output and out.exists()


def test_a_folder_that_is_not_a_run_is_refused_in_one_line(run, tmp_path):
    def refused(match, error=WeightsError, **options):
        with pytest.raises(error, match=match) as raised:
            publish(run, options.pop("out", tmp_path / "x.safetensors"), **{"licence": "MIT", **options})
        assert "\n" not in str(raised.value)
        assert not (tmp_path / "x.safetensors").exists()

    refused("written as .safetensors", UsageError, out=tmp_path / "x.pth")
    refused("none: no such folder for x.safetensors", UsageError, out=tmp_path / "none" / "x.safetensors")
    refused("no dtype 'int8'", UsageError, dtype="int8")
    refused("under which licence", UsageError, licence=" ")
    log = (run / "log.csv").read_text()
    (run / "log.csv").write_text(LOG)
    refused("log.csv: has no epoch yet")
    (run / "log.csv").write_text("a,b\n1,2\n")
    refused("log.csv: is not the log")
    (run / "log.csv").write_text(log)
    (run / "config.json").write_text("[]")
    refused("config.json: is not the configuration of a run")
    (run / "config.json").write_text('{"recipe": {}, "data": {"sha256": ""}, "start": {}}')
    refused("config.json: is not the configuration of a run")
    (run / "config.json").unlink()
    refused("config.json: cannot be read .*; name the folder of a run")


def test_a_run_that_does_not_exist(tmp_path):
    with pytest.raises(WeightsError, match=r"nope: no such folder; name the folder of a run of vggfeat train$"):
        publish(tmp_path / "nope", tmp_path / "mine.safetensors", licence="CC-BY-4.0")
