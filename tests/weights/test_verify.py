"""`weights verify`: what a file is and can be used for, and one line about what is wrong with it."""

import json
import re
import shutil
import sys
from dataclasses import replace
from functools import partial
from hashlib import md5, sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.kit.foreign_caffe import write_caffe
from tests.kit.foreign_files import (
    CLASSES,
    WIDTH,
    keras_layers,
    named_layers,
    torchvision_net,
    without_top,
    write_keras,
)
from tests.kit.foreign_matconvnet import matconvnet_net, write_matconvnet
from vggfeat import cli, weights
from vggfeat.errors import WeightsError
from vggfeat.nets import VGG, parameter_count
from vggfeat.weights import OXFORD, TORCHVISION, convert, verify
from vggfeat.weights.published import REGISTRY
from vggfeat.weights.registry import Check


def foreign_file(form: str, folder: Path) -> Path:
    if form == "torchvision":
        torch.save(torchvision_net("D").state_dict(), folder / "x.pth")
        return folder / "x.pth"
    if form == "keras":
        return write_keras(folder / "x.h5", keras_layers("D"))
    if form == "caffe":
        return write_caffe(folder / "x.caffemodel", named_layers("D"))
    return write_matconvnet(folder / "x.mat", matconvnet_net(named_layers("D")))


@pytest.mark.parametrize("form", ["torchvision", "keras", "caffe", "matconvnet"])
def test_another_frameworks_file_is_what_it_would_be_converted(form: str, tmp_path: Path) -> None:
    src = foreign_file(form, tmp_path)
    report, native = verify(src), convert(src, tmp_path / "out.safetensors")
    known = {"path": src, "name": src.name, "sha256": sha256(src.read_bytes()).hexdigest()}
    assert report.weights == replace(native, **known)
    assert (report.form, report.published, report.dtypes) == (form, None, ("float32",))
    assert report.values == parameter_count("D", WIDTH, CLASSES)
    again = verify(native.path)
    assert (again.form, again.weights, again.values) == ("native", native, report.values)


def test_what_can_be_done_with_it(tmp_path: Path) -> None:
    full = verify(write_keras(tmp_path / "x.h5", keras_layers("D")))
    assert full.weights.layers == ("pool5", "fc6", "fc7")
    assert f"--layer pool5, fc6, fc7; classify ({CLASSES} classes, without names)" in str(full)
    conv = verify(write_keras(tmp_path / "y.h5", without_top(keras_layers("E"))))
    assert conv.weights.layers == ("pool5",)
    assert "--layer pool5; cannot classify" in str(conv)
    assert "BGR, 0..255, minus 103.939, 116.779, 123.68, over 1, 1, 1" in str(conv)


@pytest.mark.parametrize(("form", "assumed"), [("torchvision", True), ("keras", True), ("matconvnet", False)])
def test_an_assumption_is_printed_and_stays_one(form: str, assumed: bool, tmp_path: Path) -> None:
    """Only MatConvNet's files tell their preprocessing. The native file remembers that it was assumed."""
    src = foreign_file(form, tmp_path)
    native = convert(src, tmp_path / "out.safetensors")
    assert native.assumed == assumed
    for file in (src, native.path):
        assert verify(file).assumed == assumed
        assert (f"(assumed for {native.lineage}: not known" in str(verify(file))) == assumed


def test_a_file_of_the_package_is_called_one(tmp_path: Path) -> None:
    ours = REGISTRY.assets / "slim.safetensors"
    assert "published  a part of this package" in str(verify(ours))
    copy = shutil.copy(ours, tmp_path)
    assert "published  not a published file that is known" in str(verify(copy))


def test_a_published_file_is_known_by_its_checksum(tmp_path: Path) -> None:
    """Under any name. A file with its name must have its checksum."""
    src = write_keras(tmp_path / "x.h5", keras_layers("D"))
    known = replace(REGISTRY.named["oxford", "D"], check=Check(md5=md5(src.read_bytes()).hexdigest()))
    registry = replace(REGISTRY, named={("oxford", "D"): known})
    found = verify(src, registry=registry)
    assert (found.published, found.assumed) == (known, False)
    assert known.urls[0] in str(found)
    write_keras(tmp_path / known.file, keras_layers("D", seed=1))
    for function in (verify, partial(convert, out=tmp_path / "out.safetensors")):
        with pytest.raises(WeightsError, match=rf"{known.file}: is damaged \(its md5 is"):
            function(tmp_path / known.file, registry=registry)


def native(path: Path, **changes: Any) -> Path:
    state = VGG("A", width=WIDTH, classes=5).state_dict()
    facts = {"net": "A", "width": WIDTH, "preprocessing": TORCHVISION, "lineage": "x", "source": "", "licence": ""}
    return weights.save(path, state, **{**facts, **changes}).path


def damaged(path: Path, old: bytes, new: bytes) -> Path:
    content = native(path).read_bytes()
    assert len(old) == len(new)
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"colour":"RGB"', b'"colour":"RBG"', "colour 'RBG'"),
        (b'"net":"A"', b'"net":"B"', "lacks conv1_2.weight"),
        (b'"fc7.bias"', b'"../.bias"', "holds ../.bias"),
        (b'"std":"0.229,', b'"std":"-0.22,', "not above 0"),
        (b'"width":"0.0625"', b'"width":"0.1250"', "of width 0.125"),
    ],
)
def test_a_native_header_that_is_wrong(old: bytes, new: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=re.escape(words)) as caught:
        verify(damaged(tmp_path / "x.safetensors", old, new))
    assert str(tmp_path / "x.safetensors") in str(caught.value)


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    path = native(tmp_path / "x.safetensors")
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        at = json.loads(file.read(length))["conv3_1.bias"]["data_offsets"][0]
        file.seek(8 + length + at)
        file.write(torch.tensor([torch.nan]).numpy().tobytes())
    with pytest.raises(WeightsError, match=r"conv3_1\.bias holds values that are not finite"):
        verify(path)


HOSTILE = "../../etc/passwd\nvggfeat: all is well\x1b[2J"


@pytest.mark.parametrize("form", ["native", "torchvision", "safetensors", "keras"])
def test_a_name_in_a_file_is_only_shown_and_on_one_line(form: str, tmp_path: Path) -> None:
    state = VGG("A", width=WIDTH, classes=5).state_dict()
    if form == "native":
        metadata = {"format": "vggfeat/1", "net": "A", "width": "0.0625", "colour": "RGB", "range": "1"}
        metadata |= {"mean": "0,0,0", "std": "1,1,1", "lineage": "x", "source": "x", "licence": "x"}
        src = tmp_path / "x.safetensors"
        save_file({**state, HOSTILE: torch.ones(2)}, src, metadata)
    elif form == "safetensors":
        src = tmp_path / "x.safetensors"
        save_file({"features.0.weight": torch.ones(4, 3, 3, 3), HOSTILE: torch.ones(2)}, src)
    elif form == "torchvision":
        src = tmp_path / "x.pth"
        torch.save({"features.0.weight": torch.ones(4, 3, 3, 3), HOSTILE: torch.ones(2)}, src)
    else:
        src = write_keras(tmp_path / "x.h5", keras_layers("D"))
        with h5py.File(src, "r+") as file:
            file[HOSTILE] = np.ones(2, np.float32)
    with pytest.raises(WeightsError, match="etc/passwd") as caught:
        verify(src)
    assert str(caught.value).isprintable()


def test_metadata_are_shown_on_one_line(tmp_path: Path) -> None:
    path = native(tmp_path / "x.safetensors", source=HOSTILE, licence="x" * 10_000)
    lines = str(verify(path)).splitlines()
    assert len(lines) == 8
    assert all(line.isprintable() and len(line) < 500 for line in lines)


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth", "x.h5", "x.mat", "x.caffemodel", "none/x.pth"])
def test_the_command_says_what_is_wrong_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "/" not in name:
        (tmp_path / name).write_bytes(b"no weights at all")
    monkeypatch.setattr(sys, "argv", ["vggfeat", "weights", "verify", str(tmp_path / name)])
    with pytest.raises(SystemExit, match="1") as caught:
        cli.main()
    said = capsys.readouterr()
    assert (caught.value.code, said.out) == (1, "")
    assert said.err.startswith("vggfeat: ")
    assert str(tmp_path / name) in said.err
    assert said.err.count("\n") == 1


def test_the_command_prints_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = native(tmp_path / "x.safetensors", preprocessing=OXFORD, classes=("a", "b", "c", "d", "e"))
    monkeypatch.setattr(sys, "argv", ["vggfeat", "weights", "verify", str(path)])
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main()
    assert "classify (5 classes, named)" in capsys.readouterr().out
