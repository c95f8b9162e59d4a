"""Several layers in one pass: a store for each, with the rows that single runs give, whatever each of them had."""

import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import vggfeat
from tests.kit.image_sources import photo
from tests.kit.warm_commands import commands
from vggfeat import weights as weights_of
from vggfeat.engine.net import DenseNet
from vggfeat.errors import DataError, StoreError, UsageError
from vggfeat.extraction import Item
from vggfeat.store import Store

LAYERS = ("conv2_1", "pool5")
SCALES = (48, 64)


@pytest.fixture(scope="module")
def options(tiny_weights):
    return {"weights": tiny_weights("A", width=1 / 16, top="pool5"), "scales": SCALES, "part_size": 4, "workers": 1}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Eleven photos of two sizes, and a file that is none; tests leave them as they are."""
    folder = tmp_path_factory.mktemp("source") / "photos"
    for i in range(11):
        photo(folder / "ab"[i % 2] / f"{i:02}.png", [(80, 60), (60, 80)][i % 2], seed=i)
    (folder / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    return folder


@pytest.fixture
def few(tmp_path):
    """Three photos, to be changed."""
    for i in range(3):
        photo(tmp_path / "few" / f"{i}.png", seed=i)
    return tmp_path / "few"


@pytest.fixture(scope="module")
def single(photos, tmp_path_factory, options):
    """The store of each layer, made alone; tests leave them as they are."""
    folder = tmp_path_factory.mktemp("single")
    return {layer: vggfeat.extract(photos, folder / layer, layer=layer, **options) for layer in LAYERS}


@pytest.fixture
def passes(monkeypatch):
    """How many images, mirror images left out, went through the net up to which layers."""
    found, net = Counter(), DenseNet.__call__

    def counted(self, pixels, layers):
        found[layers] += len(pixels)
        return net(self, pixels, layers)

    monkeypatch.setattr(DenseNet, "__call__", counted)
    return found


def together(photos: Path, tmp_path: Path, options, layers=LAYERS, **more) -> dict[str, Store]:
    return vggfeat.extract_layers(photos, layers, tmp_path / "s.vggfeat", **options | more)


def same(one: Store, two: Store) -> bool:
    """The same rows to the bit, the same failures, made with the same settings."""
    rows = [Store(store.path).read().sort_by("path") for store in (one, two)]
    return rows[0].equals(rows[1]) and one.failures == two.failures and one.fingerprint == two.fingerprint


def all_same(found, single) -> bool:
    return found.keys() == single.keys() and all(same(found[layer], single[layer]) for layer in single)


def test_one_pass_gives_the_stores_of_single_runs(photos, tmp_path, options, single, passes):
    found = together(photos, tmp_path, options)
    assert all_same(found, single)
    assert [found[layer].path.name for layer in LAYERS] == ["s.conv2_1.vggfeat", "s.pool5.vggfeat"]
    assert [found[layer].meta["fingerprint"]["layer"] for layer in LAYERS] == list(LAYERS)
    assert all(store.failures.keys() == {"a/broken.jpg"} for store in found.values())
    assert passes == {LAYERS: 11 * len(SCALES)}


@pytest.mark.parametrize("more", [{"mirror": False, "dtype": "float16"}, {"ceil": True, "precision": "bfloat16"}])
def test_with_other_settings_too(tmp_path, tiny_weights, more):
    """A net whose layers in the middle are computed by Winograd's method, and fc6 by windows."""
    layers = ("fc6", "conv4_2", "pool1")
    more |= {"weights": tiny_weights("A", width=1 / 4), "scales": (224,)}
    pixels = np.random.default_rng(0).integers(0, 256, (2, 60, 70, 3), np.uint8)
    items = [Item(f"{i}", image) for i, image in enumerate(pixels)]
    found = together(items, tmp_path, more, layers)
    assert list(found) == list(layers)
    for layer in layers:
        assert same(found[layer], vggfeat.extract(items, tmp_path / layer, layer=layer, **more))


def test_each_layer_has_the_mean_of_its_map(tiny_weights):
    """... of the plain net's, in the layers before and after a faster one."""
    found = weights_of.read(tiny_weights("B", width=1 / 4))
    layers = ["conv1_1", "pool3", "conv4_1", "conv4_2", "pool4", "conv5_2", "pool5"]
    pixels = 255 * torch.rand(2, 3, 70, 90, generator=torch.Generator().manual_seed(0))
    maps = vggfeat.backbone(layers=layers, weights=found)(pixels / 255)
    dense = DenseNet(found, "fc7", mirror=False)
    for layer, values in zip(layers, dense(pixels, layers), strict=True):
        expected = maps[layer].mean(dim=(2, 3))
        torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("had", LAYERS)
def test_a_layer_is_added_to_a_store_that_was_made_alone(photos, tmp_path, options, single, passes, had):
    """Only the other layer is computed, and nothing below it that is not needed."""
    (other,) = set(LAYERS) - {had}
    shutil.copytree(single[had].path, tmp_path / f"s.{had}.vggfeat")
    found = together(photos, tmp_path, options)
    assert passes == {(other,): 11 * len(SCALES)}
    assert same(found[other], single[other])


def test_each_store_gets_the_rows_that_it_lacks(photos, tmp_path, options, single, passes):
    """As after a kill between two writes: one lacks its first part, the other its last one."""
    found = together(photos, tmp_path, options)
    found["conv2_1"].parts[0].unlink()
    found["pool5"].parts[-1].unlink()
    passes.clear()
    again = together(photos, tmp_path, options)
    assert passes == {("conv2_1",): 4 * len(SCALES), ("pool5",): 4 * len(SCALES)}
    assert all_same(again, single)
    passes.clear()
    assert all_same(together(photos, tmp_path, options), single)
    assert not passes


def test_one_of_the_stores_is_continued_alone(few, tmp_path, options, passes, capsys):
    found = together(few, tmp_path, options)
    photo(few / "new.png", seed=99)
    passes.clear()
    alone = vggfeat.extract(few, found["conv2_1"].path, layer="conv2_1", **options)
    assert passes == {("conv2_1",): len(SCALES)}
    assert (len(alone), len(Store(found["pool5"].path))) == (4, 3)
    (few / "new.png").unlink()
    passes.clear()
    capsys.readouterr()
    together(few, tmp_path, options)
    assert not passes
    assert f"{alone.path}: rows kept of images that" in capsys.readouterr().err  # what one store has is said of it


def test_a_changed_photo_is_described_again_for_each_store(few, tmp_path, options, passes, capsys):
    together(few, tmp_path, options)
    photo(few / "1.png", (64, 64), seed=99)
    passes.clear()
    capsys.readouterr()
    again = together(few, tmp_path, options)
    assert passes == {LAYERS: len(SCALES)}
    assert capsys.readouterr().err.count("images that changed since they were described: 1, such as 1.png") == 1
    for layer in LAYERS:
        assert same(again[layer], vggfeat.extract(few, tmp_path / layer, layer=layer, **options))


def test_values_that_one_store_cannot_hold_fail_there_only(few, tmp_path, tiny_weights):
    """conv1_1 is a million times larger, and conv2_1 a million times less sensitive."""
    plain = weights_of.read(tiny_weights("A", width=1 / 16, top="pool5"))
    state = dict(weights_of.load(plain, "pool5").state_dict())
    state |= {"conv1_1.weight": state["conv1_1.weight"] * 1e6, "conv2_1.weight": state["conv2_1.weight"] * 1e-6}
    about = {"net": "A", "width": 1 / 16, "lineage": "random", "source": "random", "licence": "none"}
    loud = weights_of.save(tmp_path / "loud.safetensors", state, preprocessing=plain.preprocessing, **about)
    options = {"weights": loud.path, "scales": (64,), "dtype": "float16"}
    with pytest.raises(DataError, match=r"none of its 3 files .*s\.conv1_1\.vggfeat/failures\.csv"):
        together(few, tmp_path, options, ("conv1_1", "pool5"))
    assert "not finite in float16" in Store(tmp_path / "s.conv1_1.vggfeat").failures["1.png"]
    pool5 = Store(tmp_path / "s.pool5.vggfeat")
    assert (len(pool5), pool5.failures) == (3, {})


def test_a_full_disk_in_one_store_doubles_no_row_in_the_other(photos, tmp_path, options, single, monkeypatch):
    write = pq.write_table

    def full(table, file, **more):
        if ".pool5." in str(file.name):
            raise OSError(28, "No space left on device")
        write(table, file, **more)

    with monkeypatch.context() as patch, pytest.raises(StoreError, match=r"s\.pool5\.vggfeat.*No space left"):
        patch.setattr(pq, "write_table", full)
        together(photos, tmp_path, options)
    begun = Store(tmp_path / "s.conv2_1.vggfeat")
    assert len(begun) == len(set(begun.paths)) > 0
    assert all_same(together(photos, tmp_path, options), single)


def test_several_processes_share_the_stores(photos, tmp_path, options, single):
    spec = vggfeat.DescriptorSpec(weights=options["weights"], scales=SCALES, layer="pool1")
    for rank in range(2):
        found = vggfeat.extract_layers(photos, LAYERS, tmp_path / "s", spec=spec, part_size=4, share=(rank, 2))
    assert all(store.settled for store in found.values())
    assert all_same(found, single)


@pytest.mark.slow
def test_killed_at_random_moments_the_stores_end_as_of_an_unbroken_run(photos, tmp_path, options, single):
    named = ("--weights", options["weights"], "--scales", "48,64", "--part-size", 4, "--workers", 1)
    arguments = ("extract", photos, "--layer", ",".join(LAYERS), "--out", tmp_path / "s.vggfeat", *named)
    stores, rng = {layer: tmp_path / f"s.{layer}.vggfeat" for layer in LAYERS}, random.Random(0)
    with commands(tmp_path) as command:
        for kill in range(3):
            run = command.start(*arguments)
            while len(list(stores["conv2_1"].glob("part-*.parquet"))) < kill and run.is_running():
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.05))
            run.signal(signal.SIGKILL)
            run.wait()
        command.run(*arguments)
    assert all_same({layer: Store(store) for layer, store in stores.items()}, single)


@pytest.mark.parametrize(
    ("layers", "more", "said"),
    [
        ("pool5", {}, r"layers must be a list of names, such as \['conv4_3', 'pool5'\], not 'pool5'"),
        ((), {}, "layers must be a list of names"),
        (("pool5", "pool5"), {}, "a layer is given twice: pool5,pool5"),
        (("pool5", "conv9_9"), {}, "no layer 'conv9_9'; take one of fc7, fc6, pool5"),
        (("pool5", "conv3_4"), {}, "net A has no layer 'conv3_4'; its layers are conv1_1, pool1"),
        (("pool5", "conv3_4"), {"net": "A"}, "net A has no layer 'conv3_4'; its layers are conv1_1, pool1"),
        (("pool1", "pool5"), {"scales": (31,)}, "Q=31 is too small for pool5: its smallest Q is 32"),
        (LAYERS, {"engine": "ray"}, "the engine ray describes one layer at a time"),
    ],
)
def test_what_is_refused_before_any_work(photos, tmp_path, options, layers, more, said):
    with pytest.raises(UsageError, match=said):
        together(photos, tmp_path, options, layers, **more)
    assert not list(tmp_path.glob("s*"))
