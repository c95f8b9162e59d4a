"""One step of training: the optimiser against a loop by hand, accumulation, errors, and what stays fixed."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from vggfeat import nets, weights
from vggfeat.errors import WeightsError
from vggfeat.metrics import top_k_error
from vggfeat.train import Recipe
from vggfeat.train.learner import Input, Learner
from vggfeat.train.loading import MicroBatch
from vggfeat.train.objective import Classes
from vggfeat.train.ranks import Ranks

RGB = weights.Preprocessing("RGB", 255.0, (120.0, 110.0, 100.0), (60.0, 61.0, 62.0))
BGR = weights.Preprocessing("BGR", 1.0, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
CPU = Ranks(torch.device("cpu"))
SMALL = {"net": "A", "width": 1 / 32, "batch": 4, "micro": 4, "dropout": 0.0, "lr": 0.01}


def batch(n=4, seed=0, failures=0):
    rng = np.random.default_rng(seed)
    return MicroBatch(
        torch.from_numpy(rng.integers(0, 256, (n, 224, 224, 3), np.uint8)),
        torch.from_numpy(rng.integers(0, 3, n)),
        torch.from_numpy(rng.normal(0, 0.02, (n, 3)).astype(np.float32)),
        [(f"{i}.png", "damaged") for i in range(failures)],
    )


def part(whole, rows):
    return MicroBatch(whole.crops[rows], whole.labels[rows], whole.shifts[rows], [])


def learner(preprocessing=RGB, **settings):
    recipe = Recipe(**{**SMALL, **settings})
    vgg = nets.VGG(recipe.net, width=recipe.width, classes=3, dropout=recipe.dropout)
    return Learner(
        nets.initialise(vgg, "glorot", torch.Generator().manual_seed(1)), recipe, Classes(3), preprocessing, CPU
    )


def parameters(some):
    return {name: p.detach().clone() for name, p in some.vgg.named_parameters()}


def close(one, two, rtol=1e-4, atol=1e-7):
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=rtol, atol=atol)


# ---- input


@pytest.mark.parametrize("preprocessing", [RGB, BGR])
def test_input_is_that_of_the_weights_shifted_in_rgb(preprocessing):
    given = batch(2)
    x = Input(preprocessing, torch.device("cpu"))(given)
    pixels = given.crops.numpy()[1, 3, 5] / 255 + given.shifts.numpy()[1]
    if preprocessing.colour == "BGR":
        pixels = pixels[::-1]
    expected = (pixels * preprocessing.range - preprocessing.mean) / preprocessing.std
    np.testing.assert_allclose(x[1, :, 3, 5], expected, rtol=1e-4, atol=1e-5)
    assert x.shape == (2, 3, 224, 224) and x.is_contiguous(memory_format=torch.channels_last)


# ---- errors


def tally(scores, labels):
    given = MicroBatch(torch.zeros(0), labels, torch.zeros(0, 3), [])
    return Classes(scores.shape[1]).tally(scores, given)


def test_the_tally_counts_losses_and_errors():
    scores = torch.tensor([[2.0, 1, 0, 0, 0, 0], [2.0, 1, 0, 0, 0, 0], [0.0, 0, 0, 0, 0, 0]])
    loss, top1, top5, count = tally(scores, torch.tensor([0, 1, 5])).tolist()
    assert (top1, top5, count) == (2, 1, 3)  # equal scores for all: wrong
    by_hand = 2 * np.log(np.exp(2) + np.exp(1) + 4) - 3 + np.log(6)
    assert loss == pytest.approx(by_hand, rel=1e-6)


def test_the_tally_judges_as_the_metrics_do():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 6, (200, 12)).astype(np.float32), rng.integers(0, 12, 200)  # many are equal
    _, top1, top5, count = tally(torch.from_numpy(scores), torch.from_numpy(labels)).tolist()
    assert top1 / count == pytest.approx(top_k_error(scores, labels, 1))
    assert top5 / count == pytest.approx(top_k_error(scores, labels, 5))


def test_scores_that_are_no_numbers_are_wrong():
    _, top1, top5, _ = tally(torch.full((2, 9), float("nan")), torch.tensor([0, 1])).tolist()
    assert (top1, top5) == (2, 2)
    assert tally(torch.zeros(0, 9), torch.zeros(0, dtype=torch.int64)).tolist() == [0, 0, 0, 0]


# ---- the step


def test_steps_are_krizhevskys_also_when_the_rate_rises_and_falls():
    """v <- 0.9 v - rate * (0.0005 w + gradient), w <- w + v, by hand."""
    trained, by_hand = learner(), learner()
    by_hand.vgg.train()
    velocity = {name: torch.zeros_like(p) for name, p in by_hand.vgg.named_parameters()}
    for number, rate in enumerate((0.005, 0.01, 0.001, 0.001)):
        given = batch(seed=number)
        if rate != trained.sgd.param_groups[0]["lr"]:
            trained.set_rate(rate)
        trained.step(iter([given]), 1, seed=0)
        by_hand.vgg.zero_grad()
        functional.cross_entropy(by_hand.vgg(by_hand.input(given)), given.labels).backward()
        with torch.no_grad():
            for name, p in by_hand.vgg.named_parameters():
                velocity[name] = 0.9 * velocity[name] - rate * (5e-4 * p + p.grad)
                p += velocity[name]
    close(parameters(trained), parameters(by_hand), rtol=1e-3, atol=1e-6)


def test_accumulated_gradients_are_those_of_the_batch():
    whole, parts = learner(), learner()
    given = batch()
    counts, _ = whole.step(iter([given]), 1, seed=0)
    split, _ = parts.step(iter([part(given, slice(0, 1)), part(given, slice(1, 4))]), 2, seed=0)
    torch.testing.assert_close(counts, split, rtol=1e-6, atol=0)
    before = parameters(learner())
    close(parameters(whole), parameters(parts))
    assert any((parameters(whole)[name] != before[name]).any() for name in before)


def test_the_gradient_is_the_mean_over_the_images_that_could_be_read():
    short, full = learner(), learner(batch=3)
    given = batch(3)
    counts, failures = short.step(iter([given._replace(failures=[("bad.png", "damaged")])]), 1, seed=0)
    assert failures == [("bad.png", "damaged")] and counts[-1] == 3
    full.step(iter([given]), 1, seed=0)
    close(parameters(short), parameters(full))


def test_a_group_without_a_readable_image_adds_nothing():
    some, other = learner(batch=4), learner(batch=4)
    empty = part(batch(), slice(0, 0))._replace(failures=[("bad.png", "damaged")])
    some.step(iter([batch(), empty]), 2, seed=0)
    other.step(iter([batch()]), 1, seed=0)
    close(parameters(some), parameters(other))


def test_dropout_follows_the_seed():
    one, same, other = (learner(dropout=0.5) for _ in range(3))
    losses = [some.step(iter([batch()]), 1, seed)[0][0].item() for some, seed in ((one, 1), (same, 1), (other, 2))]
    assert losses[0] == losses[1] != losses[2]
    assert one.judge(batch())[0] == same.judge(batch())[0]


def test_fine_tuning_the_fully_connected_layers_leaves_the_others_alone():
    tuned = learner(finetune="fc", init="from:somewhere")
    before = parameters(tuned)
    tuned.step(iter([batch()]), 1, seed=0)
    after = parameters(tuned)
    changed = {name.split(".")[0] for name in before if (before[name] != after[name]).any()}
    assert changed == {"fc6", "fc7", "fc8"}


def test_bfloat16_keeps_float32_weights():
    half, full = learner(precision="bfloat16"), learner()
    a, b = (some.step(iter([batch()]), 1, seed=0)[0] for some in (half, full))
    assert a[0].item() == pytest.approx(b[0].item(), rel=0.05)
    assert a[0] != b[0]
    assert all(tensor.dtype == torch.float32 for tensor in half.tensors().values())


def test_judging_is_the_plain_net():
    some, given = learner(dropout=0.5), batch(5)
    scores = some.vgg.eval()(some.input(given))
    expected = functional.cross_entropy(scores, given.labels, reduction="sum").item()
    assert some.judge(given)[0].item() == pytest.approx(expected, rel=1e-5)


# ---- its state


def test_a_learner_goes_on_from_its_state_to_the_bit():
    unbroken, first, second = learner(dropout=0.5), learner(dropout=0.5), learner(dropout=0.5)
    for number in range(2):
        unbroken.step(iter([batch(seed=number)]), 1, seed=number)
        first.step(iter([batch(seed=number)]), 1, seed=number)
    state = {name: tensor.clone() for name, tensor in first.tensors().items()}
    second.restore(state, rate=0.01)
    unbroken.step(iter([batch(seed=2)]), 1, seed=2)
    second.step(iter([batch(seed=2)]), 1, seed=2)
    one, two = unbroken.tensors(), second.tensors()
    assert one.keys() == two.keys() and "momentum/conv1_1.weight" in one
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_state_of_another_net_is_refused():
    state = learner().tensors()
    with pytest.raises(WeightsError, match=r"conv1_2.weight is missing"):
        learner(net="B").restore(state, rate=0.01)
    with pytest.raises(WeightsError, match=r"conv1_1.weight is of shape \(2, 3, 3, 3\), and this net's"):
        learner(width=1 / 16).restore(state, rate=0.01)
