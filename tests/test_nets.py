"""The nets: Table 1 word by word, Table 2's counts, their cost as torch counts it, initialisation."""

import math
from typing import Any, get_args

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.vgg import cfgs as torchvision_cfgs

from vggfeat.engine.dense import dense
from vggfeat.errors import UsageError
from vggfeat.nets import (
    CONFIGS,
    TOPS,
    VGG,
    Init,
    flops,
    initialise,
    layers,
    parameter_count,
    tensor_shapes,
    weight_layers,
)
from vggfeat.nets.text import tables_1_and_2

PARAMETERS = {
    "A": 132_863_336,
    "A-LRN": 132_863_336,
    "B": 133_047_848,
    "C": 133_638_952,
    "D": 138_357_544,
    "E": 143_667_240,
}
WEIGHT_LAYERS = {"A": 11, "A-LRN": 11, "B": 13, "C": 16, "D": 16, "E": 19}


def on_meta(net: str, **options: Any) -> VGG:
    with torch.device("meta"):
        return VGG(net, **options)


def convolutions(net: str, **options: Any) -> list[torch.nn.Conv2d]:
    return [module for module in on_meta(net, **options) if isinstance(module, torch.nn.Conv2d)]


@pytest.mark.parametrize("net", PARAMETERS)
def test_sizes_are_those_of_table_2(net: str) -> None:
    assert parameter_count(net) == PARAMETERS[net]
    assert sum(parameter.numel() for parameter in on_meta(net).parameters()) == PARAMETERS[net]
    assert weight_layers(net) == WEIGHT_LAYERS[net]


@pytest.mark.parametrize("net", ["A", "B", "D", "E"])
def test_the_layers_are_torchvisions(net: str) -> None:
    ours = [word for word in CONFIGS[net] if not word.startswith("FC")]
    assert ours == ["maxpool" if size == "M" else f"conv3-{size}" for size in torchvision_cfgs[net]]
    assert CONFIGS[net][-3:] == ("FC-4096", "FC-4096", "FC-1000")


def test_the_other_columns_of_table_1() -> None:
    with_norm = list(CONFIGS["A"])
    with_norm.insert(1, "LRN")
    assert list(CONFIGS["A-LRN"]) == with_norm
    d_with_1x1 = list(CONFIGS["D"])
    for block, channels in [(3, 256), (4, 512), (5, 512)]:
        pools = [place for place, word in enumerate(d_with_1x1) if word == "maxpool"]
        d_with_1x1[pools[block - 1] - 1] = f"conv1-{channels}"
    assert list(CONFIGS["C"]) == d_with_1x1


def test_the_shallow_net_has_one_5x5_where_b_has_two_3x3() -> None:
    shallow, b = convolutions("B-5x5"), convolutions("B")
    assert [conv.kernel_size for conv in shallow] == [(5, 5)] * 5
    assert [conv.out_channels for conv in shallow] == [conv.out_channels for conv in b[::2]]
    assert all(conv.padding == (2, 2) for conv in shallow)


@pytest.mark.parametrize("net", CONFIGS)
@pytest.mark.parametrize("top", TOPS)
def test_parameters_bear_the_names_of_the_native_format(net: str, top: Any) -> None:
    state = on_meta(net, width=1 / 4, classes=10, top=top).state_dict()
    shapes = tensor_shapes(net, width=1 / 4, classes=10, top=top)
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == shapes
    assert list(state)[:2] == ["conv1_1.weight", "conv1_1.bias"]
    assert (f"{top}.weight" in state) == (top != "pool5")
    assert layers(net, top=top)[-1].name == top


def test_width_scales_all_channels_but_the_classes() -> None:
    full, narrow = tensor_shapes("A"), tensor_shapes("A", width=1 / 8)
    assert narrow["conv1_1.weight"] == (8, 3, 3, 3)
    assert narrow["conv5_2.weight"] == (64, 64, 3, 3)
    assert narrow["fc6.weight"] == (512, 64 * 49)
    assert narrow["fc8.weight"] == (1000, 512)
    assert narrow.keys() == full.keys()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"net": "F"}, "'F'"),
        ({"top": "fc9"}, "'fc9'"),
        ({"width": 1 / 1000}, "0.001"),
        ({"width": -1.0}, "-1"),
    ],
)
def test_what_cant_be_meant_is_a_usage_error(arguments: dict[str, Any], said: str) -> None:
    for build in (tensor_shapes, VGG):
        with pytest.raises(UsageError, match=said):
            build(**{"net": "D", **arguments})


@pytest.mark.parametrize("net", CONFIGS)
@pytest.mark.parametrize("size", [(224, 224), (256, 341)])
def test_flops_are_those_that_torch_counts(net: str, size: tuple[int, int]) -> None:
    with FlopCounterMode(display=False) as counter:
        dense(on_meta(net))(torch.empty(1, 3, *size, device="meta"))
    assert flops(net, *size) == counter.get_total_flops()


def test_flops_of_a_net_that_ends_early() -> None:
    with FlopCounterMode(display=False) as counter:
        on_meta("A", width=1 / 2, top="fc6")(torch.empty(1, 3, 224, 224, device="meta"))
    assert flops("A", width=1 / 2, top="fc6") == counter.get_total_flops()


def test_forward_gives_scores_and_drops_out_only_in_training() -> None:
    vgg = initialise(VGG("A", width=1 / 16, classes=5), generator=torch.Generator().manual_seed(0))
    x = 100 * torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert vgg.eval()(x).shape == (2, 5)
        assert torch.equal(vgg(x), vgg(x))
        assert not torch.equal(vgg.train()(x), vgg(x))


def test_local_response_normalisation_is_krizhevskys() -> None:
    """b_i = a_i / (k + alpha * sum of a_j squared) ^ beta over the n = 5 channels around i, or fewer."""
    norm = VGG("A-LRN", width=1 / 8).get_submodule("norm1")
    a = 300 * torch.randn(2, 8, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.empty_like(a)
    for i in range(8):
        energy = sum(a[:, j] ** 2 for j in range(8) if abs(i - j) <= 2)
        expected[:, i] = a[:, i] / (2 + 1e-4 * energy) ** 0.75
    torch.testing.assert_close(norm(a), expected, rtol=1e-12, atol=0)


def fans(weight: torch.Tensor) -> tuple[int, int]:
    window = math.prod(weight.shape[2:])
    return weight.shape[1] * window, weight.shape[0] * window


@pytest.mark.parametrize("how", get_args(Init))
def test_initialisation_has_the_variance_that_is_documented(how: Any) -> None:
    vgg = initialise(VGG("C", width=1 / 4), how, torch.Generator().manual_seed(0))
    for name, values in vgg.state_dict().items():
        if name.endswith("bias"):
            assert not values.any()
            continue
        wanted = {
            "glorot": math.sqrt(2 / sum(fans(values))),
            "he": math.sqrt(2 / fans(values)[0]) * 128 ** (-1 / 16),  # C has 16 layers with weights
            "random": 0.01 if name == "conv1_1.weight" else 0.02,
            "random-0.1": 0.1,
        }[how]
        error = 5 / math.sqrt(values.numel())
        assert values.mean().abs() < error * wanted
        assert values.std().item() == pytest.approx(wanted, rel=error)
        if how == "glorot":  # uniform
            assert values.abs().max() <= math.sqrt(3) * wanted * (1 + 1e-6)


def signals(width: float, how: Init) -> tuple[dict[str, float], dict[str, float]]:
    """The mean square of each convolution's output, and of the gradient there, for a loss that pool5 adds up."""
    vgg = initialise(VGG("A", width=width, top="pool5"), how, torch.Generator().manual_seed(0))
    x = 60 * torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    maps = {}
    for name, module in vgg.named_children():
        x = module(x.clone())
        if isinstance(module, torch.nn.Conv2d):
            x.retain_grad()
            maps[name] = x
    x.square().sum().backward()
    return ({name: float(y.detach().square().mean()) for name, y in maps.items()},
            {name: float(y.grad.square().mean()) for name, y in maps.items()})  # fmt: skip


def test_random_weights_keep_the_signals_of_the_full_net_in_a_narrow_one() -> None:
    full, narrow = signals(1, "random"), signals(1 / 16, "random")
    for wide, small in zip(full, narrow, strict=True):
        for name in wide:
            assert small[name] == pytest.approx(wide[name], rel=0.9), name
    fixed, _ = signals(1 / 16, "random-0.1")
    of_full, _ = signals(1, "random-0.1")
    assert fixed["conv5_2"] < 1e-6 * of_full["conv5_2"]  # a fixed deviation: 1/16 for each of seven layers


def test_random_weights_of_the_full_net_are_as_before() -> None:
    vgg = initialise(VGG("A", top="pool5"), "random", torch.Generator().manual_seed(3))
    draw = torch.Generator().manual_seed(3)
    for name, values in vgg.state_dict().items():
        if name.endswith("weight"):
            assert torch.equal(values, torch.empty_like(values).normal_(0, 0.01, generator=draw)), name


def test_he_keeps_the_signal_from_layer_to_layer() -> None:
    """But for the L-th root of 1/128: the mean square falls by 128 ^ (-2 / 8) in each of the 8 layers."""
    outputs = [*signals(1 / 4, "he")[0].values()]
    fall = (outputs[-1] / outputs[0]) ** (1 / 7)
    assert fall == pytest.approx(128 ** (-2 / 8), rel=0.5)


def test_initialisation_depends_on_its_generator_alone() -> None:
    def drawn(seed: int) -> torch.Tensor:
        vgg = VGG("A", width=1 / 16, top="pool5")
        return initialise(vgg, "random", torch.Generator().manual_seed(seed)).get_parameter("conv3_1.weight")

    torch.manual_seed(1)
    first = drawn(7)
    torch.manual_seed(2)
    assert torch.equal(first, drawn(7))
    assert not torch.equal(first, drawn(8))


def test_an_unknown_initialisation_is_refused_before_anything_changes() -> None:
    vgg = VGG("A", width=1 / 16, top="pool5")
    before = vgg.get_parameter("conv1_1.weight").clone()
    with pytest.raises(UsageError, match="'zeros'"):
        initialise(vgg, "zeros")  # type: ignore[arg-type]
    assert torch.equal(before, vgg.get_parameter("conv1_1.weight"))


@pytest.mark.parametrize(
    ("side", "down", "up"), [(64, 2, 2), (65, 2, 3), (95, 2, 3), (96, 3, 3), (33, 1, 2), (224, 7, 7)]
)
def test_ceil_matters_for_sides_not_divisible_by_32_alone(side: int, down: int, up: int) -> None:
    floor, ceil = (on_meta("A", width=1 / 64, top="pool5", ceil=ceil) for ceil in (False, True))
    x = torch.empty(1, 3, side, 64, device="meta")
    assert (floor(x).shape[2], ceil(x).shape[2]) == (down, up)


def test_ceil_leaves_the_values_of_sides_divisible_by_32() -> None:
    floor, ceil = (VGG("A", width=1 / 16, top="pool5", ceil=ceil) for ceil in (False, True))
    ceil.load_state_dict(floor.state_dict())
    x = torch.randn(1, 3, 96, 64)
    assert torch.equal(floor(x), ceil(x))


def test_the_printed_tables_hold_the_papers_numbers() -> None:
    lines = tables_1_and_2(256).splitlines()
    assert lines[0].split() == list(CONFIGS)
    millions = next(line for line in lines if line.startswith("parameters")).split()[2:]
    assert [round(float(word)) for word in millions[:6]] == [133, 133, 133, 134, 138, 144]
    assert lines[1].replace("layers", "").split() == ["11", "11", "13", "16", "16", "19", "8"]
    assert sum(line.split() == ["maxpool"] * 7 for line in lines) == 5
    assert sum("conv3-512" in line.split() for line in lines) == 8  # the two blocks of four of E
    words = [word for line in lines for word in line.split()]
    assert (words.count("conv1-256"), words.count("conv1-512"), words.count("LRN")) == (1, 2, 1)


def test_the_printed_costs_are_the_known_ones() -> None:
    """15.5 and 19.6 thousand million multiply-adds for D and E, as is usually quoted of VGG-16 and -19."""
    lines = tables_1_and_2(384).splitlines()
    crop, photo = (line.split() for line in lines if line.startswith("GFLOPs"))
    assert crop[1:][:1] == ["224x224"] and photo[1:3] == ["384x512", "dense"]
    costs = dict(zip(CONFIGS, map(float, crop[2:]), strict=True))
    assert costs["D"] == pytest.approx(2 * 15.47, abs=0.06)
    assert costs["E"] == pytest.approx(2 * 19.63, abs=0.06)


def test_a_slice_is_a_plain_sequential_with_the_same_layers() -> None:
    vgg = VGG("A", width=1 / 16)
    assert list(dict(vgg[:3].named_children())) == ["conv1_1", "relu1_1", "pool1"]
    assert vgg[0] is vgg[:1].conv1_1
