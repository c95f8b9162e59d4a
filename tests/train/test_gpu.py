"""Training on a CUDA device: the same losses as on the CPU, bfloat16, torch.compile, and a continued run."""

import csv

import pytest
import torch

from tests.kit.training_photos import TINY, photo_set
from vggfeat.train import checkpoint, train

pytestmark = pytest.mark.gpu

SETTINGS = {**TINY, "width": 1 / 16, "dropout": 0.0, "batch": 12, "micro": 12}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return photo_set(tmp_path_factory.mktemp("photos"), train=16)


def losses(folder):
    with (folder / "steps.csv").open() as lines:
        return [float(row["loss"]) for row in csv.DictReader(lines)]


@pytest.fixture(scope="module")
def on_cpu(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "cpu"
    train(data, out, **SETTINGS, device="cpu")
    return losses(out)


def test_float32_losses_are_the_cpus(data, on_cpu, tmp_path):
    train(data, tmp_path / "run", **SETTINGS, device="cuda", precision="float32", workers=2)
    assert losses(tmp_path / "run") == pytest.approx(on_cpu, rel=1e-2)


@pytest.mark.parametrize("more", [{}, {"compile": True}, {"micro": 5}], ids=str)
def test_bfloat16_losses_are_near(data, on_cpu, tmp_path, more):
    train(data, tmp_path / "run", **{**SETTINGS, **more}, device="cuda")
    assert losses(tmp_path / "run")[:3] == pytest.approx(on_cpu[:3], rel=0.1)
    tensors, _, _ = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())


def test_a_run_is_continued(data, tmp_path):
    one = {**SETTINGS, "epochs": 1}
    train(data, tmp_path / "whole", **SETTINGS, device="cuda", precision="float32")
    train(data, tmp_path / "parts", **one, device="cuda", precision="float32")
    train(data, tmp_path / "parts", **SETTINGS, device="cuda", precision="float32")
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=1e-2)
