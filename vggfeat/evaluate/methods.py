"""From an image to class posteriors at each scale: densely, over a grid of crops, or from the centre crop (Sect. 3.2).

All are Describers of the layer fc8, so that the engine that fills descriptor stores fills stores of posteriors.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from vggfeat.data.imagenet import Classified
from vggfeat.descriptors import Describer
from vggfeat.engine import Engine, Grid, View, Whole
from vggfeat.spec import PosteriorSpec, check_choice, check_scales

Method = Literal["dense", "multi-crop", "centre"]
Methods = Literal["dense", "multi-crop", "both", "centre"]
METHODS: tuple[Method, ...] = get_args(Method)
GRID = 5  # crops a side: 25, and with mirror images the paper's 50 a scale


def posterior_describers(
    method: Methods,
    spec: PosteriorSpec,
    *,
    grid: int = GRID,
    mirror: bool | None = None,
    data: Classified | None = None,
) -> list[Describer]:
    """The describers that a method needs, one for each net: of dense and multi-crop for "both".

    grid : crops a side for multi-crop. mirror : None for all but the centre crop. data : what the posteriors are of,
        and so part of their fingerprint.

    Raises UsageError, WeightsError.
    """
    check_choice("method", method, Methods)
    found: list[Describer] = []
    for one in ("dense", "multi-crop") if method == "both" else (method,):
        view: View = Whole() if one == "dense" else Grid(grid if one == "multi-crop" else 1)
        mirrored = one != "centre" if mirror is None else mirror
        found += _one_each(one, replace(spec, mirror=mirrored), view, data)
    return found


def _one_each(method: str, spec: PosteriorSpec, view: View, data: Classified | None) -> list[Describer]:
    if isinstance(view, Grid):
        check_scales(spec.scales, "fc8")  # crops are of 224, also if pooled sizes are rounded up
    of_data = {"data": data.name, "images": len(data)} if data is not None else {}
    facts = {"method": method, **of_data}
    return [
        Describer(spec=spec, engine=engine, view=view, facts=facts, task=_task(engine, method))
        for engine in Engine.of(spec).apart()
    ]


def _task(engine: Engine, method: str) -> str:
    weights = engine.nets[0].weights
    return f"{weights.net} ({Path(weights.name).stem}), {method}"
