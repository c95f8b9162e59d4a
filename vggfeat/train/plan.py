"""The paper's schedule (Sect. 3.1): a chain of runs, each beginning with the weights of one before.

A is trained at S=256 from random weights; the net at S=256 from A; at S=384 from that; with S drawn from [256, 512]
from that one.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from vggfeat.errors import UsageError
from vggfeat.train.ranks import joined
from vggfeat.train.recipe import FROM, LR, LR_TUNING, Recipe
from vggfeat.train.run import Result, train

BASE = "A"
SHALLOW = "B-5x5"  # Sect. 4.1; it stands in no table


class Stage(NamedTuple):
    """One run: its folder, what it starts from (another stage, or an initialisation), and what it changes."""

    name: str
    init: str
    changes: dict[str, Any]


def stages(net: str) -> list[Stage]:
    """The runs that lead to a net for all scales. A itself has nothing to start from but random weights."""
    first = Stage("A-256", "random", {"net": BASE})
    deeper = [] if net == BASE else [Stage(f"{net}-256", first.name, {"lr": LR})]
    return [
        first,
        *deeper,
        Stage(f"{net}-384", f"{net}-256", {"scale": "384", "lr": LR_TUNING}),
        Stage(f"{net}-256-512", f"{net}-384", {"scale": "256-512", "lr": LR_TUNING}),
    ]


def train_paper(data: str | Path, out: str | Path, recipe: Recipe | None = None, **settings: Any) -> list[Result]:
    """Train the whole chain into folders below `out`; the same call continues it where it was left.

    The recipe's net is the last one's; its init, scale and lr are the chain's own, and must be left as they are.
    Raises what `train` does.
    """
    recipe = recipe or Recipe(**settings)
    if recipe.net == SHALLOW:
        raise UsageError(
            f"{SHALLOW} has no layers like A's to begin with: leave out the schedule, and give init glorot"
        )
    plain = Recipe(net=recipe.net)
    for name in ("init", "scale", "lr", "finetune"):
        if getattr(recipe, name) != getattr(plain, name):
            raise UsageError(f"the paper's schedule has its own {name}: leave it out")
    results: list[Result] = []
    with joined(recipe.device):
        for stage in stages(recipe.net):
            weights = Path(out, stage.init, "best.safetensors")
            init = stage.init if not results else f"{FROM}{weights}"
            results.append(train(data, Path(out, stage.name), replace(recipe, init=init, **stage.changes)))
    return results
