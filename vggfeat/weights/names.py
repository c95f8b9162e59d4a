"""The names of a net's classes, in the order of fc8's outputs."""

from vggfeat.weights.header import Weights

ILSVRC_CLASSES = 1000
ILSVRC_LINEAGES = ("oxford", "torchvision")


def class_names(weights: Weights) -> tuple[str, ...] | None:
    """Name the classes of a net, in the order of the outputs of fc8.

    Parameters
    ----------
    weights : Weights
        The weights of the net.

    Returns
    -------
    tuple of str or None
        The names in the file. If it has none: the 1000 classes of ILSVRC for weights with 1000 outputs that Oxford or
        torchvision trained, sorted by synset as in Caffe and Keras; None for all others.
    """
    if weights.classes is not None:
        return weights.classes
    if weights.outputs == ILSVRC_CLASSES and weights.lineage in ILSVRC_LINEAGES:
        from torchvision.models import VGG16_Weights

        return tuple(VGG16_Weights.IMAGENET1K_V1.meta["categories"])
    return None


def output_names(weights: Weights) -> tuple[str, ...]:
    """The names of fc8's outputs: those of the weights, or "class 17" if the weights have no names."""
    return class_names(weights) or tuple(f"class {i}" for i in range(weights.outputs))
