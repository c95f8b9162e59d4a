"""Caltech-101 (Fei-Fei Li et al., 2004) and Caltech-256 (Griffin et al., 2007): one folder per class."""

import os
from dataclasses import dataclass
from pathlib import Path

from vggfeat._util.left_out import LeftOut
from vggfeat.data.base import Archive, ImageSet, Origin, Sample, locate, shortfall, single_label
from vggfeat.data.listing import LOOSE, Folder, class_images, contents
from vggfeat.errors import DataError


@dataclass(frozen=True)
class Edition:
    """A published data set.

    folder : the folder in the archive. known : a class folder, by which a renamed folder is recognised.
    background : the class of images that show no object. classes, images : how many there are.
    strays : what its archive has beside the images.
    """

    origin: Origin
    folder: str
    background: str
    known: str
    classes: int
    images: int
    strays: tuple[str, ...] = ()


CALTECH101 = Edition(
    Origin(
        "caltech101",
        "Caltech-101",
        (
            "101_ObjectCategories",
            "caltech101/101_ObjectCategories",
            "caltech-101/101_ObjectCategories",
        ),
        "get caltech-101.zip from https://data.caltech.edu/records/mzrjq-6wc02, "
        "unpack it and the 101_ObjectCategories.tar.gz inside",
        (
            Archive(
                "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
                md5="3138e1922a9193bfa496528edbbc45d0",
                sign="Faces_easy",
                inner="caltech-101/101_ObjectCategories.tar.gz",
            ),
        ),
    ),
    folder="101_ObjectCategories",
    background="BACKGROUND_Google",
    known="Faces_easy",
    classes=102,
    images=9_144,
)
CALTECH256 = Edition(
    Origin(
        "caltech256",
        "Caltech-256",
        ("256_ObjectCategories", "caltech256/256_ObjectCategories"),
        "get 256_ObjectCategories.tar from https://data.caltech.edu/records/nyy15-4j048, unpack it",
        (
            Archive(
                "https://data.caltech.edu/records/nyy15-4j048/files/256_ObjectCategories.tar",
                md5="67b4f42ca05d46448c6bb8ecd2220f6d",
                sign="001.ak47",
            ),
        ),
    ),
    folder="256_ObjectCategories",
    background="257.clutter",
    known="001.ak47",
    classes=257,
    images=30_607,
    strays=("056.dog/greg", "198.spider/RENAME2"),
)


def read101(root: str | os.PathLike[str] | None = None, *, background: bool = True) -> ImageSet:
    """Read Caltech-101: 102 classes with the background class, one class per image, no subsets.

    An incomplete copy is read too; `notes` says what is missing.

    Parameters
    ----------
    root : path, optional
        Folder of the data set. Default: $VGGFEAT_DATA/caltech101.
    background : bool
        Keep the background class, BACKGROUND_Google, as the published counts do.

    Returns
    -------
    ImageSet

    Raises
    ------
    DataError
        If the data set is not found, or a class folder has no image.
    """
    return _read(CALTECH101, root, background)


def read256(root: str | os.PathLike[str] | None = None, *, background: bool = True) -> ImageSet:
    """Read Caltech-256: 257 classes with the background class, 257.clutter.

    Parameters, result and errors are those of `read101`; `root` defaults to $VGGFEAT_DATA/caltech256.
    """
    return _read(CALTECH256, root, background)


def _read(edition: Edition, root: str | os.PathLike[str] | None, background: bool) -> ImageSet:
    def fits(folder: Path) -> bool:
        return folder.is_dir() and (folder.name == edition.folder or (folder / edition.known).is_dir())

    top = locate(edition.origin, root, fits)
    left_out = LeftOut(edition.strays)
    loose, folders = contents(Folder.root(top), left_out)
    left_out.add(LOOSE, *loose)
    if not folders:
        raise DataError(f"{top}: no class folders in it; {edition.origin.get}")
    # not nested: a stray folder in a class folder is not part of the data set
    listings = {folder.title: class_images(folder, left_out, nested=False) for folder in folders}
    kept = [title for title in listings if background or title != edition.background]
    return single_label(
        edition.origin.name,
        kept,
        [Sample(name, top / name, k) for k, title in enumerate(kept) for name in listings[title]],
        [
            *shortfall("classes", len(folders), edition.classes),
            *shortfall("images", sum(map(len, listings.values())), edition.images),
            *left_out.lines(),
        ],
    )
