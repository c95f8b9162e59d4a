"""Readers of image data sets. One small file a family, each with its facts at the top; none imports torch.

>>> images = READERS["digits"]()
>>> len(images), len(images.classes)
(1797, 10)
"""

from collections.abc import Callable

from vggfeat.data import actions, caltech, digits, folder, voc
from vggfeat.data.base import ImageSet, root
from vggfeat.data.splits import Split, random_split

# By the names of the benchmarks. Each takes the root and its own options. Without a root, each looks in
# $VGGFEAT_DATA/<name>; the actions look in that of voc2012, for they are in its archive.
READERS: dict[str, Callable[..., ImageSet]] = {
    "voc2007": voc.read2007,
    "voc2012": voc.read2012,
    "voc2012-actions": actions.read,
    "caltech101": caltech.read101,
    "caltech256": caltech.read256,
    "folder": folder.read,
    "digits": digits.read,
}

__all__ = ["READERS", "ImageSet", "Split", "random_split", "root"]
