"""The nets of Table 1.

table   the layers of each net, the shapes of their parameters, their cost; free of torch
vgg     the nets as torch modules, and the initialisation of Sect. 3.1
text    Tables 1 and 2 as text
"""

from typing import TYPE_CHECKING

from vggfeat._util.lazy import attach
from vggfeat.nets.table import (
    CONFIGS,
    CROP,
    FC_WINDOW,
    MAX_WIDTH,
    TOPS,
    Init,
    Layer,
    Top,
    file_top,
    flops,
    layers,
    parameter_count,
    tensor_shapes,
    weight_layers,
)

if TYPE_CHECKING:
    from vggfeat.nets.vgg import VGG, initialise

__getattr__ = attach(__name__, {"VGG": "vggfeat.nets.vgg", "initialise": "vggfeat.nets.vgg"})

__all__ = [
    "CONFIGS",
    "CROP",
    "FC_WINDOW",
    "MAX_WIDTH",
    "TOPS",
    "VGG",
    "Init",
    "Layer",
    "Top",
    "file_top",
    "flops",
    "initialise",
    "layers",
    "parameter_count",
    "tensor_shapes",
    "weight_layers",
]
