"""The first weights of random layers: what their outputs are over the images that were measured."""

import pytest
import torch

from vggfeat import nets, weights
from vggfeat.boxes import encode
from vggfeat.localization.objective import Boxes
from vggfeat.train import Recipe
from vggfeat.train.filling import fill, measured
from vggfeat.train.learner import Learner
from vggfeat.train.loading import MicroBatch
from vggfeat.train.ranks import Ranks


@pytest.fixture(scope="module")
def filled():
    """A net with three classes of boxes, its convolutions copied; and sixteen crops, whose boxes differ."""
    draw = torch.Generator().manual_seed(1)
    crops = torch.randint(0, 256, (16, 224, 224, 3), dtype=torch.uint8, generator=draw)
    boxes = torch.tensor([[10.0 + i, 20.0, 200.0, 150.0 + i] for i in range(16)])[:, None]
    frames = torch.tensor([[0.0, 0.0, 224.0, 224.0]]).repeat(16, 1)
    batch = MicroBatch(crops, torch.arange(16) % 3, torch.zeros(16, 3), [], boxes, frames)
    vgg = nets.initialise(nets.VGG("A", width=1 / 32, classes=12), "random", draw)
    recipe = Recipe(net="A", width=1 / 32)
    learner = Learner(vgg, recipe, Boxes("pcr", 3), weights.OXFORD, Ranks(torch.device("cpu")))
    copied = tuple(name for name, _ in vgg.named_children() if name.startswith("conv"))
    fill(learner, measured(learner, copied, batch), learner.objective.start(batch))
    return learner, batch


def outputs_of(learner, batch, layer):
    """The outputs of a layer before its ReLU."""
    x = learner.input(batch)
    for name, module in learner.vgg.eval().named_children():
        x = module(x)
        if name == layer:
            return x.detach().clone()
    raise KeyError(layer)


@pytest.mark.parametrize("layer, spread", [("fc6", 6.0), ("fc7", 0.3)])
def test_each_unit_begins_with_mean_0_over_the_images(filled, layer, spread):
    found = outputs_of(*filled, layer)
    assert found.mean(0).abs().max() < 1e-3 * spread
    assert found.std().item() == pytest.approx(spread, rel=0.05)


def test_all_classes_begin_with_the_same_weights_and_the_mean_box(filled):
    learner, batch = filled
    first, *others = learner.vgg.get_parameter("fc8.weight").view(3, 4, -1)
    assert all(torch.equal(first, other) for other in others)
    mean = encode(batch.boxes[:, 0], torch.zeros(16, 2)).mean(0)
    assert torch.allclose(learner.vgg.get_parameter("fc8.bias").view(3, 4), mean.expand(3, 4))
