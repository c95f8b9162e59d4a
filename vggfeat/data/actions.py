"""VOC-2012 action classification: a sample is a person, given as a box in an image."""

import math
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from vggfeat.data import voc
from vggfeat.data.annotations import corners, read_objects
from vggfeat.data.base import ImageSet, shortfall
from vggfeat.errors import DataError

ACTIONS = (
    *("jumping", "phoning", "playinginstrument", "reading", "ridingbike"),
    *("ridinghorse", "running", "takingphoto", "usingcomputer", "walking"),
)
CLASSES = (*ACTIONS, "other")  # `other`: none of the ten; negatives that are never scored
IMAGES = {"train": 2296, "val": 2292}
MAX_SIDE = 2**16  # of an image, in pixels

Person = tuple[str, int]  # image id, number of the object in its annotation, from 1


def read(root: str | os.PathLike[str] | None = None, *, check_images: bool = True) -> ImageSet:
    """Read the people of VOC-2012's action lists: ten actions and `other`; subsets train, val, and test if unpacked.

    A person may do several actions. A person is ignored for an action if its list says 0 or does not name the person
    (the list of jumping does not name the people of 2010), and in test, whose labels are not public. Paths are
    `JPEGImages/<id>.jpg#<object number>`. `listed` says who is in each list: a submission must give scores for exactly
    these people.

    Parameters
    ----------
    root : path, optional
        Folder of the data set. Default: $VGGFEAT_DATA/voc2012.
    check_images : bool
        Check that the photos exist; False reads the labels of a copy without photos.

    Returns
    -------
    ImageSet
        It has `boxes` and `listed`.

    Raises
    ------
    DataError
        If the data set, a list, an annotation or all photos are missing, or files contradict each other.
    """
    kit = voc.find_kit(voc.ORIGIN2012, root, "Action")
    lists = {
        (subset, k): _labels(kit / "ImageSets" / "Action" / f"{name}_{subset}.txt", kit, subset)
        for subset in voc.SUBSETS
        for k, name in enumerate(ACTIONS)
    }
    subset_of = _subsets(kit, lists)
    people = sorted(subset_of, key=_path)
    row = {person: n for n, person in enumerate(people)}
    codes = np.zeros((len(people), len(CLASSES)), dtype=np.int8)
    listed = np.zeros(codes.shape, dtype=bool)
    for (_, k), labels in lists.items():
        rows = [row[person] for person in labels]
        codes[rows, k], listed[rows, k] = list(labels.values()), True
    codes[:, -1] = _other(codes[:, :-1])
    ids = {subset: {p[0] for p in people if subset_of[p] == subset} for subset in IMAGES}
    notes = [note for s, expected in IMAGES.items() for note in shortfall(f"{s} images", len(ids[s]), expected)]
    return ImageSet(
        name="voc2012-actions",
        classes=CLASSES,
        paths=tuple(_path(person) for person in people),
        images=tuple(voc.photo(kit, image_id) for image_id, _ in people),
        labels=codes > 0,
        ignore=codes == 0,
        subset=np.array([subset_of[person] for person in people]),
        boxes=_boxes(kit, people),
        listed=listed,
        notes=tuple(notes + (voc.check_photos(kit, {p[0] for p in people}) if check_images else [])),
    )


def _subsets(kit: Path, lists: dict[tuple[str, int], dict[Person, int]]) -> dict[Person, str]:
    subset_of: dict[Person, str] = {}
    for (subset, _), labels in lists.items():
        for person in labels:
            if subset_of.setdefault(person, subset) != subset:
                raise DataError(
                    f"{kit}: {_path(person)} is in the lists of {subset_of[person]} and {subset}; "
                    "unpack the data set again"
                )
    if not subset_of:
        raise DataError(f"{kit / 'ImageSets' / 'Action'}: the lists name nobody; unpack the data set again")
    return subset_of


def _path(person: Person) -> str:
    return f"JPEGImages/{person[0]}.jpg#{person[1]}"


def _labels(file: Path, kit: Path, subset: str) -> dict[Person, int]:
    if subset == "test" and not file.exists():  # it is in a separate archive
        return {}
    labels: dict[Person, int] = {}
    for image_id, index, *label in voc.read_list(file, kit, (2, 3) if subset == "test" else (3,)):
        if not re.fullmatch("[1-9][0-9]{0,5}", index):
            raise DataError(f"{file}: {image_id} {index} is not a number from 1; unpack the data set again")
        person = (image_id, int(index))
        if person in labels:
            raise DataError(f"{file}: lists {image_id} {index} twice; unpack the data set again")
        labels[person] = voc.code(label[0], file) if label else 0
    return labels


def _other(codes: np.ndarray) -> np.ndarray:
    """The codes of `other`, int8 (N,), from those of the ten actions, (N, 10): the data set has no list of it.

    A person who is ignored for an action may do it, and so is ignored for `other` too.
    """
    does_one = (codes > 0).any(axis=1)
    unknown = (codes == 0).any(axis=1)
    return np.where(does_one, -1, np.where(unknown, 0, 1)).astype(np.int8)


def _boxes(kit: Path, people: list[Person]) -> np.ndarray:
    """int (N, 4): x0, y0, x1, y1 of each person, in pixels from 0."""
    by_image: dict[str, list[tuple[int, ...] | None]] = {}
    boxes = []
    for image_id, index in people:
        file = kit / "Annotations" / f"{image_id}.xml"
        if image_id not in by_image:
            by_image[image_id] = _person_boxes(file, kit)
        objects = by_image[image_id]
        box = objects[index - 1] if index <= len(objects) else None
        if box is None:
            raise DataError(f"{file}: object {index} is not a person with a box; unpack the data set again")
        boxes.append(box)
    return np.array(boxes, dtype=np.int64)


def _person_boxes(file: Path, kit: Path) -> list[tuple[int, ...] | None]:
    """The box of each object of an annotation; None for one that is not a person or has no valid box."""
    return [_box(element) for element in read_objects(file, kit)]


def _box(element: ElementTree.Element) -> tuple[int, ...] | None:
    written = corners(element)
    if element.findtext("name") != "person" or not all(0 <= corner <= MAX_SIDE for corner in written):
        return None
    # VOC counts pixels from 1 and includes the last one; some corners are fractions
    x0, y0, x1, y1 = (math.floor(corner + 0.5) for corner in written)
    x0, y0 = max(0, x0 - 1), max(0, y0 - 1)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
