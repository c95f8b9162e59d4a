"""The golden descriptor: a fixed image, what a wrong chain would do to it, and what is recorded."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from vggfeat import cli, golden, weights
from vggfeat.errors import WeightsError
from vggfeat.weights import OXFORD
from vggfeat.weights.native import save_as
from vggfeat.weights.published import REGISTRY

Shared = Callable[[str], Path]
CONV_E = "weights/vgg19-oxford-conv-fp16.safetensors"


def test_the_image_is_fixed() -> None:
    image = golden.golden_image()
    assert (image.shape, image.dtype) == ((300, 400, 3), np.uint8)
    # The formula at a few places, worked out by hand: y 0, x 0; then y 299, x 0, blue; then y 0, x 160, red.
    assert image[0, 0].tolist() == [0, 40, 80]
    assert image[299, 0, 2] == (299 * 299 // 3 // 16 + 80) % 256
    assert image[0, 160, 0] == ((160 * 160 // 3 // 16) % 256 + 5 * 3) % 256
    digest = hashlib.sha256(image.tobytes()).hexdigest()
    assert digest == "2fa4924e3fe7a9a7be52f53e7569391ed8e43c39be799271016549bbc52e72cc"


def test_no_symmetry_hides_a_mistake() -> None:
    image = golden.golden_image().astype(int)
    for other in (image[:, ::-1], image[::-1], image[:, :, ::-1]):
        assert np.abs(image - other).mean() > 50


def test_projections_estimate_distances() -> None:
    """16 random vectors estimate a distance of 0.01 with an error below one half of it."""
    signs = golden.signs(4096)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert np.abs(signs @ signs.T / 4096 - np.eye(16)).max() < 0.1  # as good as orthogonal
    for seed in range(20):
        difference = np.random.default_rng(seed).normal(size=4096)
        difference *= 0.01 / np.linalg.norm(difference)
        assert 0.005 < np.sqrt(np.mean((signs @ difference) ** 2)) < 0.02


@pytest.mark.parametrize("layer", ["pool5", "fc7"])
def test_the_slim_net_gives_the_recorded_numbers(layer: str) -> None:
    found = golden.projections(weights.resolve("slim"), layer, "cpu")
    np.testing.assert_allclose(found, REGISTRY.named["slim", "A"].golden[layer], atol=2e-5)
    assert golden.check("slim", "cpu").layer == "fc7"


def test_oxfords_net_e_gives_the_recorded_numbers(shared: Shared) -> None:
    proof = golden.check(shared(CONV_E), "cpu")
    assert proof.layer == "pool5"
    assert proof.distance < 2e-5


@pytest.mark.parametrize(
    ("changes", "least"),
    [({"colour": "RGB"}, 0.1), ({"mean": (123.68, 116.779, 103.939)}, 0.02), ({"mean": (104.0, 117.0, 123.0)}, 6e-4)],
)
def test_a_wrong_preprocessing_is_noticed(changes: Any, least: float, shared: Shared, tmp_path: Path) -> None:
    src = weights.read(shared(CONV_E))
    facts = {"lineage": "oxford", "source": "", "licence": "", "preprocessing": replace(OXFORD, **changes)}
    weights.save(tmp_path / "x.safetensors", load_file(src.path), net="E", **facts)  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match="away from the recorded one") as caught:
        golden.check(tmp_path / "x.safetensors", "cpu")
    assert float(str(caught.value).split(" is ")[1].split()[0]) > least


def test_weights_without_a_record(tiny_weights: Callable[..., Path]) -> None:
    recorded = r"recorded are oxford E \(pool5\), torchvision D \(pool5\), oxford-int8 E \(pool5\), slim A"
    with pytest.raises(WeightsError, match=f"no descriptor of its training and net is recorded.* {recorded}"):
        golden.check(tiny_weights("D"), "cpu")


def verify(file: Path) -> tuple[list[str], BaseException | None]:
    ran = CliRunner().invoke(cli.app, ["weights", "verify", str(file), "--golden", "--device", "cpu"])
    return ran.stdout.splitlines(), ran.exception


def test_the_command_proves_and_shows_the_numbers() -> None:
    lines, error = verify(weights.resolve("slim").path)
    assert error is None or error.args == (0,)
    assert lines[-1].startswith("golden     fc7 is ")
    layer, *numbers = lines[-2].split()
    assert layer == "fc7"
    np.testing.assert_allclose(np.array(numbers, float), REGISTRY.named["slim", "A"].golden["fc7"], atol=2e-5)


def test_without_a_record_the_command_shows_numbers_to_compare(tiny_weights: Callable[..., Path]) -> None:
    lines, error = verify(tiny_weights("D", top="fc6"))
    assert isinstance(error, WeightsError)
    layer, *numbers = lines[-1].split()
    assert layer == "fc6"
    assert np.array(numbers, float) == pytest.approx(
        golden.projections(weights.read(tiny_weights("D", top="fc6")), "fc6"), abs=1e-5
    )


def test_layers_without_a_record_do_not_count_as_proven(tmp_path: Path) -> None:
    """A file that ends at fc6; slim has records of pool5 and fc7 only."""
    slim = weights.resolve("slim")
    src = save_as(tmp_path / "x.safetensors", weights.load(slim, "fc6").state_dict(), replace(slim, classes=None)).path
    lines, error = verify(src)
    assert error is None or error.args == (0,)
    assert [line.split()[0] for line in lines[-4:]] == ["pool5", "fc6", "golden", "fc6"]
    assert lines[-2].startswith("golden     pool5 is ")
    assert "fc6 has no record" in lines[-1]
