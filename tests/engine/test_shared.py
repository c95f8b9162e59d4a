"""The maps of several nets: those of each net alone, and equal convolutions computed once."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from tests.kit.box_nets import random_net
from vggfeat.engine import Engine, Whole
from vggfeat.engine.net import DenseNet
from vggfeat.engine.shared import Maps
from vggfeat.weights import Weights, load, read

Make = Callable[..., Path]


def pixels(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (1, 3, height, width), generator=torch.Generator().manual_seed(1)).float()


def maps(*nets: DenseNet) -> Maps:
    found = Maps(nets)
    found.load()
    return found


@pytest.fixture(scope="module")
def nets(tiny_weights: Make, tmp_path_factory: pytest.TempPathFactory) -> list[Weights]:
    """Two that share their convolutions."""
    folder = tmp_path_factory.mktemp("nets")
    names = ("cat", "dog")
    return [
        random_net(tiny_weights, folder / f"{seed}.safetensors", names, boxes, seed=seed)
        for seed, boxes in enumerate([None, "pcr"])
    ]


def test_at_224_the_map_is_the_net_itself(nets: list[Weights]) -> None:
    (found,) = maps(DenseNet(nets[1], "fc8", mirror=False))(pixels(224, 224))
    assert found.shape == (1, 1, 8, 1, 1)
    x = (pixels(224, 224).flip(1) - torch.tensor(nets[1].preprocessing.mean).view(1, 3, 1, 1)).float()
    assert torch.allclose(found.flatten(), load(nets[1])(x).flatten(), rtol=1e-4, atol=1e-4)


def test_equal_convolutions_are_computed_once(
    nets: list[Weights], tiny_weights: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pooled, pool = [], functional.max_pool2d
    monkeypatch.setattr(functional, "max_pool2d", lambda *given, **more: pooled.append(1) or pool(*given, **more))
    one, other = (DenseNet(weights, "fc8", mirror=False) for weights in nets)
    apart = DenseNet(read(tiny_weights("A", classes=3)), "fc8", mirror=False)
    image = pixels(224, 256)
    shared = maps(one, other, apart)
    for found, alone in zip(shared(image), (one, other, apart), strict=True):
        assert torch.equal(found, maps(alone)(image)[0])
    pooled.clear()
    shared(image)
    assert len(pooled) == 2 * 5  # of three nets


def test_only_nets_with_mirror_see_the_mirror_image(nets: list[Weights]) -> None:
    image = pixels(224, 300)
    with_mirror, without = maps(DenseNet(nets[0], "fc8"), DenseNet(nets[1], "fc8", mirror=False))(image)
    assert (with_mirror.shape, without.shape) == ((1, 2, 2, 1, 3), (1, 1, 8, 1, 3))
    (mirrored,) = maps(DenseNet(nets[0], "fc8", mirror=False))(image.flip(3))
    assert torch.allclose(with_mirror[:, 1:], mirrored, atol=1e-4)


def test_images_of_several_sizes_and_scales(nets: list[Weights]) -> None:
    engine = Engine([DenseNet(weights, "fc8", mirror=False) for weights in nets])
    images = [pixels(*size)[0].byte() for size in ((224, 224), (224, 320), (448, 448))]
    found = dict(engine.maps(enumerate(images), (256, 224), Whole()))
    shapes = {key: [[net.shape[1:] for net in scale] for scale in scales] for key, scales in found.items()}
    places = {0: [(2, 2), (1, 1)], 1: [(2, 5), (1, 4)], 2: [(2, 2), (1, 1)]}
    assert shapes == {
        key: [[(outputs, *place) for outputs in (2, 8)] for place in of_image] for key, of_image in places.items()
    }
