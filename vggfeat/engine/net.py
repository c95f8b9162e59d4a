"""One net on one device: rescaled pixels in, values averaged over space and the mirror image out."""

from collections.abc import Sequence
from functools import cached_property
from typing import get_args

import torch
from torch import Tensor, nn

from vggfeat import weights as weights_of
from vggfeat.engine.dense import at_layers, dense, spatial_mean
from vggfeat.engine.layers import optimise
from vggfeat.nets import Layer, file_top, layers
from vggfeat.spec import Precision
from vggfeat.weights.native import require

DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "mixed": torch.float16,
}
assert {"auto", *DTYPES} == set(get_args(Precision))


class DenseNet:
    """One net on one device, applied densely.

    float32 (N, 3, H, W) RGB in 0..255, and names of layers -> float32 (N, C) for each layer: C = 4096 for fc6 and fc7,
    512 for pool5, the channels of the map for other layers (times the net's width). For fc8 these are posteriors: the
    soft-max of the spatially averaged class scores (Sect. 3.2), C the number of classes. Preprocessing is that of the
    weights, and cannot be set.

    layer : the deepest of which values can be asked for. The net is read by `load`, before the first call: a finished
    store is read without it.
    """

    def __init__(
        self,
        weights: weights_of.Weights,
        layer: str = "fc7",
        *,
        mirror: bool = True,
        ceil: bool = False,
        device: torch.device | str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        require(weights, file_top(layer))
        self.weights, self.layer, self.mirror, self.ceil = weights, layer, mirror, ceil
        self.device = torch.device(device)
        self.dtype = DTYPES[precision]
        plan = layers(weights.net, weights.width, weights.outputs, layer)
        self.bytes_per_pixel = widest(plan) * self.dtype.itemsize
        prep = weights.preprocessing
        self._bgr = prep.colour == "BGR"
        self._factor = prep.range / 255
        self._mean = torch.tensor(prep.mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(prep.std, device=self.device).view(1, 3, 1, 1)
        self._net: nn.Sequential | None = None

    def load(self) -> nn.Sequential:
        """Read the weights and bring the net to the device, unless that is done."""
        if self._net is None:
            vgg = weights_of.load(self.weights, self.layer, ceil=self.ceil)
            self._net = optimise(dense(vgg, self.layer), self.device, self.dtype)
        return self._net

    @cached_property
    def exact(self) -> "DenseNet":
        """The same net in TF32, on a CPU in float32: for images whose values are too large for float16."""
        return DenseNet(
            self.weights, self.layer, mirror=self.mirror, ceil=self.ceil, device=self.device, precision="tf32"
        )

    def dim(self, layer: str) -> int:
        """The number of values at a layer. Raises UsageError if the net has no such layer."""
        return layers(self.weights.net, self.weights.width, self.weights.outputs, layer)[-1].outputs

    def preprocessed(self, pixels: Tensor) -> Tensor:
        """The input of the first layer, for pixels (N, 3, H, W) RGB in 0..255."""
        if self._bgr:
            pixels = pixels.flip(1)
        return ((pixels * self._factor - self._mean) / self._std).to(self.dtype)

    @torch.inference_mode()
    def __call__(self, pixels: Tensor, wanted: Sequence[str]) -> list[Tensor]:
        x = self.preprocessed(pixels)
        if self.mirror:
            x = torch.cat([x, x.flip(3)])
        x = x.contiguous(memory_format=torch.channels_last)
        means = at_layers(self.load(), x, wanted, spatial_mean)
        return [self._of_images(means[layer], layer) for layer in wanted]

    def _of_images(self, y: Tensor, layer: str) -> Tensor:
        """The values of the images, of those of the images and their mirror images."""
        if layer == "fc8":
            y = y.softmax(dim=1)
        if not self.mirror:
            return y
        images, mirrored = y.chunk(2)
        return (images + mirrored) / 2


def widest(plan: Sequence[Layer]) -> float:
    """The most values that a layer of a net reads and writes, for each pixel of the image.

    With two convolutions of 64 channels at the start it is 128, for the second of them; fc6 as windows, 25,088 values
    for each 32x32 pixels at most, and its results make 28.5.

    >>> [widest(layers(net)) for net in "AE"]
    [128.0, 128.0]
    """
    most, area = 0.0, 1.0  # area: places of the layer's input for each pixel
    for layer in plan:
        most = max(most, area * (layer.inputs + layer.outputs))
        area /= 4 if layer.kind == "maxpool" else 1
    return most
