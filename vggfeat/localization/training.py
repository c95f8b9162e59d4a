"""From photos with boxes to a net that predicts boxes (Appendix A.1)."""

from pathlib import Path

from vggfeat._util.options import takes
from vggfeat.localization.fitted import FittedBoxes
from vggfeat.localization.objective import Boxes
from vggfeat.localization.settings import BoxRecipe
from vggfeat.train.run import train_for
from vggfeat.train.sets import check_batch, read_boxes


@takes(recipe=BoxRecipe)
def fit(data: str | Path, out: str | Path, *, images: str | Path | None = None, recipe: BoxRecipe) -> FittedBoxes:
    """Train a net to predict the boxes of objects; the same call continues a run that was interrupted.

    The last layer of the net gives centre, width and height of the box, in place of scores of classes. Its loss is
    Euclidean. Several boxes of a photo: the largest is learnt. A run is continued as one of `vggfeat.train.train`.

    Parameters
    ----------
    data : str or path
        Photos with boxes, as `vggfeat.data.boxed.read_boxed` takes them: a CSV file, a VOCdevkit, or ILSVRC's
        CLS-LOC. Without a subset val, a fifth of the photos of each class are held out to validate on.
    out : str or path
        Folder of the run, which is created. Its best.safetensors is the net with the lowest validation error.
    images : str or path, optional
        The folder of the photos of a CSV file. Default: its own folder, or the folder `images` in it.
    regression, net, width, scale, init, fill, finetune, epochs, batch, draws, lr, warmup, momentum, weight_decay
        See `BoxRecipe` and `TrainingSettings`.
    dropout, patience, drops, gain, flip, colour, statistics, seed, micro, precision, device, compile, workers, cache
        See `TrainingSettings`.
    cache_dir, save_minutes, tensorboard
        See `TrainingSettings`.
    recipe : BoxRecipe
        All of these as one object, instead of them.

    Returns
    -------
    FittedBoxes

    Raises
    ------
    UsageError
        If a setting is invalid, or the run in `out` was begun with another recipe.
    DataError
        If the photos or boxes cannot be read, or were changed.
    WeightsError
        If the initial weights or the checkpoint cannot be used.
    VggfeatError
        If the loss is not finite, `out` is in use or cannot be written, or another process was lost.

    References
    ----------
    Appendix A.1.
    """
    sets = read_boxes(data, images)
    check_batch(data, sets, recipe.batch)
    result: FittedBoxes = train_for(Boxes(recipe.regression, len(sets.classes)), sets, out, recipe)
    return result
