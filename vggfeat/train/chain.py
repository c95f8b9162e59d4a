"""The paper's chain of runs (Sect. 3.1), each of which starts from the weights of an earlier one.

Net A is trained at S=256 from random weights; the wanted net at S=256 from A; at S=384 from that net; with S drawn
from [256, 512] from the net at S=384.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from vggfeat.errors import UsageError
from vggfeat.train.folder import RunFolder
from vggfeat.train.ranks import joined
from vggfeat.train.recipe import Recipe, recipe_of
from vggfeat.train.results import TrainingResult
from vggfeat.train.run import train
from vggfeat.train.settings import FROM

BASE = "A"
SHALLOW = "B-5x5"  # of Sect. 4.1, which does not start from A


class Stage(NamedTuple):
    """One run: its folder, its initial weights (an earlier stage, or an initialisation), and its own settings."""

    name: str
    init: str
    changes: dict[str, Any]


def stages(recipe: Recipe) -> list[Stage]:
    """The runs that lead to the net of a recipe for all scales. A itself starts from random weights."""
    net, lr, lr_tuning = recipe.net, recipe.first_rate(same=False), recipe.first_rate(same=True)
    first = Stage("A-256", "random", {"net": BASE})
    deeper = [] if net == BASE else [Stage(f"{net}-256", first.name, {"lr": lr})]
    return [
        first,
        *deeper,
        Stage(f"{net}-384", f"{net}-256", {"scale": "384", "lr": lr_tuning}),
        Stage(f"{net}-256-512", f"{net}-384", {"scale": "256-512", "lr": lr_tuning}),
    ]


def train_paper(
    data: str | Path, out: str | Path, recipe: Recipe | None = None, **settings: Any
) -> list[TrainingResult]:
    """Train the paper's chain of runs; the same call continues it.

    Parameters
    ----------
    data : str or path
        The images, as `train` takes them.
    out : str or path
        Folder for the folders of the runs, such as A-256, D-256, D-384 and D-256-512.
    recipe : Recipe or None
        Settings of all runs. `net` is the last net; `init`, `scale`, `lr` and `finetune` belong to the chain and must
        have their defaults.
    **settings
        Fields of `Recipe`, instead of a recipe.

    Returns
    -------
    list of TrainingResult
        One result per run.

    Raises
    ------
    UsageError, DataError, WeightsError, VggfeatError
        As `train` does; UsageError also for settings that belong to the chain, and for net B-5x5.

    References
    ----------
    Sect. 3.1.
    """
    recipe = recipe_of(recipe, settings)
    if recipe.net == SHALLOW:
        raise UsageError(
            f"{SHALLOW} has no layers like those of A to start from: leave out the schedule, and give init glorot"
        )
    plain = Recipe(net=recipe.net)
    for name in ("init", "scale", "lr", "finetune"):
        if getattr(recipe, name) != getattr(plain, name):
            raise UsageError(f"the paper's schedule has its own {name}: leave it out")
    results: list[TrainingResult] = []
    with joined(recipe.device):
        for stage in stages(recipe):
            weights = Path(out, stage.init, "best.safetensors")
            init = stage.init if not results else f"{FROM}{weights}"
            changes = stage.changes
            if begun := RunFolder(Path(out, stage.name)).begun():  # earlier versions had one rate for all batches
                changes = {**changes, "lr": begun.recipe.get("lr")}
            results.append(train(data, Path(out, stage.name), replace(recipe, init=init, **changes)))
    return results
