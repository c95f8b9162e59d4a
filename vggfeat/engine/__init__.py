"""Runs nets fast: images in, one row of values for each image out.

    views      what of an image goes through the nets: the whole, a grid of crops, a box
    dense      the net as convolutions (Sect. 3.2), and the maps of its layers
    net        one net on one device: preprocessing, layers, mirror image, spatial mean
    shared     the maps of several nets, whose equal convolutions are computed once
    layers/    faster layers for CPUs and GPUs behind one `optimise`
    batching   images gathered by size: before they are rescaled, and after
    devices    what differs between a CPU and a GPU
    engine     the loaded nets, and the way of images through them

One image goes one way: it is read by a view, rescaled and cut, gathered with others of its size, sent through the
nets, and its values are added up to a row.
"""

from vggfeat.engine.engine import Engine
from vggfeat.engine.views import Box, Grid, Region, View, Whole

__all__ = ["Box", "Engine", "Grid", "Region", "View", "Whole"]
