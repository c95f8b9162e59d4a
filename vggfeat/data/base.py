"""What every reader returns, and what the readers share: finding a data set and listing its images."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vggfeat.errors import DataError, UsageError

# A file with another ending is no image of a data set (Thumbs.db, Caltech-256's RENAME2).
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".mpo")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set of N samples and K classes.

    classes : names, in the order that the data set defines.
    paths : the samples' names, relative to the data set's own folder, POSIX, unique and sorted, so that a
        seed draws the same split everywhere. Where several samples share an image, `#1`, `#2`, ... follow.
    images : what to read, one a sample: absolute paths, or arrays uint8 (H, W, 3) RGB.
    labels : bool (N, K); one True a row where an image has one class.
    ignore : bool (N, K); True where the sample counts neither for nor against the class, in training and in
        evaluation; labels are False there.
    subset : (N,) of "train", "val" or "test" where the data set defines them, else None.
    boxes : int (N, 4) where a sample is a part of its image: x0, y0, x1, y1 in pixels counted from 0, the
        part being image[y0:y1, x0:x1]; else None. Not checked against the image, which may end earlier.
    listed : bool (N, K) where the data set asks scores of some samples only, class by class; else None.
    notes : what differs from the published data set, a line each, for whoever runs a benchmark.
    """

    name: str
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    images: Sequence[Path | np.ndarray]
    labels: np.ndarray
    ignore: np.ndarray
    subset: np.ndarray | None = None
    boxes: np.ndarray | None = None
    listed: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(a >= b for a, b in pairwise(self.paths)):
            raise UsageError(f"{self.name}: paths must be sorted and unique")
        shape = (len(self.paths), len(self.classes))
        if len(self.images) != shape[0] or self.labels.shape != shape or self.ignore.shape != shape:
            raise UsageError(f"{self.name}: images, labels and ignore must be for {shape} samples and classes")

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def label_index(self) -> np.ndarray:
        """The class of each sample, int (N,); raises UsageError where a sample hasn't exactly one."""
        if not (self.labels.sum(axis=1) == 1).all():
            raise UsageError(f"{self.name}: an image may have several classes or none; use labels")
        return self.labels.argmax(axis=1)


class Sample(NamedTuple):
    """One image with one class; `label` is the class's place."""

    path: str
    image: Path | np.ndarray
    label: int
    subset: str = ""


def single_label(name: str, classes: Sequence[str], samples: Iterable[Sample], notes: Iterable[str] = ()) -> ImageSet:
    """The ImageSet of samples that have one class each, in any order."""
    rows = sorted(samples, key=lambda sample: sample.path)
    labels = np.zeros((len(rows), len(classes)), dtype=bool)
    labels[np.arange(len(rows)), [row.label for row in rows]] = True
    return ImageSet(
        name=name,
        classes=tuple(classes),
        paths=tuple(row.path for row in rows),
        images=tuple(row.image for row in rows),
        labels=labels,
        ignore=np.zeros_like(labels),
        subset=np.array([row.subset for row in rows]) if any(row.subset for row in rows) else None,
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class Archive:
    """An official archive. sign : what lies in the data set's own folder once it is unpacked. inner : the tar in it
    that holds the data, where it is a zip.
    """

    url: str
    md5: str
    sign: str
    inner: str | None = None


@dataclass(frozen=True)
class Origin:
    """Where a data set comes from and where it may lie.

    name : as the command knows it. title : as people do. places : folders, relative to the root, to look in
    (the root itself comes first). get : how to obtain it. archives : those that anyone may fetch, to be unpacked
    in the root.
    """

    name: str
    title: str
    places: tuple[str, ...]
    get: str
    archives: tuple[Archive, ...] = ()


def root(name: str, given: str | os.PathLike[str] | None = None, get: str = "") -> Path:
    """The folder to look for data set `name` in, absolute: `given`, else $VGGFEAT_DATA/<name>.

    Raises DataError where neither is there; its line ends with `get`, how to obtain the data.
    """
    if given is not None:
        return Path(given).resolve()
    if os.environ.get("VGGFEAT_DATA"):
        return Path(os.environ["VGGFEAT_DATA"], name).resolve()
    raise DataError(f"{name}: which folder? Pass it as --root, or set $VGGFEAT_DATA to the one above it{get}")


def locate(origin: Origin, given: str | os.PathLike[str] | None, fits: Callable[[Path], bool], sign: str = "") -> Path:
    """The data set's own folder, absolute and without links: the first place under the root that `fits`.

    Raises DataError, one line that says what was looked for (`sign` in each place), where, and how to get it.
    """
    top = root(origin.name, given, f"; {origin.get}")
    for place in (".", *origin.places):
        if fits(top / place):
            return (top / place).resolve()
    lacking = f"isn't in {top}" if top.is_dir() else f"can't be found, as there is no folder {top}"
    places = " or ".join(place + sign for place in origin.places)
    fetch = "; or let --download fetch it there" if origin.archives else ""
    raise DataError(
        f"{origin.title} {lacking}: looked for {places}; {origin.get}, "
        f"and pass its folder as --root or put it in $VGGFEAT_DATA/{origin.name}{fetch}"
    )


def subfolders(folder: Path) -> list[Path]:
    """The folders right below `folder`, sorted by name; hidden ones and links left out."""
    return sorted(Path(entry.path) for entry in _entries(folder) if entry.is_dir(follow_symlinks=False))


def image_files(folder: Path, inside: Path, *, nested: bool = False) -> tuple[list[Path], int]:
    """The image files in `folder`, and how many links weren't followed.

    With `nested`, those in the folders below it as well. A link is followed to a file inside the folder
    `inside` only. Raises DataError for a folder that can't be listed.
    """
    files, links, folders = [], 0, [folder]
    while folders:
        for entry in _entries(folders.pop()):
            if entry.is_symlink() and not _file_inside(Path(entry.path), inside):
                links += 1
            elif entry.is_dir(follow_symlinks=False):
                folders += [Path(entry.path)] if nested else []
            elif Path(entry.name).suffix.lower() in SUFFIXES and entry.is_file():
                files.append(Path(entry.path))
    return files, links


def class_samples(
    folder: Path, inside: Path, label: int, subset: str = "", *, nested: bool = False
) -> tuple[list[Sample], int]:
    """The samples of one class folder, with paths relative to `inside`, and how many links weren't followed.

    Raises DataError where the folder holds no image.
    """
    files, links = image_files(folder, inside, nested=nested)
    if not files:
        hint = f" ({links} links that lead out of {inside} aren't followed)" if links else ""
        raise DataError(f"{folder}: no image in this class folder{hint}; fill it or remove it")
    return [Sample(posix(file, inside), file, label, subset) for file in files], links


def posix(file: Path, folder: Path) -> str:
    """`file` relative to `folder`, with slashes; raises DataError where a name isn't UTF-8."""
    name = file.relative_to(folder).as_posix()
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(f"{str(file)!a}: the name isn't UTF-8; rename it") from None
    return name


def read_text(file: Path, inside: Path, limit: int) -> str:
    """A text file of `limit` bytes at most; raises DataError where it is missing, larger, or no text."""
    try:
        if not _file_inside(file, inside):
            raise DataError(f"{file}: missing, or a link out of {inside}; unpack the data set again")
        with file.open("rb") as opened:
            data = opened.read(limit + 1)
        if len(data) > limit:
            raise DataError(f"{file}: larger than {limit:,} bytes; it can't be the file it should be")
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: can't be read ({error}); unpack the data set again") from error


def shortfall(what: str, found: int, expected: int) -> list[str]:
    """A note where there isn't what there should be."""
    return [] if found == expected else [f"found {found:,} of {expected:,} {what}"]


def unfollowed(links: int) -> list[str]:
    """A note on links that weren't followed."""
    return [f"links not followed, to folders or out of the data set: {links:,}"] if links else []


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith((".", "__MACOSX"))]
    except OSError as error:
        raise DataError(f"{folder}: can't be listed ({error.strerror})") from error


def _file_inside(file: Path, inside: Path) -> bool:
    try:
        target = file.resolve(strict=True)
    except (OSError, RuntimeError):  # broken, or a loop
        return False
    return target.is_file() and target.is_relative_to(inside)
