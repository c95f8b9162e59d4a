"""Weights and data sets: present, absent, cut off, hostile."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from vggfeat.data.imagenet import ORIGIN
from vggfeat.data.readers import ORIGINS
from vggfeat.doctor import files
from vggfeat.weights.published import ASSETS, REGISTRY


@pytest.fixture
def found(tmp_path, monkeypatch):
    """found() -> the checks by name; the cache is tmp_path / "cache"."""
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("VGGFEAT_CACHE", str(tmp_path / "cache"))
    for name in ("VGGFEAT_WEIGHTS", "VGGFEAT_DATA"):
        monkeypatch.delenv(name, raising=False)
    return lambda: {check.name: check for check in files.checks()}


@pytest.fixture
def weights(tmp_path):
    """weights(name) -> a whole safetensors file in the cache."""

    def make(name):
        file = tmp_path / "cache" / name
        save_file({"a": np.zeros((300, 1000), np.float32), "b": np.zeros(3, np.float16)}, file, {"format": "any"})
        return file

    return make


def test_weights_that_are_whole(found, weights):
    weights("oxford-D.safetensors")
    (weights("x.safetensors").with_name("vgg16-397923af.pth")).write_bytes(bytes(2 * 10**6))
    every = found()
    assert every["weights-package"].state == every["weights-given"].state == "ok"
    assert "slim.safetensors 9 MB, vgg19-oxford-int8.safetensors 20 MB" in every["weights-package"].found
    assert every["weights-cache"].state == "ok"
    assert "oxford-D.safetensors 1 MB, vgg16-397923af.pth 2 MB (right size unknown), x." in every["weights-cache"].found


def test_an_empty_cache(found, tmp_path):
    assert (found()["weights-cache"].state, found()["weights-cache"].remedy) == (
        "missing",
        "vggfeat weights fetch oxford",
    )
    (tmp_path / "cache").rmdir()
    assert found()["weights-cache"].state == "missing"
    (tmp_path / "cache").touch()
    assert found()["weights-cache"].found == f"{tmp_path}/cache: Not a directory"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "its header is damaged"),
        (b"\xff" * 100, "is no safetensors file"),
        ((2).to_bytes(8, "little") + b"{}", "its header is damaged"),
        ((2).to_bytes(8, "little") + b"[]", "its header is damaged"),
        ((10**5).to_bytes(8, "little") + b"[" * 10**5, "its header is damaged"),
        ((8).to_bytes(8, "little") + b'{"a": 3}', "its header is damaged"),
        ((31).to_bytes(8, "little") + json.dumps({"a": {"data_offsets": [0, "x"]}}).encode(), "its header is damaged"),
    ],
    ids=["empty", "a large header", "no tensors", "a list", "deep", "a number", "a word"],
)
def test_damaged_weights(data, reason, found, tmp_path):
    file = tmp_path / "cache" / "my net.safetensors"
    file.write_bytes(data)
    cache = found()["weights-cache"]
    assert (cache.state, cache.found) == ("warning", f"{file}: {reason}")
    assert cache.remedy == f"rm '{file}'"


def test_weights_that_are_cut_off(found, weights):
    file = weights("oxford-D.safetensors")
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-6])
    assert found()["weights-cache"].found == f"{file}: has {size - 6:,} bytes, not {size:,}"


@pytest.mark.parametrize(
    ("name", "what", "remedy"),
    [
        ("vgg16_weights_tf_dim_ordering_tf_kernels.h5.part", "unfinished", "vggfeat weights fetch oxford --net D"),
        ("vgg13-19584684.pth.part", "unfinished", "vggfeat weights fetch torchvision --net B"),
        ("vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5.part", "unfinished", "rm {}"),
        ("vgg13-19584684.pth.bad", "wrong checksum", "rm {}"),
    ],
)
def test_what_a_download_has_left(name, what, remedy, found, tmp_path):
    file = tmp_path / "cache" / name
    file.write_bytes(bytes(3 * 10**6))
    cache = found()["weights-cache"]
    assert cache.state == "warning" and what in cache.found and "3 MB" in cache.found
    assert cache.remedy == remedy.format(file)
    assert any(published.file == name.rpartition(".")[0] for published in REGISTRY.files())


def test_weights_that_the_environment_names(found, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("VGGFEAT_WEIGHTS", str(weights("a.safetensors")))
    assert found()["weights-given"].state == "ok"
    monkeypatch.setenv("VGGFEAT_WEIGHTS", str(tmp_path))
    assert found()["weights-given"].state == "warning"
    monkeypatch.setenv("VGGFEAT_WEIGHTS", str(tmp_path / "nowhere"))
    assert (found()["weights-given"].state, found()["weights-given"].remedy) == ("missing", "unset VGGFEAT_WEIGHTS")


def test_data_sets(found, tmp_path, monkeypatch):
    assert found()["data-voc2007"].remedy == "vggfeat bench voc2007 --download --root voc2007"
    monkeypatch.setenv("VGGFEAT_DATA", str(tmp_path))
    (tmp_path / "caltech101" / "101_ObjectCategories").mkdir(parents=True)
    (tmp_path / "voc2007").mkdir()
    every = found()
    assert (every["data-caltech101"].state, every["data-voc2007"].state) == ("ok", "missing")
    assert every["data-voc2007"].found == f"{tmp_path}/voc2007: no such folder, or empty"
    assert every["data-voc2007"].remedy == "vggfeat bench voc2007 --download"


def test_the_files_are_those_of_the_registry_and_the_readers():
    assert set(files.SHIPPED) == {one.file for one in REGISTRY.named.values() if not one.urls}
    assert ASSETS == files.PACKAGE
    names = [origin.name for origin in (*ORIGINS.values(), ORIGIN)]
    assert list(files.DATA_SETS) == list(dict.fromkeys(names))
    assert set(files.BY_HAND) == {origin.name for origin in (*ORIGINS.values(), ORIGIN) if not origin.archives}
