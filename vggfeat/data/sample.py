"""The photos inside the package: ten classes of Caltech-101 with planted faults; `datasets/sample` says which."""

import os
from dataclasses import replace
from pathlib import Path

from vggfeat.data import folder
from vggfeat.data.base import ImageSet

SAMPLE = Path(__file__).parents[1] / "assets" / "sample"


def read(root: str | os.PathLike[str] | None = None) -> ImageSet:  # noqa: ARG001  (all readers take it)
    """Read the 250 photos of ten classes.

    Parameters
    ----------
    root : path, optional
        Ignored: the photos are part of the package.

    Returns
    -------
    ImageSet
        One of its files is broken.
    """
    return replace(folder.read(SAMPLE), name="sample")
