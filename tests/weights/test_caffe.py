"""Conversion from Caffe: the scores are Caffe's, and everything in a file is checked."""

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.kit.foreign_caffe import CAFFE_STYLES, caffe_messages, caffe_net, write_caffe
from tests.kit.foreign_files import WIDTH, Layers, caffe_forward, close, cut, image, named_layers, refused
from vggfeat.weights import OXFORD, convert, load


@pytest.fixture(scope="module")
def layers() -> Layers:
    return named_layers("D")


@pytest.mark.parametrize(("net", "style"), [("E", "V1"), *(("D", style) for style in CAFFE_STYLES)])
def test_the_scores_are_caffes(net: str, style: str, tmp_path: Path) -> None:
    layers = named_layers(net)
    weights = convert(write_caffe(tmp_path / "x.caffemodel", layers, style), tmp_path / "x.safetensors")
    assert (weights.net, weights.width, weights.top, weights.lineage) == (net, WIDTH, "fc8", "oxford")
    assert (weights.preprocessing, weights.licence) == (OXFORD, "unknown")
    scores = caffe_forward(layers, image()[0].numpy())
    close(load(weights)(image()), torch.from_numpy(scores)[None].float())


def test_the_published_files_have_a_licence(layers: Layers, tmp_path: Path) -> None:
    src = write_caffe(tmp_path / "VGG_ILSVRC_16_layers.caffemodel", layers)
    weights = convert(src, tmp_path / "x.safetensors")
    assert (weights.licence, weights.source.rpartition("/")[2]) == ("CC-BY-4.0", src.name)


def test_a_model_may_end_early_and_its_layers_come_in_any_order(layers: Layers, tmp_path: Path) -> None:
    some = {name: layers[name] for name in sorted(layers, reverse=True) if name not in ("fc7", "fc8")}
    weights = convert(write_caffe(tmp_path / "x.caffemodel", some), tmp_path / "x.safetensors")
    assert weights.top == "fc6"
    assert np.array_equal(load(weights, "fc6").get_parameter("conv5_3.weight"), layers["conv5_3"][0])


def test_a_snapshot_with_gradients_and_doubles(layers: Layers, tmp_path: Path) -> None:
    net = caffe_net(layers, "V2")
    for layer in net.layer:
        for blob in layer.blobs:
            blob.diff.extend([7.0] * len(blob.data))
            blob.double_data.extend(blob.data)
            del blob.data[:]
    (tmp_path / "x.caffemodel").write_bytes(net.SerializeToString())
    weights = convert(tmp_path / "x.caffemodel", tmp_path / "x.safetensors")
    assert np.array_equal(load(weights).get_parameter("fc6.weight"), layers["fc6"][0])


def layer_of(net: Any, name: str) -> Any:
    return next(layer for layer in net.layers if layer.name == name)


def blob_of(name: str, place: int, **changes: Any) -> Callable[[Any], None]:
    def change(net: Any) -> None:
        for field, value in changes.items():
            setattr(layer_of(net, name).blobs[place], field, value)

    return change


def valued(name: str, place: int, value: float) -> Callable[[Any], None]:
    def change(net: Any) -> None:
        layer_of(net, name).blobs[place].data[1] = value

    return change


def renamed(name: str, other: str) -> Callable[[Any], None]:
    def change(net: Any) -> None:
        layer_of(net, name).name = other

    return change


WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a NaN": (valued("fc8", 1, np.nan), "fc8.bias holds values that are not finite"),
    "an infinity": (valued("conv1_1", 0, np.inf), "conv1_1.weight holds values that are not finite"),
    "a shape without its values": (blob_of("fc7", 0, width=1 << 30), "'fc7' does not have as many values"),
    "a negative shape": (blob_of("fc7", 0, width=-256, height=-256), "does not have as many values"),
    "a turned kernel": (blob_of("conv2_1", 0, num=4, channels=8), "conv2_1.weight has the shape (4, 8, 3, 3)"),
    "a path for a name": (renamed("fc7", "../../etc/passwd"), "holds ../../etc/passwd, which no VGG has"),
    "lines for a name": (renamed("fc7", "a\nb" * 1000), r"a\nb"),
    "a layer twice": (renamed("fc7", "fc6"), "'fc6' occurs twice"),
    "no bias": (lambda net: layer_of(net, "fc6").blobs.pop(), "one weight and one bias"),
    "a missing layer": (lambda net: net.layers.remove(layer_of(net, "conv3_2")), "12 conv"),
    "a crowd of layers": (lambda net: [net.layers.add() for _ in range(1000)], "more than 1000"),
    "no layers": (lambda net: net.ClearField("layers"), "first convolution"),
}


@pytest.mark.parametrize("case", WRONG)
def test_models_that_are_no_vgg(case: str, layers: Layers, tmp_path: Path) -> None:
    change, words = WRONG[case]
    net = caffe_net(layers)
    change(net)
    (tmp_path / "x.caffemodel").write_bytes(net.SerializeToString())
    refused(tmp_path / "x.caffemodel", words)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_truncated(share: float, layers: Layers, tmp_path: Path) -> None:
    cut(write_caffe(tmp_path / "x.caffemodel", layers), share)
    refused(tmp_path / "x.caffemodel")


@pytest.mark.parametrize(
    "content",
    [
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a message of 2**64 - 1 bytes
        b"\xff" * 100,  # a number without an end
        b"\x12\x80",
        b"\x10\x01",  # a number for a layer
        b"\x13",  # an unknown kind of field
        b"a model, but in words",
        b"\x12\x04\x32\x02\x08\x01" * 3,
    ],
)
def test_bytes_that_are_no_model(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.caffemodel").write_bytes(content)
    refused(tmp_path / "x.caffemodel")


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Ten million empty messages, which protobuf's own library would make 600 MB of."""
    (tmp_path / "x.caffemodel").write_bytes(b"\x12\x00" * 10_000_000)
    tracemalloc.start()
    try:
        refused(tmp_path / "x.caffemodel", "more than 1000 fields")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000 + (1 << 20)  # the file, and little more
    finally:
        tracemalloc.stop()


def field(number: int, content: bytes) -> bytes:
    """A field of bytes in protobuf's wire format."""
    length, size = b"", len(content)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def test_a_blob_may_be_packed_in_pieces_or_not_at_all(layers: Layers, tmp_path: Path) -> None:
    """protobuf allows both; Caffe writes one packed piece."""
    bias = layers["fc8"][1]
    blob = caffe_messages()("BlobProto")
    packed = blob(data=bias[:4], num=1, channels=1, height=1, width=len(bias)).SerializeToString()
    loose = b"".join(b"\x2d" + struct.pack("<f", value) for value in bias[4:7])
    again = blob(data=bias[7:]).SerializeToString()
    net = caffe_net(layers)
    fc8 = layer_of(net, "fc8")
    fc8.blobs.pop()
    content = fc8.SerializeToString() + field(6, packed + loose + again)  # V1LayerParameter.blobs
    net.layers.remove(fc8)
    (tmp_path / "x.caffemodel").write_bytes(net.SerializeToString() + field(2, content))  # NetParameter.layers
    weights = convert(tmp_path / "x.caffemodel", tmp_path / "x.safetensors")
    assert np.array_equal(load(weights).get_parameter("fc8.bias"), bias)


@pytest.mark.slow
def test_full_size(tmp_path: Path) -> None:
    layers = named_layers("E", slim=1)
    src = write_caffe(tmp_path / "x.caffemodel", layers)
    weights = convert(src, tmp_path / "x.safetensors")
    assert (weights.net, weights.width, weights.outputs) == ("E", 1.0, 1000)
    scores = caffe_forward(layers, image()[0].numpy())
    close(load(weights)(image()), torch.from_numpy(scores)[None].float())
