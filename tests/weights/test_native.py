"""The native format: what is written is read, and all other files are refused."""

import hashlib
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vggfeat import weights
from vggfeat.errors import WeightsError
from vggfeat.nets import MAX_WIDTH, TOPS, VGG, tensor_shapes
from vggfeat.weights import OXFORD, TORCHVISION, Preprocessing, load, read, save
from vggfeat.weights.header import parse_header
from vggfeat.weights.native import read_header
from vggfeat.weights.tensorfile import TensorInfo

WIDTH = 1 / 16
CLASSES = 7
FACTS: dict[str, Any] = {"lineage": "oxford", "source": "a test", "licence": "CC-BY-4.0"}


def tensors_of(net: str = "A", top: str = "fc8", dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(1)
    shapes = tensor_shapes(net, WIDTH, CLASSES, top)  # type: ignore[arg-type]
    return {name: torch.randn(shape, generator=draw).to(dtype) / 16 for name, shape in shapes.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "Ω net.safetensors"


def saved(path: Path, **changes: Any) -> weights.Weights:
    arguments = {"tensors": tensors_of(), "net": "A", "width": WIDTH, "preprocessing": OXFORD, **FACTS}
    return save(path, **{**arguments, **changes})


@pytest.mark.parametrize("top", TOPS)
@pytest.mark.parametrize("net", ["A-LRN", "C", "E", "B-5x5"])
def test_a_file_gives_back_its_net(net: str, top: str, path: Path) -> None:
    tensors = tensors_of(net, top)
    found = saved(path, tensors=tensors, net=net)
    assert found == read(path) == read(str(path))
    assert (found.net, found.width, found.top, found.name) == (net, WIDTH, top, path.name)
    vgg = load(found, top)  # type: ignore[arg-type]
    assert list(vgg.state_dict()) == list(tensors)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in vgg.state_dict().items())
    assert not vgg.training
    assert not any(parameter.requires_grad for parameter in vgg.parameters())


def test_the_net_computes_as_one_built_by_hand(path: Path) -> None:
    tensors = tensors_of("D")
    by_hand = VGG("D", width=WIDTH, classes=CLASSES).eval()
    by_hand.load_state_dict(tensors)
    image = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert torch.equal(load(saved(path, tensors=tensors, net="D"))(image), by_hand(image))


def test_only_the_layers_that_are_needed_are_loaded(path: Path) -> None:
    found = saved(path)
    for top in TOPS:
        names = list(tensor_shapes("A", WIDTH, CLASSES, top))  # type: ignore[arg-type]
        assert list(load(found, top).state_dict()) == names  # type: ignore[arg-type]


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("wanted", [torch.float16, torch.bfloat16, torch.float32])
def test_precisions(stored: torch.dtype, wanted: torch.dtype, path: Path) -> None:
    tensors = tensors_of(dtype=stored)
    vgg = load(saved(path, tensors=tensors), "pool5", dtype=wanted)
    assert vgg.get_parameter("conv2_1.weight").dtype == wanted
    assert torch.equal(vgg.get_parameter("conv2_1.weight"), tensors["conv2_1.weight"].to(wanted))


def test_loading_draws_no_random_numbers(path: Path) -> None:
    found = saved(path)
    before = torch.get_rng_state()
    load(found)
    assert torch.equal(torch.get_rng_state(), before)


def test_pooling_may_round_up(path: Path) -> None:
    found, image = saved(path), torch.rand(1, 3, 33, 64)
    assert load(found, "pool5")(image).shape == (1, 32, 1, 2)
    assert load(found, "pool5", ceil=True)(image).shape == (1, 32, 2, 2)


def test_a_file_without_the_layers_says_what_to_do(path: Path) -> None:
    found = saved(path, tensors=tensors_of(top="pool5"))
    with pytest.raises(WeightsError, match="ends at pool5") as caught:
        load(found, "fc7")
    assert str(caught.value) == (
        f"{path}: ends at pool5, and fc7 is needed; take weights that have fc7, or use --layer pool5"
    )
    with pytest.raises(WeightsError, match=r"ends at fc7, and fc8 is needed; take weights that have fc8$"):
        load(saved(path, tensors=tensors_of(top="fc7")), "fc8")


def test_metadata_are_those_of_the_format(path: Path) -> None:
    names = tuple(f"class «{i}»" for i in range(CLASSES))
    prep = Preprocessing("RGB", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert prep == TORCHVISION
    found = saved(path, preprocessing=prep, classes=names)
    assert (found.classes, found.preprocessing) == (names, prep)
    header = path.read_bytes()[8:]
    metadata = json.JSONDecoder().raw_decode(header.decode(errors="replace"))[0]["__metadata__"]
    assert json.loads(metadata.pop("classes")) == list(names)
    assert metadata == {
        "format": "vggfeat/1",
        "net": "A",
        "width": "0.0625",
        "lineage": "oxford",
        "colour": "RGB",
        "range": "1",
        "mean": "0.485,0.456,0.406",
        "std": "0.229,0.224,0.225",
        "source": "a test",
        "licence": "CC-BY-4.0",
    }


def test_any_safetensors_reader_gets_the_tensors(path: Path) -> None:
    tensors = tensors_of()
    saved(path, tensors=tensors)
    loaded = load_file(path)
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_equal_weights_are_equal_bytes(path: Path) -> None:
    assert len({saved(path).sha256 for _ in range(5)}) == 1
    assert saved(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert saved(path, lineage="other").sha256 != saved(path).sha256


def test_tensors_may_share_memory_or_have_gaps(path: Path) -> None:
    tensors = tensors_of()
    tensors["conv1_1.weight"] = tensors["conv1_1.weight"].permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)
    tensors["fc6.bias"] = tensors["fc7.bias"]
    tensors["fc7.weight"].requires_grad_()
    saved(path, tensors=tensors)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in load_file(path).items())


def test_a_file_that_changed_since_it_was_read_is_noticed(path: Path) -> None:
    found = saved(path)
    saved(path, source="another")
    with pytest.raises(WeightsError, match="changed since"):
        load(found)
    saved(path)  # equal bytes in a new file
    assert list(load(found).state_dict()) == list(tensors_of())


def test_a_file_that_changes_in_place_is_noticed(path: Path) -> None:
    found = saved(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    with pytest.raises(WeightsError, match="changed since"):
        load(found)


def test_a_file_that_is_replaced_while_it_is_loaded_gives_the_values_that_were_checked(path: Path) -> None:
    found = saved(path)
    state = load(found).state_dict()

    class Replacing(torch.overrides.TorchFunctionMode):
        """Replaces the file when a tensor is copied for the first time."""

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function is Tensor.to and path.exists():
                path.unlink()
                os.link(other, path)
            return function(*args, **(kwargs or {}))

    zeros = {name: torch.zeros_like(tensor) for name, tensor in tensors_of().items()}
    other = saved(path.with_name("other"), tensors=zeros).path
    with Replacing():
        loaded = load(found).state_dict()
    assert not load(read(path)).get_parameter("fc8.bias").any()  # it was replaced
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_a_file_that_changes_in_place_while_it_is_loaded_is_noticed(path: Path) -> None:
    """The same size, the same file, the same time."""
    found, when = saved(path), path.stat().st_mtime_ns

    class Writing(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function is Tensor.view:  # of the first tensor that is read, and those after it
                with path.open("r+b") as file:
                    file.seek(-1, os.SEEK_END)
                    file.write(b"!")
                os.utime(path, ns=(when, when))
            return function(*args, **(kwargs or {}))

    with Writing(), pytest.raises(WeightsError, match="changed since"):
        load(found)


def test_a_checksum_is_computed_once_for_a_file_that_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(path)
    digest, computed = hashlib.file_digest, []
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: computed.append(given) or digest(*given))
    assert read(path) == read(path)
    assert not computed  # saving has read it
    path.touch()
    assert read(path) == read(path)
    assert len(computed) == 1


@pytest.mark.parametrize("replaced", [False, True])
def test_equal_size_and_time_hide_no_change(replaced: bool, path: Path) -> None:
    """Of the file itself, and of another file in its place."""
    found, when = saved(path), path.stat().st_mtime_ns
    file = path.with_name("other") if replaced else path
    file.write_bytes(path.read_bytes()[:-1] + b"!")
    os.utime(file, ns=(when, when))
    file.replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (len(path.read_bytes()), when)
    with pytest.raises(WeightsError, match="changed since"):
        load(found)
    assert read(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest() != found.sha256


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite(value: float, path: Path) -> None:
    tensors = tensors_of()
    saved(path, tensors=tensors)
    content, needle = path.read_bytes(), tensors["fc8.bias"].numpy().tobytes()
    tensors["fc8.bias"][3] = value
    with pytest.raises(WeightsError, match=r"net\.safetensors: fc8\.bias holds values that are not finite"):
        saved(path, tensors=tensors)
    assert path.read_bytes() == content  # the file of before
    path.write_bytes(content.replace(needle, tensors["fc8.bias"].numpy().tobytes()))
    with pytest.raises(WeightsError, match=r"net\.safetensors: fc8\.bias holds values that are not finite"):
        load(read(path))
    load(read(path), "fc7")  # fc8 is not read


def test_float16_that_overflows(path: Path) -> None:
    tensors = tensors_of()
    tensors["fc6.bias"][0] = 70_000  # the largest float16 is 65,504
    with pytest.raises(WeightsError, match=r"fc6\.bias"):
        load(saved(path, tensors=tensors), dtype=torch.float16)


def test_a_failed_write_leaves_the_file_of_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved(path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WeightsError, match=r"net\.safetensors: cannot be written \(No space left on device\)"):
        saved(path, source="another")
    assert read(path) == before
    assert list(path.parent.iterdir()) == [path]


def test_the_umask_decides_who_may_read_a_file(path: Path) -> None:
    for mask, mode in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
        before = os.umask(mask)
        try:
            saved(path)
        finally:
            os.umask(before)
        assert path.stat().st_mode & 0o777 == mode


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match=r"x\.safetensors: cannot be written"):
        saved(tmp_path / "file" / "x.safetensors")


METADATA = {
    "format": "vggfeat/1",
    "net": "A",
    "width": str(WIDTH),
    "lineage": "oxford",
    "colour": "BGR",
    "range": "255",
    "mean": "1,2,3",
    "std": "1,1,1",
    "source": "x",
    "licence": "x",
}


def refused(path: Path, words: str = "") -> None:
    """Reading raises one line that names the file."""
    with pytest.raises(WeightsError, match=r"\A.+\Z") as caught:  # no line break
        read(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("key", METADATA)
def test_metadata_must_be_complete(key: str, path: Path) -> None:
    save_file(tensors_of(), path, METADATA)
    assert read(path).net == "A"
    save_file(tensors_of(), path, {name: text for name, text in METADATA.items() if name != key})
    refused(path, "weights convert" if key == "format" else repr(key))


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("format", "vggfeat/2", "not in vggfeat's format"),
        ("format", "pt", "not in vggfeat's format"),
        ("net", "Z", "no net 'Z'"),
        ("width", "wide", "to float: 'wide'"),
        ("width", "0", "width"),
        ("width", "-1", "width"),
        ("width", "nan", "width"),
        ("width", "inf", "width"),
        ("width", "1e9", "width"),
        ("width", "0.001", "width"),
        ("colour", "GRB", "colour 'GRB'"),
        ("range", "256", "range '256'"),
        ("mean", "1,2", "mean"),
        ("mean", "1,2,x", "to float: 'x'"),
        ("mean", "1,2,nan", "mean"),
        ("std", "1,0,1", "std"),
        ("mean", "1e308,1,1", "mean '1e308,1,1' is not within 0..255, the range of the pixels"),
        ("mean", "-1,1,1", "mean '-1,1,1' is not within 0..255, the range of the pixels"),
        ("mean", "255.01,1,1", "mean '255.01,1,1' is not within 0..255, the range of the pixels"),
        ("std", "1e-320,1,1", "std '1e-320,1,1' is not within 0.255..255000"),
        ("std", "1,0.254,1", "std '1,0.254,1' is not within 0.255..255000"),
        ("std", "1,1,1e308", "std '1,1,1e308' is not within 0.255..255000"),
        ("std", "1,1,inf", "std"),
        ("classes", "cat", "metadata are invalid: Expecting value"),
        ("classes", '{"0": "cat"}', "classes is not a list"),
        ("classes", "[1, 2, 3, 4, 5, 6, 7]", "classes is not a list"),
        ("classes", '["one name for seven outputs"]', "1 class names for 7 outputs"),
        ("classes", "[" * 100_000, "metadata are invalid: maximum recursion depth"),
    ],
)
def test_invalid_metadata(key: str, text: str, said: str, path: Path) -> None:
    save_file(tensors_of(), path, {**METADATA, key: text})
    refused(path, said)


@pytest.mark.parametrize("width", [10, MAX_WIDTH])
def test_the_widest_net_that_can_be_trained_can_be_saved_and_read(width: int, path: Path) -> None:
    """By its header alone; the values of such a net take tens of gigabytes."""
    infos = {name: TensorInfo("F16", shape) for name, shape in tensor_shapes("E", width, CLASSES).items()}
    metadata = {**METADATA, "net": "E", "width": str(width)}
    found = parse_header(path, metadata, infos)
    assert (found.width, found.top, found.outputs) == (width, "fc8", CLASSES)
    for wider in (MAX_WIDTH + 0.01, 2 * MAX_WIDTH):
        with pytest.raises(WeightsError, match=rf"width must be above 0 and at most 16, not {wider}"):
            parse_header(path, {**metadata, "width": str(wider)}, infos)


def test_a_file_of_the_widest_net(path: Path) -> None:
    """Gigabytes of zeros, which take no room on the disk; its header is read at once."""
    header: dict[str, Any] = {"__metadata__": {**METADATA, "net": "B-5x5", "width": str(MAX_WIDTH)}}
    end = 0
    for name, shape in tensor_shapes("B-5x5", MAX_WIDTH, top="pool5").items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    assert (read_header(path).width, read_header(path).top) == (MAX_WIDTH, "pool5")


def test_class_names_need_fc8(path: Path) -> None:
    with pytest.raises(WeightsError, match="7 class names for 0 outputs"):
        saved(path, tensors=tensors_of(top="fc7"), classes=("x",) * CLASSES)


Tensors = dict[str, Tensor]
WRONG: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "nothing": (lambda t: {}, "lacks conv1_1.weight"),
    "a tensor too few": (lambda t: {k: v for k, v in t.items() if k != "conv3_2.bias"}, "lacks conv3_2.bias"),
    "half of fc7": (
        lambda t: {k: v for k, v in t.items() if not k.startswith(("fc7.w", "fc8"))},
        "lacks fc7.weight",
    ),
    "convolutions missing": (lambda t: {k: v for k, v in t.items() if k.startswith("fc")}, "conv1_1.weight"),
    "a tensor too many": (lambda t: {**t, "conv1_2.weight": torch.ones(4, 4, 3, 3)}, "conv1_2.weight"),
    "a wrong shape": (
        lambda t: {**t, "conv1_1.weight": torch.ones(4, 3, 5, 5)},
        "conv1_1.weight has the shape (4, 3, 5, 5), net A of width 0.0625 has (4, 3, 3, 3)",
    ),
    "a convolution for fc6": (
        lambda t: {**t, "fc6.weight": t["fc6.weight"].reshape(256, 32, 7, 7)},
        "fc6.weight has the shape (256, 32, 7, 7)",
    ),
    "no classes": (lambda t: {**t, "fc8.bias": torch.ones(0), "fc8.weight": torch.ones(0, 256)}, "0 outputs"),
    "a scalar": (lambda t: {**t, "fc8.bias": torch.tensor(1.0)}, "fc8."),
    "double precision": (lambda t: {**t, "fc8.bias": t["fc8.bias"].double()}, "fc8.bias is"),
    "whole numbers": (lambda t: {**t, "fc8.bias": t["fc8.bias"].int()}, "fc8.bias is"),
}


@pytest.mark.parametrize("case", WRONG)
def test_tensors_that_are_not_the_nets(case: str, path: Path) -> None:
    change, words = WRONG[case]
    with pytest.raises(WeightsError, match=re.escape(words)):
        saved(path, tensors=change(tensors_of()))
    assert not path.exists()
    save_file(change(tensors_of()), path, METADATA)
    refused(path, words)


@pytest.mark.parametrize("keep", [0, 7, 8, 9, 100, 3000, -1])
def test_truncated_files(keep: int, path: Path) -> None:
    saved(path)
    path.write_bytes(path.read_bytes()[:keep])
    refused(path)


@pytest.mark.parametrize(
    "content",
    [
        b"not weights at all",
        b"\xff" * 64,
        (1 << 40).to_bytes(8, "little") + b"{}",
        b"\x02" + bytes(7) + b"{}",
    ],
)
def test_files_of_other_kinds(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    refused(path)


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.safetensors", "no such file; check the name of the weights")
    refused(tmp_path)


def test_the_oxford_weights(shared: Callable[[str], Path]) -> None:
    found = read(shared("weights/vgg19-oxford-conv-fp16.safetensors"))
    assert (found.net, found.width, found.top, found.lineage) == ("E", 1.0, "pool5", "oxford")
    assert (found.preprocessing, found.classes, found.licence) == (OXFORD, None, "CC-BY-4.0")
    vgg = load(found, "pool5")
    assert sum(parameter.numel() for parameter in vgg.parameters()) == 20_024_384  # 16 layers of VGG-19
    # Edge and colour detectors of conv1_1 answer to differences: most of its kernels sum to about zero.
    kernels = vgg.get_parameter("conv1_1.weight").flatten(1)
    sums = kernels.sum(dim=1).abs() / kernels.abs().sum(dim=1)
    assert float(sums.median()) < 0.2
