"""Classification: its laws, a recomputation from the plain net, names, and what is said when it can't be done."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from typer.testing import CliRunner

from vggfeat import cli, weights
from vggfeat.classify import Classifier, Prediction, classify
from vggfeat.errors import ImageError, UsageError, WeightsError
from vggfeat.nets import VGG, initialise

Weights = Callable[..., Path]


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 (H, W, 3): coarse squares, so that places differ."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 32 + 1, width // 32 + 1, 3), dtype=np.uint8)
    return small.repeat(32, 0).repeat(32, 1)[:height, :width]


@pytest.fixture
def make(tiny_weights: Weights) -> Callable[..., Classifier]:
    def classifier(net: str = "A", **options: Any) -> Classifier:
        files = ",".join(str(tiny_weights(name)) for name in net.split(","))
        return Classifier(net, **{"scales": (224,), "weights": files, "device": "cpu", **options})

    return classifier


Make = Callable[..., Classifier]


def test_a_crop_of_224_has_the_posteriors_of_the_plain_net(make: Make, tiny_weights: Weights) -> None:
    """Oxford's preprocessing by hand: BGR, 0..255, minus the mean."""
    image = photo(224, 224)
    x = torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1)[None].float()
    x -= torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    vgg = weights.load(weights.read(tiny_weights("A")))
    one, mirror = vgg(x).softmax(1), vgg(x.flip(3)).softmax(1)
    assert float((one - mirror).abs().max()) > 1e-4  # else the next lines prove nothing
    np.testing.assert_allclose(make(mirror=False).posteriors(image), one[0], atol=1e-6)
    np.testing.assert_allclose(make().posteriors(image), ((one + mirror) / 2)[0], atol=1e-6)


def test_a_larger_image_has_the_mean_of_the_score_map_before_the_soft_max(make: Make, tiny_weights: Weights) -> None:
    """fc6 at each of the 2 x 3 places of 7x7 windows of pool5, by hand; the soft-max comes after the mean."""
    image = photo(256, 288, 1)
    x = torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1)[None].float()
    x -= torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    header = weights.read(tiny_weights("A"))
    vgg = weights.load(header)
    maps = weights.load(header, "pool5")(x)
    assert maps.shape[2:] == (8, 9)
    windows = functional.unfold(maps, 7)[0].T
    assert len(windows) == 6
    names = [name for name, _ in vgg.named_children()]
    places = torch.nn.Sequential(*list(vgg)[names.index("fc6") :])(windows)
    expected = places.mean(0).softmax(0)
    assert float((expected - places.softmax(1).mean(0)).abs().max()) > 1e-7
    np.testing.assert_allclose(make(mirror=False, scales=(256,)).posteriors(image), expected, atol=1e-6)


def test_laws(make: Make) -> None:
    a, b = photo(240, 300, 2), photo(300, 240, 3)
    both = make(scales=(224, 256)).posteriors([a, b])
    assert (both.dtype, both.shape) == (np.float32, (2, 7))
    np.testing.assert_allclose(both.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(both[1], make(scales=(224, 256)).posteriors(b), atol=1e-6)
    np.testing.assert_allclose(both[0], make(scales=(224, 256)).posteriors(a[:, ::-1]), atol=1e-6)
    small, large = (make(scales=(q,)).posteriors(a) for q in (224, 256))
    np.testing.assert_allclose(both[0], (small + large) / 2, atol=1e-6)
    fused = make("A,B").posteriors(a)
    np.testing.assert_allclose(fused, (make("A").posteriors(a) + make("B").posteriors(a)) / 2, atol=1e-6)


def test_nothing_in_nothing_out(make: Make) -> None:
    assert make().posteriors([]).shape == (0, 7)
    assert make().predict([]) == []


def test_predictions_are_named_and_in_order(make: Make, tiny_weights: Weights) -> None:
    image = photo(224, 224)
    posteriors = make().posteriors(image)
    found = classify(image, weights=tiny_weights("A"), scales=(224,), device="cpu", top=3)
    best = sorted(range(7), key=lambda i: -posteriors[i])[:3]
    assert found == [Prediction(f"class {i}", i, pytest.approx(float(posteriors[i]), abs=1e-6)) for i in best]
    assert classify([image], weights=tiny_weights("A"), scales=(224,), device="cpu", top=3) == [found]
    assert len(make().predict([image], top=100)[0]) == 7
    with pytest.raises(UsageError, match="must be 1 or more"):
        make().predict([image], top=0)


def test_one_image_where_a_list_is_wanted(make: Make) -> None:
    with pytest.raises(UsageError, match=r"give \[image\] for one"):
        make().predict("a.jpg")
    with pytest.raises(ImageError, match=r"\Aimage 1 of the list \(from 0\): "):
        make().posteriors([photo(224, 224), b"bytes"])


def saved(path: Path, outputs: int, lineage: str, **facts: Any) -> weights.Weights:
    vgg = initialise(VGG("A", width=1 / 16, classes=outputs), generator=torch.Generator().manual_seed(1))
    facts = {"source": "", "licence": "", "preprocessing": weights.OXFORD, "width": 1 / 16, **facts}
    return weights.save(path, vgg.state_dict(), net="A", lineage=lineage, **facts)


@pytest.mark.parametrize("lineage", ["oxford", "torchvision"])
def test_ilsvrcs_names_come_with_the_nets_trained_on_it(lineage: str, tmp_path: Path) -> None:
    names = weights.class_names(saved(tmp_path / "x.safetensors", 1000, lineage))
    assert names is not None
    # Sorted by synset: n01440764, n01443537, ..., n15075141.
    assert (len(names), names[0], names[1], names[999]) == (1000, "tench", "goldfish", "toilet tissue")


def test_names_are_not_made_up(tmp_path: Path) -> None:
    assert weights.class_names(saved(tmp_path / "x.safetensors", 1000, "mine")) is None
    ten = saved(tmp_path / "y.safetensors", 10, "oxford")
    assert weights.class_names(ten) is None
    assert Classifier(weights=ten.path).names[9] == "class 9"
    own = saved(tmp_path / "z.safetensors", 1000, "oxford", classes=("x",) * 1000)
    assert weights.class_names(own) == ("x",) * 1000


def test_the_slim_net_has_names_of_its_own() -> None:
    assert Classifier(weights="slim").names[:2] == ("tench", "English springer")


def test_the_slim_net_knows_most_of_its_photos(shared: Callable[[str], Path]) -> None:
    """Its ten classes in the order of their synsets, as the folders are sorted."""
    folders = sorted(folder for folder in shared("data/imagenette-128/val").iterdir() if folder.is_dir())
    photos = [photo for folder in folders for photo in sorted(folder.glob("*.JPEG"))[:4]]
    found = Classifier(weights="slim", scales=(224,), device="cpu").predict(photos, 1)
    right = [best.place == folders.index(photo.parent) for photo, (best,) in zip(photos, found, strict=True)]
    assert len(right) == 40
    assert sum(right) > 20  # 4 by chance


def test_a_net_without_fc8(tiny_weights: Weights) -> None:
    with pytest.raises(WeightsError, match=r"ends at pool5, and fc8 is needed; take weights that have fc8"):
        Classifier(weights=tiny_weights("A", top="pool5"))


def test_nets_with_other_classes(tiny_weights: Weights) -> None:
    files = f"{tiny_weights('A')},{tiny_weights('B', classes=8)}"
    with pytest.raises(WeightsError, match="have different classes"):
        Classifier("A,B", weights=files)


def test_arguments_and_images_that_cannot_be_meant(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Q=200 is too small for fc8: its smallest Q is 224"):
        make(scales=(200,))
    with pytest.raises(ImageError, match=r"none\.jpg"):
        make().posteriors(tmp_path / "none.jpg")


def test_the_command_prints_the_likeliest_with_names(tiny_weights: Weights, tmp_path: Path) -> None:
    from PIL import Image

    for i in range(2):
        Image.fromarray(photo(224, 224, i)).save(tmp_path / f"{i}.png")
    files = [str(tmp_path / f"{i}.png") for i in range(2)]
    options = ["--weights", str(tiny_weights("A")), "--scales", "224", "--top", "2"]
    output = CliRunner().invoke(cli.app, ["classify", *files, *options], catch_exceptions=False).output
    best = classify(files, weights=tiny_weights("A"), scales=(224,), top=2)
    lines = []
    for file, predictions in zip(files, best, strict=True):
        lines += [file, *(f"{100 * p.probability:8.2f} %  {p.name}" for p in predictions)]
    assert output.splitlines() == lines
