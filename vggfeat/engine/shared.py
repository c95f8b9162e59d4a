"""Several nets on one device, whose maps of fc8 are wanted; convolutions that are equal are computed once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vggfeat import weights as weights_of
from vggfeat.engine.dense import dense
from vggfeat.engine.layers import optimise
from vggfeat.engine.net import DenseNet
from vggfeat.nets import VGG

CONNECTED = ("fc6", "relu6", "fc7", "relu7", "fc8")


@dataclass
class _Trunk:
    """Convolutions, their parameters as in the file, and the fully connected layers that follow, by number of net."""

    net: DenseNet
    parameters: dict[str, Tensor]
    layers: nn.Sequential
    heads: dict[int, nn.Sequential] = field(default_factory=dict)


class Maps:
    """The maps of fc8 of nets of one device and precision, which have this layer.

    float32 (N, 3, H, W) RGB in 0..255 -> for each net float32 (N, 1, outputs, h, w), before any soft-max; the values at
    (i, j) are those of the 224x224 window whose upper left corner is at x = 32 j, y = 32 i. A net with `mirror` gives
    (N, 2, outputs, h, w), the second one of the mirror image.

    Nets often share convolutions: those of which only the fully connected layers were trained.
    """

    def __init__(self, nets: Sequence[DenseNet]) -> None:
        self._nets = nets
        self._trunks: list[_Trunk] = []

    def load(self) -> None:
        """Read the weights and bring the nets to the device, unless that is done."""
        if self._trunks:
            return
        trunks: list[_Trunk] = []
        for i, net in enumerate(self._nets):
            vgg = weights_of.load(net.weights, "fc8", ceil=net.ceil)
            modules = dict(dense(vgg, "fc8").named_children())
            connected = {name: modules.pop(name) for name in CONNECTED}
            trunk = next((one for one in trunks if _are_equal(one, net, vgg)), None)
            if trunk is None:
                trunk = _Trunk(net, _convolutions(vgg), _on_device(net, modules))
                trunks.append(trunk)
            trunk.heads[i] = _on_device(net, connected)
        for trunk in trunks:
            trunk.parameters.clear()
        self._trunks = trunks

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> list[Tensor]:
        count, found = len(pixels), {}
        for trunk in self._trunks:
            x = trunk.net.preprocessed(pixels)
            if any(self._nets[i].mirror for i in trunk.heads):
                x = torch.cat([x, x.flip(3)])
            x = trunk.layers(x.contiguous(memory_format=torch.channels_last))
            for i, head in trunk.heads.items():
                y = head(x if self._nets[i].mirror else x[:count]).float()
                found[i] = y.unflatten(0, (-1, count)).transpose(0, 1)
        return [found[i] for i in range(len(self._nets))]


def _on_device(net: DenseNet, modules: dict[str, nn.Module]) -> nn.Sequential:
    layers = nn.Sequential()
    for name, module in modules.items():
        layers.add_module(name, module)
    return optimise(layers.eval(), net.device, net.dtype)


def _convolutions(vgg: VGG) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in vgg.state_dict().items() if name.startswith("conv")}


def _are_equal(trunk: _Trunk, net: DenseNet, vgg: VGG) -> bool:
    one, other = trunk.net.weights, net.weights
    same = (one.net, one.width, one.preprocessing) == (other.net, other.width, other.preprocessing)
    return same and all(torch.equal(trunk.parameters[name], tensor) for name, tensor in _convolutions(vgg).items())
