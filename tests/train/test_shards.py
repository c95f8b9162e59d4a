"""Tar shards as webdataset writes them, read in any order without it."""

import tarfile

import numpy as np
import pytest
import webdataset

from tests.kit.image_sources import tar
from tests.kit.training_photos import TINY, photo_set
from vggfeat.errors import DataError, ImageError
from vggfeat.train import train
from vggfeat.train.sets import read_sets

CLASSES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photo_set(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def root(photos, tmp_path):
    """The same photos in shards, two of train and one of val, with the names of the classes."""
    for part in ("train", "val"):
        files = sorted((photos / part).glob("*/*.png"))
        for number, some in enumerate((files[:10], files[10:])):
            if some:
                with webdataset.TarWriter(str(tmp_path / f"{part}-{number:06}.tar")) as writer:
                    for file in some:
                        label = CLASSES.index(file.parent.name)
                        key = f"{file.parent.name}/{file.stem}"
                        writer.write({"__key__": key, "png": file.read_bytes(), "cls": label})
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return tmp_path


def test_shards_hold_what_the_folders_do(root, photos):
    sharded, plain = read_sets(root, 1), read_sets(photos, 1)
    assert sharded.classes == plain.classes == CLASSES
    for one, two in ((sharded.train, plain.train), (sharded.val, plain.val)):
        assert one.labels.tolist() == two.labels.tolist()
        for row in reversed(range(len(one))):
            assert (one.pixels(row) == two.pixels(row)).all()
    assert sharded.train.paths[0] == "train-000000.tar/blue/0.png"
    (root / "classes.txt").unlink()
    assert read_sets(root, 1).classes == ("class 0", "class 1", "class 2")


def test_a_net_trains_on_shards_as_on_folders(root, photos, tmp_path):
    settings = {**TINY, "epochs": 1}
    train(root, tmp_path / "a", **settings)
    train(photos, tmp_path / "b", **settings)
    assert (tmp_path / "a" / "steps.csv").read_text() == (tmp_path / "b" / "steps.csv").read_text()


def test_what_is_wrong_with_a_shard_is_said_in_one_line(root):
    def refused(match: str) -> None:
        with pytest.raises(DataError, match=match) as error:
            read_sets(root, 1)
        assert "\n" not in str(error.value)

    good, bad = [("a.png", b"x"), ("a.cls", b"0")], root / "train-000009.tar"
    tar(bad, [*good, ("b.png", b"x")])
    refused(r"train-000009.tar: the sample 'b' has no label")
    tar(bad, [*good, ("b.cls", b"1")])
    refused("the sample 'b' has no image")
    tar(bad, [*good, ("b.png", b"x"), ("b.jpg", b"x"), ("b.cls", b"1")])
    refused("a sample has two images, 'b.png' and 'b.jpg'; keep one of them")
    tar(bad, [("a.png", b"x"), ("b.png", b"x")])
    refused(r"train-000009.tar: has images, but no labels \(KEY.cls\); .* unpack it into a class folder")
    tar(bad, [*good, ("b.png", b"x"), ("b.cls", b"nan")])
    refused("'b.cls' is 'nan'; write the number of a class")
    tar(bad, [*good, ("b.png", b"x"), ("b.cls", b"-1")])
    refused("'b.cls' is '-1'; write the number of a class")
    tar(bad, [*good, ("b.png", b"x"), ("b.cls", b"7")])
    refused("names 3 classes, but a shard has the label 7")
    tar(bad, [*good, ("\udcff.png", b"x")])
    refused(r"'\\udcff\.png' is not UTF-8")
    tar(bad, good, "w:gz")
    refused("is not a complete, uncompressed tar file")
    tar(bad, [*good, ("b.png", bytes(9000)), ("b.cls", b"0")])
    whole = bad.read_bytes()
    for end in (4000, 2048):  # within an image; after a sample
        bad.write_bytes(whole[:end])
        refused(r"train-000009.tar: is not a complete, uncompressed tar file")
    bad.unlink()
    tar(root / "val-000009.tar", [("c.png", b"x"), ("c.cls", b"3")])
    (root / "classes.txt").unlink()
    refused("val has images of 'class 3' .* a class that train does not have")


def test_what_is_left_out_of_shards_and_beside_them_is_noted(root, photos):
    assert read_sets(root, 1).notes == ()
    link = tarfile.TarInfo("b.png")
    link.type, link.linkname = tarfile.SYMTYPE, "a.png"
    tar(root / "train-000009.tar", [("a.png", b"x"), ("a.CLS", b"0"), ("a.json", b"x"), ("._a.png", b"x"), link])
    tar(root / "train-000010.tar.gz", [("c.png", b"x"), ("c.cls", b"0")], "w:gz")
    (root / "d.png").write_bytes(b"x")
    assert len(read_sets(root, 1).train) == len(read_sets(photos, 1).train) + 1
    assert read_sets(root, 1).notes == (
        "archives left out until they are unpacked: 1, such as train-000010.tar.gz",
        "files left out, because their suffix is not that of an image: 1 (.json), such as train-000009.tar/a.json",
        "images left out, because they are in no shard: 1, such as d.png",
        "links and devices left out of shards: 1, such as train-000009.tar/b.png",
    )


def test_shards_under_other_names_of_their_subsets(root):
    before = read_sets(root, 1)
    (root / "Validation").mkdir()
    for shard in root.glob("train-*.tar"):
        shard.rename(root / shard.name.replace("train", "training"))
    (root / "val-000000.tar").rename(root / "Validation" / "0.tar")
    after = read_sets(root, 1)
    assert [len(after.train), len(after.val)] == [len(before.train), len(before.val)]
    assert (after.train.labels.tolist(), after.notes) == (before.train.labels.tolist(), ())


def test_archives_beside_the_class_folders_are_no_shards(tmp_path):
    photo_set(tmp_path)
    before = read_sets(tmp_path, 1)
    tar(tmp_path / "train" / "blue.tar", [("a.png", b"x")])
    after = read_sets(tmp_path, 1)
    assert after.fingerprint() == before.fingerprint()
    assert after.notes == ("archives left out until they are unpacked: 1, such as train/blue.tar",)


def test_folders_of_links_are_the_same_set(photos, tmp_path):
    """A subset, a class and a photo may be links."""
    for number, file in enumerate(sorted((photos / "train").glob("*/*.png"))):
        (tmp_path / "Train" / file.parent.name).mkdir(parents=True, exist_ok=True)
        (tmp_path / f"blob-{number}").write_bytes(file.read_bytes())
        (tmp_path / "Train" / file.parent.name / file.name).symlink_to(f"../../blob-{number}")
    (tmp_path / "valid").symlink_to(photos / "val")
    linked, plain = read_sets(tmp_path, 1), read_sets(photos, 1)
    for one, two in ((linked.train, plain.train), (linked.val, plain.val)):
        assert one.labels.tolist() == two.labels.tolist()
        assert all((one.pixels(row) == two.pixels(row)).all() for row in range(len(one)))


def test_an_image_that_is_damaged_in_its_shard_is_named(root):
    tar(root / "train-000009.tar", [("a/../../b.png", b"no image"), ("a/../../b.cls", b"0")])
    photos = read_sets(root, 1).train
    assert photos.paths[-1] == "train-000009.tar/a/../../b.png"
    with pytest.raises(ImageError, match=r"^not an image"):
        photos.pixels(len(photos) - 1)
    assert np.asarray(photos.pixels(0)).ndim == 3
