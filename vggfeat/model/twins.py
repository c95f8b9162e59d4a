"""Photos that show the same: equal files, and near twins by their descriptors."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vggfeat.neighbours import nearest, twin_groups, twin_pairs, twin_threshold


class PhotoGroups(NamedTuple):
    """groups : int (N,), the same number for photos that are twins. reason : how near twins were told from others."""

    groups: np.ndarray
    reason: str

    def __str__(self) -> str:
        counts = np.bincount(self.groups)
        several = counts[counts > 1]
        if not len(several):
            return f"twins: none ({self.reason})"
        return (
            f"twins: {several.sum():,} photos in {len(several):,} groups ({self.reason}); "
            "those of one group stay on one side of every split"
        )


def find_twins(X: np.ndarray, sha256: Sequence[str]) -> PhotoGroups:
    """The twins among photos with descriptors X, float32 (N, dim) of norm 1, and checksums ("" if unknown)."""
    cosines = nearest(X, 1).cosines[:, 0]
    threshold = twin_threshold(cosines)
    pairs = np.concatenate([twin_pairs(X, threshold.value), _equal_files(sha256)])
    return PhotoGroups(twin_groups(pairs, len(X)), threshold.reason)


def _equal_files(sha256: Sequence[str]) -> np.ndarray:
    """Pairs of photos whose files are equal, int (P, 2): each with the first one of its checksum."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, checksum in enumerate(sha256):
        if checksum:
            places[checksum].append(place)
    pairs = [(first, other) for first, *others in places.values() for other in others]
    return np.array(pairs, np.int64).reshape(-1, 2)
