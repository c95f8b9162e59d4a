"""Several processes train one net: the same result as one (Sect. 3.3)."""

import csv
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.kit.training_photos import TINY, photo_set
from tests.kit.training_processes import run
from vggfeat.train import checkpoint

SETTINGS = {**TINY, "batch": 7, "micro": 2, "epochs": 1, "lr": 0.01, "scale": "224-280"}  # 7: unequal shares


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def together(world, port, **job):
    """The jobs of `world` processes as torchrun would start them."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    return [
        {**job, "env": {**address, "RANK": str(r), "LOCAL_RANK": str(r), "LOCAL_WORLD_SIZE": str(world)}}
        for r in range(world)
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    top = tmp_path_factory.mktemp("ranks")
    photo_set(top / "data", train=12)
    (top / "data" / "train" / "blue" / "3.png").write_bytes(b"no image")

    many = photo_set(top / "many", train=70, val=1)

    def job(name, **settings):
        data = many if "dropout" in name else top / "data"
        return {"data": str(data), "out": str(top / name), "settings": {**SETTINGS, **settings}}

    exact = {"dropout": 0.0}
    still = {"lr": 1e-9}  # the net stays what it is, so that each step's loss is a draw of the same dropout
    groups = [
        [job("one", **exact)],
        together(2, free_port(), **job("two", **exact, cache=0.0, cache_dir=str(top / "kept"))),
        [job("dropout-one", **still)],
        together(2, free_port(), **job("dropout-two", **still)),
        [job("two", **exact, epochs=2)],  # begun by two processes, continued by one
        [job("one", **exact, epochs=2)],
    ]
    seldom = job("asked", **exact, save_minutes=1000)
    first, second = together(2, free_port(), **seldom)
    groups += [
        [first, {**second, "die": ["asked", 3]}],  # in the second step; the first process has not been asked
        together(2, free_port(), **seldom),
        [first, {**second, "die": ["step", 3]}],  # finds all done
    ]
    lost = together(2, free_port(), **job("lost", **exact))
    groups.append([lost[0], {**lost[1], "die": ["step", 3]}])
    apart = [{**one, "out": f"{top}/apart{r}"} for r, one in enumerate(together(2, free_port(), **job("", **exact)))]
    groups += [apart, [{**one, "settings": {**one["settings"], "epochs": 2}} for one in apart]]
    ends = run(groups)
    assert ends[:6] == [[0], [0, 0], [0], [0, 0], [0], [0]]
    assert ends[6:9] == [[1, 1], [0, 0], [0, 0]]
    assert ends[9] == [2, -9]  # the first says that the other is lost
    assert ends[10:] == [[0, 0], [2, 2]]  # and both that they don't share a folder
    return top


def steps(folder):
    with (folder / "steps.csv").open() as lines:
        return [float(row["loss"]) for row in csv.DictReader(lines)]


def test_two_processes_train_as_one(runs):
    assert steps(runs / "two") == pytest.approx(steps(runs / "one"), rel=1e-4)
    assert len(steps(runs / "one")) == 2 * (36 // 7)
    one, _, _ = checkpoint.load(runs / "one" / "checkpoint.safetensors")
    two, _, _ = checkpoint.load(runs / "two" / "checkpoint.safetensors")
    began = max(tensor.abs().max().item() for name, tensor in one.items() if name.startswith("momentum/"))
    assert began > 0
    for name in one:
        size = one[name].abs().max().item()
        assert (one[name] - two[name]).abs().max().item() <= 2e-4 * size + 1e-7, name


def test_when_one_is_asked_to_stop_both_do_and_nothing_is_lost(runs):
    header, *asked = (runs / "asked" / "steps.csv").read_text().splitlines()
    assert len(asked) == 36 // 7
    assert [header, *asked] == (runs / "two" / "steps.csv").read_text().splitlines()[: 1 + len(asked)]


def test_both_know_of_the_image_that_could_not_be_read(runs):
    for name in ("one", "two"):
        assert (runs / name / "failures.csv").read_text().splitlines()[1].startswith("train/blue/3.png,")


def test_both_read_the_images_that_one_of_them_kept(runs):
    assert {file.suffix for file in (runs / "kept").iterdir()} == {".pixels", ".lock"}
    assert len(list((runs / "kept").glob("*.pixels"))) == 2  # train and val


def test_validation_is_divided_and_put_together(runs):
    def row(name):
        with (runs / name / "log.csv").open() as lines:
            return next(csv.DictReader(lines))

    one, two = row("one"), row("two")
    assert float(one["val_loss"]) == pytest.approx(float(two["val_loss"]), rel=1e-3)
    assert one["val_top5"] == two["val_top5"] == "0.0"
    assert one["dead"] == two["dead"]
    assert float(one["gradient"]) == pytest.approx(float(two["gradient"]), rel=1e-3)


def test_with_dropout_the_losses_are_of_the_same_distribution(runs):
    one, two = np.array(steps(runs / "dropout-one")), np.array(steps(runs / "dropout-two"))
    assert len(one) == 30
    differences = two - one  # each step sees the same crops
    assert (differences != 0).all()
    error = differences.std(ddof=1) / np.sqrt(len(one))
    assert abs(differences.mean()) < 4 * error
    assert error < 0.1 * one.mean()  # else this would show nothing


@pytest.mark.slow
def test_torchrun_starts_them(tmp_path):
    data = photo_set(tmp_path / "data")
    options = ["--net", "A", "--width", "0.03125", "--batch", "8", "--epochs", "1", "--schedule", "paper"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "vggfeat", "train", "--data", str(data), "--out", str(tmp_path / "run"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("1 epochs are done") == 3
    last, _, _ = checkpoint.load(tmp_path / "run" / "A-256-512" / "checkpoint.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in last.values())
