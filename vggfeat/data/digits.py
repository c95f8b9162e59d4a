"""The handwritten digits of scikit-learn (the test set of UCI optdigits): real data without a download."""

import os

import numpy as np

from vggfeat.data.base import ImageSet, Sample, single_label


def read(root: str | os.PathLike[str] | None = None) -> ImageSet:  # noqa: ARG001  (all readers take it)
    """Read the 1,797 digits of ten classes.

    The grey levels 0..16 are scaled to 0..255. Images stay 8x8 pixels; each descriptor scale enlarges them.

    Parameters
    ----------
    root : path, optional
        Ignored: the digits are part of scikit-learn.

    Returns
    -------
    ImageSet
        Its images are arrays, uint8, shape (8, 8, 3), grey.
    """
    from sklearn.datasets import load_digits  # takes a second, and only this reader needs it

    digits = load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return single_label(
        "digits",
        [str(digit) for digit in digits.target_names],
        [
            Sample(f"digits/{n:04d}-{digit}", np.repeat(image[:, :, None], 3, axis=2), int(digit))
            for n, (image, digit) in enumerate(zip(grey, digits.target, strict=True))
        ],
    )
