"""How the settings of a result differ from those of the paper, in words."""

from collections.abc import Mapping
from typing import Any

from vggfeat.bench.benchmark import Benchmark

LABELS = {
    "net": "Net",
    "layer": "Layer",
    "scales": "Scales Q",
    "agg": "Aggregation over the scales",
    "mirror": "Mirror image",
    "normalize": "Normalisation",
    "pooling": "Pooling sizes",
    "exif": "Turned upright by EXIF",
    "precision": "Precision",
    "device": "Device",
    "solver": "SVM solver",
    "background": "Background class",
    "box": "Box of the sample",
    "store": "Store of the descriptors",
    "demonstration": "Demonstration net",
    "train_per_class": "Training images per class",
    "test_per_class": "Test images per class, at most",
    "seeds": "Seeds",
    "splits": "Splits",
    "validation": "Choice of C",
}


def differences(benchmark: Benchmark, config: Mapping[str, Any]) -> list[str]:
    """How the settings differ from the paper's, and the numbers of images from the protocol's."""
    paper: dict[str, Any] = {"layer": "fc7", "mirror": True, "background": True}
    if benchmark.paper_settings:
        paper |= {"scales": list(benchmark.paper_settings.scales), "agg": benchmark.paper_settings.agg, "exif": False}
    paper |= {name: getattr(benchmark, name) for name in ("train_per_class", "test_per_class") if name in config}
    if len(config.get("scales", ())) == 1 and config["scales"] != paper.get("scales"):
        paper.pop("agg", None)  # there is nothing to aggregate
    shown = ["the net is a demonstration, far smaller than the paper's"] if config.get("demonstration") else []
    return shown + [
        f"{LABELS[name][0].lower()}{LABELS[name][1:]} {words(config[name])} (paper: {words(value)})"
        for name, value in paper.items()
        if name in config and config[name] != value
    ]


def words(value: Any) -> str:
    """The value of a setting as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(words, value))
    if isinstance(value, float):
        return f"{value:g}"
    return "all" if value is None else str(value)
