"""The nets as differentiable feature extractors: images in, maps of named layers out."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vggfeat import images
from vggfeat import weights as weights_of
from vggfeat._util.torch_settings import find_device
from vggfeat.engine.dense import at_layers
from vggfeat.errors import UsageError
from vggfeat.images import Source
from vggfeat.nets import VGG, layers
from vggfeat.spec import Lineage, check_layers, check_scales, smallest_q
from vggfeat.weights import Preprocessing, Weights

__all__ = ["Backbone", "backbone", "feature_maps"]

LIMITS = (-1.0, 2.0)  # an image in 0..1 that an optimiser changes leaves that range somewhat; one in 0..255 is far off


class Backbone(VGG):
    """The convolutional layers of a net as a module: RGB images in 0..1 to the maps of named layers.

    Preprocessing is inside, and is that of the weights. The net is in eval mode and frozen: gradients reach the images,
    not the parameters. To fine-tune it, call ``requires_grad_(True)`` on it or on its layers. The parameters have the
    names of the native format (conv1_1.weight, ...), so that `vggfeat.weights.save` writes its state dict.

    Parameters
    ----------
    weights : Weights
        What `vggfeat.weights.resolve` or `read` returned.
    layers : sequence of str
        Convolutions (after their ReLU) and poolings of Table 1, such as conv4_3 and pool5.
    ceil : bool
        Round pooled sizes up, as Caffe does.

    Raises
    ------
    UsageError
        If the net has no such layer.
    WeightsError
        If the weights are damaged.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Weights, layers: Sequence[str], *, ceil: bool = False) -> None:
        wanted = _checked(weights, layers)
        loaded = weights_of.load(weights, max(wanted, key=wanted.__getitem__), ceil=ceil)
        with torch.device("meta"):
            super().__init__(loaded.net, width=loaded.width, top=loaded.top, ceil=ceil)
        self.load_state_dict(loaded.state_dict(), assign=True)
        self.eval().requires_grad_(False)
        self.layers, self.preprocessing = tuple(layers), weights.preprocessing
        for name in ("mean", "std"):
            values = torch.tensor(getattr(weights.preprocessing, name)).view(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)
        self._range_is_checked = False

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compute the maps.

        Parameters
        ----------
        images : Tensor, floating point, shape (N, 3, H, W)
            RGB in 0..1, of any size.

        Returns
        -------
        dict of str to Tensor, shape (N, C, h, w)
            The map of each layer, in the order in which the layers were given.

        Raises
        ------
        UsageError
            If the tensor has another shape or type, is too small for a layer, or, at the first call, is not in 0..1.
        """
        self._check(images)
        prep: Preprocessing = self.preprocessing
        x = images.flip(1) if prep.colour == "BGR" else images
        x = ((x * prep.range - self.mean) / self.std).to(self.get_parameter("conv1_1.weight").dtype)
        maps = at_layers(self, x, self.layers)
        return {layer: maps[layer] for layer in self.layers}

    def _check(self, images: Tensor) -> None:
        if not isinstance(images, Tensor):
            raise UsageError(f"{type(images).__name__}: expected a tensor (N, 3, H, W), floating point, RGB in 0..1")
        if images.ndim != 4 or images.shape[1] != 3:
            raise UsageError(f"a tensor of shape {tuple(images.shape)}: expected (N, 3, H, W), RGB{_remedy(images)}")
        if not images.is_floating_point():
            raise UsageError(f"a tensor of {images.dtype}: expected floating point, in 0..1; give images / 255")
        for layer in self.layers:
            if min(images.shape[2:]) < (smallest := smallest_q(layer, self.ceil)):
                size = f"{images.shape[3]}x{images.shape[2]}"
                raise UsageError(f"images of {size} are too small for {layer}: their smallest side is {smallest}")
        # Once, because reading values waits for a GPU, and because an optimiser may overshoot later; not in a compiled
        # graph, which it would break.
        if not self._range_is_checked and not torch.compiler.is_compiling() and images.numel():
            low, high = map(float, images.detach().aminmax())
            if not (LIMITS[0] <= low and high <= LIMITS[1]):
                raise UsageError(
                    f"values from {low:g} to {high:g}: expected 0..1; give images / 255 if they are 0..255"
                )
            self._range_is_checked = True


def _remedy(images: Tensor) -> str:
    """How to make a batch of a tensor of another shape, as the end of an error line; empty if that is not known."""
    if images.ndim == 3 and images.shape[0] == 3:
        return "; give images[None]"
    if images.ndim != 4:
        return ""
    if images.shape[3] == 3:
        return "; give images.permute(0, 3, 1, 2)"
    code = {1: "images.expand(-1, 3, -1, -1)", 4: "images[:, :3]"}.get(images.shape[1])
    return f"; give {code}" if code else ""


def _checked(weights: Weights, wanted: Sequence[str]) -> dict[str, int]:
    """The place of each layer in the net. Raises UsageError."""
    names = [layer.name for layer in layers(weights.net, weights.width, top="pool5") if layer.kind != "LRN"]
    check_layers(wanted)
    for layer in wanted:
        if layer not in names:
            raise UsageError(f"net {weights.net} gives no map of {layer!r}; its layers are {', '.join(names)}")
    return {layer: names.index(layer) for layer in wanted}


def backbone(
    net: str | None = None,
    layers: Sequence[str] = ("pool5",),
    *,
    weights: str | Weights = "auto",
    lineage: Lineage | None = None,
    ceil: bool = False,
) -> Backbone:
    """Make a differentiable feature extractor of a net.

    Parameters
    ----------
    net : str, optional
        Net of Table 1: A, A-LRN, B, C, D or E. Default: the net of the weights, or D.
    layers : sequence of str
        Convolutions (after their ReLU) and poolings of Table 1, such as conv4_3 and pool5.
    weights : str, path or Weights
        auto, a name (oxford, torchvision, oxford-int8, slim), a file, or what `vggfeat.weights` returned.
    lineage : {"oxford", "torchvision"}, optional
        Preprocessing of weights whose origin is unknown; see `NetSpec`.
    ceil : bool
        Round pooled sizes up, as Caffe does.

    Returns
    -------
    Backbone
        A torch.nn.Module on the CPU: float images (N, 3, H, W), RGB in 0..1, to a dict of maps (N, C, h, w).

    Raises
    ------
    UsageError
        If there is no such net, or the net has no such layer.
    WeightsError
        If the weights are missing or damaged.

    Examples
    --------
    >>> net = backbone(layers=["conv2_1", "pool5"], weights="slim")
    >>> {name: tuple(maps.shape) for name, maps in net(torch.rand(1, 3, 64, 96)).items()}
    {'conv2_1': (1, 24, 32, 48), 'pool5': (1, 96, 2, 3)}

    A Gram matrix, as style transfer compares it:

    >>> maps = net(torch.rand(2, 3, 64, 64))["conv2_1"].flatten(2)
    >>> tuple((maps @ maps.transpose(1, 2) / maps.shape[2]).shape)
    (2, 24, 24)

    References
    ----------
    Table 1; Sect. 3.2, dense application.
    """
    found = weights if isinstance(weights, Weights) else weights_of.resolve(weights, net, "pool5", lineage)
    return Backbone(found, layers, ceil=ceil)


def feature_maps(
    image: Source,
    layers: Sequence[str] = ("pool5",),
    q: int | None = None,
    *,
    net: str | None = None,
    weights: str | Weights = "auto",
    lineage: Lineage | None = None,
    ceil: bool = False,
    exif: bool = True,
    device: str = "auto",
) -> dict[str, np.ndarray]:
    """Compute the maps of one image at named layers. For many images, make a `backbone` once.

    Parameters
    ----------
    image : path, bytes, file object, PIL image, array or tensor
        Arrays are uint8 (H, W, 3) RGB or (H, W); tensors uint8 (3, H, W).
    layers : sequence of str
        Convolutions (after their ReLU) and poolings of Table 1, such as conv4_3 and pool5.
    q : int, optional
        Smallest side in pixels, to which the image is rescaled. Default: the size of the image.
    net, weights, lineage, ceil
        See `backbone`.
    exif : bool
        Turn a photo upright as its EXIF orientation says.
    device : str
        auto (the first GPU, or the CPU), cpu, cuda, cuda:1, ...

    Returns
    -------
    dict of str to ndarray, float32, shape (C, h, w)
        The map of each layer, not averaged.

    Raises
    ------
    UsageError
        If the net has no such layer, or the image is too small for it.
    ImageError
        If the image cannot be read or is too large.
    WeightsError
        If the weights are missing or damaged.

    Examples
    --------
    >>> maps = feature_maps(np.zeros((80, 100, 3), np.uint8), ["conv1_1"], q=64, weights="slim")
    >>> maps["conv1_1"].shape
    (12, 64, 80)
    """
    module = backbone(net, layers, weights=weights, lineage=lineage, ceil=ceil).to(find_device(device))
    if q is not None:
        for layer in module.layers:
            check_scales([q], layer, ceil)
    pixels = torch.from_numpy(images.read(image, exif=exif)).permute(2, 0, 1).to(module.mean.device)
    side = min(pixels.shape[1:]) if q is None else q
    with torch.inference_mode():
        maps = module(images.rescale(pixels, side)[None] / 255)
    return {layer: values[0].cpu().numpy() for layer, values in maps.items()}
