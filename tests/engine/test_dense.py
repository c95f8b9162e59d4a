"""Dense application: equal to the net as it was trained at 224x224, and to timm and torchvision beyond it."""

import gc
import math
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from vggfeat.engine.dense import dense, spatial_mean
from vggfeat.engine.layers.winograd import use_winograd
from vggfeat.errors import UsageError
from vggfeat.nets import CONFIGS, TOPS, VGG, Top, initialise, tensor_shapes
from vggfeat.spec import check_scales, smallest_q

SIZES = [(224, 224), (256, 341), (384, 512)]
ELSEWHERE = {"D": "vgg16", "E": "vgg19"}

M = TypeVar("M", bound=nn.Module)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def narrow(net: str, width: float = 1 / 16, **options: Any) -> VGG:
    return initialise(VGG(net, width=width, classes=7, **options), generator=seeded(0)).eval()


def assert_close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Equal to `tolerance`, relative to the norm and, for each value, to the largest one."""
    assert found.shape == expected.shape
    assert expected.abs().max() > 0
    difference = (found - expected).double()
    assert difference.norm() <= tolerance * expected.double().norm()
    assert difference.abs().max() <= tolerance * expected.abs().max()


@pytest.fixture(scope="module")
def full_size() -> Iterator[dict[str, Tensor]]:
    """He-initialised tensors of net E at full size; D's are some of them. Biases are not zero."""
    tensors = {}
    generator = seeded(3)
    for name, shape in tensor_shapes("E").items():
        bound = math.sqrt(6 / math.prod(shape[1:])) if len(shape) > 1 else 1.0
        tensors[name] = torch.empty(shape).uniform_(-bound, bound, generator=generator)
    yield tensors
    tensors.clear()
    gc.collect()


def of_net(net: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensors[name] for name in tensor_shapes(net)}


def with_tensors(model: M, tensors: dict[str, Tensor]) -> M:
    """A model made on the meta device with these tensors, which come in its own order; nothing is copied."""
    ours = list(tensors.values())
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    state = {name: value.view(shape) for (name, shape), value in zip(shapes.items(), ours, strict=True)}
    model.load_state_dict(state, assign=True)
    return model.eval()


@pytest.mark.parametrize(
    "net", [pytest.param(net, marks=[pytest.mark.slow] if net == "E" else []) for net in ELSEWHERE]
)
def test_fc7_maps_are_timms(net: str, full_size: dict[str, Tensor]) -> None:
    with torch.device("meta"):
        ours, theirs = VGG(net), timm.create_model(ELSEWHERE[net], pretrained=False)
    tensors = of_net(net, full_size)
    fc7 = dense(with_tensors(ours, tensors), "fc7")
    timms: Any = with_tensors(theirs, tensors)
    with torch.inference_mode():
        for height, width in SIZES:
            x = 50 * torch.randn(1, 3, height, width, generator=seeded(height))
            assert_close(fc7(x), timms.pre_logits(timms.forward_features(x)))


@pytest.mark.parametrize("net", ELSEWHERE)
def test_scores_at_224_are_torchvisions(net: str, full_size: dict[str, Tensor]) -> None:
    with torch.device("meta"):
        ours, theirs = VGG(net), getattr(torchvision.models, ELSEWHERE[net])(weights=None)
    tensors = of_net(net, full_size)
    ours, theirs = with_tensors(ours, tensors), with_tensors(theirs, tensors)
    x = 50 * torch.randn(1, 3, 224, 224, generator=seeded(1))
    with torch.inference_mode():
        expected = theirs(x)
        assert_close(ours(x), expected)
        assert_close(dense(ours)(x), expected[:, :, None, None])


def test_winograd_keeps_the_maps_of_a_full_size_net(full_size: dict[str, Tensor]) -> None:
    with torch.device("meta"):
        nets = [VGG("D", top="pool5") for _ in range(2)]
    tensors = {name: full_size[name] for name in tensor_shapes("D", top="pool5")}
    plain, fast = (dense(with_tensors(net, tensors), "pool5") for net in nets)
    x = 50 * torch.randn(1, 3, 150, 203, generator=seeded(1))
    with torch.inference_mode():
        assert_close(use_winograd(fast)(x), plain(x))


@pytest.mark.parametrize("net", CONFIGS)
def test_at_224_the_dense_net_equals_the_net_as_trained(net: str) -> None:
    vgg = narrow(net)
    x = 100 * torch.randn(2, 3, 224, 224, generator=seeded(1))
    with torch.inference_mode():
        assert_close(dense(vgg)(x), vgg(x)[:, :, None, None])


@pytest.mark.parametrize("top", TOPS)
def test_each_top_is_that_layer_of_the_whole_net_after_its_relu(top: Top) -> None:
    vgg = narrow("A")
    x = 100 * torch.randn(1, 3, 224, 224, generator=seeded(1))
    names = list(dict(vgg.named_children()))
    last = {"pool5": "pool5", "fc6": "relu6", "fc7": "relu7", "fc8": "fc8"}[top]
    with torch.inference_mode():
        expected = nn.Sequential(*list(vgg)[: names.index(last) + 1])(x)
        found = dense(vgg, top)(x)
    assert_close(found, expected.view(found.shape))
    assert top == "fc8" or (found >= 0).all()


def test_places_of_the_map_are_windows_of_pool5() -> None:
    """fc6 at (i, j) is the fully connected layer on the 7x7 window of pool5 whose corner is (i, j)."""
    vgg = narrow("D")
    x = 100 * torch.randn(1, 3, 263, 300, generator=seeded(1))
    fc6 = vgg.get_submodule("fc6")
    with torch.inference_mode():
        pool5, found = dense(vgg, "pool5")(x), dense(vgg, "fc6")(x)
        assert found.shape[2:] == (2, 3)
        for i in range(2):
            for j in range(3):
                window = pool5[:, :, i : i + 7, j : j + 7].flatten(1)
                assert_close(found[:, :, i, j], fc6(window).relu())


def test_parameters_are_shared() -> None:
    vgg = narrow("A")
    whole = dense(vgg)
    for name, parameter in vgg.named_parameters():
        assert whole.get_parameter(name).data_ptr() == parameter.data_ptr()
    x = torch.ones(1, 3, 224, 224)
    with torch.no_grad():
        before = whole(x)
        vgg.get_parameter("fc8.bias").add_(3)
        torch.testing.assert_close(whole(x), before + 3)


def test_dropout_is_left_out() -> None:
    vgg = narrow("A").train()
    x = torch.ones(1, 3, 224, 224)
    assert vgg.training and not dense(vgg).training
    assert torch.equal(dense(vgg).train()(x), dense(vgg).train()(x))


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(("height", "width"), [(224, 224), (255, 256), (256, 341), (287, 640), (320, 479)])
def test_shapes_of_maps(height: int, width: int, ceil: bool) -> None:
    with torch.device("meta"):
        vgg, x = VGG("D", width=1 / 64, ceil=ceil), torch.empty(1, 3, height, width)
    h, w = (-(-height // 32), -(-width // 32)) if ceil else (height // 32, width // 32)
    assert dense(vgg, "pool5")(x).shape == (1, 8, h, w)
    assert dense(vgg, "fc7")(x).shape == (1, 64, h - 6, w - 6)


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("top", TOPS)
def test_the_smallest_q_gives_one_place_and_a_smaller_one_none(top: Top, ceil: bool) -> None:
    with torch.device("meta"):
        net = dense(VGG("A", width=1 / 64, ceil=ceil), top)
    q = smallest_q(top, ceil)
    assert net(torch.empty(1, 3, q, q, device="meta")).shape[2:] == (1, 1)
    with pytest.raises(RuntimeError, match="size"):
        net(torch.empty(1, 3, q - 1, q - 1, device="meta"))


def test_the_smallest_q_by_hand() -> None:
    assert (smallest_q("pool5"), smallest_q("fc6"), smallest_q("fc7")) == (32, 224, 224)
    assert (smallest_q("pool5", ceil=True), smallest_q("fc7", ceil=True)) == (1, 193)


@pytest.mark.parametrize(
    ("scales", "top", "said"),
    [
        ((256, 223), "fc7", "Q=223 .*fc7.* 224"),
        ((31,), "pool5", "Q=31 .*pool5.* 32"),
        ((-256,), "fc7", "Q=-256"),
        ((), "fc7", "no scale"),
        ((256, 384, 256), "fc7", "twice: 256,384,256"),
        ((256,), "fc9", "'fc9'.*pool5"),
    ],
)
def test_scales_that_cant_be_meant(scales: tuple[int, ...], top: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_scales(scales, top)


def test_scales_that_can() -> None:
    check_scales((224, 256, 384, 512, 640, 768), "fc7")
    check_scales((32,), "pool5")
    check_scales((193,), "fc7", ceil=True)


@pytest.mark.parametrize(("end", "top"), [("pool5", "fc6"), ("fc6", "fc7"), ("fc7", "fc8"), ("fc8", "fc9")])
def test_a_net_that_ends_before_the_top_is_a_usage_error(end: Top, top: Any) -> None:
    with pytest.raises(UsageError, match=f"ends at {end}, before {top}"):
        dense(narrow("A", top=end), top)


def test_spatial_mean_by_hand_and_in_float32() -> None:
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, 1.0]]]])
    assert spatial_mean(maps).tolist() == [[3.0, 0.25]]
    large = torch.full((1, 1, 40, 40), 1000.0, dtype=torch.float16)  # the sum overflows float16
    assert spatial_mean(large).item() == 1000.0
    assert spatial_mean(large).dtype == torch.float32
