"""The nets as torch modules, and the initialisation of Sect. 3.1."""

import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from vggfeat._util.options import check_choice
from vggfeat.nets.table import Init, Layer, layers

PIXELS = 128  # the size of pixels minus their mean, which the scores before the soft-max must not have


class Conv2d(nn.Conv2d):
    """torch's, as a class of our own: torch.fx then traces into it, and its node is conv4_3.conv2d.

    torchvision takes the end of a leaf's name for a number and counts anew, so that its conv4_3 would be our conv4_4.
    """


class ReLU(nn.ReLU):
    """torch's; see `Conv2d`."""


class VGG(nn.Sequential):
    """A net of Table 1 for training: float images (N, 3, 224, 224) to scores (N, classes) before the soft-max.

    The modules have the names of the layers (conv1_1, relu1_1, pool1, ..., fc8), so the parameters have the names of
    the native weights format. Their first values are torch's own; see `initialise`.

    Parameters
    ----------
    net : str
        A name in CONFIGS.
    width : float
        Factor on the numbers of channels, in (0, MAX_WIDTH]; 1 is the paper's net.
    classes : int
        Outputs of fc8.
    top : str
        The last layer, such as conv4_3, pool5, fc7 or fc8. All but pooling and fc8 include their ReLU.
    ceil : bool
        Round pooled sizes up, as Caffe does, instead of down. No difference for sides divisible by 32.
    dropout : float
        Ratio of dropout after fc6 and fc7 in training (Sect. 3.1).

    Raises
    ------
    UsageError
        As `vggfeat.nets.layers`.
    """

    def __init__(
        self,
        net: str = "D",
        *,
        width: float = 1.0,
        classes: int = 1000,
        top: str = "fc8",
        ceil: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(OrderedDict(_modules(layers(net, width, classes, top), ceil, dropout)))
        self.net, self.width, self.classes, self.top, self.ceil = net, width, classes, top, ceil

    def __getitem__(self, index: slice | int) -> Any:
        """Return a layer, or the layers of a slice as a plain nn.Sequential."""
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self.named_children())[index]))
        return super().__getitem__(index)


def _modules(plan: list[Layer], ceil: bool, dropout: float) -> Iterator[tuple[str, nn.Module]]:
    for layer in plan:
        name, number = layer.name, layer.name.lstrip("convfpl")
        if layer.kind == "conv":
            yield name, Conv2d(layer.inputs, layer.outputs, layer.kernel, padding=layer.kernel // 2)
            yield f"relu{number}", ReLU(inplace=True)
        elif layer.kind == "LRN":
            # Krizhevsky's k + alpha * sum over n = 5 channels; torch takes the mean, so alpha is multiplied by 5.
            yield name, nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)
        elif layer.kind == "maxpool":
            yield name, nn.MaxPool2d(2, 2, ceil_mode=ceil)
        else:
            if name == "fc6":
                yield "flatten", nn.Flatten()
            yield name, nn.Linear(layer.inputs, layer.outputs)
            if name != "fc8":
                yield f"relu{number}", nn.ReLU(inplace=True)
                yield f"drop{number}", nn.Dropout(dropout)


@torch.no_grad()
def initialise(vgg: VGG, how: Init = "glorot", generator: torch.Generator | None = None) -> VGG:
    """Set all weights to random numbers and all biases to 0, in place.

    Parameters
    ----------
    vgg : VGG
        The net.
    how : {"glorot", "he", "random", "random-0.1"}
        glorot: uniform with variance 2 / (fan in + fan out). he: normal with standard deviation sqrt(2 / fan in), times
        the L-th root of 1/128 for a net of L layers, as He et al. advise for pixels in 0..255. random: normal with
        standard deviation 0.01, as was usual; in a net of width below 1 it is 0.01 / sqrt(width) in all layers but
        conv1_1, so that signals are as large as in the full net. random-0.1: normal with variance 0.01, as printed in
        the paper.
    generator : torch.Generator, optional
        Source of the random numbers; the default is torch's global one.

    Returns
    -------
    VGG
        The same net.

    Raises
    ------
    UsageError
        If `how` is unknown.

    References
    ----------
    Sect. 3.1; Glorot & Bengio, 2010; He et al., 2015, Sect. 2.2.
    """
    check_choice("initialisation", how, Init)
    weighted = [module for module in vgg if isinstance(module, nn.Conv2d | nn.Linear)]
    for number, module in enumerate(weighted):
        if how == "glorot":
            nn.init.xavier_uniform_(module.weight, generator=generator)
        elif how == "he":
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            module.weight.mul_(PIXELS ** (-1 / len(weighted)))
        else:
            std = {"random": 0.01, "random-0.1": 0.1}[how]
            if how == "random" and number > 0:  # the inputs of conv1_1 are three colours at any width
                std /= math.sqrt(min(vgg.width, 1.0))
            nn.init.normal_(module.weight, std=std, generator=generator)
        bias: Tensor | None = module.bias
        assert bias is not None
        nn.init.zeros_(bias)
    return vgg
