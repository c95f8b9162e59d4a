"""How a result differs from what the paper measured, in words."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vggfeat.bench.benchmark import Benchmark, Result

LABELS = {
    "net": "Net",
    "layer": "Layer",
    "scales": "Scales Q",
    "agg": "Over the scales",
    "mirror": "Mirror image",
    "normalize": "Normalisation",
    "pooling": "Pooling sizes",
    "precision": "Precision",
    "device": "Device",
    "solver": "SVM solver",
    "background": "Background class",
    "box": "Box of the sample",
    "train_per_class": "Training images a class",
    "test_per_class": "Test images a class, at most",
    "seeds": "Seeds",
    "splits": "Splits",
}


def benchmark_of(name: str) -> "Benchmark | None":
    """The benchmark of that name, if there is one."""
    from vggfeat.bench import BENCHMARKS  # which imports the modules that import this one

    return BENCHMARKS.get(name)


def differences(result: "Result") -> list[str]:
    """How the settings differ from the paper's, and the numbers of images from the protocol's."""
    benchmark, config = benchmark_of(result.benchmark), result.config
    if benchmark is None or not result.paper:
        return []
    paper: dict[str, Any] = {"layer": "fc7", "mirror": True, "background": True}
    if benchmark.recipe:
        paper |= {"scales": list(benchmark.recipe.scales), "agg": benchmark.recipe.agg}
    paper |= {name: getattr(benchmark, name) for name in ("train_per_class", "test_per_class") if name in config}
    if len(config.get("scales", ())) == 1 and config["scales"] != paper.get("scales"):
        del paper["agg"]  # there is nothing to aggregate
    return [
        f"{LABELS[name][0].lower()}{LABELS[name][1:]} {words(config[name])} (paper: {words(value)})"
        for name, value in paper.items()
        if name in config and config[name] != value
    ]


def words(value: Any) -> str:
    """A setting as people say it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(words, value))
    if isinstance(value, float):
        return f"{value:g}"
    return "all" if value is None else str(value)
