"""What a run starts from: random weights, or those of a trained net (Sect. 3.1)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vggfeat import weights
from vggfeat.errors import UsageError, WeightsError
from vggfeat.nets import VGG, initialise, layers, tensor_shapes
from vggfeat.train.colour import Colour
from vggfeat.train.draws import weights_seed
from vggfeat.train.recipe import LR, LR_TUNING, Recipe
from vggfeat.train.sets import Sets
from vggfeat.weights import Preprocessing, Weights

FIRST = 4  # convolutional layers that a deeper net takes over; they and the fully connected ones


@dataclass(frozen=True)
class Start:
    """How a run begins. copied : the layers that were taken from `source`, "" for none; lr : where the recipe says
    nothing else."""

    preprocessing: Preprocessing
    lr: float
    copied: tuple[str, ...] = ()
    source: str = ""
    sha256: str = ""

    @classmethod
    def of(cls, said: dict[str, Any]) -> "Start":
        """What `asdict` and JSON made of one."""
        prep = said["preprocessing"]
        triples = {key: (float(prep[key][0]), float(prep[key][1]), float(prep[key][2])) for key in ("mean", "std")}
        return cls(**{**said, "preprocessing": Preprocessing(**{**prep, **triples}), "copied": tuple(said["copied"])})


def begin(recipe: Recipe, sets: Sets, colour: Colour) -> tuple[VGG, Start]:
    """The net of a recipe before its first step, on the CPU, and how it came about.

    Input is RGB in 0..255 minus the training set's mean (Sect. 2.1), or what the weights that it starts from are
    used to. Raises WeightsError where these don't fit.
    """
    vgg = VGG(recipe.net, width=recipe.width, classes=len(sets.classes), dropout=recipe.dropout)
    generator = torch.Generator().manual_seed(weights_seed(recipe.seed))
    if not recipe.source:
        initialise(vgg, recipe.init, generator)  # type: ignore[arg-type]
        return vgg, Start(Preprocessing("RGB", 255.0, colour.mean, (1.0, 1.0, 1.0)), recipe.lr or LR)
    found = weights.resolve(recipe.source, None, "pool5")
    initialise(vgg, recipe.fill, generator)
    same = _shapes(found) == _shapes_of(recipe, found)
    if recipe.finetune == "fc" and not same:
        raise UsageError(
            f"{found.path}: is of net {found.net}; to train the fully connected layers of {recipe.net} alone takes a "
            f"trained {recipe.net}, else its other convolutions would stay random"
        )
    wanted = _copied(found, recipe.net, same, sets.classes)
    _copy(vgg, found, wanted)
    rate = recipe.lr or (LR_TUNING if same else LR)
    return vgg, Start(found.preprocessing, rate, tuple(wanted), str(found.path), found.sha256)


def _shapes(found: Weights) -> dict[str, tuple[int, ...]]:
    return tensor_shapes(found.net, found.width, top="pool5")


def _shapes_of(recipe: Recipe, found: Weights) -> dict[str, tuple[int, ...]]:
    if recipe.width != found.width:
        raise WeightsError(
            f"{found.path} is of width {found.width:g}, not {recipe.width:g}: give --width {found.width:g}"
        )
    return tensor_shapes(recipe.net, recipe.width, top="pool5")


def _copied(found: Weights, net: str, same: bool, classes: tuple[str, ...]) -> list[str]:
    """The layers to copy, by name: all of the same net; of another its first four convolutions, and the fully
    connected ones. fc8 only where it tells the same classes apart."""
    plan = [layer for layer in layers(found.net, found.width, top=found.top) if layer.kind in ("conv", "FC")]
    convolutions = [layer.name for layer in plan if layer.kind == "conv"]
    connected = [layer.name for layer in plan if layer.kind == "FC"]
    names = weights.class_names(found)
    if connected[-1:] == ["fc8"] and (found.outputs != len(classes) or (names is not None and names != classes)):
        connected.pop()
    own = {layer.name: layer for layer in layers(net, found.width)}
    wanted = (convolutions if same else convolutions[:FIRST]) + connected
    for layer in plan:
        if layer.name in wanted and (layer.name not in own or own[layer.name].kernel != layer.kernel):
            raise WeightsError(f"{found.path}: net {net} has no layer like its {layer.name}; start from another net")
    return wanted


def _copy(vgg: VGG, found: Weights, wanted: list[str]) -> None:
    source: dict[str, Tensor] = weights.load(found, found.top).state_dict()
    with torch.no_grad():
        for name, parameter in vgg.named_parameters():
            if name.partition(".")[0] in wanted:
                if source[name].shape != parameter.shape:
                    shapes = f"{tuple(source[name].shape)}, not {tuple(parameter.shape)}"
                    raise WeightsError(f"{found.path}: {name} is of shape {shapes}; start from another net")
                parameter.copy_(source[name])
