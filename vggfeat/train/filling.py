"""The first weights of random layers above copied ones, measured on images (Kraehenbuehl et al., 2016).

Maps at pool5 of trained nets are large: those of the Oxford nets have a norm of about 1,600, and a step of fc6 is
proportional to its square. Large outputs of fc6 and small outputs of fc7 make the steps of all layers about equally
large. Each unit begins with mean 0 over the images, so that its ReLU tells them apart.
"""

import torch
from torch import Tensor, nn

from vggfeat.train.learner import Learner
from vggfeat.train.loading import MicroBatch

SPREAD = {"fc6": 6.0, "fc7": 0.3}  # standard deviation of a layer's outputs over images; of the others 1
FC8 = 0.01  # standard deviation of the weights of the last layer
IMAGES = 64  # that are measured

Filling = dict[str, tuple[float, Tensor]]  # of each layer, by what its weights are multiplied, and its biases


@torch.no_grad()
def measured(learner: Learner, copied: tuple[str, ...], batch: MicroBatch) -> Filling:
    """How to fill the layers that were not copied, found from the first to the last. Their biases are 0 before."""
    learner.vgg.eval()
    x, filling = learner.input(batch.to(learner.ranks.device)), Filling()
    for name, module in learner.layers.named_children():
        x = module(x)
        if isinstance(module, nn.Conv2d | nn.Linear) and name not in copied:
            mean = x.mean([axis for axis in range(x.ndim) if axis != 1], keepdim=True)
            if name == "fc8":
                factor, mean = float(FC8 / module.weight.std()), torch.zeros_like(mean)
            else:
                factor = float(SPREAD.get(name, 1.0) / (x - mean).std())
            x = (x - mean) * factor
            filling[name] = factor, (-mean * factor).flatten().cpu()
    return filling


@torch.no_grad()
def fill(learner: Learner, filling: Filling, start: Tensor | None) -> None:
    """Fill the layers; start: what the objective measured for fc8."""
    for name, (factor, biases) in filling.items():
        learner.vgg.get_parameter(f"{name}.weight").mul_(factor)
        learner.vgg.get_parameter(f"{name}.bias").copy_(biases)
    if start is not None and "fc8" in filling:
        learner.objective.begin(learner.vgg.get_submodule("fc8"), start)
