"""Conversion from torchvision, timm and Keras: the converted net gives the source's own scores."""

import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.kit.foreign_files import (
    CLASSES,
    KERAS_STYLES,
    WIDTH,
    close,
    cut,
    image,
    keras_forward,
    keras_layers,
    narrow,
    randomise,
    refused,
    torchvision_net,
    without_top,
    write_keras,
)
from vggfeat.errors import UsageError, WeightsError
from vggfeat.nets import VGG, tensor_shapes
from vggfeat.weights import OXFORD, TORCHVISION, convert, load, read
from vggfeat.weights.native import save

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    return torchvision_net("A").state_dict()


@pytest.mark.parametrize(("net", "zipped"), [("A", True), ("B", True), ("D", True), ("E", True), ("A", False)])
def test_torchvision(net: str, zipped: bool, tmp_path: Path) -> None:
    model = torchvision_net(net)
    torch.save(model.state_dict(), tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    weights = convert(tmp_path / "x.pth", tmp_path / "x.safetensors")
    assert (weights.net, weights.width, weights.top, weights.lineage) == (net, WIDTH, "fc8", "torchvision")
    assert weights.preprocessing == TORCHVISION
    assert weights == read(tmp_path / "x.safetensors")
    close(load(weights)(image()), model(image()).detach())


@pytest.mark.parametrize("file", ["x.pth", "x.safetensors"])
def test_timm(file: str, tmp_path: Path) -> None:
    from timm.layers import ClassifierHead
    from timm.models import vgg as timm_vgg

    with torch.device("meta"):
        model = timm_vgg.VGG(narrow("D"))
    model.features = torchvision_net("D").features  # the same modules there
    model.pre_logits = timm_vgg.ConvMlp(32, 256, 7)
    model.head = ClassifierHead(256, CLASSES)
    randomise(model, 1)
    (save_file if file.endswith("safetensors") else torch.save)(model.state_dict(), tmp_path / file)
    weights = convert(tmp_path / file, tmp_path / "out.safetensors")
    assert (weights.net, weights.top, weights.preprocessing) == ("D", "fc8", TORCHVISION)
    close(load(weights)(image()), model(image()).detach())


@pytest.mark.parametrize(("net", "style"), [("E", "keras 1"), *(("D", style) for style in KERAS_STYLES)])
def test_keras(net: str, style: str, tmp_path: Path) -> None:
    layers = keras_layers(net)
    weights = convert(write_keras(tmp_path / "x.h5", layers, style), tmp_path / "x.safetensors")
    assert (weights.net, weights.width, weights.top, weights.lineage) == (net, WIDTH, "fc8", "oxford")
    assert weights.preprocessing == OXFORD
    scores = keras_forward(layers, image()[0].permute(1, 2, 0).numpy())
    close(load(weights)(image()), torch.from_numpy(scores)[None])


def test_keras_without_the_top(tmp_path: Path) -> None:
    layers = without_top(keras_layers("E"))
    weights = convert(write_keras(tmp_path / "x.h5", layers), tmp_path / "x.safetensors")
    assert (weights.net, weights.top) == ("E", "pool5")
    maps = keras_forward(layers, image()[0].permute(1, 2, 0).numpy())
    close(load(weights, "pool5")(image()), torch.from_numpy(maps).permute(2, 0, 1)[None])


@pytest.mark.parametrize(("dropped", "top"), [(("classifier",), "pool5"), (("classifier.3", "classifier.6"), "fc6")])
def test_a_state_dict_may_end_early(state: State, dropped: tuple[str, ...], top: str, tmp_path: Path) -> None:
    torch.save({k: v for k, v in state.items() if not k.startswith(dropped)}, tmp_path / "x.pth")
    assert convert(tmp_path / "x.pth", tmp_path / "x.safetensors").top == top


@pytest.mark.parametrize("wrap", ["state_dict", "model", "module."])
def test_checkpoints_of_training_scripts(state: State, wrap: str, tmp_path: Path) -> None:
    inner = {f"module.{key}": value for key, value in state.items()}
    torch.save(inner if wrap == "module." else {wrap: state, "epoch": 3}, tmp_path / "x.pth")
    weights = convert(tmp_path / "x.pth", tmp_path / "x.safetensors")
    assert torch.equal(load(weights).get_parameter("conv1_1.weight"), state["features.0.weight"])


@pytest.mark.parametrize(("dtype", "kept"), [(torch.float16, "F16"), (torch.float64, "F32")])
def test_precision(state: State, dtype: torch.dtype, kept: str, tmp_path: Path) -> None:
    torch.save({key: value.to(dtype) for key, value in state.items()}, tmp_path / "x.pth")
    convert(tmp_path / "x.pth", tmp_path / "x.safetensors")
    assert f'"dtype":"{kept}"'.encode() in (tmp_path / "x.safetensors").read_bytes()[:2000]


def test_the_same_file_converts_to_the_same_bytes(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "x.pth")
    assert len({convert(tmp_path / "x.pth", tmp_path / f"{i}.safetensors").sha256 for i in range(4)}) == 1


def test_the_net_that_is_named_must_fit(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "x.pth")
    out = tmp_path / "x.safetensors"
    assert convert(tmp_path / "x.pth", out, net="A-LRN").net == "A-LRN"  # the shapes of A
    for wrong in ("B", "E", "Z"):
        with pytest.raises(WeightsError, match=rf"x\.pth: holds net A, not {wrong}"):
            convert(tmp_path / "x.pth", out, net=wrong)


def test_a_native_file_is_not_converted(tmp_path: Path) -> None:
    vgg = VGG("A", width=WIDTH, top="pool5")
    facts: dict[str, Any] = dict.fromkeys(("lineage", "source", "licence"), "x")
    facts |= {"preprocessing": OXFORD, "width": WIDTH}
    save(tmp_path / "x.safetensors", vgg.state_dict(), net="A", **facts)
    with pytest.raises(WeightsError, match="in vggfeat's format already"):
        convert(tmp_path / "x.safetensors", tmp_path / "y.safetensors")


class Malice:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_no_code_is_run(state: State, zipped: bool, tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    torch.save({**state, "x": Malice(harm)}, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    refused(tmp_path / "x.pth")
    (tmp_path / "y.pth").write_bytes(pickle.dumps(Malice(harm)))
    refused(tmp_path / "y.pth")
    assert not harm.exists()


def with_(state: State, **changes: Tensor | None) -> State:
    changed = {**state, **{key.replace("__", "."): value for key, value in changes.items()}}
    return OrderedDict((key, value) for key, value in changed.items() if value is not None)


STATES: dict[str, tuple[Callable[[State], Any], str]] = {
    "a missing layer": (lambda s: with_(s, features__3__weight=None, features__3__bias=None), "7 conv"),
    "a missing bias": (lambda s: with_(s, features__3__bias=None), "lacks conv2_1.bias"),
    "a missing kernel": (lambda s: with_(s, features__3__weight=None), "lacks conv2_1.weight"),
    "fc7 without fc6": (
        lambda s: with_(s, classifier__0__weight=None, classifier__0__bias=None),
        "lacks fc6.weight",
    ),
    "a wrong shape": (
        lambda s: with_(s, features__6__weight=torch.zeros(16, 8, 5, 5)),
        "conv3_1.weight has the shape (16, 8, 5, 5), net A of width 0.0625 has (16, 8, 3, 3)",
    ),
    "a transposed fc6": (
        lambda s: with_(s, classifier__0__weight=s["classifier.0.weight"].T),
        "fc6.weight has the shape (1568, 256)",
    ),
    "batch normalisation": (lambda s: with_(s, features__1__running_mean=torch.zeros(4)), "batch norm"),
    "something else": (lambda s: with_(s, head__scale=torch.zeros(4)), "head.scale"),
    "a NaN": (lambda s: with_(s, classifier__6__bias=torch.full((CLASSES,), torch.nan)), "fc8.bias"),
    "an infinity": (lambda s: with_(s, features__0__bias=torch.full((4,), -torch.inf)), "conv1_1.bias"),
    "whole numbers": (lambda s: with_(s, features__0__bias=torch.ones(4, dtype=torch.int64)), "int64"),
    "a sparse tensor": (lambda s: with_(s, features__0__bias=torch.ones(4).to_sparse()), "plain"),
    "a tensor without data": (lambda s: with_(s, features__0__bias=torch.ones(4, device="meta")), "plain"),
    "a number": (lambda s: {**s, "features.0.bias": 3}, "plain"),
    "a scalar kernel": (lambda s: with_(s, features__0__weight=torch.tensor(1.0)), ""),
    "a huge net in a small file": (
        lambda s: with_(s, features__0__weight=torch.zeros(1).expand(1 << 20, 3, 3, 3)),
        "first convolution",
    ),
    "no layers": (lambda s: {}, "first convolution"),
    "a list": (lambda s: list(s.values()), "no state dict"),
    "a tensor": (lambda s: s["features.0.weight"], "no state dict"),
    "other keys": (lambda s: {1: s["features.0.weight"]}, "no state dict"),
}


@pytest.mark.parametrize("case", STATES)
def test_state_dicts_that_are_no_vgg(state: State, case: str, tmp_path: Path) -> None:
    change, words = STATES[case]
    torch.save(change(state), tmp_path / "x.pth")
    refused(tmp_path / "x.pth", words)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
def test_truncated_state_dicts(state: State, zipped: bool, share: float, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    cut(tmp_path / "x.pth", share)
    refused(tmp_path / "x.pth")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(10_000_000))
    refused(tmp_path / "x.pth", "larger than the file")


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\x03\x04", b"GIF89a", b"\x89HDF\r\n\x1a\n" + bytes(99)])
def test_files_of_other_kinds(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    refused(tmp_path / "x.bin")
    refused(tmp_path / "none.pth")
    refused(tmp_path)


def external_link(file: Any) -> None:
    del file["block1_conv1"]
    file["block1_conv1"] = h5py.ExternalLink("whole.h5", "/block1_conv1")


def external_storage(file: Any) -> None:
    del file["fc1/fc1_b_1:0"]
    (Path(file.filename).parent / "secret").write_bytes(bytes(1024))
    file.create_dataset("fc1/fc1_b_1:0", (256,), "f4", external=[("secret", 0, 1024)])


def virtual(file: Any) -> None:
    del file["fc1/fc1_b_1:0"]
    layout = h5py.VirtualLayout((256,), "f4")
    layout[:] = h5py.VirtualSource("whole.h5", "fc1/fc1_b_1:0", (256,))
    file.create_virtual_dataset("fc1/fc1_b_1:0", layout)


def replaced(path: str, array: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[path]
        file[path] = array

    return change


def huge(file: Any) -> None:
    del file["predictions/predictions_W_1:0"]
    file.create_dataset("predictions/predictions_W_1:0", (256, 1 << 40), "f4", chunks=(1, 1 << 20))


def crowd(file: Any) -> None:
    for i in range(1001):
        file.create_group(f"g{i}")


KERAS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "an external link": (external_link, ""),
    "data in another file": (external_storage, "is in another file"),
    "a virtual dataset": (virtual, "is in another file"),
    "kernels of Theano": (replaced("fc2/fc2_W_1:0", np.ones((3, 3, 4, 4), "f4")), "fc7.weight"),
    "whole numbers": (replaced("fc2/fc2_b_1:0", np.ones(256, "i4")), "int32"),
    "text": (replaced("fc2/fc2_b_1:0", "text"), "fc2_b_1"),
    "a NaN": (replaced("fc2/fc2_b_1:0", np.full(256, np.nan, "f4")), "fc7.bias"),
    "too few inputs": (replaced("fc1/fc1_W_1:0", np.ones((1500, 256), "f4")), "(256, 1500)"),
    "more than fits": (huge, "fc8.weight"),
    "a layer twice": (lambda file: file.copy("fc1/fc1_b_1:0", "fc1/again:0"), "twice"),
    "a layer of its own": (lambda file: file.create_dataset("dense_1/kernel:0", data=np.ones(3)), "dense_1"),
    "a crowd of objects": (crowd, "more than 1000"),
    "a missing block": (lambda file: file.pop("block2_conv1"), "12 conv"),
}


@pytest.mark.parametrize("case", KERAS)
def test_hdf5_files_that_are_no_vgg(case: str, tmp_path: Path) -> None:
    change, words = KERAS[case]
    write_keras(tmp_path / "whole.h5", keras_layers("D"))
    src = write_keras(tmp_path / "x.h5", keras_layers("D"))
    with h5py.File(src, "r+") as file:
        change(file)
    refused(src, words)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_truncated_hdf5(share: float, tmp_path: Path) -> None:
    src = write_keras(tmp_path / "x.h5", keras_layers("D"))
    cut(src, share)
    refused(src)


def test_a_small_file_does_not_unpack_to_a_large_net(tmp_path: Path) -> None:
    """Stride 0 in PyTorch's files, datasets that were never written in HDF5: any size from some kilobytes."""
    shapes = list(tensor_shapes("A", 2.0, 10).values())
    names = torchvision_net("A").state_dict()
    one = torch.zeros(1)
    torch.save({name: one.expand(shape) for name, shape in zip(names, shapes, strict=True)}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "values, in")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for layer, (kernel, bias) in keras_layers("D").items():
            inputs = 3 if layer == "block1_conv1" else kernel.shape[-2] * 16
            file.create_dataset(f"{layer}/kernel", (*kernel.shape[:-2], inputs, kernel.shape[-1] * 16), "f4")
            file.create_dataset(f"{layer}/bias", (len(bias) * 16,), "f4")
    refused(tmp_path / "x.h5", "values, in")


def test_whose_training_it_is_can_be_said(state: State, tmp_path: Path) -> None:
    """Caffe's nets are also published as torchvision's state dicts, and still need BGR in 0..255."""
    torch.save(state, tmp_path / "x.pth")
    said = convert(tmp_path / "x.pth", tmp_path / "x.safetensors", lineage="oxford")
    assert (said.lineage, said.preprocessing) == ("oxford", OXFORD)
    with pytest.raises(UsageError, match="no lineage 'caffe'; take one of oxford, torchvision"):
        convert(tmp_path / "x.pth", tmp_path / "y.safetensors", lineage="caffe")  # type: ignore[arg-type]


def test_the_source_is_never_overwritten(state: State, tmp_path: Path) -> None:
    src, link, folder = (tmp_path / f"{name}.safetensors" for name in ("x", "link", "folder"))
    folder.mkdir()
    save_file(state, src)
    link.symlink_to(src)
    before = src.read_bytes()
    for out in (src, link):
        with pytest.raises(WeightsError, match="is the file to convert"):
            convert(src, out)
    with pytest.raises(UsageError, match="is a folder; name a file"):
        convert(src, folder)
    assert src.read_bytes() == before


def test_files_that_point_elsewhere(tmp_path: Path) -> None:
    """A whole Keras model holds the weights in a file of its own; a run's checkpoint lies beside its weights."""
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
        archive.writestr("model.weights.h5", b"")
    refused(tmp_path / "x.keras", "model.weights.h5")
    save_file({"net/conv1_1.weight": torch.ones(1)}, tmp_path / "x.safetensors", {"format": "vggfeat-train/1"})
    refused(tmp_path / "x.safetensors", "best.safetensors")


@pytest.mark.slow
def test_keras_at_full_size(tmp_path: Path) -> None:
    layers = keras_layers("E", slim=1)
    weights = convert(write_keras(tmp_path / "x.h5", layers), tmp_path / "x.safetensors")
    assert (weights.net, weights.width, weights.outputs) == ("E", 1.0, 1000)
    scores = keras_forward(layers, image()[0].permute(1, 2, 0).numpy())
    close(load(weights)(image()), torch.from_numpy(scores)[None])


@pytest.mark.slow
def test_torchvision_at_full_size(tmp_path: Path) -> None:
    from torchvision.models import vgg16

    model = randomise(vgg16(init_weights=False), 0)
    torch.save(model.state_dict(), tmp_path / "x.pth")
    weights = convert(tmp_path / "x.pth", tmp_path / "x.safetensors")
    assert (weights.net, weights.width) == ("D", 1.0)
    close(load(weights)(image()), model(image()).detach())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "w.pth: is empty; download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer, .*run `git lfs pull`"),
        (b"<!DOCTYPE html><html>404</html>", r"is a web page \(HTML\), not the weights; download it again"),
        (b"some text", "is not a weights file; use safetensors"),
    ],
)
def test_a_file_that_holds_no_weights_says_what_it_is(tmp_path, content, said):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=said):
        convert(tmp_path / "w.pth", tmp_path / "x.safetensors")
