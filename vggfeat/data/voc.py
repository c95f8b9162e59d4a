"""PASCAL VOC image classification, 2007 and 2012 (Everingham et al.): twenty classes, one or more per image."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from vggfeat._util.left_out import LeftOut
from vggfeat.data.base import Archive, ImageSet, Origin, locate, read_text, shortfall
from vggfeat.data.listing import Folder, contents
from vggfeat.errors import DataError

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
SUBSETS = ("train", "val", "test")
IMAGES = {2007: {"train": 2501, "val": 2510, "test": 4952}, 2012: {"train": 5717, "val": 5823}}

ORIGIN2007 = Origin(
    "voc2007",
    "VOC-2007",
    ("VOC2007", "VOCdevkit/VOC2007"),
    "get VOCtrainval_06-Nov-2007.tar and VOCtest_06-Nov-2007.tar from "
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2007, unpack both in one folder",
    (
        Archive(
            "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/VOCtrainval_06-Nov-2007.tar",
            md5="c52e279531787c972589f7e41ab4ae64",
            sign="ImageSets/Main/train.txt",
        ),
        Archive(
            "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/VOCtest_06-Nov-2007.tar",
            md5="b6e924de25625d8de591ea690078ad9f",
            sign="ImageSets/Main/test.txt",
        ),
    ),
)
ORIGIN2012 = Origin(
    "voc2012",
    "VOC-2012",
    ("VOC2012", "VOCdevkit/VOC2012"),
    "get VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012 "
    "(its test images are on the evaluation server), unpack it",
    (
        Archive(
            "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            md5="6cd6e144f989b92b3379bac3b3de84fd",
            sign="ImageSets/Main/train.txt",
        ),
    ),
)

LIST_BYTES = 4 * 2**20  # the longest list has 0.2 million
ID = re.compile(r"[0-9A-Za-z_-]{1,64}")  # an id becomes a file name and must not be a path to another folder


def read2007(root: str | os.PathLike[str] | None = None, *, check_images: bool = True) -> ImageSet:
    """Read VOC-2007: 20 classes, several per image; subsets train, val and test.

    An image that shows only difficult objects of a class is ignored for that class. Images whose photo is missing
    stay in the set; `notes` gives their number.

    Parameters
    ----------
    root : path, optional
        Folder of the data set. Default: $VGGFEAT_DATA/voc2007.
    check_images : bool
        Check that the photos exist; False reads the labels of a copy without photos.

    Returns
    -------
    ImageSet

    Raises
    ------
    DataError
        If the data set, a list or all photos are missing, or lists contradict each other.
    """
    return _read(2007, ORIGIN2007, root, check_images)


def read2012(root: str | os.PathLike[str] | None = None, *, check_images: bool = True) -> ImageSet:
    """Read VOC-2012: 20 classes, several per image; subsets train, val, and test if it is unpacked too.

    The labels of test are not public: its images are ignored for every class. Parameters, result and errors are those
    of `read2007`; `root` defaults to $VGGFEAT_DATA/voc2012.
    """
    return _read(2012, ORIGIN2012, root, check_images)


def submission_id(path: str) -> str:
    """The name of a sample on the evaluation server.

    >>> submission_id("JPEGImages/2008_000007.jpg"), submission_id("JPEGImages/2010_006215.jpg#2")
    ('2008_000007', '2010_006215 2')
    """
    image, _, person = path.partition("#")
    return f"{PurePosixPath(image).stem} {person}".rstrip()


def find_kit(origin: Origin, root: str | os.PathLike[str] | None, lists: str) -> Path:
    """The folder VOC2007 or VOC2012 that has ImageSets/<lists>. Raises DataError if there is none."""
    own = PurePosixPath(origin.places[0]).name

    def fits(folder: Path) -> bool:
        another = re.fullmatch(r"VOC\d{4}", folder.name) and folder.name != own
        return not another and (folder / "ImageSets" / lists).is_dir()

    return locate(origin, root, fits, f"/ImageSets/{lists}")


def ids_of(kit: Path, subset: str) -> list[str]:
    """The ids of a subset; [] for a test list that is not unpacked. Raises DataError for a missing or invalid list."""
    file = kit / "ImageSets" / "Main" / f"{subset}.txt"
    if subset == "test" and not file.exists():  # it is in a separate archive
        return []
    ids = [row[0] for row in read_list(file, kit, (1,))]
    if not ids or len(set(ids)) < len(ids):
        raise DataError(f"{file}: empty, or lists an image twice; unpack the data set again")
    return ids


def read_list(file: Path, kit: Path, columns: Iterable[int]) -> list[list[str]]:
    """The words of each line of a list, without empty lines.

    columns : the numbers of words that a line may have. Raises DataError if the list is missing or a line is invalid.
    """
    rows = []
    for number, line in enumerate(read_text(file, kit, LIST_BYTES).splitlines(), start=1):
        if words := line.split():
            if len(words) not in columns or not ID.fullmatch(words[0]):
                raise DataError(f"{file}, line {number}: not a line of a VOC list; unpack the data set again")
            rows.append(words)
    return rows


def code(word: str, file: Path) -> int:
    """1, 0 or -1 for a label above, at or below zero: positive, ignored, negative."""
    try:
        return int(np.sign(int(word)))
    except ValueError:
        raise DataError(f"{file}: a label is not a whole number; unpack the data set again") from None


def check_photos(kit: Path, ids: Iterable[str]) -> list[str]:
    """Notes on missing photos. Raises DataError if all are missing."""
    wanted = set(ids)
    folder = kit / "JPEGImages"
    names = contents(Folder.root(folder), LeftOut())[0] if folder.is_dir() else []  # the lists say which are wanted
    found = wanted & {name.removesuffix(".jpg") for name in names}
    if not found:
        raise DataError(f"{folder}: has none of the {len(wanted):,} photos; unpack the data set again")
    return shortfall("photos", len(found), len(wanted))


def photo(kit: Path, image_id: str) -> Path:
    """The file of an image id."""
    return kit / "JPEGImages" / f"{image_id}.jpg"


def _read(year: int, origin: Origin, root: str | os.PathLike[str] | None, check_images: bool) -> ImageSet:
    kit = find_kit(origin, root, "Main")
    subset_of: dict[str, str] = {}
    codes: dict[str, np.ndarray] = {}
    for subset in SUBSETS:
        ids = ids_of(kit, subset)
        if twice := set(ids) & set(subset_of):
            raise DataError(f"{kit}: image {min(twice)} is in two of train, val, test; unpack the data set again")
        subset_of |= dict.fromkeys(ids, subset)
        codes |= _codes(kit, subset, ids)

    ids = sorted(subset_of)
    matrix = np.stack([codes[image_id] for image_id in ids])
    subsets = np.array([subset_of[image_id] for image_id in ids])
    notes = [
        note
        for subset, expected in IMAGES[year].items()
        for note in shortfall(f"{subset} images", int((subsets == subset).sum()), expected)
    ]
    return ImageSet(
        name=origin.name,
        classes=CLASSES,
        paths=tuple(f"JPEGImages/{image_id}.jpg" for image_id in ids),
        images=tuple(photo(kit, image_id) for image_id in ids),
        labels=matrix > 0,
        ignore=matrix == 0,
        subset=subsets,
        notes=tuple(notes + (check_photos(kit, ids) if check_images else [])),
    )


def _codes(kit: Path, subset: str, ids: list[str]) -> Mapping[str, np.ndarray]:
    """Id -> int8 (20,): 1 positive, -1 negative, 0 ignored."""
    codes = {image_id: np.zeros(len(CLASSES), dtype=np.int8) for image_id in ids}
    for k, name in enumerate(CLASSES):
        file = kit / "ImageSets" / "Main" / f"{name}_{subset}.txt"
        if subset == "test" and not file.exists():
            continue
        # the test lists of 2012 have no labels: every image is ignored
        rows = read_list(file, kit, (1, 2) if subset == "test" else (2,))
        if len(rows) != len(ids) or {row[0] for row in rows} != codes.keys():
            raise DataError(f"{file}: its images are not those of {subset}.txt; unpack the data set again")
        for image_id, *label in rows:
            codes[image_id][k] = code(label[0], file) if label else 0
    return codes
