"""scikit-learn's handwritten digits (UCI optdigits, the test set) as images: real data without a download."""

import os

import numpy as np

from vggfeat.data.base import ImageSet, Sample, single_label


def read(root: str | os.PathLike[str] | None = None) -> ImageSet:
    """1,797 digits of ten classes, uint8 (8, 8, 3), grey 0..255; `root` isn't needed and isn't read.

    Their 0..16 are scaled to 0..255; they keep their 8x8 pixels, for the descriptor rescales every image.
    """
    from sklearn.datasets import load_digits  # a second to import; only this reader needs it

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
