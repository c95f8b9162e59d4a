"""All readers, and all data sets that can be downloaded, by the names of the benchmarks."""

from collections.abc import Callable

from vggfeat.data import actions, caltech, digits, folder, sample, voc
from vggfeat.data.base import ImageSet, Origin

READERS: dict[str, Callable[..., ImageSet]] = {
    "voc2007": voc.read2007,
    "voc2012": voc.read2012,
    "voc2012-actions": actions.read,
    "caltech101": caltech.read101,
    "caltech256": caltech.read256,
    "folder": folder.read,
    "sample": sample.read,
    "digits": digits.read,
}
ORIGINS: dict[str, Origin] = {
    "voc2007": voc.ORIGIN2007,
    "voc2012": voc.ORIGIN2012,
    "voc2012-actions": voc.ORIGIN2012,
    "caltech101": caltech.CALTECH101.origin,
    "caltech256": caltech.CALTECH256.origin,
}
