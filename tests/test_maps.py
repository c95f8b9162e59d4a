"""Backbones: the maps of named layers against torchvision's and timm's extractors, gradients, and what is refused."""

import copy

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.models.vgg import cfgs, make_layers

import vggfeat
from vggfeat import weights
from vggfeat._util.torch_settings import torch_settings
from vggfeat.errors import UsageError
from vggfeat.maps import Backbone
from vggfeat.nets import CONFIGS, VGG, initialise, layers
from vggfeat.weights import TORCHVISION

IMAGES = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def net_a(tmp_path_factory):
    """A net A of the paper's width, its values random."""
    net = initialise(VGG("A", top="pool5"), generator=torch.Generator().manual_seed(2))
    file = tmp_path_factory.mktemp("weights") / "a.safetensors"
    about = {"net": "A", "lineage": "torchvision", "source": "random", "licence": "none"}
    return weights.save(file, net.state_dict(), preprocessing=TORCHVISION, **about)


def normalised(images: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(getattr(TORCHVISION, name)).view(1, 3, 1, 1) for name in ("mean", "std"))
    return (images - mean) / std


def names_of(net: str) -> list[str]:
    return [layer.name for layer in layers(net, top="pool5") if layer.kind != "LRN"]


def torchvisions(net: weights.Weights) -> torch.nn.Module:
    theirs = make_layers(cfgs["A"]).eval()
    ours = weights.load(net, "pool5").state_dict()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.values(), strict=True)))
    return theirs


def test_maps_and_gradients_are_torchvisions(net_a):
    nodes = {"1": "conv1_1", "9": "conv3_2", "19": "conv5_2", "20": "pool5"}
    theirs = create_feature_extractor(torchvisions(net_a), nodes)
    ours = vggfeat.backbone(layers=list(nodes.values()), weights=net_a)
    first, second = IMAGES.clone().requires_grad_(), IMAGES.clone().requires_grad_()
    expected, found = theirs(normalised(first)), ours(second)
    assert list(found) == list(nodes.values())
    for layer in found:
        torch.testing.assert_close(found[layer], expected[layer], rtol=1e-5, atol=1e-5)
    for image, maps in ((first, expected), (second, found)):
        sum(map_.square().sum() for map_ in maps.values()).backward()
        assert image.grad.abs().max() > 0
    torch.testing.assert_close(second.grad, first.grad, rtol=1e-5, atol=1e-5 * float(first.grad.abs().max()))


def test_maps_are_timms(net_a):
    theirs = timm.create_model("vgg11", features_only=True, pretrained=False).eval()
    ours = weights.load(net_a, "pool5").state_dict()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.values(), strict=True)))
    with torch.no_grad():
        expected = theirs(normalised(IMAGES))
        found = vggfeat.backbone(layers=["conv1_1", "conv2_1", "conv3_2", "conv4_2", "conv5_2", "pool5"], weights=net_a)
        for ours, other in zip(found(IMAGES).values(), expected, strict=True):
            torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("net", CONFIGS)
def test_torchvision_finds_each_layer_of_ours_by_its_name(net):
    """Its names of nodes are those of the modules: conv4_3 is not another layer's."""
    vgg = VGG(net, width=1 / 16, top="pool5").eval()
    extract = create_feature_extractor(copy.deepcopy(vgg), names_of(net))
    with torch.no_grad():
        found, x = extract(IMAGES), IMAGES
        for name, module in vgg.named_children():
            x = module(x)
            if name in found and name.startswith("pool"):
                assert torch.equal(found[name], x)
            elif name.startswith("relu"):  # in place, so that the convolution's result is behind its ReLU
                assert torch.equal(found[name.replace("relu", "conv")], x)


@pytest.mark.parametrize("layer", names_of("A"))
def test_a_descriptor_is_the_mean_of_the_map(layer):
    image = (IMAGES[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    maps = vggfeat.feature_maps(image, [layer], weights="slim")[layer]
    described = vggfeat.describe(image, layer=layer, scales=[48], mirror=False, normalize="none", weights="slim")
    np.testing.assert_allclose(described, maps.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)


def test_oxfords_preprocessing_is_inside():
    slim = weights.resolve("slim", top="pool5")
    module = Backbone(slim, ["conv1_1"])
    prep = slim.preprocessing
    pixels = IMAGES * prep.range
    pixels = pixels.flip(1) if prep.colour == "BGR" else pixels
    mean, std = torch.tensor(prep.mean).view(1, 3, 1, 1), torch.tensor(prep.std).view(1, 3, 1, 1)
    expected = torch.relu(weights.load(slim, "conv1_1").conv1_1((pixels - mean) / std))
    torch.testing.assert_close(module(IMAGES)["conv1_1"], expected)


def test_frozen_until_asked(net_a):
    module = vggfeat.backbone(layers=["conv2_1"], weights=net_a)
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert not module.training
    module.conv2_1.requires_grad_(True)
    module(IMAGES)["conv2_1"].sum().backward()
    assert module.conv2_1.weight.grad.abs().max() > 0
    assert module.conv1_1.weight.grad is None


def test_the_state_dict_has_the_native_names(net_a, tmp_path):
    module = vggfeat.backbone(weights=net_a)
    assert list(module.state_dict()) == list(weights.load(net_a, "pool5").state_dict())
    copied = copy.deepcopy(module)
    copied.load_state_dict(module.state_dict())
    assert torch.equal(copied(IMAGES)["pool5"], module(IMAGES)["pool5"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_and_in_parallel(net_a):
    module = vggfeat.backbone(layers=["conv1_1", "pool2"], weights=net_a)
    expected = module(IMAGES)
    for other in (torch.compile(module, backend="eager", fullgraph=True), torch.nn.DataParallel(module)):
        found = other(IMAGES)
        assert all(torch.equal(found[layer], expected[layer]) for layer in expected)


def test_a_photo_at_a_smallest_side(tmp_path):
    Image.fromarray(np.zeros((60, 120, 3), np.uint8)).save(tmp_path / "photo.png")
    maps = vggfeat.feature_maps(tmp_path / "photo.png", ["conv2_1", "pool3"], q=32, weights="slim")
    assert [values.shape[1:] for values in maps.values()] == [(16, 32), (4, 8)]
    assert vggfeat.feature_maps(tmp_path / "photo.png", ["pool1"], weights="slim")["pool1"].shape[1:] == (30, 60)


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "of torch.uint8: expected floating point, in 0..1"),
        (torch.zeros(3, 64, 64), r"of shape \(3, 64, 64\): expected \(N, 3, H, W\), RGB; give images\[None\]$"),
        (torch.zeros(1, 64, 64, 3), r"expected \(N, 3, H, W\), RGB; give images.permute\(0, 3, 1, 2\)$"),
        (torch.zeros(1, 1, 64, 64), r"expected .*; give images.expand\(-1, 3, -1, -1\)$"),
        (torch.zeros(1, 4, 64, 64), r"expected .*; give images\[:, :3\]$"),
        (torch.zeros(2, 2), r"of shape \(2, 2\): expected \(N, 3, H, W\), RGB$"),
        (np.zeros((1, 3, 64, 64), np.float32), r"ndarray: expected a tensor \(N, 3, H, W\), floating point"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.int64), "of torch.int64: expected floating point, in 0..1"),
        (torch.full((1, 3, 64, 64), 200.0), "values from 200 to 200: expected 0..1; give images / 255"),
        (torch.full((1, 3, 64, 64), torch.nan), "values from nan to nan: expected 0..1"),
        (torch.zeros(1, 3, 31, 64), "64x31 are too small for pool5: their smallest side is 32"),
    ],
)
def test_other_tensors_are_refused(images, reason):
    with pytest.raises(UsageError, match=reason):
        vggfeat.backbone(weights="slim")(images)


def test_the_range_is_checked_until_a_batch_is_right():
    module = vggfeat.backbone(weights="slim")
    for _ in range(2):
        with pytest.raises(UsageError, match="values from 200 to 200"):
            module(torch.full((1, 3, 64, 64), 200.0))
    module(IMAGES)
    assert module(torch.full((1, 3, 64, 64), 3.0))["pool5"].isfinite().all()  # an optimiser's


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_images_of_another_precision(dtype):
    """They are brought to that of the parameters."""
    module = vggfeat.backbone(layers=["conv1_1"], weights="slim")
    expected = module(IMAGES)["conv1_1"]
    found = module(IMAGES.to(dtype))["conv1_1"]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02 * float(expected.max()))
    half = module.to(torch.bfloat16)(IMAGES)["conv1_1"]
    assert half.dtype == torch.bfloat16


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_does():
    layers = ["conv1_1", "conv2_1", "pool5"]
    module = vggfeat.backbone(layers=layers, weights="slim")
    images = [IMAGES.clone().requires_grad_(), IMAGES.cuda().requires_grad_()]
    with torch_settings(tf32=False):
        expected, found = module(images[0]), copy.deepcopy(module).cuda()(images[1])
        for maps in (expected, found):
            sum(map_.square().mean() for map_ in maps.values()).backward()
    for layer in layers:
        assert found[layer].is_cuda
        torch.testing.assert_close(found[layer].cpu(), expected[layer], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(images[1].grad.cpu(), images[0].grad, rtol=1e-3, atol=1e-3 * float(images[0].grad.max()))


@pytest.mark.parametrize("size", [(32, 32), (33, 95), (47, 32)])
def test_any_size_from_the_smallest_on(size):
    maps = vggfeat.backbone(layers=["conv1_1", "pool5"], weights="slim")(torch.rand(1, 3, *size))
    assert maps["conv1_1"].shape[2:] == size
    assert maps["pool5"].shape[2:] == (size[0] // 32, size[1] // 32)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (["conv1_2"], "net A gives no map of 'conv1_2'; its layers are conv1_1, pool1, conv2_1,"),
        (["fc7"], "no map of 'fc7'"),
        ("pool5", r"a list of names, such as \['conv4_3', 'pool5'\], not 'pool5'"),
        ([], "a list of names"),
        (["pool5", "pool5"], "a layer is given twice: pool5,pool5"),
    ],
)
def test_other_layers_are_refused(wanted, reason):
    with pytest.raises(UsageError, match=reason):
        vggfeat.backbone(layers=wanted, weights="slim")


def test_one_name_is_no_list_of_layers():
    with pytest.raises(UsageError, match="layers must be a list of names"):
        vggfeat.feature_maps(np.zeros((60, 60, 3), np.uint8), "pool5", q=64, weights="slim")


def test_a_scale_that_is_too_small():
    with pytest.raises(UsageError, match="Q=15 is too small for pool4: its smallest Q is 16"):
        vggfeat.feature_maps(np.zeros((60, 60, 3), np.uint8), ["pool4"], q=15, weights="slim")
    with pytest.raises(UsageError, match="Q=15 is too small for conv5_1: its smallest Q is 16"):
        vggfeat.DescriptorSpec(layer="conv5_1", scales=[15])
    with pytest.raises(UsageError, match="net A has no layer 'conv5_4'; its layers are conv1_1, pool1"):
        vggfeat.DescriptorSpec(layer="conv5_4", net="A")
