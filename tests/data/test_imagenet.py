"""ILSVRC's layouts: class folders, flat images with the kit's ground truth (in its own numbers), test images."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.kit.imagenet_kits import KIT, make_kit, touch, val, write_meta
from vggfeat.data import imagenet
from vggfeat.data.imagenet import read, synset_names
from vggfeat.errors import DataError, UsageError


def flat(root: Path, count: int) -> Path:
    return touch(root, *(f"val/{val(i)}" for i in range(1, count + 1)))


def test_class_folders(tmp_path: Path) -> None:
    touch(tmp_path, "val/n02/b.JPEG", "val/n01/z.JPEG", "val/n01/a.jpg", "val/n01/notes.txt", "val/.hidden/x.JPEG")
    found = read(tmp_path)
    assert found.classes == ("n01", "n02")
    assert found.paths == ("val/n01/a.jpg", "val/n01/z.JPEG", "val/n02/b.JPEG")
    assert found.labels is not None
    assert (found.labels.dtype, found.labels.tolist()) == (np.int64, [0, 0, 1])
    assert [*found.images] == [tmp_path / path for path in found.paths]
    sidecar = "files left out, because their suffix is not that of an image: 1 (.txt), such as val/n01/notes.txt"
    assert (len(found), found.notes) == (3, (sidecar,))
    assert found.name == f"{tmp_path.name} val"


def test_the_labels_of_val_are_those_of_train(tmp_path: Path) -> None:
    """Val lacks a class: the labels of the next ones stay."""
    touch(tmp_path, "train/n01/a.JPEG", "train/n02/a.JPEG", "train/n03/a.JPEG", "val/n03/b.JPEG", "val/n01/b.JPEG")
    found = read(tmp_path, "val")
    assert found.classes == read(tmp_path, "train").classes == ("n01", "n02", "n03")
    assert found.labels is not None
    assert found.labels.tolist() == [0, 2]
    assert found.notes == ("classes without a folder in val: 1",)
    touch(tmp_path, "val/n04/b.JPEG")
    with pytest.raises(DataError, match=r"val/n04: is a class that train does not have"):
        read(tmp_path, "val")


def test_classes_in_an_order_of_ones_own(tmp_path: Path) -> None:
    touch(tmp_path, "val/n01/a.JPEG", "val/n02/a.JPEG", "val/n03/a.JPEG")
    found = read(tmp_path, classes=["n03", "n01"])
    assert (found.classes, found.paths) == (("n03", "n01"), ("val/n01/a.JPEG", "val/n03/a.JPEG"))
    assert found.labels is not None
    assert found.labels.tolist() == [1, 0]
    assert found.notes == ("classes left out, because they were not asked for: 1",)
    with pytest.raises(DataError, match=r"val: none of its 3 folders is one of the given classes; name others"):
        read(tmp_path, classes=["n09"])
    with pytest.raises(UsageError, match="named twice"):
        read(tmp_path, classes=["n01", "n01"])


@pytest.mark.parametrize("table", ["meta.mat", "map_clsloc.txt"])
def test_the_kits_numbers_are_not_the_order_of_the_synsets(tmp_path: Path, table: str) -> None:
    """Ground truth 1, 4, 3, 2, 1: kit fox, tench, husky, setter, kit fox. As positions they are different classes."""
    flat(tmp_path, 5)
    data = make_kit(tmp_path, [1, 4, 3, 2, 1])
    if table == "meta.mat":
        write_meta(data / table, KIT)
    else:
        (data / table).write_text("".join(f"{synset} {number} some_name\n" for synset, number in KIT.items()))
    found = read(tmp_path)
    assert found.classes == ("n01440764", "n02100735", "n02110185", "n02119789")
    assert found.labels is not None
    assert [found.classes[i] for i in found.labels] == ["n02119789", "n01440764", "n02110185", "n02100735", "n02119789"]
    assert found.labels.tolist() == [3, 0, 2, 1, 3]
    assert found.labels.tolist() != [0, 3, 2, 1, 0]  # the numbers minus one
    assert found.notes == ("found 5 of 50,000 validation images",)
    assert [synset_names()[synset] for synset in found.classes] == [
        "tench",
        "English setter",
        "Siberian husky",
        "kit fox",
    ]


def test_flat_and_in_folders_give_the_same_labels(tmp_path: Path) -> None:
    truth = [2, 4, 1, 3, 4]
    flat(tmp_path / "flat", 5)
    make_kit(tmp_path / "flat", truth, KIT)
    by_number = {number: synset for synset, number in KIT.items()}
    touch(tmp_path / "sorted", *(f"val/{by_number[n]}/{val(i)}" for i, n in enumerate(truth, 1)))
    labels = []
    for name in ("flat", "sorted"):
        found = read(tmp_path / name)
        assert found.labels is not None
        labels.append({Path(path).name: int(label) for path, label in zip(found.paths, found.labels, strict=True)})
    assert labels[0] == labels[1]


def test_part_of_the_flat_images(tmp_path: Path) -> None:
    """Image 3 has the third line of the ground truth, also if it is the only image."""
    touch(tmp_path, f"val/{val(3)}")
    make_kit(tmp_path, [1, 2, 4, 3], KIT)
    found = read(tmp_path)
    assert found.labels is not None
    assert [found.classes[i] for i in found.labels] == ["n01440764"]
    found = read(tmp_path, classes=("n09", "n01440764"))
    assert found.labels is not None
    assert found.labels.tolist() == [1]


def test_the_kit_may_lie_beside_the_images_or_be_named(tmp_path: Path) -> None:
    flat(tmp_path / "images", 2)
    elsewhere = make_kit(tmp_path / "elsewhere", [4, 1], KIT)
    with pytest.raises(DataError, match=r"the development kit is needed: unpack ILSVRC2012_devkit_t12"):
        read(tmp_path / "images")
    expected = read(tmp_path / "images", kit=elsewhere).labels
    assert expected is not None
    assert expected.tolist() == [0, 3]
    assert read(tmp_path / "images", kit=elsewhere.parent).labels is not None
    elsewhere.parent.rename(tmp_path / "ILSVRC2012_devkit_t12")
    beside = read(tmp_path / "images").labels
    assert beside is not None
    assert beside.tolist() == [0, 3]


def test_kaggles_layout(tmp_path: Path) -> None:
    root = touch(tmp_path, f"ILSVRC/Data/CLS-LOC/val/{val(1)}", f"ILSVRC/Data/CLS-LOC/val/{val(2)}")
    rows = ["ImageId,PredictionString", "ILSVRC2012_val_00000002,n01440764 1 2 3 4 n01440764 5 6 7 8"]
    table = root / "LOC_val_solution.csv"
    table.write_text("\n".join([*rows, "ILSVRC2012_val_00000001,n15075141 1 2 3 4 "]))
    found = read(root)
    assert found.classes == tuple(synset_names())
    assert found.labels is not None
    assert found.labels.tolist() == [999, 0]
    table.write_text("\n".join(rows))
    with pytest.raises(DataError, match=r"LOC_val_solution.csv: has no row for .*val_00000001"):
        read(root)


def test_the_blacklist(tmp_path: Path) -> None:
    flat(tmp_path, 4)
    make_kit(tmp_path, [1, 2, 3, 4], KIT)
    with pytest.raises(DataError, match=r"ILSVRC2014_clsloc_validation_blacklist.txt: is in no development kit"):
        read(tmp_path, blacklist=True)
    second = tmp_path / "ILSVRC2014_devkit" / "data"
    second.mkdir(parents=True)
    (second / "ILSVRC2014_clsloc_validation_blacklist.txt").write_text("2\n4\n")
    found = read(tmp_path, blacklist=True)
    assert [path[-13:] for path in found.paths] == ["00000001.JPEG", "00000003.JPEG"]
    assert "images left out, because the kit's blacklist names them: 2" in found.notes
    assert len(read(tmp_path)) == 4
    touch(tmp_path, "train/n01/a.JPEG")
    touch(tmp_path, "test/ILSVRC2012_test_00000001.JPEG")
    for subset in ("train", "test"):
        with pytest.raises(UsageError, match=f"the blacklist is of validation images, not of {subset}; leave it out"):
            read(tmp_path, subset, blacklist=True)  # type: ignore[arg-type]


def test_test_images_have_no_labels(tmp_path: Path) -> None:
    touch(tmp_path, "test/ILSVRC2012_test_00000002.JPEG", "test/ILSVRC2012_test_00000001.JPEG")
    found = read(tmp_path, "test")
    assert found.labels is None
    assert found.classes == tuple(synset_names())
    assert found.paths == ("test/ILSVRC2012_test_00000001.JPEG", "test/ILSVRC2012_test_00000002.JPEG")
    assert read(touch(tmp_path, "train/b/1.jpg", "train/a/1.jpg"), "test").classes == ("a", "b")


def test_the_classes_of_test_images_are_the_kits(tmp_path: Path) -> None:
    """The first kit with a table of synsets is read; one with only a blacklist has none."""
    touch(tmp_path, "test/ILSVRC2012_test_00000001.JPEG")
    blacklist = touch(tmp_path, "ILSVRC2014_devkit/data/ILSVRC2014_clsloc_validation_blacklist.txt")
    assert read(blacklist, "test").classes == tuple(synset_names())
    data = make_kit(tmp_path, [1], KIT)
    assert read(tmp_path, "test").classes == tuple(sorted(KIT))
    data.parent.rename(tmp_path / "elsewhere")
    assert read(tmp_path, "test").classes == tuple(synset_names())
    assert read(tmp_path, "test", kit=tmp_path / "elsewhere").classes == tuple(sorted(KIT))
    touch(tmp_path, "train/b/1.jpg", "train/a/1.jpg")
    assert read(tmp_path, "test", kit=tmp_path / "elsewhere").classes == ("a", "b")
    (tmp_path / "elsewhere/data/meta.mat").write_bytes(b"MATLAB")
    (tmp_path / "train").rename(tmp_path / "gone")
    with pytest.raises(DataError, match=r"meta\.mat: is not the kit's table of synsets"):
        read(tmp_path, "test", kit=tmp_path / "elsewhere")


def test_errors_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r": ILSVRC-2012 not found; .*; get ILSVRC2012_img_train.tar") as raised:
        read(tmp_path)
    assert "\n" not in str(raised.value)
    with pytest.raises(UsageError, match="no subset 'valid'; take one of train, val, test"):
        read(tmp_path, "valid")  # type: ignore[arg-type]
    (tmp_path / "val" / "n01").mkdir(parents=True)
    with pytest.raises(DataError, match=r"val/n01: no image in this class folder; fill it or remove it"):
        read(tmp_path)
    touch(tmp_path, "val/n01/n01.tar")
    with pytest.raises(
        DataError,
        match=r"no image in this class folder \(archives left out .*: 1, such as val/n01/n01.tar\); fill it",
    ):
        read(tmp_path)
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match="neither class folders nor images"):
        read(tmp_path, "test")
    with pytest.raises(DataError, match="is no development kit"):
        read(touch(tmp_path / "flat", f"val/{val(1)}"), kit=tmp_path)


@pytest.mark.parametrize(
    ("truth", "numbers", "names", "says"),
    [
        ([1], None, [val(1)], r"has neither meta.mat nor map_clsloc.txt.*not in the order of the synsets"),
        ([5], KIT, [val(1)], "names a class 5 that its kit lacks; unpack"),
        ([], KIT, [val(1)], "ground_truth.txt: is empty; unpack"),
        ([1], KIT, [val(2)], r"val_00000002.JPEG: its name has no number in 1\.\.1"),
        ([1], KIT, ["a.JPEG"], "keep the archive's names"),
        ([1], {"n01": 1, "n02": 3}, [val(1)], "are not numbered 1, 2, 3"),
    ],
)
def test_a_kit_that_does_not_match(
    tmp_path: Path, truth: list[int], numbers: dict[str, int] | None, names: list[str], says: str
) -> None:
    touch(tmp_path, *(f"val/{name}" for name in names))
    make_kit(tmp_path, truth, numbers)
    with pytest.raises(DataError, match=says):
        read(tmp_path)


def test_damaged_and_hostile_kits(tmp_path: Path) -> None:
    flat(tmp_path, 1)
    data = make_kit(tmp_path, [1])
    (data / "meta.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(200, b"\x0f"))
    with pytest.raises(DataError, match="is not the kit's table of synsets"):
        read(tmp_path)
    savemat(data / "meta.mat", {"synsets": np.zeros(3 << 20)}, do_compression=True)  # 25 MB in 25 kB
    assert (data / "meta.mat").stat().st_size < 100_000
    with pytest.raises(DataError, match=r"meta.mat: .*unpacks to over 16,777,216 bytes"):
        read(tmp_path)
    write_meta(data / "meta.mat", KIT)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("one\n")
    with pytest.raises(DataError, match="has words that are not whole numbers"):
        read(tmp_path)
    (data / "ILSVRC2012_validation_ground_truth.txt").unlink()
    (data / "ILSVRC2012_validation_ground_truth.txt").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="a link out of"):
        read(tmp_path)


def test_links_to_images_classes_and_subsets_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "other", "n01/a.JPEG", "blob")
    root = touch(tmp_path / "root", "subset/n02/a.JPEG")
    (root / "subset/n01").symlink_to(tmp_path / "other/n01")
    (root / "subset/n02/b.JPEG").symlink_to(tmp_path / "other/blob")
    (root / "subset/n02/c.JPEG").symlink_to(tmp_path / "other/nothing")
    for name in ("train", "val"):
        (root / name).symlink_to("subset")
        found = read(root, name)  # type: ignore[arg-type]
        assert found.paths == (f"{name}/n01/a.JPEG", f"{name}/n02/a.JPEG", f"{name}/n02/b.JPEG")
        assert found.notes == (f"links left out, because they lead to no file or folder: 1, such as {name}/n02/c.JPEG",)


@pytest.mark.parametrize("name", ["val", "Val", "valid", "validation", "dev", "ILSVRC2012_img_val"])
def test_the_usual_names_of_val(name: str, tmp_path: Path) -> None:
    touch(tmp_path, "Training/n01/a.JPEG", "Training/n02/a.JPEG", f"{name}/n02/b.JPEG")
    found = read(tmp_path)
    assert (found.classes, found.paths) == (("n01", "n02"), (f"{name}/n02/b.JPEG",))
    assert found.labels is not None
    assert found.labels.tolist() == [1]
    touch(tmp_path, "validate/n01/a.JPEG")  # no such name
    assert read(tmp_path).paths == found.paths
    touch(tmp_path, "VALIDATION/n01/a.JPEG")
    both = " and ".join(sorted(["VALIDATION", name]))
    with pytest.raises(DataError, match=f"{both} are both names of the subset val; keep only one"):
        read(tmp_path)


def test_class_folders_alone_are_val(tmp_path: Path) -> None:
    touch(tmp_path, "n02/b.JPEG", "n01/a.JPEG", "loose.JPEG")
    found = read(tmp_path)
    assert (found.name, found.classes) == (tmp_path.name, ("n01", "n02"))
    assert (found.paths, [*found.images]) == (("n01/a.JPEG", "n02/b.JPEG"), [tmp_path / p for p in found.paths])
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1]
    assert found.notes == (
        f"read as val, since {tmp_path.name} has class folders, but no folder val",
        "images left out, because they are in no class folder: 1, such as loose.JPEG",
    )
    for subset in ("train", "test"):
        with pytest.raises(DataError, match=r"not found; .* or take images of your own in val/<class>/ or <class>/"):
            read(tmp_path, subset)  # type: ignore[arg-type]
    touch(tmp_path, "train/n01/a.JPEG")  # now n01 and n02 are not the only folders
    with pytest.raises(DataError, match="ILSVRC-2012 not found"):
        read(tmp_path)


def test_a_test_set_in_class_folders_has_labels(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "test/b/2.jpg")
    found = read(tmp_path, "test")
    assert (found.classes, found.paths) == (("a", "b"), ("test/b/2.jpg",))
    assert found.labels is not None
    assert found.labels.tolist() == [1]


def test_a_class_may_have_folders(tmp_path: Path) -> None:
    """As in Tiny ImageNet."""
    assert read(touch(tmp_path, "val/n01/images/a.JPEG", "val/n01/b.JPEG")).paths == (
        "val/n01/b.JPEG",
        "val/n01/images/a.JPEG",
    )


def test_kaggles_table_must_name_synsets(tmp_path: Path) -> None:
    touch(tmp_path, f"val/{val(1)}")
    (tmp_path / "LOC_val_solution.csv").write_text("ImageId,PredictionString\nILSVRC2012_val_00000001,nan 1 2 3 4\n")
    with pytest.raises(DataError, match=r"has no row for .*val_00000001.JPEG with a synset"):
        read(tmp_path)


def test_paths_are_made_when_they_are_read(tmp_path: Path) -> None:
    files = imagenet.Files(tmp_path, [f"val/{i}.JPEG" for i in range(10)])
    assert (len(files), files[3], files[-1]) == (10, tmp_path / "val/3.JPEG", tmp_path / "val/9.JPEG")
    assert [*files[2:4]] == [tmp_path / "val/2.JPEG", tmp_path / "val/3.JPEG"]


def test_the_thousand_synsets_are_torchvisions_and_timms() -> None:
    import timm.data
    from torchvision.models import VGG16_Weights

    assert tuple(synset_names().values()) == tuple(VGG16_Weights.IMAGENET1K_V1.meta["categories"])
    assert list(synset_names()) == list(timm.data.ImageNetInfo("imagenet-1k").label_names())
    assert list(synset_names()) == sorted(synset_names())
    assert list(synset_names()).index("n02119789") == 278  # kit fox, the kit's number 1


def test_torch_free() -> None:
    code = "import sys, vggfeat.data.imagenet; assert 'torch' not in sys.modules and 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_real_photos(shared) -> None:
    root = shared("data/imagenette-128")
    counts = {subset: len(read(root, subset)) for subset in ("train", "val")}
    assert counts == {"train": 2000, "val": 500}
    found = read(root)
    assert found.labels is not None
    assert np.bincount(found.labels).tolist() == [50] * 10
    assert [synset_names()[synset] for synset in found.classes][:3] == ["tench", "English springer", "cassette player"]
    assert all(path.split("/")[1] == found.classes[i] for path, i in zip(found.paths, found.labels, strict=True))
