"""The beginning of a run, new or continued: its net, its optimiser, its pixel statistics, and how far it has come."""

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vggfeat import __version__
from vggfeat._util.printable import say
from vggfeat._util.processes import cores
from vggfeat.data.imagenet import synset_names
from vggfeat.errors import UsageError, WeightsError
from vggfeat.nets.table import layers, tensor_shapes
from vggfeat.nets.vgg import VGG, initialise
from vggfeat.train import checkpoint
from vggfeat.train.draws import weights_seed
from vggfeat.train.filling import IMAGES, Filling, fill, measured
from vggfeat.train.folder import RunFolder
from vggfeat.train.frozen import Convolutions, Maps
from vggfeat.train.learner import Learner, find_precision
from vggfeat.train.loading import Crops, StepPlan, decoding_workers
from vggfeat.train.objective import Objective
from vggfeat.train.pixel_statistics import ILSVRC, PixelStatistics, measure, sample
from vggfeat.train.ranks import Ranks
from vggfeat.train.sets import Photos, Sets
from vggfeat.train.settings import AUTO, FROM, TrainingSettings, difference
from vggfeat.train.state import Start, TrainState
from vggfeat.weights.header import Preprocessing, Weights
from vggfeat.weights.names import class_names
from vggfeat.weights.native import load
from vggfeat.weights.resolve import resolve
from vggfeat.weights.run_files import CONFIG

FIRST = 4  # convolutional layers that another net copies, beside the fully connected ones (Sect. 3.1)
STATISTICS = "statistics.json"
MAPS = "maps"  # a folder of the run


@dataclass(frozen=True)
class Run:
    """What stays the same during a run. data : sha256 of all names and labels."""

    folder: RunFolder
    recipe: TrainingSettings
    objective: Objective
    sets: Sets
    ranks: Ranks
    learner: Learner
    statistics: PixelStatistics
    start: Start
    data: str

    @property
    def plan(self) -> StepPlan:
        """This process's share of the steps."""
        return StepPlan(len(self.sets.train), self.recipe, self.ranks.rank, self.ranks.world)

    def rate(self, state: TrainState, ahead: int = 0) -> float:
        """The learning rate of the next step after a state, or of one that is `ahead` of it.

        See `TrainingSettings.warmup` and `lr_schedule`.
        """
        steps, recipe = self.plan.steps, self.recipe
        done = state.epoch * steps + state.step + ahead
        rise = min(1.0, (done + 1) / max(recipe.warmup * steps, 1.0))
        return state.plateau.rate(self.start.lr) * recipe.options.factor(state.epoch, recipe.epochs) * rise

    @property
    def about(self) -> checkpoint.About:
        """What a checkpoint says of its run."""
        return checkpoint.About(self.recipe.fixed(), self.statistics, self.start, self.data)

    def batches_of(self, photos: Photos) -> Crops | Maps:
        """The photos as micro-batches: of crops, or of what frozen convolutions make of them."""
        crops = Crops(photos, self.recipe, self.statistics)
        if not self.recipe.keeps_maps:
            return crops
        folder = Path(self.recipe.cache_dir) if self.recipe.cache_dir else self.folder.path / MAPS
        return Maps(crops, self._convolutions, folder, decoding_workers(self.recipe, self.ranks))

    @cached_property
    def _convolutions(self) -> Convolutions:
        return Convolutions(self.learner, self.start)


def with_net(recipe: TrainingSettings) -> TrainingSettings:
    """The recipe with the net and the width of its initial weights, if the net is auto. Raises WeightsError."""
    if recipe.net != AUTO:
        return recipe
    found = resolve(recipe.source, None, "pool5")
    if recipe.width not in (1, found.width):
        raise WeightsError(f"{found.path}: is of width {found.width:g}, not {recipe.width:g}: leave --width out")
    return replace(recipe, net=found.net, width=found.width)


def begin_or_continue(
    folder: RunFolder, recipe: TrainingSettings, objective: Objective, sets: Sets, ranks: Ranks
) -> tuple[Run, TrainState]:
    """Begin a run, or continue it at its last checkpoint.

    Raises UsageError or DataError if it was begun with another recipe or other data, WeightsError for a checkpoint of
    another run.
    """
    if recipe.batch < ranks.world:
        raise UsageError(f"a batch of {recipe.batch} cannot be divided among {ranks.world} processes; take fewer")
    config: dict[str, Any] = {}
    data = sets.fingerprint()
    if ranks.main:
        recipe = _as_begun(folder, recipe)
        config = _config(recipe, sets, data)
        folder.check_or_begin(config)
    recipe = ranks.broadcast(recipe)
    seen = ranks.gather([folder.checkpoint.exists()])
    if not all(seen) and any(seen):
        raise UsageError(
            f"{folder.path}: {seen.count(False)} of {len(seen)} processes do not see the checkpoint there; "
            "take a folder on storage that all of them share"
        )
    if all(seen):
        return _continue(folder, recipe, objective, sets, ranks, data)
    statistics = ranks.broadcast(pixel_statistics(folder, recipe, sets) if ranks.main else None)
    vgg, start = initial_net(recipe, objective, sets.classes, statistics)
    start = replace(start, lr=ranks.broadcast(_first_rate(folder, recipe, start) if ranks.main else None))
    learner = Learner(vgg, replace(recipe, lr=start.lr), objective, start.preprocessing, ranks)
    if ranks.main:
        for note in sets.notes:
            say(note)
        precision = find_precision(recipe.precision, ranks.device)
        machine = {"device": str(ranks.device), "processes": ranks.world, "precision": precision}
        folder.write_json(CONFIG, {**config, "start": asdict(start), "settings": asdict(recipe), "began_on": machine})
    run = Run(folder, recipe, objective, sets, ranks, learner, statistics, start, data)
    if recipe.source and recipe.fill == "scaled":
        fill(learner, *ranks.broadcast(_measured(run) if ranks.main else None))
    state = TrainState(sums=tuple(learner.no_images().tolist()))
    learner.set_rate(run.rate(state))
    return run, state


def _first_rate(folder: RunFolder, recipe: TrainingSettings, start: Start) -> float:
    """The initial learning rate, which a line tells. It stays that of a run that an earlier version began."""
    begun = folder.begun()
    rate = (begun.start.get("lr") if begun else None) or start.lr
    if recipe.lr is None:
        of_all = rate * recipe.rate_batch / recipe.batch
        same = f", as {of_all:g} for batches of {recipe.rate_batch}" if of_all != rate else ""
        say(f"learning rate {rate:g} for batches of {recipe.batch}{same}; --lr sets another")
    return rate


def _measured(run: Run) -> tuple[Filling, torch.Tensor | None]:
    """How to fill random layers, measured on training images spread over the set."""
    images = run.batches_of(run.sets.train)
    images.prepare(0, lambda: None)
    rows = np.unique(np.linspace(0, len(run.sets.train) - 1, IMAGES).astype(int)).tolist()
    batch = images[0, tuple(rows)]
    return measured(run.learner, run.start.copied, batch), run.objective.start(batch)


def _config(recipe: TrainingSettings, sets: Sets, data: str) -> dict[str, Any]:
    counts = {"sha256": data, "train": len(sets.train), "val": len(sets.val), "folders": list(sets.folders)}
    return {"vggfeat": __version__, "recipe": recipe.fixed(), "data": counts, "notes": list(sets.notes)}


def _as_begun(folder: RunFolder, recipe: TrainingSettings) -> TrainingSettings:
    """The recipe with the name that the initial weights had when the run was begun, if their sha256 is the same.

    A folder may have moved, or be named relative to another place.
    """
    begun = folder.begun()
    named = str(begun.recipe.get("init", "")) if begun else ""
    if begun is None or not recipe.source or named == recipe.init or not named.startswith(FROM):
        return recipe
    found = resolve(recipe.source, None, "pool5")
    return replace(recipe, init=named) if found.sha256 == begun.start.get("sha256") else recipe


def _continue(
    folder: RunFolder, recipe: TrainingSettings, objective: Objective, sets: Sets, ranks: Ranks, data: str
) -> tuple[Run, TrainState]:
    file = folder.checkpoint
    tensors, state, about = checkpoint.load(file)
    start = about.start
    if changed := difference(about.recipe, recipe.fixed()):
        raise WeightsError(f"{file}: is of a run with {changed}; remove it")
    if about.data != data:
        raise WeightsError(f"{file}: is of a run on different images or labels; remove it")
    begun = folder.begun()
    if begun and begun.start and begun.start.get("sha256") != start.sha256:
        raise WeightsError(f"{file}: is of a run that began with other weights; remove it")
    vgg = VGG(recipe.net, width=recipe.width, classes=objective.outputs, dropout=recipe.dropout)
    learner = Learner(vgg, recipe, objective, start.preprocessing, ranks)
    run = Run(folder, recipe, objective, sets, ranks, learner, about.colour, start, data)
    if state.step > run.plan.steps:
        raise WeightsError(f"{file}: is of step {state.step} of an epoch of {run.plan.steps} steps; remove it")
    try:
        learner.restore(tensors, run.rate(state))
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}; remove it") from None
    return run, state.for_epochs(recipe.epochs)


def pixel_statistics(folder: RunFolder, recipe: TrainingSettings, sets: Sets) -> PixelStatistics:
    """Published statistics, those of an earlier start of this run, or new ones; written to statistics.json."""
    ilsvrc = sets.folders == tuple(synset_names())
    published = recipe.statistics == "ilsvrc" or (recipe.statistics == "auto" and ilsvrc)
    if not published and (known := folder.read_json(STATISTICS, PixelStatistics)) is not None:
        return known
    found = ILSVRC if published else measure(sets.train.readable(sample(len(sets.train)).tolist(), cores()))
    folder.write_json(STATISTICS, asdict(found))
    return found


def initial_net(
    recipe: TrainingSettings, objective: Objective, classes: tuple[str, ...], statistics: PixelStatistics
) -> tuple[VGG, Start]:
    """The net of a recipe before its first step, on the CPU, and where its weights came from.

    Its input is RGB in 0..255 minus the mean of the training set (Sect. 2.1), or that of the weights it starts from.
    Raises WeightsError if these do not fit.
    """
    vgg = VGG(recipe.net, width=recipe.width, classes=objective.outputs, dropout=recipe.dropout)
    generator = torch.Generator().manual_seed(weights_seed(recipe.seed))
    if not recipe.source:
        initialise(vgg, recipe.init, generator)  # type: ignore[arg-type]
        return vgg, Start(Preprocessing("RGB", 255.0, statistics.mean, (1.0, 1.0, 1.0)), recipe.first_rate(same=False))
    found = resolve(recipe.source, None, "pool5")
    initialise(vgg, "random" if recipe.fill == "scaled" else recipe.fill, generator)
    if recipe.width != found.width:
        raise WeightsError(
            f"{found.path}: is of width {found.width:g}, not {recipe.width:g}: give --width {found.width:g}"
        )
    shapes = [tensor_shapes(net, recipe.width, top="pool5") for net in (found.net, recipe.net)]
    same = shapes[0] == shapes[1]
    if recipe.finetune == "fc" and not same:
        raise UsageError(
            f"{found.path}: is of net {found.net}; to train only the fully connected layers of {recipe.net}, start "
            f"from a trained {recipe.net}, else its other convolutional layers would stay random"
        )
    copied = _layers_to_copy(found, recipe.net, same, None if objective.boxes else classes)
    _copy(vgg, found, copied)
    return vgg, Start(found.preprocessing, recipe.first_rate(same), tuple(copied), str(found.path), found.sha256)


def _layers_to_copy(found: Weights, net: str, same: bool, classes: tuple[str, ...] | None) -> list[str]:
    """From the same net all layers; from another its first four convolutional and its fully connected layers.

    fc8 only if its classes are the same; never one that predicts boxes.
    """
    plan = [layer for layer in layers(found.net, found.width, top=found.top) if layer.kind in ("conv", "FC")]
    convolutions = [layer.name for layer in plan if layer.kind == "conv"]
    connected = [layer.name for layer in plan if layer.kind == "FC"]
    if connected[-1:] == ["fc8"] and not _same_classes(found, classes):
        connected.pop()
    own = {layer.name: layer for layer in layers(net, found.width)}
    wanted = (convolutions if same else convolutions[:FIRST]) + connected
    for layer in plan:
        if layer.name in wanted and (layer.name not in own or own[layer.name].kernel != layer.kernel):
            raise WeightsError(f"{found.path}: net {net} has no layer like its {layer.name}; start from another net")
    return wanted


def _same_classes(found: Weights, classes: tuple[str, ...] | None) -> bool:
    """Whether fc8 of some weights scores these classes; without names any of the same number."""
    if found.boxes or classes is None or found.outputs != len(classes):
        return False
    return class_names(found) in (None, classes)


def _copy(vgg: VGG, found: Weights, names: list[str]) -> None:
    source = load(found, found.top).state_dict()
    with torch.no_grad():
        for name, parameter in vgg.named_parameters():
            if name.partition(".")[0] in names:
                if source[name].shape != parameter.shape:
                    shapes = f"{tuple(source[name].shape)}, not {tuple(parameter.shape)}"
                    raise WeightsError(f"{found.path}: {name} is of shape {shapes}; start from another net")
                parameter.copy_(source[name])
