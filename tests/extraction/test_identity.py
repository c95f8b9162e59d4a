"""A row belongs to its image: changed images are described again, others never, and labels are those of the source."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tests.kit.image_sources import photo, png, put, tar
from vggfeat.descriptors import Describer
from vggfeat.engine import Box, Region, Whole
from vggfeat.errors import ImageError, StoreError
from vggfeat.extraction import Item, extract
from vggfeat.extraction.identity import checksum, stamp
from vggfeat.sources.item import Fetched
from vggfeat.store import Store, load
from vggfeat.store.identity import UNKNOWN


@pytest.fixture
def describer(tiny_weights):
    """Its `read` lists what it reads: the names of files, the bytes of members, and other images as they are."""
    read = []

    class Noting(Whole):
        def source(self, image):
            name = image.name if isinstance(image, Path) else image
            read.append(image.fetch() if isinstance(image, Fetched) else name)
            return image

    weights = tiny_weights("A", width=1 / 16, top="pool5")
    noting = Describer(weights=weights, layer="pool5", scales=(64,), view=Noting())
    noting.read = read
    return noting


@pytest.fixture
def photos(tmp_path):
    """Nine photos in three folders."""
    for i in range(9):
        photo(tmp_path / "photos" / "abc"[i // 3] / f"{i}.png", seed=i)
    return tmp_path / "photos"


def again(describer, source, store, **options) -> list[str]:
    """Extract into a store that exists; returns what was read. The rows must then be those of the source."""
    describer.read.clear()
    extract(source, store, describer=describer, part_size=4, **options)
    return sorted(describer.read)


def is_of(store: Path, folder: Path, describer: Describer) -> bool:
    """Whether each row is the descriptor of the file that has its name now."""
    data = load(store)
    assert sorted(data.paths) == sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.png"))
    expected = describer.describe([folder / path for path in data.paths])
    return bool(np.abs(data.X - expected).max() < 1e-6)


def touch(file: Path) -> None:
    os.utime(file, ns=(1, 10**18))


def test_a_row_says_what_it_was_made_from(photos, tmp_path, describer):
    store = extract(photos, tmp_path / "s", describer=describer)
    for row in store.read().to_pylist():
        file = photos / row["path"]
        assert row["size"] == file.stat().st_size
        assert row["changed_ns"] == max(file.stat().st_mtime_ns, file.stat().st_ctime_ns)
        assert row["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert store.meta["source"] == str(photos.resolve())


def test_an_unchanged_source_is_not_read_again(photos, tmp_path, describer, capfd):
    extract(photos, tmp_path / "s", describer=describer)
    capfd.readouterr()
    assert again(describer, photos, tmp_path / "s") == []
    assert "such as" not in capfd.readouterr().err


@pytest.mark.parametrize("keep_time", [False, True])
def test_a_replaced_photo_is_described_again_and_no_other(photos, tmp_path, describer, capfd, keep_time):
    store = extract(photos, tmp_path / "s", describer=describer, part_size=4).path
    before = (photos / "b/4.png").stat()
    photo(photos / "b/4.png", size=(84, 60), seed=99)
    if keep_time:  # as by `cp -p`: then the size tells
        os.utime(photos / "b/4.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert again(describer, photos, store) == ["4.png"]
    assert "images that changed since they were described: 1, such as b/4.png" in capfd.readouterr().err
    assert is_of(store, photos, describer)
    assert again(describer, photos, store) == []


def test_photos_of_equal_size_and_age_that_change_places(tmp_path, describer):
    one, two, other = (tmp_path / "photos" / name for name in ("1.bmp", "2.bmp", "3.bmp"))
    for seed, file in enumerate((one, two)):
        photo(file, seed=seed)
        touch(file)
    store = extract(tmp_path / "photos", tmp_path / "s", describer=describer).path
    one.rename(other), two.rename(one), other.rename(two)
    assert again(describer, tmp_path / "photos", store) == ["1.bmp", "2.bmp"]
    np.testing.assert_allclose(load(store).X, describer.describe([one, two]), atol=1e-6)


def test_a_touched_photo_keeps_its_row(photos, tmp_path, describer):
    store = extract(photos, tmp_path / "s", describer=describer, part_size=4).path
    before = load(store)
    touch(photos / "a/1.png")
    assert again(describer, photos, store) == []
    after = load(store)
    assert after.paths == before.paths
    np.testing.assert_array_equal(after.X, before.X)
    times = dict(zip(after.paths, Store(store).read(["changed_ns"])["changed_ns"].to_pylist(), strict=True))
    assert times["a/1.png"] == (photos / "a/1.png").stat().st_ctime_ns  # so that it is not read again each time


def test_a_photo_that_is_broken_now_has_no_row(photos, tmp_path, describer):
    store = extract(photos, tmp_path / "s", describer=describer, part_size=4)
    put(photos / "c/7.png", b"no image")
    again(describer, photos, store.path)
    assert "c/7.png" not in load(store.path).paths
    assert store.failures.keys() == {"c/7.png"}
    photo(photos / "c/7.png", seed=7)
    assert again(describer, photos, store.path) == ["7.png"]
    assert store.failures == {}
    assert is_of(store.path, photos, describer)


def test_all_photos_replaced(photos, tmp_path, describer):
    store = extract(photos, tmp_path / "s", describer=describer, part_size=4).path
    for i, file in enumerate(sorted(photos.rglob("*.png"))):
        photo(file, seed=100 + i)
    assert len(again(describer, photos, store)) == 9
    assert is_of(store, photos, describer)


@pytest.mark.parametrize("added_before", [False, True])
def test_an_interrupt_amid_changed_photos(photos, tmp_path, describer, added_before):
    """Old and new rows may then stand beside each other; the next run keeps the new ones."""
    store = extract(photos, tmp_path / "s", describer=describer, part_size=4).path
    old = {file.name: file.read_bytes() for file in store.glob("part-*")}
    if added_before:
        photo(photos / "a/00.png", seed=50)
    for i in range(9):
        photo(photos / "abc"[i // 3] / f"{i}.png", seed=100 + i)
    extract(photos, store, describer=describer, part_size=4)
    new = [file.rename(tmp_path / file.name) for file in store.glob("part-*")]
    for name, data in old.items():  # as after a kill: parts of both runs
        (store / name).write_bytes(data)
    new.sort()
    new[0].rename(store / "part-00000-9.parquet")
    kept = set(pq.read_table(store / "part-00000-9.parquet", columns=["path"])["path"].to_pylist())
    read = again(describer, photos, store)
    assert set(read) == {f.name for f in photos.rglob("*.png")} - {name.split("/")[1] for name in kept}
    assert is_of(store, photos, describer)


def test_another_source_is_refused_by_name(photos, tmp_path, describer):
    store = extract(photos, tmp_path / "s", describer=describer).path
    other = photo(tmp_path / "other/a/0.png", seed=77).parents[1]
    with pytest.raises(StoreError, match=rf"holds images of {photos}, not of {other}; name another store"):
        extract(other, store, describer=describer)
    assert is_of(store, photos, describer)


def test_moved_photos_are_found_again_by_their_bytes(photos, tmp_path, describer):
    store = extract(photos, tmp_path / "s", describer=describer, part_size=4).path
    moved = shutil.copytree(photos, tmp_path / "moved", copy_function=shutil.copy)
    for file in moved.rglob("*.png"):
        touch(file)
    photo(moved / "b/3.png", seed=55)
    with pytest.raises(StoreError, match="add --moved"):
        extract(moved, store, describer=describer)
    assert again(describer, moved, store, moved=True) == ["3.png"]
    assert is_of(store, moved, describer)
    assert again(describer, moved, store) == []


def test_a_corrected_label_is_taken_up_without_describing(photos, tmp_path, describer, capfd):
    lines = [f"photos/{'abc'[i // 3]}/{i}.png,cat" for i in range(9)]
    csv = put(tmp_path / "list.csv", "\n".join(["path,label", *lines]).encode())
    store = extract(csv, tmp_path / "s", describer=describer, part_size=4).path
    before = load(store)
    lines[5] = lines[5].replace("cat", "tiger")
    lines[6] = lines[6].replace("cat", "")
    put(csv, "\n".join(["path,label", *lines]).encode())
    assert again(describer, csv, store) == []
    assert "images with a new label: 2, such as photos/b/5.png" in capfd.readouterr().err
    after = load(store)
    assert after.labels == ["cat"] * 5 + ["tiger", None, "cat", "cat"]
    assert after.paths == before.paths
    np.testing.assert_array_equal(after.X, before.X)


def test_several_processes_say_that_images_changed(photos, tmp_path, describer):
    """They cannot take that up together: one would write a part again that another one reads."""
    store = extract(photos, tmp_path / "s", describer=describer, part_size=2).path
    photo(photos / "a/0.png", seed=99)
    photo(photos / "d/new.png", seed=98)
    said = "changed since they were described: 1, such as a/0.png; all other images are done; .* in one process"
    with pytest.raises(StoreError, match=said):
        extract(photos, store, describer=describer, part_size=2, share=(0, 2))
    extract(photos, store, describer=describer, part_size=2, share=(1, 2))
    assert "d/new.png" in load(store).paths
    assert again(describer, photos, store) == ["0.png"]
    assert is_of(store, photos, describer)


def test_a_changed_member_of_an_archive(tmp_path, describer):
    members = {f"{i}.png": png(i) for i in range(4)}
    archive = tar(tmp_path / "t.tar", members.items())
    store = extract(archive, tmp_path / "s", describer=describer).path
    rewritten = tar(tmp_path / "t.tar", (members | {"2.png": png(9)}).items())
    assert again(describer, rewritten, store) == [png(9)]
    data = load(store)
    place = data.paths.index("t.tar/2.png")
    np.testing.assert_allclose(data.X[place], describer.describe(png(9)), atol=1e-6)


def test_images_in_memory_are_known_by_their_content(tmp_path, describer):
    one, two = np.full((64, 64, 3), 7, np.uint8), np.full((64, 64, 3), 200, np.uint8)
    extract([Item("a", one), Item("b", png(1, (64, 64)))], tmp_path / "s", describer=describer)
    describer.read.clear()
    extract([Item("a", two), Item("b", png(1, (64, 64)))], tmp_path / "s", describer=describer)
    assert len(describer.read) == 1
    assert describer.read[0] is two


def test_an_array_and_a_tensor_of_equal_shape_are_two_images(tmp_path, describer):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 80, 3), np.uint8)
    extract([Item("a", pixels)], tmp_path / "s", describer=describer)
    store = extract([Item("a", torch.from_numpy(pixels))], tmp_path / "s", describer=describer)
    assert store.read(["width"])["width"].to_pylist() == [3]


def test_pil_images_are_described_again(tmp_path, describer, capfd):
    """To compare one, its pixels would have to be loaded, after which it may be read in another way."""
    indices = np.random.default_rng(0).integers(0, 2, (64, 64), np.uint8)
    images = []
    for colour in ((255, 0, 0), (0, 0, 255)):
        image = Image.fromarray(indices, "P")
        image.putpalette([0, 0, 0, *colour])
        images.append(image)
    extract([Item("a", images[0])], tmp_path / "s", describer=describer)
    extract([Item("a", images[1])], tmp_path / "s", describer=describer)
    assert "images in memory that are described again" in capfd.readouterr().err
    np.testing.assert_allclose(load(tmp_path / "s").X[0], describer.describe(images[1]), atol=1e-6)


def test_another_box_of_a_photo_is_another_image(photos, tmp_path, tiny_weights):
    weights = tiny_weights("A", width=1 / 16, top="pool5")
    boxes = Describer(weights=weights, layer="pool5", scales=(64,), view=Box())
    for box in ((0, 0, 40, 40), (30, 10, 80, 60)):
        region = Region(photos / "a/0.png", box)
        extract([Item("a", region)], tmp_path / "s", describer=boxes)
        np.testing.assert_allclose(load(tmp_path / "s").X[0], boxes.describe([region])[0], atol=1e-6)


def test_stores_of_different_photos_are_not_fused(photos, tmp_path, describer):
    one = extract(photos, tmp_path / "one", describer=describer).path
    photo(photos / "b/3.png", seed=99)
    two = extract(photos, tmp_path / "two", describer=describer).path
    with pytest.raises(StoreError, match=r"one and .*two: b/3\.png is a different image in each; run the"):
        load([one, two])
    extract(photos, one, describer=describer)
    assert load([one, two]).X.shape == (9, 64)


def test_rows_of_two_images_with_one_name_are_not_loaded(photos, tmp_path, describer):
    """As after a kill between writing a new row and dropping the old one."""
    store = extract(photos, tmp_path / "s", describer=describer, part_size=4).path
    old = (store / "part-00000.parquet").read_bytes()
    photo(photos / "a/0.png", seed=99)
    extract(photos, store, describer=describer, part_size=4)
    (store / "part-00000-7.parquet").write_bytes(old)
    with pytest.raises(StoreError, match=r"has rows of two images named a/0\.png, because a run was killed"):
        load(store)
    again(describer, photos, store)
    assert is_of(store, photos, describer)


def test_a_store_of_an_earlier_version_gets_its_source(photos, tmp_path, describer):
    store = extract(photos, tmp_path / "s", describer=describer).path
    meta = json.loads((store / "meta.json").read_text())
    (store / "meta.json").write_text(json.dumps({key: meta[key] for key in meta if key != "source"}))
    extract(photos, store, describer=describer)
    with pytest.raises(StoreError, match="holds images of"):
        extract(photo(tmp_path / "other/a/0.png", seed=77).parents[1], store, describer=describer)


def test_failures_of_deleted_files_are_forgotten(photos, tmp_path, describer):
    put(photos / "a/broken.png", b"no image")
    store = extract(photos, tmp_path / "s", describer=describer)
    assert store.failures.keys() == {"a/broken.png"}
    (photos / "a/broken.png").unlink()
    again(describer, photos, store.path)
    assert store.failures == {}


def test_a_store_without_identities_is_read_and_said_to_be_without(photos, tmp_path, describer, capfd):
    store = extract(photos, tmp_path / "s", describer=describer).path
    for part in store.glob("part-*"):  # as earlier versions wrote it
        pq.write_table(pq.read_table(part).drop(["size", "changed_ns", "sha256"]), part)
    photo(photos / "a/0.png", seed=99)
    photo(photos / "d/new.png", seed=98)
    assert again(describer, photos, store) == ["new.png"]
    assert "(extract into a new store to be sure): 9, such as a/0.png" in capfd.readouterr().err
    assert len(load(store).X) == 10
    assert Store(store).read(["path", "q64"]).num_rows == 10
    assert Store(store).read().column("sha256").null_count == 9


def test_what_the_source_no_longer_has_is_counted(photos, tmp_path, describer, capfd):
    store = extract(photos, tmp_path / "s", describer=describer).path
    (photos / "a/0.png").unlink()
    again(describer, photos, store)
    assert (
        f"rows kept of images that {photos} no longer has (extract into a new store to be without them): 1"
        in capfd.readouterr().err
    )
    assert len(load(store).X) == 9


def test_a_name_that_a_list_has_twice_is_said(photos, tmp_path, describer, capfd):
    csv = put(tmp_path / "list.csv", b"path,label\nphotos/a/0.png,cat\nphotos/a/0.png,dog\n")
    extract(csv, tmp_path / "s", describer=describer)
    assert "because an earlier one has the same name: 1, such as photos/a/0.png" in capfd.readouterr().err
    assert again(describer, csv, tmp_path / "s") == []
    assert load(tmp_path / "s").labels == ["cat"]


def test_a_file_that_cannot_be_inspected_keeps_its_row(photos, tmp_path, describer, capfd):
    items = [Item(f"{i}", photos / "a" / f"{i}.png") for i in range(3)]
    extract(items, tmp_path / "s", describer=describer)
    (photos / "a/1.png").unlink()
    describer.read.clear()
    extract(items, tmp_path / "s", describer=describer)
    assert describer.read == []
    assert "not known whether their images have changed: 1, such as 1" in capfd.readouterr().err


def test_the_checksum_is_of_the_bytes(tmp_path):
    data = png(3)
    digest = hashlib.sha256(data).hexdigest()
    file = put(tmp_path / "a.png", data)
    assert checksum(file) == checksum(str(file)) == digest
    assert stamp(data) == (len(data), None, digest)
    assert stamp(tmp_path / "gone.png") == stamp(object()) == stamp(Image.new("L", (9, 9))) == UNKNOWN
    os.utime(file, (2**34, 2**34))  # later than Parquet can say
    assert stamp(file) == (len(data), None, None)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="pipe: not a regular file"):
        checksum(tmp_path / "pipe")
