"""Damaged lists, tables, annotations and kits of data sets: a set of images, or one line."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit.damage import mangled
from tests.kit.imagenet_kits import KIT, make_kit, touch, val
from tests.kit.voc_kits import action_kit, classification_kit
from vggfeat.data import actions, imagenet, voc
from vggfeat.errors import DataError

Read = Callable[[], Any]


def flat(top: Path) -> tuple[Read, list[Path]]:
    kit = make_kit(touch(top, *(f"val/{val(n)}" for n in range(1, 5))), [1, 4, 2, 3], KIT)
    return lambda: imagenet.read(top), sorted(kit.iterdir())


def flat_with_a_map(top: Path) -> tuple[Read, list[Path]]:
    kit = make_kit(touch(top, *(f"val/{val(n)}" for n in range(1, 5))), [1, 4, 2, 3])
    (kit / "map_clsloc.txt").write_text("".join(f"{synset} {number} name\n" for synset, number in KIT.items()))
    (kit / "ILSVRC2014_clsloc_validation_blacklist.txt").write_text("2\n3\n")
    return lambda: imagenet.read(top, blacklist=True), sorted(kit.iterdir())


def kaggle(top: Path) -> tuple[Read, list[Path]]:
    touch(top, f"ILSVRC/Data/CLS-LOC/val/{val(1)}", f"ILSVRC/Data/CLS-LOC/val/{val(2)}")
    table = top / "LOC_val_solution.csv"
    rows = (f"{val(n)[:-5]},n01440764 1 2 3 4 n01440764 5 6 7 8" for n in (1, 2))
    table.write_text("\n".join(["ImageId,PredictionString", *rows]))
    return lambda: imagenet.read(top), [table]


def voc2007(top: Path) -> tuple[Read, list[Path]]:
    classification_kit(top, 2007)
    lists = top / "VOCdevkit/VOC2007/ImageSets/Main"
    return lambda: voc.read2007(top, check_images=False), [lists / "train.txt", lists / "cat_val.txt"]


def voc2012_actions(top: Path) -> tuple[Read, list[Path]]:
    kit = action_kit(top) / "VOCdevkit/VOC2012"
    files = [kit / "ImageSets/Action/walking_train.txt", *sorted(kit.glob("Annotations/*.xml"))[:2]]
    return lambda: actions.read(top, check_images=False), files


LAYOUTS = [flat, flat_with_a_map, kaggle, voc2007, voc2012_actions]


def damaged(top: Path, layout: Callable[[Path], tuple[Read, list[Path]]], tries: int) -> int:
    """How many damaged sets are refused; the others are read."""
    read, files = layout(top)
    whole = {file: file.read_bytes() for file in files}
    found, draw, refused = read(), random.Random(15), 0
    for _ in range(tries):
        file = draw.choice(files)
        file.write_bytes(mangled(whole[file], draw))
        try:
            assert read().classes == found.classes or layout in (flat, flat_with_a_map)  # the kit names its classes
        except DataError as error:
            assert "\n" not in str(error) and str(top) in str(error)
            refused += 1
        file.write_bytes(whole[file])
    return refused


@pytest.mark.parametrize("layout", LAYOUTS)
def test_damaged_sets_are_read_or_refused_in_one_line(tmp_path: Path, layout: Any) -> None:
    assert damaged(tmp_path, layout, 25) > 5


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_many_damaged_sets_are_read_or_refused_in_one_line(tmp_path: Path, layout: Any) -> None:
    assert damaged(tmp_path, layout, 3000) > 600


def test_numbers_and_fields_of_any_length(tmp_path: Path) -> None:
    read, files = flat_with_a_map(tmp_path / "map")
    next(file for file in files if file.name == "map_clsloc.txt").write_text("n01440764 " + "9" * 5000 + " name\n")
    with pytest.raises(DataError, match="its lines are not `synset number name`"):
        read()
    read, (table,) = kaggle(tmp_path / "kaggle")
    table.write_text("ImageId,PredictionString\n" + "a" * 200_000 + ",n01440764\n")
    with pytest.raises(DataError, match=r"LOC_val_solution\.csv: is no table \(line 2: field larger than field limit"):
        read()
