"""Whether a user gives one image or several, and the several one by one."""

from collections.abc import Iterable
from os import PathLike
from typing import Any

import numpy as np
from torch import Tensor

from vggfeat.errors import UsageError
from vggfeat.images import Source, check_array

__all__ = ["column", "is_image"]


def is_image(image: Source | Iterable[Source]) -> bool:
    """Whether the argument is one image rather than several."""
    if isinstance(image, np.ndarray | Tensor):
        return image.ndim < 4 and not _holds_objects(image)
    if isinstance(image, str | bytes | bytearray | memoryview | PathLike):
        return True
    return not isinstance(image, Iterable) or hasattr(image, "read")


def column(images: Any) -> Iterable[Source]:
    """Several images as an iterable: of a table (pandas, polars) and of an array of paths (N, 1), the only column.

    Raises UsageError if there are several columns, and ImageError for an array that is no batch of images.
    """
    names = getattr(images, "columns", None)
    if names is not None:
        if len(names) != 1:
            shown = ", ".join(map(str, names[:5]))
            raise UsageError(f"a table has {len(names)} columns ({shown}); give the one that has the images")
        return images[names[0]]
    if _holds_objects(images) and images.ndim != 1:
        if images.shape[1:] != (1,):
            raise UsageError(f"an array of paths has the shape {images.shape}; give a list of the paths")
        return images[:, 0]
    if isinstance(images, np.ndarray | Tensor) and not _holds_objects(images):
        check_array(images, batch=True)
    return images


def _holds_objects(images: Any) -> bool:
    return isinstance(images, np.ndarray) and images.dtype.kind in "OUT"  # objects and texts
