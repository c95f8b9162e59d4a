"""Conversion from MatConvNet: the scores, the mean and the names are the file's, and everything in it is checked."""

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from tests.kit.foreign_files import CLASSES, WIDTH, Layers, caffe_forward, close, cut, image, named_layers, refused
from tests.kit.foreign_matconvnet import MATCONVNET_STYLES, RGB_MEAN, cell, matconvnet_net, write_matconvnet
from vggfeat.weights import convert, load
from vggfeat.weights.header import Preprocessing


@pytest.fixture(scope="module")
def layers() -> Layers:
    return named_layers("D")


def written(path: Path, layers: Layers, style: str, change: Callable[[dict[str, Any]], Any] = dict) -> Path:
    variables = matconvnet_net(layers, style)
    change(variables)
    return write_matconvnet(path, variables, style)


@pytest.mark.parametrize(("net", "style"), [("E", "simplenn"), *(("D", style) for style in MATCONVNET_STYLES)])
def test_the_scores_are_matconvnets(net: str, style: str, tmp_path: Path) -> None:
    layers = named_layers(net)
    weights = convert(written(tmp_path / "x.mat", layers, style), tmp_path / "x.safetensors")
    assert (weights.net, weights.width, weights.top, weights.lineage) == (net, WIDTH, "fc8", "oxford")
    assert weights.preprocessing == Preprocessing("RGB", 255.0, RGB_MEAN, (1.0, 1.0, 1.0))
    assert weights.classes == tuple(f"klass «{i}», thing" for i in range(CLASSES))
    scores = caffe_forward(layers, image()[0].numpy())
    close(load(weights)(image()), torch.from_numpy(scores)[None].float())


def test_another_edition_of_a_published_file(layers: Layers, tmp_path: Path) -> None:
    """The name imagenet-vgg-verydeep-16.mat was given to several files: another checksum is no damage."""
    src = written(tmp_path / "imagenet-vgg-verydeep-16.mat", layers, "simplenn")
    assert convert(src, tmp_path / "x.safetensors").licence == "CC-BY-4.0"


@pytest.mark.parametrize("style", ["simplenn", "v7.3"])
def test_a_mean_image_gives_the_mean_of_each_channel(style: str, layers: Layers, tmp_path: Path) -> None:
    ramp = np.zeros((2, 3, 3), np.float32)
    ramp[..., 0], ramp[..., 1], ramp[1, :, 2] = 100.0, np.array([10.0, 20.0, 60.0]), 50.0
    src = written(tmp_path / "x.mat", layers, style, lambda net: net["meta"]["normalization"].update(averageImage=ramp))
    assert convert(src, tmp_path / "x.safetensors").preprocessing.mean == (100.0, 30.0, 25.0)


def test_synsets_where_there_are_no_words(layers: Layers, tmp_path: Path) -> None:
    src = written(tmp_path / "x.mat", layers, "simplenn", lambda net: net["meta"]["classes"].pop("description"))
    classes = convert(src, tmp_path / "x.safetensors").classes
    assert classes is not None
    assert classes[3] == "n00000003"


def test_a_net_without_names_and_without_fc8(layers: Layers, tmp_path: Path) -> None:
    some = {name: pair for name, pair in layers.items() if name != "fc8"}
    weights = convert(written(tmp_path / "x.mat", some, "simplenn"), tmp_path / "x.safetensors")
    assert (weights.top, weights.classes) == ("fc7", None)
    src = written(tmp_path / "y.mat", layers, "simplenn", lambda net: net["meta"].pop("classes"))
    assert convert(src, tmp_path / "y.safetensors").classes is None


def layer_of(net: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(layer for layer in net["layers"].flat if layer["name"] == name)
    return found


def weights_of(name: str, *arrays: Any) -> Callable[[dict[str, Any]], None]:
    return lambda net: layer_of(net, name).update(weights=cell(*arrays))


def mean(value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda net: net["meta"]["normalization"].update(averageImage=value)


def deep(net: dict[str, Any]) -> None:
    for _ in range(20):
        net["meta"]["normalization"] = {"more": net["meta"]["normalization"]}


BIAS = np.zeros((256, 1), np.float32)
WRONG: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no mean": (lambda net: net.pop("meta"), "averageImage"),
    "a mean of four": (mean(np.ones((1, 4))), "averageImage"),
    "a mean in words": (mean("grey"), "averageImage"),
    "a mean that is not finite": (mean(np.array([1.0, np.nan, 1.0])), "not within 0..255"),
    "a mean of 0..1000": (mean(np.array([1.0, 1000.0, 1.0])), "not within 0..255"),
    "a NaN": (weights_of("fc7", np.full((1, 1, 256, 256), np.nan, "f4"), BIAS), "fc7.weight holds values"),
    "a wrong shape": (weights_of("fc7", np.ones((1, 1, 16, 256), "f4"), BIAS), "fc7.weight has the shape (256, 16)"),
    "an axis too many": (weights_of("fc7", np.ones((1, 1, 256, 256, 2), "f4"), BIAS), "invalid for input"),
    "words for filters": (weights_of("fc7", "words", BIAS), "'fc7' occurs twice, or"),
    "no biases": (weights_of("fc7", np.ones((1, 1, 256, 256), "f4")), "'fc7' occurs twice, or"),
    "a path for a name": (lambda net: layer_of(net, "fc7").update(name="../x"), "holds ../x, which no VGG has"),
    "a layer twice": (lambda net: layer_of(net, "fc7").update(name="fc6"), "'fc6' occurs twice"),
    "too few classes": (
        lambda net: net["meta"]["classes"].update(description=cell("cat", "dog")),
        f"2 class names for {CLASSES} outputs",
    ),
    "structs in structs": (deep, "12 deep"),
    "other variables": (lambda net: net.pop("layers"), "first convolution"),
    "layers that are none": (lambda net: net.update(layers=np.ones(3)), "first convolution"),
}


@pytest.mark.parametrize("style", ["simplenn", "v7.3"])
@pytest.mark.parametrize("case", WRONG)
def test_files_that_are_no_vgg(case: str, style: str, layers: Layers, tmp_path: Path) -> None:
    change, words = WRONG[case]
    refused(written(tmp_path / "x.mat", layers, style, change), words)


@pytest.mark.parametrize("style", ["simplenn", "v7.3"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_truncated(share: float, style: str, layers: Layers, tmp_path: Path) -> None:
    cut(written(tmp_path / "x.mat", layers, style), share)
    refused(tmp_path / "x.mat")


# MATLAB's elements by hand: kind, length, content filled up to 8 bytes


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matlab(*elements: bytes) -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"".join(elements)


def nested_cells(depth: int) -> bytes:
    heads, size = [], 8
    for level in range(depth):
        name = b"layers" if level == depth - 1 else b""
        head = element(6, struct.pack("<II", 1, 0)) + element(5, struct.pack("<ii", 1, 1)) + element(1, name)
        size += len(head)
        heads.append(struct.pack("<II", 14, size) + head)
        size += 8
    return b"".join(reversed(heads)) + struct.pack("<II", 14, 0)


def test_cells_in_cells_do_not_overflow_the_stack(tmp_path: Path) -> None:
    """In a process of its own: scipy alone ends with a segmentation fault at a depth of some thousands."""
    for depth in (100, 9_000, 100_000):
        (tmp_path / f"{depth}.mat").write_bytes(matlab(nested_cells(depth)))
    script = """
import pathlib, sys
from vggfeat.errors import WeightsError
from vggfeat.weights import convert
for src in sys.argv[1:]:
    try:
        convert(src, src + ".safetensors")
    except WeightsError:
        print(pathlib.Path(src).stem)
"""
    files = [str(path) for path in tmp_path.glob("*.mat")]
    run = subprocess.run([sys.executable, "-c", script, *files], capture_output=True, text=True)
    assert (run.returncode, sorted(run.stdout.split())) == (0, ["100", "100000", "9000"]), run.stderr


def test_what_unpacks_to_far_more_than_the_file(tmp_path: Path) -> None:
    head = element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<ii", 1, 5_000_000)) + element(1, b"layers")
    packed = zlib.compress(element(14, head + element(9, bytes(40_000_000))))
    (tmp_path / "x.mat").write_bytes(matlab(struct.pack("<II", 15, len(packed)) + packed))
    refused(tmp_path / "x.mat", "unpacks to over")


@pytest.mark.parametrize(
    "content",
    [
        matlab(),
        matlab(b"\x0e\x00"),
        matlab(struct.pack("<II", 15, 1000) + b"not zlib's"),
        matlab(struct.pack("<II", 14, 0xFFFFFFFF)),
        matlab(element(14, element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<ii", 1 << 30, 1 << 30)))),
        b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n" + bytes(99),
        b"MATLAB is a fine thing",
    ],
)
def test_bytes_that_are_no_net(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.mat").write_bytes(content)
    refused(tmp_path / "x.mat")


def external_link(file: Any) -> None:
    del file["meta"]
    file["meta"] = h5py.ExternalLink("whole.mat", "/meta")


def soft_link(file: Any) -> None:
    del file["meta/normalization"]
    file["meta/normalization"] = h5py.SoftLink("/meta")


def elsewhere(file: Any) -> None:
    del file["meta/normalization/averageImage"]
    (Path(file.filename).parent / "secret").write_bytes(bytes(12))
    file.create_dataset("meta/normalization/averageImage", (3,), "f4", external=[("secret", 0, 12)])


def circle(file: Any) -> None:
    reference = np.array([[file["meta/classes/name"].ref]], h5py.ref_dtype)
    file["meta/classes"].create_dataset("circle", data=reference)
    file["meta/classes/name"][0, 0] = file["meta/classes/circle"].ref


def huge_cell(file: Any) -> None:
    file.create_dataset("meta/huge", (1 << 40, 1), h5py.ref_dtype, chunks=(1024, 1))


def huge_text(file: Any) -> None:
    text = file.create_dataset("meta/huge", (1 << 40, 1), "u2", chunks=(1024, 1))
    text.attrs["MATLAB_class"] = np.bytes_("char")


def huge_mean(file: Any) -> None:
    del file["meta/normalization/averageImage"]
    file.create_dataset("meta/normalization/averageImage", (3, 1 << 20, 1 << 20), "f4", chunks=(3, 64, 64))


LINKS: dict[str, tuple[Callable[[Any], None], str]] = {
    "an external link": (external_link, "meta is a link"),
    "a soft link": (soft_link, "normalization is a link"),
    "data in another file": (elsewhere, "is in another file"),
    "cells in a circle": (circle, "deep"),
    "a huge cell": (huge_cell, f"has {1 << 40} cells"),
    "a huge text": (huge_text, "not a text of at most"),
    "a huge mean": (huge_mean, "averageImage"),
}


@pytest.mark.parametrize("case", LINKS)
def test_hdf5_that_points_elsewhere(case: str, layers: Layers, tmp_path: Path) -> None:
    change, words = LINKS[case]
    written(tmp_path / "whole.mat", layers, "v7.3")
    src = written(tmp_path / "x.mat", layers, "v7.3")
    with h5py.File(src, "r+") as file:
        change(file)
    refused(src, words)


@pytest.mark.slow
@pytest.mark.parametrize("style", ["simplenn", "v7.3"])
def test_full_size(style: str, tmp_path: Path) -> None:
    layers = named_layers("E", slim=1)
    src = written(tmp_path / "x.mat", layers, style)
    weights = convert(src, tmp_path / "x.safetensors")
    assert (weights.net, weights.width, weights.outputs) == ("E", 1.0, 1000)
    scores = caffe_forward(layers, image()[0].numpy())
    close(load(weights)(image()), torch.from_numpy(scores)[None].float())
