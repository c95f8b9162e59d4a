"""Weights as 8-bit integers: how they are rounded, their files, and the net inside the package."""

from pathlib import Path

import pytest
import torch

from vggfeat import golden, weights
from vggfeat.errors import WeightsError
from vggfeat.nets import VGG, initialise
from vggfeat.weights import OXFORD
from vggfeat.weights.rounding import restored, rounded

ABOUT = {"net": "A", "width": 1 / 16, "preprocessing": OXFORD, "lineage": "oxford", "source": "made", "licence": "none"}


@pytest.fixture
def state():
    net = initialise(VGG("A", width=1 / 16, top="pool5"), generator=torch.Generator().manual_seed(3))
    return net.state_dict()


def test_a_channel_by_hand():
    weight = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]]).view(2, 3, 1, 1)
    found = rounded({"conv1_1.weight": weight, "conv1_1.bias": torch.ones(2)})
    assert found["conv1_1.weight"].flatten(1).tolist() == [[64, -127, 32], [0, 0, 0]]  # 63.5 and 31.75 of 127
    assert found["conv1_1.scale"][0] == pytest.approx(2 / 127)
    back = restored(found, torch.float32)
    assert list(back) == ["conv1_1.weight", "conv1_1.bias"]
    assert back["conv1_1.weight"].flatten().tolist() == pytest.approx([128 / 127, -2, 64 / 127, 0, 0, 0])


def test_each_weight_is_within_half_a_step(state):
    found = rounded(state)
    for name, given in restored(found, torch.float32).items():
        step = found.get(name.replace(".weight", ".scale"), torch.zeros(1))
        error = (given - state[name]).flatten(1 if given.ndim > 1 else 0).abs()
        assert (error.amax(dim=-1) <= step * 0.5001).all()


def test_a_file_of_them_is_loaded(state, tmp_path):
    file = weights.save(tmp_path / "x.safetensors", rounded(state), **ABOUT)
    assert file.top == "pool5"
    found = weights.load(weights.read(file.path), "pool5").state_dict()
    expected = restored(rounded(state), torch.float32)
    assert list(found) == list(state)
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert list(weights.load(file, "conv2_1").state_dict())[-1] == "conv2_1.bias"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("conv1_1.scale", None, "conv1_1.weight is I8"),
        ("conv1_1.scale", torch.ones(5), "conv1_1.weight is I8"),
        ("conv1_1.scale", torch.ones(4, dtype=torch.float16), "conv1_1.weight is I8"),
        ("conv1_1.scale", torch.full((4,), torch.nan), "conv1_1.scale holds values that are not finite"),
        ("conv1_1.bias", torch.zeros(4, dtype=torch.int8), "conv1_1.bias is I8"),
        ("pool1.scale", torch.ones(4), "holds pool1.scale, which net A does not have"),
    ],
)
def test_scales_that_do_not_fit(state, tmp_path, name, value, reason):
    tensors = rounded(state) | ({} if value is None else {name: value})
    if value is None:
        del tensors[name]
    with pytest.raises(WeightsError, match=reason):
        weights.load(weights.save(tmp_path / "x.safetensors", tensors, **ABOUT), "pool5")


def test_the_net_inside_the_package_gives_its_recorded_values():
    (check,) = golden.measure("oxford-int8")
    assert check.layer == "pool5"
    assert check.distance < golden.TOLERANCE


def test_it_is_near_the_weights_from_which_it_was_made(shared):
    made = shared("weights/vgg19-oxford-conv-fp16.safetensors")
    ours, given = (golden.measure(name)[0].values for name in ("oxford-int8", made))
    # For descriptors of norm 1 a distance of 0.0316 is a cosine of 0.9995.
    assert 0 < float(((ours - given) ** 2).mean() ** 0.5) < 0.0316


def test_its_file_says_whose_it_is():
    found = weights.resolve("oxford-int8", top="pool5")
    assert (found.lineage, found.licence, found.net) == ("oxford", "CC-BY-4.0", "E")
    assert "rounded to 8 bits" in found.source
    assert Path(found.path).stat().st_size < 21e6
