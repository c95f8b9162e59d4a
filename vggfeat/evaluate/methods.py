"""From an image to class posteriors at each scale: densely, over a grid of crops, or of the centre crop (Sect. 3.2).

All are Describers of the layer fc8, so that the engine that fills descriptor stores fills stores of posteriors.
"""

from dataclasses import replace
from pathlib import Path

from vggfeat._util.options import check_choice
from vggfeat.data.imagenet import Classified
from vggfeat.descriptors import Describer
from vggfeat.engine import Engine, Grid, View, Whole
from vggfeat.evaluate.settings import EvaluationSettings, Method, Methods
from vggfeat.spec import PosteriorSpec, check_scales


def posterior_describers(
    method: Methods,
    spec: PosteriorSpec,
    *,
    grid: int = EvaluationSettings.grid,
    mirror: bool | None = EvaluationSettings.mirror,
    data: Classified | None = None,
) -> list[Describer]:
    """The describers that a method needs, one for each net; for "both" first those of dense, then of multi-crop.

    grid : crops along each side. mirror : replaces that of the spec; None: all but the centre crop.
    data : what the posteriors are of, which becomes a part of their fingerprint.

    Raises UsageError, WeightsError.
    """
    check_choice("method", method, Methods)
    methods: tuple[Method, ...] = ("dense", "multi-crop") if method == "both" else (method,)
    views: dict[Method, View] = {"dense": Whole(), "multi-crop": Grid(grid), "centre": Grid(1)}
    if method != "dense":
        check_scales(spec.scales, "fc8")  # crops have sides of 224, also if pooled sizes are rounded up
    spec = replace(spec, mirror=method != "centre" if mirror is None else mirror)
    of_data = {"data": data.name, "images": len(data)} if data is not None else {}
    engines = Engine.of(spec).apart()
    return [
        Describer(spec=spec, engine=engine, view=views[one], facts={"method": one, **of_data}, task=_task(engine, one))
        for one in methods
        for engine in engines
    ]


def _task(engine: Engine, method: Method) -> str:
    weights = engine.nets[0].weights
    return f"{weights.net} ({Path(weights.name).stem}), {method}"
