"""The ablation: each choice of Appendix B about descriptors is a rung of a ladder, measured as the result is.

Each rung chooses its own C. All are read from the stores of the result, except one scale without the mirrored image.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from vggfeat.bench.benchmark import Benchmark
from vggfeat.bench.probe import ProbeResult, split_notes
from vggfeat.bench.trial import Trial
from vggfeat.descriptors import Describer
from vggfeat.engine.net import DenseNet
from vggfeat.spec import SCALES, Aggregation

AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)


@dataclass(frozen=True)
class Rung:
    """One way to describe the samples. net : name of the nets in the row. box : whether the sample's box is described
    as well. shows : keys of Benchmark.claims.
    """

    net: str
    describer: Describer
    box: bool
    shows: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Equal for rungs with the same numbers."""
        one = self.describer
        agg = one.spec.agg if len(one.spec.scales) > 1 else None
        return json.dumps([one.fingerprint(), agg, one.spec.normalize, self.box], sort_keys=True)


def ablation_rows(
    trial: Trial, rungs: Iterable[Rung], asked: Rung, result: ProbeResult
) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure the rungs from filled stores: the rows of `BenchmarkResult.ablation`, and notes.

    asked, result : the way that the result is measured, which is not measured again.
    """
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for rung in rungs:
        text = row_text(trial.benchmark, rung)
        same = rung.key == asked.key
        probed = result if same else trial.measure(rung.describer, rung.box, f"training SVMs, {text}")
        rows.append(_row(trial.benchmark, rung, text, probed))
        if not np.array_equal(probed.found, result.found):
            notes.append(f"{text}: {probed.found.sum()} images could be described, not {result.found.sum()}")
        if not same:
            notes += [f"{text}: {note}" for note in split_notes(probed.scores)]
    return rows, notes


def describers(asked: Describer) -> tuple[Describer, Describer]:
    """With the mirrored image and all scales, and without it and the middle scale only. One of them shares its nets."""
    mirrored, bare = (
        asked if asked.spec.mirror == mirror else Describer(spec=replace(asked.spec, mirror=mirror))
        for mirror in (True, False)
    )
    return mirrored, bare.variant(scales=(middle(bare.spec.scales),))


def middle(scales: Sequence[int]) -> int:
    """The middle scale; of two the smaller, which costs less."""
    return sorted(scales)[(len(scales) - 1) // 2]


def ladder(benchmark: Benchmark, mirrored: Describer, bare: Describer, box: bool) -> Iterator[Rung]:
    """The rungs, from the two `describers`.

    Net by net: the middle scale without the mirrored image and with it; the other scales; the mean over the paper's
    three, if there are more; all scales by mean, max, stack. Then the nets fused, by mean, max, stack. Last, if boxes
    are described too, the image only, aggregated as the result is.
    """
    names = net_names(mirrored.engine.nets)
    scales, middle_one = mirrored.spec.scales, bare.spec.scales
    for name, net, bare_net in zip(names, mirrored.engine.apart(), bare.engine.apart(), strict=True):
        of_net = mirrored.variant(net, agg="mean")
        yield Rung(name, bare.variant(bare_net, agg="mean"), box)
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
    of_paper = benchmark.paper_settings.agg if benchmark.paper_settings else None
    for agg in AGGREGATIONS if len(describer.spec.scales) > 1 else AGGREGATIONS[:1]:
        shows = (agg, name) if agg == of_paper else (agg,)
        yield Rung(name, describer.variant(agg=agg), box, shows)


def net_names(nets: Sequence[DenseNet]) -> list[str]:
    """The letters of the nets, with the names of their weights if two nets have the same letter."""
    weights = [net.weights for net in nets]
    letters = [one.net for one in weights]
    return [one.net if letters.count(one.net) == 1 else f"{one.net} ({one.name})" for one in weights]


def row_text(benchmark: Benchmark, rung: Rung) -> str:
    """What is measured, in a few words."""
    spec = rung.describer.spec
    parts = [rung.net, f"Q={','.join(map(str, spec.scales))}"]
    parts += [spec.agg] if len(spec.scales) > 1 else []
    parts += [] if spec.mirror else ["no mirror image"]
    return ", ".join(parts + (["image only"] if benchmark.boxes and not rung.box else []))


def claim(benchmark: Benchmark, rung: Rung) -> str | None:
    """What the paper says of a rung: its value, if the paper measured the same, and its words."""
    spec, of_paper = rung.describer.spec, benchmark.paper_settings
    if of_paper is None:
        return None
    words = [benchmark.claims[shown] for shown in rung.shows if shown in benchmark.claims]
    described = (spec.layer, set(spec.scales), spec.agg, spec.mirror, spec.normalize)
    if described == ("fc7", set(of_paper.scales), of_paper.agg, True, "l2"):
        named = rung.net + (f", image {'and box' if rung.box else 'only'}" if benchmark.boxes else "")
        words = [f"{value:.1f}" for name, value in benchmark.paper.items() if name == named] + words
    return "; ".join(words) or None


def _row(benchmark: Benchmark, rung: Rung, text: str, probed: ProbeResult) -> dict[str, Any]:
    spec = rung.describer.spec
    return {
        "row": text,
        "net": "&".join(net.weights.net for net in rung.describer.engine.nets),
        "layer": spec.layer,
        "scales": list(spec.scales),
        "agg": spec.agg,
        "mirror": spec.mirror,
        **({"box": rung.box} if benchmark.boxes else {}),
        "value": probed.value,
        "std": probed.std,
        "C": [split["C"] for split in probed.splits],
        "paper": claim(benchmark, rung),
    }
