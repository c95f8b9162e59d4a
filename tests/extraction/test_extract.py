"""Extraction: every file is described or listed, and a killed run ends as an unbroken one."""

import os
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import vggfeat
from tests.kit.image_sources import photo, tar
from vggfeat import sources
from vggfeat.descriptors import Describer
from vggfeat.engine import Whole
from vggfeat.errors import DataError, ImageError, StoreError, UsageError
from vggfeat.extraction import ExtractionSettings, Item, default_out, extract
from vggfeat.extraction.decoding import Decoder, Failure
from vggfeat.reading import opened
from vggfeat.store import Store, load

SCALES = (64, 96)


@pytest.fixture(scope="module")
def describer(tiny_weights):
    return Describer(weights=tiny_weights("A", width=1 / 16, top="pool5"), layer="pool5", scales=SCALES)


@pytest.fixture
def photos(tmp_path):
    """23 photos of three sizes, in two class folders and outside of them."""
    for i in range(23):
        folder = ("cats", "dogs", ".")[i % 3]
        photo(tmp_path / "photos" / folder / f"{i:02}.png", [(80, 60), (60, 80), (64, 64)][i % 3], seed=i)
    return tmp_path / "photos"


def same_rows(one: Path, two: Path) -> bool:
    """Equal to the bit, rows in the same order; parts may be cut differently."""
    return Store(one).read().equals(Store(two).read())


def test_each_row_is_the_descriptor_of_its_image(photos, tmp_path, describer):
    store = extract(photos, tmp_path / "s.vggfeat", describer=describer)
    data = load(store.path)
    assert data.paths == [item.path for item in sources.items(photos)]
    assert sorted(data.paths) == sorted(p.relative_to(photos).as_posix() for p in photos.rglob("*.png"))
    for path, row in zip(data.paths, data.X, strict=True):
        np.testing.assert_allclose(row, describer.describe(photos / path), rtol=1e-5, atol=1e-6)
    table = pq.read_table(store.parts[0]).to_pylist()
    assert [(r["width"], r["height"], r["label"]) for r in table if r["path"] == "cats/00.png"] == [(80, 60, "cats")]
    assert [r["label"] for r in table if "/" not in r["path"]] == [None] * 7


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (["a.jpg"], "'a.jpg' is no Item"),
        ([Item("1.jpg", b"", 7)], "is no Item whose path is a str and whose label"),
        ([Item(Path("1.jpg"), b"")], "is no Item whose path is a str"),
    ],
)
def test_a_list_of_other_things_is_refused_before_any_work(tmp_path, describer, items, said):
    with pytest.raises(UsageError, match=said):
        extract(items, tmp_path / "s", describer=describer)
    with pytest.raises(DataError, match="the list of images is empty"):
        extract([], tmp_path / "s", describer=describer)
    assert not (tmp_path / "s").exists()


class Loud(Describer):
    """Multiplies the values of the n-th image by the n-th factor."""

    def __init__(self, describer, factors):
        super().__init__(spec=describer.spec, engine=describer.engine)
        self.factors = iter(factors)

    def stream(self, prepared, layers=None):
        for key, (vectors,) in super().stream(prepared, layers):
            yield key, [vectors * np.float32(next(self.factors))]


def test_values_that_cannot_be_stored_make_a_failure(photos, tmp_path, describer):
    """Of three images one is too large for float16, and one is not finite."""
    items = [*sources.items(photos)][:3]
    loud = Loud(describer, [1.0, 1e9, float("nan")])
    store = extract(items, tmp_path / "s", describer=loud, dtype="float16")
    assert len(store) == 1
    assert len(store.failures) == 2
    assert all("not finite in float16" in reason for reason in store.failures.values())
    assert np.isfinite(load(store.path).X).all()
    with pytest.raises(ImageError, match=r"\.png: its descriptor has values"):
        extract(items, tmp_path / "t", describer=Loud(describer, [1e9]), dtype="float16", on_error="fail")


def test_an_archive_that_was_repaired_is_no_failure_any_more(tmp_path, describer):
    folder = tmp_path / "photos"
    files = [photo(folder / f"{i}.png", seed=i) for i in range(3)]
    whole = tar(folder / "t.tar", [(f"x/{file.name}", file.read_bytes()) for file in files]).read_bytes()
    (folder / "t.tar").write_bytes(whole[: len(whole) // 2])
    for _ in range(2):
        assert "t.tar" in extract(folder, tmp_path / "s", describer=describer).failures
    (folder / "t.tar").write_bytes(whole)
    store = extract(folder, tmp_path / "s", describer=describer)
    assert (len(store), store.failures) == (6, {})


def test_what_a_list_names_itself_is_no_archive_that_was_repaired(tmp_path, describer):
    """A folder in a list is a failure each time, also if files within it follow, which are read much later."""
    photo(tmp_path / "x" / "y.png")
    for i in range(40):
        photo(tmp_path / f"{i:02}.png", seed=i)
    names = ["x", *(f"{i:02}.png" for i in range(40)), "x/y.png"]
    (tmp_path / "list.txt").write_text("".join(f"{name}\n" for name in names))
    for _ in range(2):
        store = extract(tmp_path / "list.txt", tmp_path / "s", describer=describer, workers=1, part_size=4)
        assert store.failures == {"x": "not a regular file"}
        assert store.paths == names[1:]
        for part in store.parts[:-1]:
            part.unlink()  # so that there is work again between the two


def test_decoded_images_wait_within_bounds(photos, describer):
    """Eight workers, a slow reader, and room for one that is decoded and two that wait: no more are decoded."""
    size, decoded, most = 3 * 80 * 60, [], []

    class Slow(Describer):
        def prepared(self, *arguments):
            image = super().prepared(*arguments)
            time.sleep(0.02)
            decoded.append(image.nbytes)
            return image

    slow = Slow(spec=describer.spec, engine=describer.engine)
    room = max(memory_of(file) for file in photos.rglob("*.png")) + 2 * size
    with Decoder(slow, ExtractionSettings(workers=8), memory=room) as decoder:
        taken = 0
        for one in decoder.decode(enumerate(sources.items(photos))):
            assert not isinstance(one.image, Failure)
            taken += one.image.nbytes
            time.sleep(0.05)
            most.append(sum(decoded) - taken)
    assert len(most) == 23
    assert max(most) <= 4 * size


def memory_of(file: Path) -> int:
    """What decoding a file takes, by its header."""
    with opened(file) as image:
        return image.memory + file.stat().st_size


def test_part_size_cuts_parts_and_changes_no_value(photos, tmp_path, describer):
    whole = extract(photos, tmp_path / "whole", describer=describer)
    parts = extract(photos, tmp_path / "parts", describer=describer, part_size=5)
    assert [pq.read_metadata(part).num_rows for part in parts.parts] == [5, 5, 5, 5, 3]
    np.testing.assert_allclose(load(parts.path).X, load(whole.path).X, atol=1e-6)


def test_a_second_run_reads_only_what_is_new(photos, tmp_path, describer):
    extract(photos, tmp_path / "s", describer=describer)
    photo(photos / "birds" / "new.png", seed=99)
    read = []

    class Listing(Whole):
        def source(self, image):
            read.append(image)
            return image

    listing = Describer(spec=describer.spec, engine=describer.engine, view=Listing())
    store = extract(photos, tmp_path / "s", describer=listing)
    assert [file.name for file in read] == ["new.png"]
    assert len(store) == 24


def test_a_store_made_with_other_options_is_not_added_to(photos, tmp_path, describer, tiny_weights):
    extract(photos, tmp_path / "s", describer=describer)
    other = Describer(weights=describer.engine.nets[0].weights.path, layer="pool5", scales=SCALES, mirror=False)
    with pytest.raises(StoreError, match="made with mirror True, not False"):
        extract(photos, tmp_path / "s", describer=other)


def make_trouble(folder: Path) -> None:
    """A folder with good photos of every kind, and files that are no photos."""
    photo(folder / "plain.jpg")
    photo(folder / "with space.jpg")
    photo(folder / "Übung 東京 🐈.jpg")
    photo(folder / "SHOUTING.JPG")
    whole = photo(folder / "truncated.jpg", (300, 200)).read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("not a photo")
    (folder / "notes.txt").write_text("nor this")
    rgb = Image.open(photo(folder / "no suffix.png")).convert("RGB")
    (folder / "no suffix.png").rename(folder / "no suffix")
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    rgb.convert("P").save(folder / "palette.png")
    rgb.convert("L").save(folder / "grey.jpg")
    Image.fromarray(np.arange(80 * 60, dtype=np.uint16).reshape(60, 80) * 13).save(folder / "16bit.png")
    rgb.putalpha(rgb.convert("L"))
    rgb.save(folder / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    photo(folder / "rotated.jpg", (120, 60), exif=exif)
    Image.new("RGB", (1, 1), "red").save(folder / "1x1.png")
    photo(folder / "thin.png", (3000, 8))
    Image.new("L", (200_000, 1)).save(folder / "too thin.png")
    os.mkfifo(folder / "fifo.jpg")
    (folder / "link.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / ".hidden.jpg").write_text("not looked at")


def test_every_file_is_described_or_listed(tmp_path, describer):
    folder = tmp_path / "trouble"
    make_trouble(folder)
    store = extract(folder, tmp_path / "s", describer=describer)
    visible = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - {"notes.txt"}
    assert set(store.paths) | store.failures.keys() == visible
    assert store.failures.keys() == {
        "truncated.jpg", "empty.jpg", "text.jpg", "too thin.png", "fifo.jpg", "link.jpg"
    }  # fmt: skip
    assert "truncated" in store.failures["truncated.jpg"]
    assert store.failures["empty.jpg"] == "is empty"
    assert store.failures["fifo.jpg"] == "not a regular file"
    assert "at Q=64" in store.failures["too thin.png"]
    rows = {row["path"]: row for row in store.read(["path", "width", "height"]).to_pylist()}
    assert (rows["rotated.jpg"]["width"], rows["rotated.jpg"]["height"]) == (60, 120)
    assert np.isfinite(load(store.path).X).all()


def test_a_repaired_image_is_described_by_the_next_run(photos, tmp_path, describer):
    (photos / "cats" / "00.png").write_bytes(b"")
    store = extract(photos, tmp_path / "s", describer=describer)
    assert store.failures == {"cats/00.png": "is empty"}
    photo(photos / "cats" / "00.png")
    store = extract(photos, tmp_path / "s", describer=describer)
    assert store.failures == {}
    assert len(store) == 23


def test_on_error_fail_stops_and_keeps_what_is_done(photos, tmp_path, describer):
    (photos / "dogs" / "22.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"22\.png: is empty"):
        extract(photos, tmp_path / "s", describer=describer, on_error="fail", part_size=4)
    store = Store(tmp_path / "s")
    assert len(store) >= 16
    assert store.failures == {"dogs/22.png": "is empty"}


def test_a_folder_with_nothing_readable(tmp_path, describer):
    with pytest.raises(DataError, match="no such folder"):
        extract(tmp_path / "nowhere", tmp_path / "s", describer=describer)
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match="has no files"):
        extract(tmp_path / "photos", tmp_path / "s", describer=describer)
    (tmp_path / "photos" / "a.jpg").write_text("text")
    with pytest.raises(DataError, match=r"none of its 1 files .*failures\.csv"):
        extract(tmp_path / "photos", tmp_path / "s", describer=describer)


def test_lists_of_paths(photos, tmp_path, describer):
    (photos / "list.txt").write_text("cats/03.png\n\ncats/00.png\ncats/03.png\n")
    (photos / "list.csv").write_text("label,path\ntabby,cats/03.png\n,dogs/01.png\n")
    (photos / "other.csv").write_text("file\na\n")
    assert load(extract(photos / "list.txt", tmp_path / "t", describer=describer).path).paths == [
        "cats/03.png", "cats/00.png"
    ]  # fmt: skip
    data = load(extract(photos / "list.csv", tmp_path / "c", describer=describer).path)
    assert (data.paths, data.labels) == (["cats/03.png", "dogs/01.png"], ["tabby", None])
    with pytest.raises(DataError, match="no column 'path'"):
        next(sources.items(photos / "other.csv"))


def test_one_image_and_images_in_memory(photos, tmp_path, describer):
    one = extract(photos / "cats" / "00.png", tmp_path / "one", describer=describer)
    assert one.paths == ["00.png"]
    items = [Item("first", np.zeros((70, 70, 3), np.uint8), "black"), Item("second", (photos / "02.png").read_bytes())]
    data = load(extract(items, tmp_path / "two", describer=describer).path)
    assert (data.paths, data.labels) == (["first", "second"], ["black", None])
    with pytest.raises(UsageError, match="the same path"):
        extract([items[0], items[0]], tmp_path / "three", describer=describer)


def test_names_that_are_not_utf8_are_escaped(tmp_path, describer):
    photo(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "a.png").rename(tmp_path / "photos" / os.fsdecode(b"caf\xe9.png"))
    store = extract(tmp_path / "photos", tmp_path / "s", describer=describer)
    assert store.paths == [r"caf\xe9.png"]


def test_a_full_disk_is_one_line_and_keeps_what_is_written(photos, tmp_path, describer, monkeypatch):
    def full(table, file, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(StoreError, match=r"part-00000\.parquet: cannot be written \(No space left"):
        extract(photos, tmp_path / "s", describer=describer)
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == [".lock", "meta.json"]


def test_a_store_holds_one_net(photos, tmp_path, tiny_weights):
    weights = [tiny_weights(net, width=1 / 16, top="pool5") for net in "AB"]
    two = Describer("A,B", weights=",".join(map(str, weights)), layer="pool5", scales=SCALES)
    with pytest.raises(UsageError, match="one net"):
        extract(photos, tmp_path / "s", describer=two)
    stores = [
        extract(photos, tmp_path / engine.nets[0].weights.net, describer=two.variant(engine)).path
        for engine in two.engine.apart()
    ]
    paths = load(stores).paths
    np.testing.assert_allclose(load(stores).X, two.describe([photos / p for p in paths]), atol=1e-6)


def test_default_out_is_named_after_the_source(tmp_path):
    (tmp_path / "my photos.2024").mkdir()
    assert default_out(tmp_path / "my photos.2024") == Path("my photos.2024.vggfeat")
    assert default_out(tmp_path / "cat.jpg") == Path("cat.vggfeat")


def test_the_public_function_is_the_same(photos, tmp_path, tiny_weights):
    weights = tiny_weights("A", width=1 / 16, top="pool5")
    store = vggfeat.extract(photos, tmp_path / "s", weights=weights, layer="pool5", scales=[64], agg="max")
    assert vggfeat.load(store.path).meta["agg"] == "max"


def test_wrong_options(photos, tmp_path, describer):
    for options, said in (
        ({"on_error": "ignore"}, "no on_error 'ignore'; take one of skip, fail"),
        ({"part_size": 0}, "part_size must be at least 1, not 0"),
        ({"dtype": "int8"}, "no dtype 'int8'; take one of float32, float16"),
        ({"share": (2, 2)}, "share must be"),
    ):
        with pytest.raises(UsageError, match=said):
            extract(photos, tmp_path / "s", describer=describer, **options)
