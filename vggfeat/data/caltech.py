"""Caltech-101 (Fei-Fei Li et al., 2004) and Caltech-256 (Griffin et al., 2007): a folder a class."""

import os
from dataclasses import dataclass
from pathlib import Path

from vggfeat.data.base import (
    Archive,
    ImageSet,
    Origin,
    class_samples,
    locate,
    shortfall,
    single_label,
    subfolders,
    unfollowed,
)
from vggfeat.errors import DataError


@dataclass(frozen=True)
class Facts:
    """`folder`: the archive's own name. `background`: the class of images that show no object."""

    origin: Origin
    folder: str
    background: str
    known: str  # a class that tells the folder where it bears another name
    classes: int
    images: int


CALTECH101 = Facts(
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
CALTECH256 = Facts(
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
)


def read101(root: str | os.PathLike[str] | None = None, *, background: bool = True) -> ImageSet:
    """Caltech-101 from `root` (default $VGGFEAT_DATA/caltech101); one class an image, no official split.

    background : keep BACKGROUND_Google as a class, as the published counts do.

    A copy that isn't whole is read, and `notes` says so. Raises DataError where there is none, or where a
    class folder holds no image.
    """
    return _read(CALTECH101, root, background)


def read256(root: str | os.PathLike[str] | None = None, *, background: bool = True) -> ImageSet:
    """Caltech-256 from `root` (default $VGGFEAT_DATA/caltech256), as `read101`; background: 257.clutter."""
    return _read(CALTECH256, root, background)


def _read(facts: Facts, root: str | os.PathLike[str] | None, background: bool) -> ImageSet:
    def fits(folder: Path) -> bool:
        return folder.is_dir() and (folder.name == facts.folder or (folder / facts.known).is_dir())

    top = locate(facts.origin, root, fits)
    folders = subfolders(top)
    if not folders:
        raise DataError(f"{top}: no class folders in it; {facts.origin.get}")
    # Images lie right in the class folders; what is deeper is litter of the archive (056.dog/greg).
    listings = [class_samples(folder, top, label=0) for folder in folders]
    notes = [
        *shortfall("classes", len(folders), facts.classes),
        *shortfall("images", sum(len(samples) for samples, _ in listings), facts.images),
        *unfollowed(sum(links for _, links in listings)),
    ]
    kept = [
        (folder.name, samples)
        for folder, (samples, _) in zip(folders, listings, strict=True)
        if background or folder.name != facts.background
    ]
    return single_label(
        facts.origin.name,
        [name for name, _ in kept],
        [sample._replace(label=k) for k, (_, samples) in enumerate(kept) for sample in samples],
        notes,
    )
