"""The beginning of a run, new or continued: net, optimiser, pixel statistics, and where it stands."""

import os
import sys
from dataclasses import asdict, dataclass, replace
from typing import Any

from vggfeat import __version__
from vggfeat import weights as weights_of
from vggfeat.data.imagenet import synset_names
from vggfeat.errors import UsageError, VggfeatError, WeightsError
from vggfeat.nets import VGG
from vggfeat.train import checkpoint
from vggfeat.train.checkpoint import Progress
from vggfeat.train.colour import ILSVRC, Colour, measure, sample
from vggfeat.train.folder import RunFolder
from vggfeat.train.learner import Learner, precision
from vggfeat.train.ranks import Ranks
from vggfeat.train.recipe import FROM, Recipe
from vggfeat.train.sets import Sets
from vggfeat.train.start import Start, begin

MAX_WORKERS = 16


@dataclass(frozen=True)
class Setup:
    """What a run is made of when its first (or next) step begins."""

    learner: Learner
    colour: Colour
    start: Start
    progress: Progress
    about: dict[str, Any]


def set_up(folder: RunFolder, recipe: Recipe, sets: Sets, ranks: Ranks) -> Setup:
    """Begin a run, or take it up at its last checkpoint.

    Raises UsageError or DataError where it was begun with another recipe or data, WeightsError for a checkpoint of
    another net.
    """
    data: dict[str, Any] = {
        "sha256": sets.fingerprint(),
        "train": len(sets.train),
        "val": len(sets.val),
        "folders": list(sets.folders),
    }
    if ranks.main:
        recipe = _as_begun(folder, recipe)
    recipe = ranks.told(recipe)
    config = {"vggfeat": __version__, "recipe": recipe.deciding(), "data": data, "notes": list(sets.notes)}
    if ranks.main:
        folder.agree(config)
    seen = ranks.all([folder.checkpoint.exists()])  # the others wait until that is settled
    if any(seen):
        if not all(seen):
            raise UsageError(
                f"{folder.path}: {seen.count(False)} of {len(seen)} processes don't see the checkpoint there; "
                "the folder of a run lies on storage that all of them share"
            )
        return _continued(folder, recipe, sets, ranks, data["sha256"])
    colour = ranks.told(_colour(folder, recipe, sets) if ranks.main else None)
    vgg, start = begin(recipe, sets, colour)
    about = {
        "recipe": recipe.deciding(),
        "colour": asdict(colour),
        "start": asdict(start),
        "data": data["sha256"],
    }
    learner = Learner(vgg, recipe, start.preprocessing, ranks)
    learner.sgd.param_groups[0]["lr"] = start.lr
    if ranks.main:
        for note in sets.notes:
            print(note, file=sys.stderr)
        machine = {"device": str(ranks.device), "processes": ranks.world, "precision": precision(recipe, ranks.device)}
        folder.write_json(
            "config.json", {**config, "start": about["start"], "settings": asdict(recipe), "began_on": machine}
        )
    return Setup(learner, colour, start, Progress(), about)


def _as_begun(folder: RunFolder, recipe: Recipe) -> Recipe:
    """The recipe under the name that the weights it starts from had when the run was begun: a folder may have moved,
    or be named from another place. They are the same where their sha256 is."""
    begun = folder.begun()
    named = begun.get("recipe", {}).get("init", "")
    if not recipe.source or named == recipe.init or not str(named).startswith(FROM):
        return recipe
    found = weights_of.resolve(recipe.source, None, "pool5")
    return replace(recipe, init=named) if found.sha256 == begun.get("start", {}).get("sha256") else recipe


def _continued(folder: RunFolder, recipe: Recipe, sets: Sets, ranks: Ranks, data: str) -> Setup:
    tensors, progress, about = checkpoint.load(folder.checkpoint)
    try:
        was, colour, start = about["recipe"], Colour.of(about["colour"]), Start.of(about["start"])
        for key, value in recipe.deciding().items():
            if was[key] != value:
                raise WeightsError(
                    f"{folder.checkpoint}: is of a run with {key} {was[key]!r}, not {value!r}; remove it"
                )
        if about["data"] != data:
            raise WeightsError(f"{folder.checkpoint}: is of a run on other images or labels; remove it")
        vgg = VGG(recipe.net, width=recipe.width, classes=len(sets.classes), dropout=recipe.dropout)
        learner = Learner(vgg, recipe, start.preprocessing, ranks)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{folder.checkpoint}: its metadata can't be meant ({error!r}); remove it") from None
    try:
        learner.take(tensors, progress.plateau.rate(start.lr))
    except WeightsError as error:
        raise WeightsError(f"{folder.checkpoint}: {error}; remove it") from None
    if progress.finished and recipe.epochs > progress.epoch and not progress.plateau.over:
        progress = replace(progress, finished="")  # more epochs are asked for now
    if not progress.finished and recipe.epochs <= progress.epoch:
        # fewer are asked for than are begun: what there is of the next stays where it is
        progress = replace(progress, finished=f"{progress.epoch} epochs are done")
    return Setup(learner, colour, start, progress, about)


def _colour(folder: RunFolder, recipe: Recipe, sets: Sets) -> Colour:
    """The pixels' statistics: published ones, those of an earlier start of this run, or measured now."""
    published = recipe.statistics == "ilsvrc" or (recipe.statistics == "auto" and sets.folders == tuple(synset_names()))
    known = folder.read_json("statistics.json")
    if known is not None and not published:
        try:
            return Colour.of(known)
        except (KeyError, TypeError, ValueError) as error:
            raise VggfeatError(f"{folder.path / 'statistics.json'}: can't be meant ({error!r}); remove it") from None
    colour = ILSVRC if published else measure(sets.train.readable(sample(len(sets.train)).tolist(), cores()))
    folder.write_json("statistics.json", asdict(colour))
    return colour


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def workers(recipe: Recipe, ranks: Ranks) -> int:
    """Processes that decode, beside this one."""
    if recipe.workers is not None:
        return recipe.workers
    return 0 if ranks.device.type == "cpu" else max(1, min(MAX_WORKERS, cores() // ranks.on_machine - 1))
