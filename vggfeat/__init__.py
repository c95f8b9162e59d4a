"""vggfeat: VGG descriptors of images, as Simonyan & Zisserman describe them, and measures of how good they are.

    import vggfeat
    v = vggfeat.describe("photo.jpg")                     # float32 (4096,), L2 norm 1
    store = vggfeat.extract("photos/", out="photos.vggfeat")
    X = vggfeat.load("photos.vggfeat", agg="stack").X     # float32 (N, 12288)

Importing the package imports neither torch nor numpy: each public name is imported when it is first used.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "describe": "descriptors",
    "Describer": "descriptors",
    "DescriptorSpec": "spec",
    "clear_cache": "descriptors",
    "backbone": "maps",
    "feature_maps": "maps",
    "VGGDescriptor": "transformer",
    "extract": "extraction",
    "extract_layers": "extraction",
    "fit": "model",
    "Model": "model",
    "VGGClassifier": "model",
    "load": "store",
    "Index": "index",
    "localize": "localization",
    "demonstrate": "demo",
    "VggfeatError": "errors",
    "UsageError": "errors",
    "ImageError": "errors",
    "WeightsError": "errors",
    "DataError": "errors",
    "StoreError": "errors",
    "ModelError": "errors",
    "FetchError": "errors",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        globals()[name] = getattr(importlib.import_module(f"vggfeat.{_HOME[name]}"), name)
        return globals()[name]
    raise AttributeError(f"module 'vggfeat' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
