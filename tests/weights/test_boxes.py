"""Weights files whose last layer predicts boxes: what they say of themselves, and what refuses them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from vggfeat.classify import Classifier
from vggfeat.descriptors import Describer
from vggfeat.errors import WeightsError
from vggfeat.spec import DescriptorSpec
from vggfeat.weights import Weights, load, read, verify
from vggfeat.weights.header import Regression
from vggfeat.weights.native import save_as

NAMES = ("cat", "dog", "cow")
OUTPUTS = {"scr": 4, "pcr": 12}

Make = Callable[..., Path]


def box_file(tiny_weights: Make, path: Path, boxes: Any, outputs: int, classes: Any = NAMES) -> Weights:
    known = read(tiny_weights("A", classes=outputs))
    tensors = load(known).state_dict()
    return save_as(path, tensors, replace(known, classes=classes, boxes=boxes))


@pytest.mark.parametrize("boxes", get_args(Regression))
def test_a_file_says_what_its_boxes_are(tiny_weights: Make, tmp_path: Path, boxes: str) -> None:
    found = box_file(tiny_weights, tmp_path / "boxes.safetensors", boxes, OUTPUTS[boxes])
    assert found == read(found.path)
    assert (found.boxes, found.outputs, found.classes) == (boxes, OUTPUTS[boxes], NAMES)
    each = {"scr": "one box for all classes", "pcr": "a box for each class"}[boxes]
    lines = str(verify(found.path)).splitlines()
    assert lines[-1] == f"serves     --layer pool5, fc6, fc7; localize (3 classes, {each}); cannot classify"


def test_a_net_that_classifies_says_nothing_of_boxes(tiny_weights: Make) -> None:
    file = tiny_weights("A")
    assert read(file).boxes is None
    assert b'"boxes"' not in file.read_bytes()


@pytest.mark.parametrize(
    ("boxes", "outputs", "classes", "said"),
    [
        ("pcr", 4, NAMES, "pcr boxes of 3 classes for 4 outputs of fc8"),
        ("scr", 12, NAMES, "scr boxes of 3 classes for 12 outputs of fc8"),
        ("pcr", 3, NAMES, "pcr boxes of 3 classes for 3 outputs of fc8"),
        ("scr", 4, None, "predicts boxes, and does not name its classes"),
        ("scr", 4, (), "predicts boxes, and does not name its classes"),
        ("per-class", 12, NAMES, "boxes 'per-class' is neither scr nor pcr"),
    ],
)
def test_a_header_that_does_not_fit_its_outputs(
    tiny_weights: Make, tmp_path: Path, boxes: str, outputs: int, classes: Any, said: str
) -> None:
    with pytest.raises(WeightsError, match=f"boxes.safetensors: .*{said}"):
        box_file(tiny_weights, tmp_path / "boxes.safetensors", boxes, outputs, classes)


def test_boxes_without_fc8_are_refused(tiny_weights: Make, tmp_path: Path) -> None:
    known = read(tiny_weights("A", top="fc7"))
    with pytest.raises(WeightsError, match="scr boxes of 3 classes for 0 outputs of fc8"):
        save_as(tmp_path / "x.safetensors", load(known, "fc7").state_dict(), replace(known, classes=NAMES, boxes="scr"))


def test_boxes_are_no_classes(tiny_weights: Make, tmp_path: Path) -> None:
    file = str(box_file(tiny_weights, tmp_path / "boxes.safetensors", "pcr", 12).path)
    with pytest.raises(WeightsError, match=r"boxes.safetensors: predicts boxes, and no classes; take weights of a net"):
        Classifier(weights=file, scales=(224,), device="cpu")
    with pytest.raises(WeightsError, match="predicts boxes, and no classes"):
        Classifier(weights=f"{tiny_weights('A')},{file}", scales=(224,), device="cpu")


def test_other_layers_of_such_a_file_describe_images(tiny_weights: Make, tmp_path: Path) -> None:
    known = read(tiny_weights("A", classes=4))
    file = box_file(tiny_weights, tmp_path / "boxes.safetensors", "scr", 4).path
    image = torch.randint(0, 256, (3, 224, 224), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    one, other = (
        Describer(spec=DescriptorSpec(weights=str(name), scales=(224,), device="cpu")).describe(image)
        for name in (file, known.path)
    )
    assert (one == other).all()
