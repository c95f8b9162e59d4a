"""A run that is killed anywhere and started again ends as one that never was, to the bit."""

import csv
import signal
from pathlib import Path

import pytest
import torch

from tests.kit.training_photos import TINY, photo_set
from tests.kit.training_processes import run
from vggfeat.train import checkpoint

# Draws of every kind: S from a range, colours, dropout; two groups a step; three epochs of three steps, of which the
# learning rate rises in the first four and a half.
SETTINGS = {**TINY, "scale": "224-300", "epochs": 3, "save_minutes": 0, "warmup": 1.5}
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """The folders of runs that were killed differently, and how each start ended."""
    top = tmp_path_factory.mktemp("runs")
    data = photo_set(top / "data")

    def job(out, **more):
        return {"data": str(data), "out": str(top / out), "settings": {**SETTINGS, **more.pop("settings", {})}, **more}

    seldom = {"save_minutes": 1000}  # a checkpoint after each epoch only
    half = {**seldom, "precision": "bfloat16", "epochs": 1}
    groups = [
        [job("unbroken")],
        [job("step", die=["step", 5], settings=seldom)],  # in the third step, before the first checkpoint
        [job("step", die=["step", 11], settings=seldom)],  # then in the sixth: all of the second epoch but one
        [job("step", settings=seldom)],
        [job("checkpoint", die=["checkpoint", 2])],
        [job("checkpoint", die=["checkpoint", 3])],
        [job("checkpoint")],
        [job("row", die=["row", 1])],
        [job("row", die=["row", 2])],
        [job("row", settings={"micro": 4, "workers": 2})],
        [job("asked", die=["asked", 9], settings=seldom)],  # it ends its fifth step, and saves it
        [job("asked", settings=seldom)],
        [job("group", die=["group", 5], settings={**seldom, "workers": 2, "cache": 0.0})],
        [job("group", settings=seldom)],
        [job("half", settings=half)],
        [job("half-killed", die=["step", 5], settings={**half, "save_minutes": 0})],
        [job("half-killed", settings=half)],
    ]
    return top, run(groups)


def test_the_kills_were_kills(ends):
    _, statuses = ends
    wanted = [0, *[KILLED, KILLED, 0] * 3, 1, 0, 1, 0, 0, KILLED, 0]
    assert [status for (status,) in statuses] == wanted


@pytest.mark.parametrize("how", ["step", "checkpoint", "row", "asked", "group"])
def test_losses_and_weights_are_those_of_the_unbroken_run(ends, how):
    top, _ = ends
    assert (top / how / "steps.csv").read_bytes() == (top / "unbroken" / "steps.csv").read_bytes()
    assert len((top / how / "steps.csv").read_text().splitlines()) == 1 + 3 * 3
    one, progress, _ = checkpoint.load(top / "unbroken" / "checkpoint.safetensors")
    two, again, _ = checkpoint.load(top / how / "checkpoint.safetensors")
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert (progress.epoch, progress.plateau, progress.sums) == (again.epoch, again.plateau, again.sums)
    for file in ("best.safetensors", "last.safetensors", "statistics.json"):
        assert (top / how / file).read_bytes() == (top / "unbroken" / file).read_bytes()


def test_the_rate_rises_while_the_net_warms_up(ends):
    top, _ = ends
    with (top / "unbroken" / "steps.csv").open() as lines:
        rates = [float(row["lr"]) for row in csv.DictReader(lines)]
    assert rates == pytest.approx([TINY["lr"] * part for part in (2 / 9, 4 / 9, 6 / 9, 8 / 9, 1, 1, 1, 1, 1)])
    with (top / "unbroken" / "log.csv").open() as lines:
        assert [float(row["lr"]) for row in csv.DictReader(lines)] == rates[2::3]  # of each epoch's last step


def test_so_are_those_in_bfloat16(ends):
    top, _ = ends
    for file in ("steps.csv", "best.safetensors"):
        assert (top / "half-killed" / file).read_bytes() == (top / "half" / file).read_bytes()
    assert (top / "half" / "steps.csv").read_text() != (top / "unbroken" / "steps.csv").read_text()


@pytest.mark.parametrize("how", ["step", "checkpoint", "row", "asked", "group"])
def test_so_are_the_epochs(ends, how):
    def epochs(folder: Path) -> list[dict[str, str]]:
        with (folder / "log.csv").open() as lines:
            rows = list(csv.DictReader(lines))
        return [{key: value for key, value in row.items() if key not in ("images_per_s", "seconds")} for row in rows]

    top, _ = ends
    assert epochs(top / how) == epochs(top / "unbroken")
    assert [row["epoch"] for row in epochs(top / how)] == ["0", "1", "2"]
    assert not list((top / how).glob("*.tmp")) and not list((top / how).glob("*.part"))
