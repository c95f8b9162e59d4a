"""What the log says of a net: dead channels, collapse, the gradient; and how sure a validation error is."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.train.test_learner import CPU, batch, learner
from vggfeat.train import Recipe
from vggfeat.train.health import Finding, Health
from vggfeat.train.objective import Classes
from vggfeat.train.plateau import Plateau
from vggfeat.train.reports import collapse_line, epoch_line, rate_line
from vggfeat.train.state import TrainState
from vggfeat.weights.run_files import standard_error


def judged(some, *batches):
    health = Health()
    for given in batches:
        some.judge(given, health)
    return health.found(CPU)


def killed(some, name, channels):
    """The channels of a convolution get a bias so low that their ReLU is 0 for all images."""
    with torch.no_grad():
        some.vgg.get_parameter(f"{name}.bias")[:channels] = -1e9
    return some


def test_dead_channels_are_counted_over_all_images():
    some = learner()
    channels = sum(m.out_channels for m in some.vgg if isinstance(m, torch.nn.Conv2d))
    before = judged(some, batch())
    after = judged(killed(some, "conv3_2", 3), batch())
    assert after.dead - before.dead >= 100 * 2 / channels  # one of the three may have been dead before
    assert before.images == 4 and not before.equal


def test_a_channel_that_one_image_uses_lives():
    health = Health()
    for row in range(2):  # channel 0 lives in the first image only, 1 in the second only, 2 in none
        maps = torch.zeros(1, 3, 2, 2)
        maps[0, row, 1, 0] = 1e-30
        health.add_maps(1, maps)
        health.add_outputs(torch.eye(2)[row : row + 1])
    assert health.found(CPU).dead == pytest.approx(100 / 3)


def test_a_net_whose_last_convolution_is_dead_has_collapsed():
    some = learner()
    found = judged(killed(some, "conv5_2", 16), batch(3), batch(2, seed=1))
    assert found.equal and found.images == 5
    assert not judged(learner(), batch(3)).equal
    assert not judged(some, batch(1)).equal  # one image differs from no other


def test_images_of_several_micro_batches_are_compared():
    health = Health()
    health.add_outputs(torch.tensor([[1.0, 2.0]]))
    health.add_outputs(torch.zeros(0, 2))
    assert health.found(CPU) == (None, False, 1)
    health.add_outputs(torch.tensor([[1.0, 2.0]]))
    assert health.found(CPU) == (None, True, 2)  # of kept maps no convolution is seen
    health.add_outputs(torch.tensor([[1.0, 2.5]]))
    assert health.found(CPU) == (None, False, 3)
    assert Health().found(CPU) == (None, False, 0)


def test_the_norm_is_that_of_the_steps_gradient():
    some, plain = learner(), learner()
    some.step(iter([batch()]), 1, seed=0)
    plain.vgg.train()
    torch.nn.functional.cross_entropy(plain.vgg(plain.input(batch())), batch().labels).backward()
    by_hand = math.sqrt(sum(p.grad.double().square().sum().item() for p in plain.vgg.parameters()))
    assert some.gradient_norm.item() == pytest.approx(by_hand, rel=1e-4)


def test_the_norm_is_that_before_the_gradient_is_clipped():
    free, bound = learner(), learner(clip=0.5)
    for some in (free, bound):
        some.step(iter([batch()]), 1, seed=0)
    assert bound.gradient_norm == free.gradient_norm > 0.5
    used = torch.nn.utils.get_total_norm([p.grad for p in bound.trained.values()])
    assert used.item() == pytest.approx(0.5, rel=1e-4)


def test_the_standard_error_is_the_binomial_one():
    assert standard_error(20, 400) == pytest.approx(2)  # 100 sqrt(0.2 * 0.8 / 400)
    assert standard_error(25, 50_000) == pytest.approx(0.194, abs=1e-3)
    assert standard_error(0, 10) == 0


# ---- lines

RUN = SimpleNamespace(
    objective=Classes(10), recipe=Recipe(), folder=SimpleNamespace(path=Path("run")), rate=lambda state, ahead=0: 0.01
)
STATE = TrainState(7, 3, (30.0, 9.0, 5.0, 12.0), 60.5, Plateau(50.0, 5, 1, 0, False, 50.0), gradients=(9.0, 4.0))


def test_the_line_of_an_epoch_says_whether_the_images_can_tell():
    few = epoch_line(RUN, STATE, (2.25, 48.0, 9.0), Finding(12.5, False, 400))  # 2 points; standard error 2.5
    assert few == (
        "epoch 7: loss 2.500, validation loss 2.250, top-1 error 48.0 ± 2.5 %; learning rate 0.01; gradient 2.25; "
        "dead channels 12.5 %; 400 images cannot tell this error from the 50.0 % of epoch 5"
    )
    assert "cannot tell" not in epoch_line(RUN, STATE, (2.25, 48.0, 9.0), Finding(12.5, False, 50_000))
    assert "dead" not in epoch_line(RUN, STATE, (2.25, 48.0, 9.0), Finding(None, False, 400))


def test_so_does_the_line_of_the_rate():
    few, many = (rate_line(RUN, STATE, STATE, (2.25, 51.0, 9.0), Finding(0.0, False, n)) for n in (400, 50_000))
    assert many == "learning rate 0.01 from now on: no improvement of 0.1 points in 5 epochs"
    assert few == f"{many}; it may be chance: more validation images or a larger --patience make it surer"


def test_the_line_of_a_collapse_names_remedies():
    line = collapse_line(RUN, STATE, (2.3026, 90.0, 50.0), Finding(100.0, True, 400))
    assert line.startswith(
        "run: the net has collapsed, or has not begun to learn: after epoch 7 its outputs are the same"
    )
    assert "(loss 2.303, and ln 10 is 2.303)" in line and "--lr below 0.01, with --warmup 1, or" in line
