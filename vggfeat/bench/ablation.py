"""The ablation: a ladder on which each choice of Appendix B about descriptors is a rung, measured as the result is.

Each rung chooses its own C. All are read from the stores of the result, but for one scale without the mirror image.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vggfeat.bench.benchmark import Benchmark
from vggfeat.bench.probe import Evaluation
from vggfeat.bench.trial import Trial
from vggfeat.descriptors import Describer
from vggfeat.engine.net import DenseNet
from vggfeat.spec import SCALES, Aggregation

AGGREGATED: tuple[Aggregation, ...] = ("mean", "max", "stack")


class Measured(NamedTuple):
    """The rows of the image set that could be described, bool (N,), and how they did."""

    found: np.ndarray
    evaluation: Evaluation


@dataclass(frozen=True)
class Rung:
    """One way to describe the samples. net : how its row calls the nets. box : describe the sample's box as well.
    shows : keys of Benchmark.claims.
    """

    net: str
    describer: Describer
    box: bool
    shows: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The same for rungs with the same numbers."""
        one = self.describer
        agg = one.spec.agg if len(one.spec.scales) > 1 else None
        return json.dumps([one.fingerprint(), agg, one.spec.normalize, self.box], sort_keys=True)


def middle(scales: Sequence[int]) -> int:
    """The middle scale; of two the smaller, which costs less."""
    return sorted(scales)[(len(scales) - 1) // 2]


def ladder(benchmark: Benchmark, mirrored: Describer, unmirrored: Describer, box: bool) -> Iterator[Rung]:
    """The rungs, from the describer of all nets and scales and that of the middle scale without the mirror image.

    Net by net: the middle scale without the mirror image and with it; the other scales; the mean over the paper's
    three, where there are more; all scales by mean, max, stack. Then the nets fused, by mean, max, stack. Last, where
    boxes are described too, the image only, aggregated as the result is.
    """
    names = net_names(mirrored.engine.nets)
    scales, middle_one = mirrored.spec.scales, unmirrored.spec.scales
    for name, net, bare in zip(names, mirrored.engine.apart(), unmirrored.engine.apart(), strict=True):
        of_net = mirrored.variant(net, agg="mean")
        yield Rung(name, unmirrored.variant(bare, agg="mean"), box)
        yield Rung(name, of_net.variant(scales=middle_one), box)
        if len(scales) > 1:
            others = (q for q in scales if q not in middle_one)
            yield from (Rung(name, of_net.variant(scales=(q,)), box) for q in others)
            if set(scales) > set(SCALES):
                yield Rung(name, of_net.variant(scales=SCALES), box, ("three",))
            yield from _aggregated(benchmark, name, of_net, box)
    fused = " & ".join(names)
    if len(names) > 1:
        yield from _aggregated(benchmark, fused, mirrored, box)
    if box:
        yield Rung(fused, mirrored, False, ("image only",))


def _aggregated(benchmark: Benchmark, name: str, describer: Describer, box: bool) -> Iterator[Rung]:
    of_paper = benchmark.recipe.agg if benchmark.recipe else None
    for agg in AGGREGATED if len(describer.spec.scales) > 1 else AGGREGATED[:1]:
        shows = (agg, name) if agg == of_paper else (agg,)
        yield Rung(name, describer.variant(agg=agg), box, shows)


def net_names(nets: Sequence[DenseNet]) -> list[str]:
    """The letters of the nets, with their weights where two have the same."""
    weights = [net.weights for net in nets]
    letters = [one.net for one in weights]
    return [one.net if letters.count(one.net) == 1 else f"{one.net} ({one.name})" for one in weights]


def climb(
    trial: Trial, rungs: Iterable[Rung], asked: Rung, measured: Measured
) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure the rungs from stores that are filled: the rows of Result.ablation, and notes.

    asked, measured : the result itself, which is not measured again.
    """
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for rung in rungs:
        text = _text(trial.benchmark, rung)
        if rung.key == asked.key:
            found, evaluation = measured
        else:
            X, found = trial.descriptors(rung.describer, rung.box)
            evaluation = trial.evaluate(X, found, f"training SVMs, {text}")
        rows.append(_row(trial.benchmark, rung, text, evaluation))
        if not np.array_equal(found, measured.found):
            notes.append(f"{text}: {found.sum()} images could be described, not {measured.found.sum()}")
    return rows, notes


def _row(benchmark: Benchmark, rung: Rung, text: str, evaluation: Evaluation) -> dict[str, Any]:
    one = rung.describer.spec
    return {
        "row": text,
        "net": "&".join(net.weights.net for net in rung.describer.engine.nets),
        "layer": one.layer,
        "scales": list(one.scales),
        "agg": one.agg,
        "mirror": one.mirror,
        **({"box": rung.box} if benchmark.boxes else {}),
        "value": evaluation.value,
        "std": evaluation.std,
        "C": [split["C"] for split in evaluation.splits],
        "paper": claim(benchmark, rung),
    }


def _text(benchmark: Benchmark, rung: Rung) -> str:
    one = rung.describer.spec
    parts = [rung.net, f"Q={','.join(map(str, one.scales))}"]
    parts += [one.agg] if len(one.scales) > 1 else []
    parts += [] if one.mirror else ["no mirror image"]
    return ", ".join(parts + (["image only"] if benchmark.boxes and not rung.box else []))


def claim(benchmark: Benchmark, rung: Rung) -> str | None:
    """What the paper says of a rung: its figure, where it measured the very same, and its words."""
    one, recipe = rung.describer.spec, benchmark.recipe
    if recipe is None:
        return None
    words = [benchmark.claims[shown] for shown in rung.shows if shown in benchmark.claims]
    described = (one.layer, set(one.scales), one.agg, one.mirror, one.normalize)
    if described == ("fc7", set(recipe.scales), recipe.agg, True, "l2"):
        named = rung.net + (f", image {'and box' if rung.box else 'only'}" if benchmark.boxes else "")
        words = [f"{figure:.1f}" for name, figure in benchmark.paper.items() if name == named] + words
    return "; ".join(words) or None
