"""The scale of random layers above copied ones, and the first outputs, measured on images (Mishkin & Matas, 2016).

Maps at pool5 of trained nets can be large: those of the Oxford nets have a norm of about 1,700. A step of fc6 is
proportional to its square, so that with usual random weights the loss diverges at a learning rate of 0.001. Large
outputs of fc6, small weights of fc7 and very small ones of fc8 keep the first steps small.
"""

import torch
from torch import Tensor, nn

from vggfeat.train.learner import Learner
from vggfeat.train.loading import MicroBatch

SPREAD = {"fc6": 5.0}  # standard deviation of a layer's outputs; of the others 1
FC8 = 1e-3  # standard deviation of the weights of the last layer
IMAGES = 64  # that are measured


@torch.no_grad()
def factors_of(learner: Learner, copied: tuple[str, ...], batch: MicroBatch) -> dict[str, float]:
    """By what to multiply the weights of each layer that was not copied, found from the first layer to the last."""
    learner.vgg.eval()
    x, factors = learner.input(batch.to(learner.ranks.device)), dict[str, float]()
    for name, module in learner.layers.named_children():
        outputs = module(x)
        if isinstance(module, nn.Conv2d | nn.Linear) and name not in copied:
            last = name == "fc8"
            factors[name] = float(FC8 / module.weight.std() if last else SPREAD.get(name, 1.0) / outputs.std())
            outputs = outputs * factors[name]  # the biases are 0
        x = outputs
    return factors


@torch.no_grad()
def scale(learner: Learner, factors: dict[str, float], start: Tensor | None) -> None:
    """Multiply the weights of layers, and begin with the outputs `start`."""
    for name, factor in factors.items():
        learner.vgg.get_parameter(f"{name}.weight").mul_(factor)
    if start is not None and "fc8" in factors:
        learner.vgg.get_parameter("fc8.bias").copy_(start)
