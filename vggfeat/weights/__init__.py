"""Weights: the native format, the registry and its cache, conversion from other frameworks' files."""

from vggfeat.weights.convert import convert
from vggfeat.weights.names import class_names
from vggfeat.weights.native import OXFORD, TORCHVISION, Preprocessing, Weights, load, read, save
from vggfeat.weights.published import REGISTRY, Entry
from vggfeat.weights.registry import NAMES, Available, available, resolve
from vggfeat.weights.verify import Report, verify

__all__ = [
    "NAMES",
    "OXFORD",
    "REGISTRY",
    "TORCHVISION",
    "Available",
    "Entry",
    "Preprocessing",
    "Report",
    "Weights",
    "available",
    "class_names",
    "convert",
    "load",
    "read",
    "resolve",
    "save",
    "verify",
]
