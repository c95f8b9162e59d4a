"""Weights: the native format, the registry and its cache, conversion from other frameworks' files."""

from vggfeat.weights.native import Preprocessing, Weights, load, read, save

__all__ = ["Preprocessing", "Weights", "load", "read", "save"]
