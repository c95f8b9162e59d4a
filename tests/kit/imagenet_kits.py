"""Small copies of ILSVRC's layout and of its development kit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.io import savemat

# The kit's numbers of four real synsets, with tench last. In the order of the synsets they are n01440764 tench,
# n02100735 English setter, n02110185 Siberian husky, n02119789 kit fox.
KIT = {"n02119789": 1, "n02100735": 2, "n02110185": 3, "n01440764": 4}


def touch(root: Path, *names: str) -> Path:
    """Make empty files."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def val(number: int) -> str:
    """The name of a validation image."""
    return f"ILSVRC2012_val_{number:08}.JPEG"


def write_meta(file: Path, numbers: dict[str, int]) -> None:
    """meta.mat as in the kit: an array of structs, first the leaves, then the synsets above them in the tree."""
    names = ["ILSVRC2012_ID", "WNID", "words", "num_children"]
    rows = [(number, synset, "a, b", 0) for synset, number in numbers.items()]
    rows.append((len(rows) + 1, "n00001740", "entity", len(rows)))
    synsets = np.array(rows, dtype=[(name, object) for name in names])
    savemat(file, {"synsets": synsets.reshape(-1, 1)}, do_compression=True)


def make_kit(root: Path, truth: Sequence[int], numbers: dict[str, int] | None = None) -> Path:
    """A kit with the ground truth of images 1, 2, ..., and with meta.mat if `numbers` are given; its data folder."""
    data = root / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{number}\n" for number in truth))
    if numbers is not None:
        write_meta(data / "meta.mat", numbers)
    return data
