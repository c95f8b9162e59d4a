"""PyTorch's files: the state dict of a VGG, from torch.save or in safetensors, by itself or somewhere in a checkpoint.

A VGG is found by the ends of its names, `features.0.weight` (torchvision, timm) or `conv1_1.weight` (vggfeat, Caffe).
Whatever stands before them, such as Lightning's `model.`, is the prefix of all its names.
"""

import io
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from vggfeat._util.printable import reason_of
from vggfeat.errors import VggfeatError, WeightsError
from vggfeat.weights.foreign import ForeignFile, ForeignTensor, ForeignTensors
from vggfeat.weights.header import shown
from vggfeat.weights.tensorfile import MAX_HEADER, TensorFile
from vggfeat.weights.torchfile import NotOnlyTensors, content_of

NUMPY_FILE = "is a file of NumPy; put its arrays into a VGG of torchvision, and save its state_dict() with torch.save"
MAX_PLACE = 1000  # characters of the keys that lead to a net
_WRAPPERS = r"(?:\.(?:module|_orig_mod)(?=\.))*"  # of DataParallel and torch.compile, around a part of the net
_CONV = re.compile(rf"((?:.+\.)?)(?:features{_WRAPPERS}\.\d{{1,3}}|conv\d_\d){_WRAPPERS}\.weight")  # 1: the prefix
_FC = {
    "classifier.0": "fc6",  # torchvision
    "classifier.3": "fc7",
    "classifier.6": "fc8",
    "pre_logits.fc1": "fc6",  # timm, as convolutions
    "pre_logits.fc2": "fc7",
    "head.fc": "fc8",
    "fc6": "fc6",  # vggfeat
    "fc7": "fc7",
    "fc8": "fc8",
}


class _Net(NamedTuple):
    """A VGG in a checkpoint: the dictionaries and the prefix that lead to it, and its tensors without the prefix."""

    where: str
    tensors: dict[str, ForeignTensor]


@contextmanager
def open_torch(src: Path, data: bytes) -> Iterator[ForeignFile]:
    """The only VGG in a file of PyTorch. Raises WeightsError if there is none, or if there are several."""
    if is_safetensors(data):
        file = TensorFile(src, io.BytesIO(data))
        raw = {name: ForeignTensor(info.shape, partial(file.tensor, name)) for name, info in file.infos.items()}
        yield _our_names(src, _only(src, _nets(src, raw)))
        return
    try:
        if data.startswith(b"PK"):
            _refuse_other_archives(src, data)
        yield _our_names(src, _only(src, _nets(src, content_of(data))))
    except VggfeatError:
        raise
    except NotOnlyTensors:
        raise WeightsError(
            f"{src}: holds more than tensors, or is damaged; vggfeat runs no code in files, "
            "so save only the net's state_dict()"
        ) from None
    except Exception as error:  # a damaged or hostile file can raise anything
        reason = reason_of(error)
        raise WeightsError(f"{src}: is not a whole file of torch.save ({shown(reason)}); fetch it again") from None


def is_safetensors(head: bytes) -> bool:
    """Whether a file begins as safetensors files do: the header's length, then the header."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= MAX_HEADER


def _refuse_other_archives(src: Path, data: bytes) -> None:
    """torch.save compresses nothing; a compressed member may unpack to any size."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
    if any(member.filename.endswith(".npy") for member in members):
        raise WeightsError(f"{src}: {NUMPY_FILE}")
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise WeightsError(
            f"{src}: is a TorchScript program, and vggfeat runs no code in files; save its tensors: "
            "torch.save(torch.jit.load(FILE).state_dict(), 'net.pth')"
        )
    if sum(member.file_size for member in members) > len(data):
        raise WeightsError(f"{src}: its members are larger than the file; it is not from torch.save")


def _nets(src: Path, content: Any) -> list[_Net]:
    """Each VGG in nested dictionaries: a prefix, and below it a convolution that has an image as its input."""
    found, waiting, seen = [], [("", content)], set()
    for where, one in waiting:  # which grows
        if not isinstance(one, Mapping) or id(one) in seen or len(where) > MAX_PLACE:
            continue
        seen.add(id(one))
        named = {key: value for key, value in one.items() if isinstance(key, str)}
        waiting += [(f"{where}{key}.", value) for key, value in named.items() if isinstance(value, Mapping)]
        firsts = [match[1] for name, value in named.items() if _sees_images(value) and (match := _CONV.fullmatch(name))]
        for prefix in dict.fromkeys(firsts):
            below = {
                re.sub(_WRAPPERS, "", name[len(prefix) :]): value
                for name, value in named.items()
                if name.startswith(prefix)
            }
            found.append(_Net(f"{where}{prefix}".removesuffix("."), _tensors(src, below)))
    return found


def _sees_images(value: Any) -> bool:
    shape: tuple[int, ...] = getattr(value, "shape", ())
    return len(shape) == 4 and shape[1] == 3


def _tensors(src: Path, state: Mapping[str, Any]) -> dict[str, ForeignTensor]:
    """The tensors of a state dict. Other values are left out, unless they have the name of a layer's tensor."""
    tensors = {}
    for name, value in state.items():
        if isinstance(value, ForeignTensor):
            tensors[name] = value
        elif name.endswith((".weight", ".bias")):
            raise WeightsError(f"{src}: {shown(name)} is not a plain tensor")
    return tensors


def _only(src: Path, nets: list[_Net]) -> dict[str, ForeignTensor]:
    """The tensors of the only net, which may be there several times."""
    if not nets:
        raise WeightsError(
            f"{src}: holds no state dict with the first convolution of a VGG (features.0.weight or conv1_1.weight)"
        )
    first, *others = nets
    if not all(_equal(first.tensors, other.tensors) for other in others):
        places = ", ".join(shown(net.where) or "one without a prefix" for net in nets)
        raise WeightsError(
            f"{src}: holds several nets that differ: {places}; save only the state_dict() of the one you want"
        )
    return first.tensors


def _equal(one: Mapping[str, ForeignTensor], other: Mapping[str, ForeignTensor]) -> bool:
    return one.keys() == other.keys() and all(
        tensor.shape == other[name].shape and bool((tensor.read() == other[name].read()).all())
        for name, tensor in one.items()
    )


def _our_names(src: Path, raw: Mapping[str, ForeignTensor]) -> ForeignFile:
    if any(name.endswith("running_mean") and not name.startswith("classifier.") for name in raw):
        raise WeightsError(f"{src}: has batch normalisation, which no net of the paper has")
    places = {name: _place(name) for name in raw}
    convs = sorted({place for place in places.values() if place})
    tensors: ForeignTensors = {}
    others = []
    for name, tensor in raw.items():
        if place := places[name]:
            tensors[f"conv{convs.index(place)}.{name.rpartition('.')[2]}"] = tensor
        elif theirs := next((module for module in _FC if name.startswith(f"{module}.")), None):
            ours = f"{_FC[theirs]}{name[len(theirs) :]}"
            tensors[ours] = _flat(tensor) if ours.endswith(".weight") else tensor
        elif tensor.shape:  # a single number, such as a count of steps, is no layer
            others.append(name)
    return ForeignFile(tensors, tuple(others))


def _place(name: str) -> tuple[int, ...]:
    """features.12.bias -> (12,), conv3_1.bias -> (3, 1), others -> ()"""
    match = re.fullmatch(r"(?:features\.(\d{1,3})|conv(\d)_(\d))\.(?:weight|bias)", name)
    return tuple(int(number) for number in match.groups() if number) if match else ()


def _flat(tensor: ForeignTensor) -> ForeignTensor:
    """timm's (outputs, C, kh, kw) as (outputs, inputs), the inputs in C, H, W order."""
    shape = (*tensor.shape[:1], math.prod(tensor.shape[1:]))
    return ForeignTensor(shape, lambda: tensor.read().flatten(1))
