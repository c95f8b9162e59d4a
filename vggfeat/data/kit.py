"""The development kit of ILSVRC: which class each validation image has, in the kit's own numbers.

`meta.mat` (or `map_clsloc.txt` of the later kits) says which synset is number 1..1000. It isn't the order of the
synsets: number 1 is n02119789, kit fox, which is 279th when sorted. Read as places, the ground truth is wrong almost
everywhere, and no error shows it.
"""

import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from vggfeat.data.base import read_text
from vggfeat.errors import DataError

FOLDERS = ("ILSVRC2012_devkit_t12", "ILSVRC2014_devkit", "ILSVRC2015_devkit", "devkit")
GROUND_TRUTHS = (
    "ILSVRC2012_validation_ground_truth.txt",
    "ILSVRC2014_clsloc_validation_ground_truth.txt",
    "ILSVRC2015_clsloc_validation_ground_truth.txt",
)
MAPS = ("map_clsloc.txt",)  # lines `n02119789 1 kit_fox`
METAS = ("meta.mat", "meta_clsloc.mat")
BLACKLISTS = ("ILSVRC2014_clsloc_validation_blacklist.txt", "ILSVRC2015_clsloc_validation_blacklist.txt")
MAX_TEXT = 4 << 20  # bytes
MAX_META = 16 << 20
MATLAB_HEADER, MATLAB_PACKED = 128, 15  # bytes before the first element; the kind of one packed by zlib


def find_kit(top: Path, root: Path, given: str | os.PathLike[str] | None = None) -> list[Path]:
    """The kits' folders that hold a ground truth or a blacklist: `given`, or those in `top` and `root` and beside.

    Raises DataError where `given` is no kit.
    """
    if given is not None:
        places = [Path(given).resolve()]
    else:
        places = [place / name for place in dict.fromkeys((top, root, top.parent)) for name in FOLDERS]
        places += [top, root]
    inner = [folder for place in places for folder in (place / "data", place)]
    found = [folder for folder in inner if any((folder / name).is_file() for name in (*GROUND_TRUTHS, *BLACKLISTS))]
    if given is not None and not found:
        raise DataError(f"{given}: is no development kit: neither it nor its folder data has {GROUND_TRUTHS[0]}")
    # A kit that tells the classes first: that of 2014 may lie there for its blacklist alone.
    tells = [any((folder / name).is_file() for name in GROUND_TRUTHS) for folder in found]
    return [folder for folder, first in sorted(zip(found, tells, strict=True), key=lambda pair: not pair[1])]


def numbers_of(kit: Path) -> tuple[list[str], tuple[str, ...]]:
    """The synset of each validation image, the first image's first, and all synsets of the kit, sorted.

    Raises DataError, naming the file, for one that is missing, damaged or not what it should be.
    """
    synsets = synset_ids(kit)
    by_number = {number: synset for synset, number in synsets.items()}
    file = _first(kit, GROUND_TRUTHS)
    if file is None:
        raise DataError(f"{kit}: has no {GROUND_TRUTHS[0]}; unpack the development kit there")
    numbers = _integers(file, read_text(file, kit.resolve(), MAX_TEXT))
    unknown = next((number for number in numbers if number not in by_number), None)
    if unknown is not None or not numbers:
        raise DataError(f"{file}: {'is empty' if not numbers else f'names a class {unknown} that its kit lacks'}")
    return [by_number[number] for number in numbers], tuple(sorted(synsets))


def synset_ids(kit: Path) -> dict[str, int]:
    """Synset -> ILSVRC2012_ID, 1..K, of the classes that images have (not of those above them in the tree)."""
    if (file := _first(kit, MAPS)) is not None:
        lines = [line.split() for line in read_text(file, kit.resolve(), MAX_TEXT).splitlines() if line.strip()]
        if any(len(line) < 2 or not line[1].isdecimal() for line in lines):
            raise DataError(f"{file}: its lines aren't `synset number name`; unpack the development kit again")
        pairs = [(line[0], int(line[1])) for line in lines]
    elif (file := _first(kit, METAS)) is not None:
        pairs = _of_meta(file)
    else:
        raise DataError(
            f"{kit}: has neither {METAS[0]} nor {MAPS[0]}, which say what the ground truth's numbers mean; they are "
            "not in the order of the synsets, so unpack the whole kit"
        )
    synsets = dict(pairs)
    if not pairs or sorted(synsets.values()) != list(range(1, len(pairs) + 1)):
        raise DataError(f"{file}: its classes aren't numbered 1, 2, 3, ... once each; unpack the kit again")
    return synsets


def kit_numbers(kits: Sequence[Path], names: Sequence[str]) -> set[int]:
    """The numbers that the first file of such a name lists; raises DataError where no kit has one."""
    for kit in kits:
        if (file := _first(kit, names)) is not None:
            return set(_integers(file, read_text(file, kit.resolve(), MAX_TEXT)))
    raise DataError(f"{names[0]}: is in no development kit here; unpack that of 2014 beside the images, or use --kit")


def _first(kit: Path, names: Sequence[str]) -> Path | None:
    return next((kit / name for name in names if (kit / name).is_file()), None)


def _integers(file: Path, text: str) -> list[int]:
    words = text.split()
    if not all(word.isdecimal() and word.isascii() and len(word) < 10 for word in words):
        raise DataError(f"{file}: holds other things than whole numbers; unpack the development kit again")
    return [int(word) for word in words]


def _of_meta(file: Path) -> list[tuple[str, int]]:
    """(WNID, ILSVRC2012_ID) of the leaves in a kit's meta.mat: an array of structs, `num_children` 0 for a leaf."""
    if _unpacked(file) > MAX_META:
        raise DataError(f"{file}: larger than {MAX_META:,} bytes; it can't be the kit's")
    try:
        import scipy.io

        synsets = scipy.io.loadmat(file, squeeze_me=True, variable_names=["synsets"])["synsets"]
        return [(str(one["WNID"]), int(one["ILSVRC2012_ID"])) for one in _leaves(synsets)]
    except Exception as error:  # given hostile bytes, scipy raises anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{file}: isn't the kit's table of synsets ({reason}); unpack the kit again") from error


def _unpacked(file: Path) -> int:
    """Bytes of a MATLAB file with its packed elements unpacked, counted to MAX_META + 1 at most."""
    if file.stat().st_size > MAX_META:
        return MAX_META + 1
    data, total, at = file.read_bytes(), 0, MATLAB_HEADER
    while at + 8 <= len(data) and total <= MAX_META:
        kind, size = struct.unpack_from("<II", data, at)
        element = data[at + 8 : at + 8 + size]
        at += 8 + len(element)
        if kind == MATLAB_PACKED:
            with suppress(zlib.error):  # scipy will say so
                element = zlib.decompressobj().decompress(element, MAX_META + 1)
        total += len(element)
    return total


def _leaves(synsets: np.ndarray) -> list[Any]:
    return [one for one in np.atleast_1d(synsets) if int(one["num_children"]) == 0]
