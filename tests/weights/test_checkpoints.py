"""PyTorch's checkpoints as people have them: a VGG is found in them; layers after the needed one may be bad."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.kit.foreign_caffe import write_caffe
from tests.kit.foreign_files import image, named_layers, refused, torchvision_net
from vggfeat.errors import UsageError, WeightsError
from vggfeat.nets import VGG
from vggfeat.weights import convert, load, read, resolve

State = dict[str, Tensor]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VGGFEAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return torchvision_net("A")


@pytest.fixture(scope="module")
def state(model: nn.Module) -> State:
    return model.state_dict()


def prefixed(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def in_features(state: State) -> State:
    """As in PyTorch's ImageNet example, which spreads the convolutional layers alone over several GPUs."""
    return {name.replace("features.", "features.module."): value for name, value in state.items()}


CHECKPOINTS: dict[str, Callable[[State], Any]] = {
    "a tutorial's": lambda s: {"epoch": 3, "model_state_dict": s, "optimizer_state_dict": {"state": {}}, "loss": 0.1},
    "net": lambda s: {"net": s, "acc": 91.5},
    "PyTorch's example": lambda s: {"arch": "vgg11", "state_dict": in_features(s), "best_acc1": torch.tensor(0.5)},
    "Lightning": lambda s: {
        "state_dict": prefixed("model.", s) | {"accuracy.tp": torch.ones(3)},
        "callbacks": {"early stopping": {"best": torch.tensor(1.0)}},
    },
    "compiled": lambda s: prefixed("_orig_mod.", s),
    "compiled in parallel": lambda s: {"model": {"state": prefixed("module._orig_mod.", s)}},
    "compiled features": lambda s: {k.replace("features.", "features._orig_mod."): v for k, v in s.items()},
    "a counter beside": lambda s: prefixed("module.", s) | {"n_averaged": torch.tensor(7)},
    "twice the same": lambda s: {"net": s, "ema": {k: v.clone() for k, v in s.items()}},
    "itself in itself": lambda s: cycle({"model": s}),
}


def cycle(checkpoint: dict[str, Any]) -> dict[str, Any]:
    checkpoint["again"] = checkpoint
    return checkpoint


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("case", CHECKPOINTS)
def test_the_net_of_a_checkpoint(case: str, zipped: bool, model: nn.Module, state: State, tmp_path: Path) -> None:
    torch.save(CHECKPOINTS[case](state), tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    converted = load(convert(tmp_path / "x.pth", tmp_path / "x.safetensors"))
    torch.testing.assert_close(converted(image()), model(image()))


def test_a_prefix_in_safetensors(state: State, tmp_path: Path) -> None:
    save_file(prefixed("backbone.", state), tmp_path / "x.safetensors")
    converted = load(convert(tmp_path / "x.safetensors", tmp_path / "y.safetensors"))
    assert torch.equal(converted.get_parameter("fc8.bias"), state["classifier.6.bias"])


def test_nets_that_differ_are_named_and_refused(state: State, tmp_path: Path) -> None:
    other = {name: value + 1 for name, value in state.items()}
    torch.save({"epoch": 1, "net": state, "ema": {"module": other}}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "several nets that differ: net, ema.module; save only the state_dict()")
    torch.save(prefixed("student.", state) | prefixed("teacher.", other), tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "several nets that differ: student, teacher;")
    torch.save(state | prefixed("loss.", other), tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "several nets that differ: one without a prefix, loss;")


def test_dictionaries_in_dictionaries_are_searched_to_some_depth(state: State, tmp_path: Path) -> None:
    nested: Any = state
    for _ in range(100):
        nested = {"a": nested}
    torch.save(nested, tmp_path / "x.pth")
    assert convert(tmp_path / "x.pth", tmp_path / "x.safetensors").net == "A"
    torch.save({"a" * 2000: state}, tmp_path / "y.pth")
    refused(tmp_path / "y.pth", "no state dict")


# Only the needed layers


def with_custom_head(state: State) -> State:
    """One layer for 5 classes in place of the three: a usual way of fine-tuning."""
    convs = {name: value for name, value in state.items() if name.startswith("features")}
    return convs | {"classifier.fc.weight": torch.ones(5, 1568), "classifier.fc.bias": torch.ones(5)}


def with_nan(state: State) -> State:
    return state | {"classifier.0.bias": torch.full((256,), torch.nan)}


def with_part_of_fc6(state: State) -> State:
    convs = {name: value for name, value in state.items() if name.startswith("features")}
    return convs | {"classifier.0.weight": torch.full((64, 32), torch.nan)}


@pytest.mark.parametrize("change", [with_custom_head, with_nan, with_part_of_fc6])
def test_pool5_needs_no_classifier(change: Callable[[State], State], state: State, tmp_path: Path) -> None:
    torch.save(change(state), tmp_path / "x.pth")
    found = resolve(tmp_path / "x.pth", top="pool5")
    assert (found.top, found.layers) == ("pool5", ("pool5",))
    assert torch.equal(load(found, "pool5").get_parameter("conv5_2.bias"), state["features.18.bias"])
    with pytest.raises(WeightsError, match=r"x\.pth: (holds classifier\.fc\.weight|fc6\.)"):
        resolve(tmp_path / "x.pth", top="fc7")  # the file in the cache ends at pool5, and does not count
    assert resolve(tmp_path / "x.pth", top="pool5") == found


@pytest.mark.parametrize("change", ["NaN", "another head"])
def test_fc7_needs_no_fc8(change: str, state: State, tmp_path: Path) -> None:
    head = {"classifier.6.bias": torch.full((10,), torch.nan)} if change == "NaN" else {}
    if change == "another head":
        state = {name: value for name, value in state.items() if not name.startswith("classifier.6")}
        head = {"classifier.6.0.weight": torch.ones(3, 256), "classifier.6.0.bias": torch.ones(3)}
    torch.save(state | head, tmp_path / "x.pth")
    found = resolve(tmp_path / "x.pth", top="fc7")
    assert found.top == "fc7"
    assert torch.equal(load(found, "fc7").get_parameter("fc7.bias"), state["classifier.3.bias"])
    with pytest.raises(WeightsError, match=r"fc8\."):
        resolve(tmp_path / "x.pth", top="fc8")


def test_a_whole_file_is_converted_whole_for_each_layer(state: State, tmp_path: Path) -> None:
    """So that its sha256, which stores record, does not depend on the layer."""
    torch.save(state, tmp_path / "x.pth")
    assert len({resolve(tmp_path / "x.pth", top=top).sha256 for top in ("pool5", "fc7", "fc8")}) == 1  # type: ignore[arg-type]


def test_caffes_layers_of_fine_tuning(tmp_path: Path) -> None:
    """Caffe's users give a layer that is trained anew another name."""
    layers = named_layers("D")
    layers["fc8_birds"] = layers.pop("fc8")
    src = write_caffe(tmp_path / "x.caffemodel", layers)
    assert resolve(src, top="fc7").top == "fc7"
    with pytest.raises(WeightsError, match="holds fc8_birds, which no VGG has"):
        resolve(src, top="fc8")


def test_a_bad_convolution_is_refused_for_each_layer(state: State, tmp_path: Path) -> None:
    torch.save(state | {"features.18.bias": torch.full((32,), torch.nan)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"x\.pth: conv5_2\.bias holds values that are not finite"):
        resolve(tmp_path / "x.pth", top="pool5")
    torch.save(state | {"features.19.running_mean": torch.ones(32)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="batch normalisation"):
        resolve(tmp_path / "x.pth", top="pool5")


def test_the_last_layer_may_be_chosen(state: State, tmp_path: Path) -> None:
    torch.save(with_nan(state), tmp_path / "x.pth")
    assert convert(tmp_path / "x.pth", tmp_path / "x.safetensors", top="pool5").top == "pool5"
    assert read(tmp_path / "x.safetensors").top == "pool5"


# Files of other kinds, and places to write to


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
def test_files_of_numpy_and_torchscript_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", conv1_1_W=np.ones(3))
    np.savez_compressed(tmp_path / "y.npz", conv1_1_W=np.ones(3))
    np.save(tmp_path / "x.npy", np.ones(3))
    for name in ("x.npz", "y.npz", "x.npy"):
        refused(tmp_path / name, "is a file of NumPy; put its arrays into a VGG")
    torch.jit.save(torch.jit.script(VGG("A", width=1 / 16, top="pool5")[:2]), tmp_path / "x.pt")
    refused(tmp_path / "x.pt", "is a TorchScript program, and vggfeat runs no code in files; save its tensors:")


@pytest.mark.parametrize(
    ("out", "words"), [("a.pth", "written as .safetensors"), ("none/a.safetensors", "no such fol")]
)
def test_a_wrong_output_is_refused_before_the_source_is_read(out: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "damaged.pth").write_bytes(b"PK\x03\x04")
    with pytest.raises(UsageError, match=words):
        convert(tmp_path / "damaged.pth", tmp_path / out)
