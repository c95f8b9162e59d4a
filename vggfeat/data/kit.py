"""The development kit of ILSVRC: the class of each validation image, in the kit's own numbers.

`meta.mat` (`map_clsloc.txt` in later kits) has the synset of each number 1..1000. The numbers are not in the order of
the synsets: number 1 is n02119789, kit fox, the 279th synset. Read as positions of the sorted synsets, they give wrong
labels almost everywhere, without any error.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vggfeat._util.mat_files import read_mat
from vggfeat._util.printable import reason_of
from vggfeat.data.base import read_text
from vggfeat.errors import DataError

KIT_FOLDERS = ("ILSVRC2012_devkit_t12", "ILSVRC2014_devkit", "ILSVRC2015_devkit", "devkit")
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
MAX_ARRAYS = 40_000  # of meta.mat; that of 2012 has 1,860 structs with 8 fields


def find_kit(top: Path, root: Path, given: str | os.PathLike[str] | None = None) -> list[Path]:
    """The folders of kits with a ground truth or a blacklist: of `given`, or in and beside `top` and `root`.

    Raises DataError if `given` is no kit.
    """
    if given is not None:
        places = [Path(given).resolve()]
    else:
        places = [place / name for place in dict.fromkeys((top, root, top.parent)) for name in KIT_FOLDERS]
        places += [top, root]
    inner = [folder for place in places for folder in (place / "data", place)]
    found = [folder for folder in inner if _first(folder, (*GROUND_TRUTHS, *BLACKLISTS)) is not None]
    if given is not None and not found:
        raise DataError(f"{given}: is no development kit, as it has no (data/){GROUND_TRUTHS[0]}; name another folder")
    # kits with a ground truth first: that of 2014 may be there only for its blacklist
    return sorted(found, key=lambda folder: _first(folder, GROUND_TRUTHS) is None)


def numbers_of(kit: Path) -> tuple[list[str], tuple[str, ...]]:
    """The synset of each validation image, in the order of the images, and all synsets of the kit, sorted.

    Raises DataError, with the file, if a file is missing or damaged.
    """
    synsets = synset_ids(kit)
    by_number = {number: synset for synset, number in synsets.items()}
    file = _first(kit, GROUND_TRUTHS)
    if file is None:
        raise DataError(f"{kit}: has no {GROUND_TRUTHS[0]}; unpack the development kit there")
    numbers = _integers(file, read_text(file, kit.resolve(), MAX_TEXT))
    if not numbers:
        raise DataError(f"{file}: is empty; unpack the development kit again")
    if unknown := set(numbers) - set(by_number):
        raise DataError(f"{file}: names a class {min(unknown)} that its kit lacks; unpack the development kit again")
    return [by_number[number] for number in numbers], tuple(sorted(synsets))


def kit_classes(kits: Sequence[Path]) -> tuple[str, ...]:
    """All synsets of the first kit that has them, sorted; () if none has. Raises DataError for a damaged file."""
    kit = next((kit for kit in kits if _first(kit, (*MAPS, *METAS)) is not None), None)
    return tuple(sorted(synset_ids(kit))) if kit is not None else ()


def synset_ids(kit: Path) -> dict[str, int]:
    """Synset -> ILSVRC2012_ID, 1..K, of the classes of images (without the classes above them in the tree).

    Raises DataError, with the file, if it is missing or damaged.
    """
    if (file := _first(kit, MAPS)) is not None:
        lines = [line.split() for line in read_text(file, kit.resolve(), MAX_TEXT).splitlines() if line.strip()]
        if any(len(line) < 2 or not _is_number(line[1]) for line in lines):
            raise DataError(f"{file}: its lines are not `synset number name`; unpack the development kit again")
        pairs = [(line[0], int(line[1])) for line in lines]
    elif (file := _first(kit, METAS)) is not None:
        pairs = _of_meta(file)
    else:
        raise DataError(
            f"{kit}: has neither {METAS[0]} nor {MAPS[0]}, and the ground truth's numbers are not in the order of the "
            "synsets; unpack the whole kit"
        )
    synsets = dict(pairs)
    if not pairs or sorted(synsets.values()) != list(range(1, len(pairs) + 1)):
        raise DataError(f"{file}: its classes are not numbered 1, 2, 3, ... once each; unpack the kit again")
    return synsets


def kit_numbers(kits: Sequence[Path], names: Sequence[str]) -> set[int]:
    """The numbers in the first file with one of the names. Raises DataError if no kit has such a file."""
    for kit in kits:
        if (file := _first(kit, names)) is not None:
            return set(_integers(file, read_text(file, kit.resolve(), MAX_TEXT)))
    raise DataError(
        f"{names[0]}: is in no development kit here; unpack the kit of 2014 beside the images, or name it as --kit"
    )


def _first(kit: Path, names: Sequence[str]) -> Path | None:
    return next((kit / name for name in names if (kit / name).is_file()), None)


def _integers(file: Path, text: str) -> list[int]:
    words = text.split()
    if not all(map(_is_number, words)):
        raise DataError(f"{file}: has words that are not whole numbers; unpack the development kit again")
    return [int(word) for word in words]


def _is_number(word: str) -> bool:
    return word.isdecimal() and word.isascii() and len(word) < 10


def _of_meta(file: Path) -> list[tuple[str, int]]:
    """(WNID, ILSVRC2012_ID) of the leaves in meta.mat: an array of structs, `num_children` is 0 for a leaf."""
    try:
        return read_mat(file, ["synsets"], _leaves, max_bytes=MAX_META, max_arrays=MAX_ARRAYS)
    except (OSError, ValueError) as error:
        reason = reason_of(error)
        raise DataError(f"{file}: is not the kit's table of synsets ({reason}); unpack the kit again") from error


def _leaves(found: Mapping[str, Any]) -> list[tuple[str, int]]:
    leaves = [one for one in found["synsets"].flat if int(one["num_children"].item()) == 0]
    return [(str(one["WNID"].item()), int(one["ILSVRC2012_ID"].item())) for one in leaves]
