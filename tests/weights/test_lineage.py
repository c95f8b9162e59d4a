"""Who trained the weights: known by the values of the first layer, by checksum, as the user says, or assumed."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import conv2d
from typer.testing import CliRunner

from tests.kit.foreign_files import keras_layers, torchvision_net, write_keras
from vggfeat import Describer, cli, golden
from vggfeat.errors import UsageError, WeightsError
from vggfeat.spec import DescriptorSpec
from vggfeat.weights import OXFORD, TORCHVISION, Preprocessing, convert, load, read, resolve, verify
from vggfeat.weights.lineage import by_first_layer
from vggfeat.weights.native import save_as
from vggfeat.weights.published import REGISTRY
from vggfeat.weights.registry import Check

State = dict[str, Tensor]
SLIM = REGISTRY.assets / "slim.safetensors"
CONV_E = "weights/vgg19-oxford-conv-fp16.safetensors"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VGGFEAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def first_layer(file: Path) -> tuple[Tensor, Tensor]:
    tensors = load_file(file)
    return tensors["conv1_1.weight"].float(), tensors["conv1_1.bias"].float()


def under_torchvisions_names(file: Path, to: Path) -> Path:
    """The convolutional layers of a native file as torchvision's vgg11 or vgg19 names them."""
    import torchvision

    tensors = load_file(file)
    convs = sorted({name.partition(".")[0] for name in tensors if name.startswith("conv")})
    with torch.device("meta"):
        net = torchvision.models.vgg11() if len(convs) == 8 else torchvision.models.vgg19()
    places = [place for place, module in enumerate(net.features) if isinstance(module, torch.nn.Conv2d)]
    kinds = ("weight", "bias")
    state = {
        f"features.{place}.{kind}": tensors[f"{conv}.{kind}"]
        for conv, place in zip(convs, places, strict=True)
        for kind in kinds
    }
    torch.save(state, to)
    return to


# The values of the first layer


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_bundled_net_is_known_by_its_values(dtype: torch.dtype) -> None:
    weight, bias = (tensor.to(dtype) for tensor in first_layer(SLIM))
    found = by_first_layer(weight, bias)
    assert found is not None
    assert (found.lineage, found.preprocessing, found.assumed) == ("slim", read(SLIM).preprocessing, False)


def test_oxfords_net_is_known_by_its_values(shared: Callable[[str], Path]) -> None:
    found = by_first_layer(*first_layer(shared(CONV_E)))
    assert found is not None
    assert (found.lineage, found.preprocessing) == ("oxford", OXFORD)


def network_input(pixels: np.ndarray, preprocessing: Preprocessing) -> Tensor:
    """(1, 3, h, w) of RGB pixels uint8 (h, w, 3), by the definition of `Preprocessing`."""
    ordered = pixels if preprocessing.colour == "RGB" else pixels[..., ::-1]
    scaled = ordered.astype(np.float64) / 255 * preprocessing.range
    values = (scaled - np.array(preprocessing.mean)) / np.array(preprocessing.std)
    return torch.from_numpy(values.transpose(2, 0, 1)[None])


@pytest.mark.parametrize(
    ("change", "colour", "largest"),
    [
        (lambda weight: weight, "RGB", 255.0),
        (lambda weight: weight.flip(1), "BGR", 255.0),
        (lambda weight: weight * 255, "RGB", 1.0),
        (lambda weight: weight.flip(1) * 255, "BGR", 1.0),
    ],
)
def test_a_converted_first_layer_gets_an_input_for_which_it_computes_the_same(
    change: Callable[[Tensor], Tensor], colour: str, largest: float
) -> None:
    weight, bias = first_layer(SLIM)
    changed = change(weight)
    found = by_first_layer(changed, bias)
    assert found is not None
    assert (found.lineage, found.preprocessing.colour, found.preprocessing.range) == ("slim", colour, largest)
    pixels = golden.golden_image()[:20, :30]
    ours = conv2d(network_input(pixels, found.preprocessing), changed.double(), bias.double(), padding=1)
    trained = conv2d(network_input(pixels, read(SLIM).preprocessing), weight.double(), bias.double(), padding=1)
    torch.testing.assert_close(ours, trained)


def test_another_first_layer_is_not_taken_for_a_known_one() -> None:
    weight, bias = first_layer(SLIM)
    with_the_mean_in_its_biases = bias - (weight.sum((2, 3)) * torch.tensor(TORCHVISION.mean)).sum(1)
    assert by_first_layer(weight, with_the_mean_in_its_biases) is None
    assert by_first_layer(weight * 1.01, bias) is None
    assert by_first_layer(weight * 2, bias) is None
    assert by_first_layer(torch.zeros_like(weight), torch.zeros_like(bias)) is None
    assert by_first_layer(torch.full_like(weight, torch.nan), bias) is None
    assert by_first_layer(torch.ones(64, 3, 5, 5), bias) is None


# A file of another framework


def test_oxfords_net_under_torchvisions_names_gives_oxfords_descriptors(
    shared: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = under_torchvisions_names(shared(CONV_E), tmp_path / "vgg19.pth")
    image, options = golden.golden_image(), {"layer": "pool5", "scales": (64,)}
    ours, theirs = (Describer(weights=str(f), **options).describe(image) for f in (file, shared(CONV_E)))  # type: ignore[arg-type]
    assert float(ours @ theirs) > 0.999999
    assert capsys.readouterr().err == ""
    with pytest.raises(WeightsError, match=r"vgg19\.pth: is of the lineage oxford, not torchvision; leave out"):
        resolve(file, top="pool5", lineage="torchvision")


def test_weights_of_unknown_lineage_are_assumed_said_and_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(torchvision_net("A").state_dict(), tmp_path / "mine.pth")

    def fingerprint(**options: Any) -> dict[str, Any]:
        return Describer(weights=str(tmp_path / "mine.pth"), layer="pool5", scales=(32,), **options).fingerprint()[0]

    assumed = fingerprint()
    assert assumed["lineage"] == "assumed"
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for words in ("mine.pth", "torchvision's preprocessing is assumed", "--lineage oxford"):
        assert words in said
    fingerprint()
    assert capsys.readouterr().err == ""  # once is enough
    for lineage, preprocessing in (("torchvision", TORCHVISION), ("oxford", OXFORD)):
        known = fingerprint(lineage=lineage)
        assert "lineage" not in known
        assert known["preprocessing"]["colour"] == preprocessing.colour
    assert fingerprint() == assumed  # the cache keeps the three apart
    assert capsys.readouterr().err == ""


def test_a_native_file_remembers_that_its_lineage_was_assumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    src = write_keras(tmp_path / "x.h5", keras_layers("D"))
    native = convert(src, tmp_path / "x.safetensors").path
    assert read(native).assumed
    assert resolve(native).assumed
    assert "oxford's preprocessing is assumed" in capsys.readouterr().err
    assert not resolve(native, lineage="oxford").assumed
    with pytest.raises(WeightsError, match=r"lineage oxford, not torchvision; .* convert its source again"):
        resolve(native, lineage="torchvision")
    assert not convert(src, tmp_path / "y.safetensors", lineage="oxford").assumed


def test_a_native_file_that_contradicts_its_first_layer_is_found(tmp_path: Path) -> None:
    """As one that was converted when Oxford's nets under torchvision's names were not recognised."""
    wrong = replace(read(SLIM), preprocessing=OXFORD)
    save_as(tmp_path / "x.safetensors", load_file(SLIM), wrong)
    with pytest.raises(WeightsError, match=r"x\.safetensors: its first layer is slim's, for RGB, .* but it says BGR"):
        verify(tmp_path / "x.safetensors")


def test_an_assumption_is_said_once_for_the_golden_descriptor(tmp_path: Path) -> None:
    torch.save(torchvision_net("A").state_dict(), tmp_path / "x.pth")
    ran = CliRunner().invoke(cli.app, ["weights", "verify", str(tmp_path / "x.pth"), "--golden", "--device", "cpu"])
    assert ran.stderr.count("preprocessing is assumed") == 1


@pytest.mark.parametrize("name", ["slim", SLIM])
def test_known_weights_of_another_lineage_are_refused(name: str | Path) -> None:
    with pytest.raises(WeightsError, match="is of the lineage slim, not oxford; leave out --lineage"):
        resolve(name, lineage="oxford")


def test_a_published_file_is_known_by_its_checksum_under_any_name(tmp_path: Path) -> None:
    torch.save(torchvision_net("A").state_dict(), tmp_path / "renamed.pth")
    check = Check(sha256=sha256((tmp_path / "renamed.pth").read_bytes()).hexdigest())
    known = replace(REGISTRY.named["torchvision", "A"], check=check)
    registry = replace(REGISTRY, named={("torchvision", "A"): known})
    assert not convert(tmp_path / "renamed.pth", tmp_path / "x.safetensors", registry=registry).assumed
    assert not verify(tmp_path / "renamed.pth", registry=registry).assumed
    with pytest.raises(WeightsError, match="lineage torchvision, not oxford"):
        convert(tmp_path / "renamed.pth", tmp_path / "y.safetensors", lineage="oxford", registry=registry)


def test_the_command_says_what_it_assumed(tmp_path: Path) -> None:
    torch.save(torchvision_net("A").state_dict(), tmp_path / "x.pth")
    command = ["weights", "convert", str(tmp_path / "x.pth"), str(tmp_path / "x.safetensors")]
    assert "assumed for torchvision; give --lineage" in CliRunner().invoke(cli.app, command).stdout
    assert "assumed" not in CliRunner().invoke(cli.app, [*command, "--lineage", "oxford"]).stdout


def test_a_spec_has_a_known_lineage_or_none() -> None:
    assert DescriptorSpec(lineage="oxford").lineage == "oxford"
    with pytest.raises(UsageError, match="no lineage 'caffe'; take one of oxford, torchvision"):
        DescriptorSpec(lineage="caffe")  # type: ignore[arg-type]


def test_our_own_net_from_torch_save(tmp_path: Path) -> None:
    """By the names of the paper; the published values are found again."""
    vgg = load(resolve("slim"), "fc7")
    torch.save(vgg.state_dict(), tmp_path / "mine.pth")
    save_file(vgg.state_dict(), tmp_path / "mine.safetensors")
    for file in ("mine.pth", "mine.safetensors"):
        found = resolve(tmp_path / file)
        assert (found.net, found.top, found.lineage) == ("A", "fc7", "slim")
        assert torch.equal(load_file(found.path)["fc7.bias"], vgg.get_parameter("fc7.bias"))
