"""The names of a net's classes, in the order of fc8's outputs."""

from vggfeat.weights.header import Weights

ILSVRC_CLASSES = 1000
ILSVRC_LINEAGES = ("oxford", "torchvision")


def class_names(weights: Weights) -> tuple[str, ...] | None:
    """The names that the file gives, else ILSVRC's for a net of that training; None where nobody tells.

    ILSVRC's 1000 classes are those of torchvision, sorted by synset, as Caffe and Keras have them too.
    """
    if weights.classes is not None:
        return weights.classes
    if weights.outputs == ILSVRC_CLASSES and weights.lineage in ILSVRC_LINEAGES:
        from torchvision.models import VGG16_Weights

        return tuple(VGG16_Weights.IMAGENET1K_V1.meta["categories"])
    return None
