"""Benchmarks on stores that `extract` made, and stores of images that have changed."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.kit.image_sources import photo, put
from vggfeat.bench import BENCHMARKS, run
from vggfeat.errors import DataError, StoreError, UsageError
from vggfeat.extraction import extract
from vggfeat.store import Store

FOLDER = BENCHMARKS["folder"]
ONE = {"seeds": 1, "train_per_class": 2}


@pytest.fixture(scope="module")
def nets(tiny_weights):
    """Options of two nets."""
    return [{"weights": tiny_weights(net, width=1 / 16, top="pool5"), "layer": "pool5"} for net in ("A", "B")]


@pytest.fixture
def root(tmp_path):
    """Three classes of six photos, of a colour each."""
    for k, name in enumerate(("blue", "green", "red")):
        for i in range(6):
            pixels = np.zeros((60, 80, 3), np.uint8)
            pixels[..., 2 - k] = np.random.default_rng(10 * k + i).integers(90, 255, (60, 80))
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"{i}.png")
    return tmp_path / "set"


def test_a_store_of_extract_gives_the_same_result(root, tmp_path, nets):
    store = extract(root, tmp_path / "s", scales=(64, 96), **nets[0]).path
    given = run(FOLDER, root=root, store=store, agg="stack", **ONE)
    own = run(FOLDER, root=root, stores=tmp_path / "own", scales=(64, 96), agg="stack", **ONE, **nets[0])
    assert given.splits == own.splits
    np.testing.assert_allclose(
        *(np.stack(next(iter(r.evidence.scores.values())).values) for r in (given, own)), atol=1e-5
    )
    assert given.weights == own.weights
    assert given.config["store"] == [str(store)]
    same = ("net", "layer", "scales", "agg", "mirror", "pooling", "precision")
    assert [given.config[key] for key in same] == [own.config[key] for key in same]


def test_a_store_of_a_folder_above_some_scales_and_two_nets(root, tmp_path, nets):
    stores = [extract(tmp_path, tmp_path / f"{i}.vggfeat", scales=(64, 96), **net).path for i, net in enumerate(nets)]
    given = run(FOLDER, root=root, store=stores, scales=(96,), **ONE)
    weights = ",".join(str(net["weights"]) for net in nets)
    own = run(FOLDER, root=root, stores=tmp_path / "own", scales=(96,), weights=weights, layer="pool5", **ONE)
    assert given.splits == own.splits
    assert given.config["net"] == own.config["net"] == "A&B"


def test_a_store_must_have_the_images_of_the_set(root, tmp_path, nets):
    store = extract(root, tmp_path / "s", scales=(64,), **nets[0]).path
    photo(root / "red/5.png", seed=99)
    with pytest.raises(
        DataError, match=r"red/5\.png: has changed since .*s was made; run that `vggfeat extract` again"
    ):
        run(FOLDER, root=root, store=store, **ONE)
    extract(root, store, scales=(64,), **nets[0])
    assert run(FOLDER, root=root, store=store, **ONE).splits
    photo(root / "red/new.png", seed=98)
    with pytest.raises(DataError, match=r"has no row of 1 of 19 images, such as .*new\.png; make a store"):
        run(FOLDER, root=root, store=store, **ONE)
    put(root / "red/new.png", b"broken")
    extract(root, store, scales=(64,), **nets[0])
    notes = run(FOLDER, root=root, store=store, **ONE).notes
    assert f"{store}: images left out, because they could not be read when the store was made: 1" in notes


def test_a_store_of_an_earlier_version_is_said_to_be_one(root, tmp_path, nets):
    store = extract(root, tmp_path / "s", scales=(64,), **nets[0])
    for part in store.parts:
        pq.write_table(pq.read_table(part).drop(["size", "changed_ns", "sha256"]), part)
    (note,) = [note for note in run(FOLDER, root=root, store=store.path, **ONE).notes if "earlier version" in note]
    assert note.endswith("as an earlier version wrote them: 18")


def test_what_contradicts_a_store_is_refused(root, tmp_path, nets):
    store = extract(root, tmp_path / "s", scales=(64,), **nets[0]).path
    for options, said in (
        ({"ablate": True}, "the ablation needs the nets"),
        ({"net": "D"}, "the stores say which net; leave out --net and --weights"),
        ({"mirror": False}, "s: was made with mirror True, not False; leave out mirror"),
    ):
        with pytest.raises(UsageError, match=said):
            run(FOLDER, root=root, store=store, **options)
    with pytest.raises(StoreError, match="has no scale 96"):
        run(FOLDER, root=root, store=store, scales=(96,), **ONE)
    with pytest.raises(DataError, match="its images are not in files"):
        run(BENCHMARKS["digits"], store=store)


def test_stores_of_a_benchmark_follow_its_images(root, tmp_path, nets):
    """The same folder with other photos has another score: that of fresh stores."""
    options = {"root": root, "scales": (64,), **ONE, **nets[0]}
    before = run(FOLDER, stores=tmp_path / "kept", **options)
    for k in range(6):
        shutil.copy(root / f"red/{k}.png", root / f"blue/{k}.png")
    after = run(FOLDER, stores=tmp_path / "kept", **options)
    assert after.splits == run(FOLDER, stores=tmp_path / "fresh", **options).splits
    assert after.value < before.value
    assert len(list((tmp_path / "kept").iterdir())) == 1
    (store,) = (tmp_path / "kept").iterdir()
    assert len(Store(store)) == 18


def test_the_demonstration_net_is_named_as_such(root, tmp_path):
    result = run(FOLDER, root=root, weights="slim", layer="pool5", scales=(64,), stores=tmp_path / "s", **ONE)
    assert "vggfeat: slim (demonstration) pool5, Q=64" in result.table()
    assert "net A" not in result.table()
