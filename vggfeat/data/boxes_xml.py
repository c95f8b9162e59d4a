"""Boxes in XML annotations: a development kit of VOC, or ILSVRC's classification and localisation."""

import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path, PurePosixPath

from vggfeat._util.left_out import LeftOut
from vggfeat.data import imagenet, subsets, voc
from vggfeat.data.annotations import corners, read_objects
from vggfeat.data.base import MissingDataError, MissingSubsetError
from vggfeat.data.listing import class_images
from vggfeat.data.marked import Box, Marked, check_class
from vggfeat.errors import DataError

PHOTOS, ANNOTATIONS = "Data/CLS-LOC", "Annotations/CLS-LOC"
PLACES = (".", "ILSVRC", "../..")  # of both, relative to the given folder, which may be that of the photos


def find_voc(top: Path) -> Path | None:
    """The folder VOC2007 or VOC2012; None if there is none. Raises DataError if there are both."""
    found = set()
    for origin in (voc.ORIGIN2007, voc.ORIGIN2012):
        try:
            found.add(voc.find_kit(origin, top, "Main"))
        except MissingDataError:
            continue
    if len(found) > 1:
        raise DataError(f"{top}: has {' and '.join(sorted(kit.name for kit in found))}; name one of these folders")
    return found.pop() if found else None


def read_voc(kit: Path, subset: str, classes: Sequence[str] | None) -> tuple[tuple[str, ...], list[Marked]]:
    """The classes, and the photos of a subset.

    Raises DataError with the file; MissingSubsetError if the kit has no list of the subset.
    """
    known = tuple(classes or voc.CLASSES)
    ids = voc.ids_of(kit, subset) if (kit / "ImageSets" / "Main" / f"{subset}.txt").exists() else []
    if not ids:
        raise MissingSubsetError(f"{kit}: has no list of the subset {subset}; take another one")
    return known, [
        Marked(
            f"JPEGImages/{image_id}.jpg",
            voc.photo(kit, image_id),
            _objects(kit / "Annotations" / f"{image_id}.xml", kit, known, _voc_box),
        )
        for image_id in ids
    ]


def find_ilsvrc(top: Path) -> Path | None:
    """The folder that has both Data/CLS-LOC and Annotations/CLS-LOC; None if there is none."""
    places = (top / place for place in PLACES)
    return next(
        (place.resolve() for place in places if (place / PHOTOS).is_dir() and (place / ANNOTATIONS).is_dir()), None
    )


def read_ilsvrc(
    root: Path, subset: str, classes: Sequence[str] | None, left_out: LeftOut
) -> tuple[tuple[str, ...], list[Marked]]:
    """The classes, and the photos of a subset. A photo in a class folder has the class of its folder.

    Raises DataError with the file; MissingSubsetError if there is no folder of the subset.
    """
    photos, annotations = root / PHOTOS, root / ANNOTATIONS
    folder = subsets.find(photos, subset)
    if folder is None or subset == "test":  # its boxes are not public
        raise MissingSubsetError(f"{photos}: has no photos with boxes of the subset {subset}; take another one")
    known = tuple(classes or imagenet.train_classes(photos) or imagenet.synset_names())
    names = set(known)
    marked = []
    for path in class_images(folder, left_out):
        _, *within, name = PurePosixPath(path).parts
        if within:
            check_class(str(photos / path), within[0], names)
        # validation photos may have been sorted into folders, and their annotations not
        flat_file = _xml(annotations, PurePosixPath(folder.name, name))
        file = _xml(annotations, path)
        objects = _objects(file if file.exists() else flat_file, annotations, names, _ilsvrc_box)
        marked.append(Marked(path, photos / path, objects, within[0] if within else None))
    return known, marked


def _xml(annotations: Path, path: str | PurePosixPath) -> Path:
    return annotations / PurePosixPath(path).with_suffix(".xml")


def _objects(file: Path, inside: Path, classes: Collection[str], box_of: Callable[[Box], Box]) -> list[tuple[str, Box]]:
    """The class and the box of each object of an annotation; [] if the photo has no annotation."""
    if not file.exists():
        return []
    found = []
    for number, element in enumerate(read_objects(file, inside), start=1):
        name, written = (element.findtext("name") or "").strip(), corners(element)
        check_class(f"{file}: object {number}", name, classes)
        if not all(map(math.isfinite, written)):
            raise DataError(f"{file}: object {number} has no box of four numbers; unpack the data set again")
        found.append((name, box_of(written)))
    return found


def _voc_box(written: Box) -> Box:
    """VOC counts pixels from 1 and includes the last one."""
    x0, y0, x1, y1 = written
    return x0 - 1, y0 - 1, x1, y1


def _ilsvrc_box(written: Box) -> Box:
    """ILSVRC counts pixels from 0 and includes the last one; where it names the width, the box is cut."""
    x0, y0, x1, y1 = written
    return x0, y0, x1 + 1, y1 + 1
