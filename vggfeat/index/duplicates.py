"""Photos that a store has twice: equal files, equal pixels, near twins."""

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vggfeat._util.files import check_writable, replacing
from vggfeat._util.progress import progress
from vggfeat.index.photos import Photos
from vggfeat.neighbours import Neighbours, TwinThreshold, near_pairs, twin_threshold
from vggfeat.store import Store

HEADER = ("group", "path", "keep", "similarity", "reason")
FILE, PIXELS, TWIN = "equal file", "equal pixels", "near twin"
_SHARE = 0.8  # of the sharpness of the sharpest photo, from which on another one is as sharp
MOST = 1000  # neighbours of a photo that are looked at

Vectors = Callable[[np.ndarray], np.ndarray]


class Duplicate(NamedTuple):
    """A photo of a group.

    Parameters
    ----------
    group : int
        Number of the group, from 1.
    path : str
        The photo's name in the store.
    keep : bool
        Whether to keep this photo of the group: the one with the most pixels; of equal ones the sharpest; of equally
        sharp ones the one with the most bytes.
    similarity : float
        The cosine with the photo to keep.
    reason : str
        Of the photo to keep, why it is kept; of others "equal file", "equal pixels" or "near twin" of a photo before it
        in the group.
    """

    group: int
    path: str
    keep: bool
    similarity: float
    reason: str


@dataclass(frozen=True)
class Duplicates:
    """Photos that a store has twice, in groups.

    Parameters
    ----------
    rows : list of Duplicate
        Group by group; in a group the photo to keep comes first.
    threshold : TwinThreshold
        From which cosine on two photos are near twins, and why.
    remarks : list of str
        Which photos could not be read, so that neither pixels nor sharpness were compared.
    """

    rows: list[Duplicate]
    threshold: TwinThreshold
    remarks: list[str]

    @property
    def counts(self) -> Counter[str]:
        """How many photos that are not kept have each reason."""
        return Counter(row.reason for row in self.rows if not row.keep)

    def write_csv(self, file: str | Path) -> Path:
        """Write the table `group,path,keep,similarity,reason`; keep is yes or no.

        Parameters
        ----------
        file : str or path

        Returns
        -------
        Path
            `file`.

        Raises
        ------
        UsageError
            If `file` is a folder, or its folder is missing or not writable.
        OSError
            If the disk fails.
        """
        check_writable(Path(file))
        with replacing(Path(file)) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
            table = csv.writer(out)
            table.writerow(HEADER)
            for row in self.rows:
                table.writerow((row.group, row.path, "yes" if row.keep else "no", f"{row.similarity:.6f}", row.reason))
        return Path(file)


def find_duplicates(
    store: Store,
    graph: Neighbours,
    search: Callable[[np.ndarray, int], Neighbours],
    vectors: Vectors,
    threshold: float | None = None,
) -> Duplicates:
    """The groups of photos that are near each other.

    graph : of the rows of the store. search : the neighbours of rows. vectors : the descriptors of rows.
    """
    table = store.read(["path", "width", "height", "size", "sha256"])
    files = table["sha256"].to_pylist()
    chosen = _proposed(graph, files) if threshold is None else TwinThreshold(threshold, "the value that was given")
    pairs = _near_pairs(graph, search, chosen.value)
    groups = cliques(_equal_files(files), pairs, vectors, chosen.value)
    photos = Photos(store, [row for group in groups for row in group])
    rows: list[Duplicate] = []
    with progress(len(groups), "comparing photos", "group", disable=not groups) as bar:
        for number, members in enumerate(groups, start=1):
            shots = [_Shot(row, table, photos) for row in members]
            rows += _judged(number, shots, vectors)
            bar.update(1)
    return Duplicates(rows, chosen, photos.remarks.lines())


def _proposed(graph: Neighbours, files: list[str | None]) -> TwinThreshold:
    """The threshold by the nearest photo of each row whose file is another one."""
    numbers = {name: n for n, name in enumerate(dict.fromkeys(file for file in files if file))}
    number = np.array(
        [numbers.get(file or "", -2 - row) for row, file in enumerate(files)] + [-1], np.int64
    )  # -1: no row
    other = (number[graph.rows] != number[:-1, None]) & (graph.rows >= 0)
    found = other.any(axis=1)
    return twin_threshold(graph.cosines[found, other[found].argmax(axis=1)])


def _equal_files(files: list[str | None]) -> list[list[int]]:
    same: defaultdict[str, list[int]] = defaultdict(list)
    for row, sha256 in enumerate(files):
        if sha256 is not None:
            same[sha256].append(row)
    return [rows for rows in same.values() if len(rows) > 1]


def _near_pairs(
    graph: Neighbours, search: Callable[[np.ndarray, int], Neighbours], threshold: float
) -> list[tuple[float, int, int]]:
    """(cosine, row, row) of pairs that reach the threshold. A row whose neighbours all do is asked for more of them."""
    rows, found, pairs = np.arange(len(graph.rows)), graph, near_pairs(graph, threshold)
    while (k := found.rows.shape[1]) < min(MOST, len(graph.rows) - 1):
        rows = rows[(found.cosines >= threshold).all(axis=1)]
        if not len(rows):
            break
        found = search(rows, min(4 * k, MOST, len(graph.rows) - 1))
        pairs |= near_pairs(found, threshold, rows)
    return [(cosine, *pair) for pair, cosine in pairs.items()]


def cliques(
    known: Iterable[list[int]], pairs: list[tuple[float, int, int]], vectors: Vectors, threshold: float
) -> list[list[int]]:
    """Groups of rows in which each pair reaches the threshold, in the order of their first rows.

    The nearest pairs come first; two groups are joined only if all pairs between them reach the threshold, by their
    descriptors. known : groups of equal files, which are near each other by their checksum.
    """
    members = {row: rows for rows in map(sorted, known) for row in rows}
    for _, first, second in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:])):
        one, other = members.setdefault(first, [first]), members.setdefault(second, [second])
        if one is not other and (vectors(np.array(one)) @ vectors(np.array(other)).T).min() >= threshold:
            joined = sorted(one + other)
            members.update(dict.fromkeys(joined, joined))
    return sorted({id(rows): rows for rows in members.values() if len(rows) > 1}.values())


class _Shot:
    """A photo of a group, with what decides which one is kept."""

    def __init__(self, row: int, table: Any, photos: Photos) -> None:
        self.row = row
        self.path, self.width, self.height, self.size, self.sha256 = (column[row].as_py() for column in table.columns)
        self._photos = photos

    @property
    def area(self) -> int:
        return self.width * self.height

    @cached_property
    def _measured(self) -> tuple[str | None, float]:
        """The checksum of the pixels, and the sharpness; None and 0 if the photo cannot be read."""
        pixels = self._photos.read(self.row)
        if pixels is None:
            return None, 0.0
        return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest(), sharpness(pixels)

    @property
    def pixels(self) -> str | None:
        return self._measured[0]

    @property
    def sharp(self) -> float:
        return self._measured[1]


def sharpness(pixels: np.ndarray) -> float:
    """The variance of the Laplacian of the brightness of an image, uint8 (H, W, 3), at half its size. 0 if too small.

    At half the size the edges of JPEG's blocks weigh little: at quality 60 the variance is 1.0 to 1.16 times that of
    the photo, and 0.5 to 0.66 times after a blur of 0.6 pixels (of four fifths of 60 photos of Caltech-101). At full
    size the first is 1.3 to 1.8.
    """
    h, w = (side // 2 for side in pixels.shape[:2])
    if min(h, w) < 3:
        return 0.0
    grey = pixels[: 2 * h, : 2 * w].reshape(h, 2, w, 2, 3).mean(axis=(1, 3, 4), dtype=np.float32)
    inner = grey[1:-1, 1:-1]
    return float((grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner).var())


def _judged(number: int, shots: list[_Shot], vectors: Vectors) -> list[Duplicate]:
    """The rows of a group, with the one to keep first, and the others by their similarity to it."""
    kept, why = _kept(shots)
    cosines = vectors(np.array([shot.row for shot in shots])) @ vectors(np.array([kept.row]))[0]
    near = sorted(zip(cosines.tolist(), shots, strict=True), key=lambda one: (one[1] is not kept, -one[0], one[1].row))
    ordered = [shot for _, shot in near]
    return [
        Duplicate(number, shot.path, shot is kept, 1.0 if shot is kept else min(cosine, 1.0), reason)
        for n, (cosine, shot) in enumerate(near)
        for reason in [why if shot is kept else _reason(shot, ordered[:n])]
    ]


def _kept(shots: list[_Shot]) -> tuple[_Shot, str]:
    """The photo of a group to keep, and why.

    Of photos that are about equally sharp the one with the most bytes is kept: it is the least compressed.
    """
    largest = [shot for shot in shots if shot.area == max(shot.area for shot in shots)]
    size = f"{largest[0].width}x{largest[0].height}"
    if len(largest) == 1:
        return largest[0], f"the largest, {size}"
    if len({shot.sha256 or shot.row for shot in largest}) == 1:
        return largest[0], f"the first of equal files, {size}"
    sharpest = max(shot.sharp for shot in largest)
    sharp = [shot for shot in largest if shot.sharp >= _SHARE * sharpest]
    if len(sharp) == 1:
        return sharp[0], f"the sharpest of the largest, {size}"
    return max(sharp, key=lambda shot: (shot.size or 0, -shot.row)), f"the most bytes of the sharpest, {size}"


def _reason(shot: _Shot, earlier: list[_Shot]) -> str:
    """Why a photo is no other one than those before it in its group."""
    if shot.sha256 is not None and any(shot.sha256 == other.sha256 for other in earlier):
        return FILE
    alike = [other for other in earlier if (shot.width, shot.height) == (other.width, other.height)]
    return PIXELS if any(shot.pixels is not None and shot.pixels == other.pixels for other in alike) else TWIN
