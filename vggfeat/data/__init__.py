"""Readers of image data sets. One small file a family, each with its facts at the top; none imports torch.

>>> images = READERS["digits"]()
>>> len(images), len(images.classes)
(1797, 10)
"""

from collections.abc import Callable

from vggfeat.data import actions, caltech, digits, folder, voc
from vggfeat.data.base import Archive, ImageSet, Origin, root
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

# Of those that can be fetched.
ORIGINS: dict[str, Origin] = {
    "voc2007": voc.ORIGIN2007,
    "voc2012": voc.ORIGIN2012,
    "voc2012-actions": voc.ORIGIN2012,
    "caltech101": caltech.CALTECH101.origin,
    "caltech256": caltech.CALTECH256.origin,
}

__all__ = ["ORIGINS", "READERS", "Archive", "ImageSet", "Origin", "Split", "random_split", "root"]
