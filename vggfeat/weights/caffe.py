"""Caffe's `.caffemodel`: the message NetParameter of caffe.proto, with its layers as V1 or as V2 messages.

The few hundred messages of a file are read in place. protobuf's library would first make an
object of each message, which takes thirty times the size of a file that is made for this purpose.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vggfeat._util.printable import reason_of
from vggfeat.errors import WeightsError
from vggfeat.weights.foreign import ForeignFile, ForeignTensor, by_paper_name

MAX_FIELDS = 1000  # in a message; the largest of VGG-19 has about 50
MAX_DIMENSIONS = 32  # Caffe's own
MAX_NAME = 64  # bytes of a layer's name that are read

# caffe.proto's field numbers. NetParameter: `layers` (V1) and `layer` -> the numbers of a layer's name and blobs.
_LAYERS = {2: (4, 6), 100: (1, 7)}
# BlobProto: the old shape is num, channels, height, width; BlobShape has one field, dim.
_LEGACY_SHAPE, _FLOATS, _SHAPE, _DOUBLES = (1, 2, 3, 4), 5, 7, 8
_DIM = 1

Values = list[int | memoryview]


@contextmanager
def open_caffe(src: Path, data: bytes) -> Iterator[ForeignFile]:
    """A VGG of Caffe, with the layer names of VGG_ILSVRC_16_layers: conv1_1 ... fc8. fc6's inputs are in our order."""
    try:
        yield ForeignFile(*by_paper_name(_layers(src, memoryview(data))))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{src}: cannot be read as a Caffe model ({reason_of(error)})") from None


def _layers(src: Path, content: memoryview) -> dict[str, tuple[ForeignTensor, ForeignTensor]]:
    found: dict[str, tuple[ForeignTensor, ForeignTensor]] = {}
    net = _fields(content)
    for number, (name_of, blobs_of) in _LAYERS.items():
        for message in net[number]:
            layer = _fields(_bytes(message))
            blobs = layer[blobs_of]
            if not blobs:  # ReLU, pooling, dropout, soft-max
                continue
            name = bytes(_bytes(layer[name_of][-1])[:MAX_NAME]).decode(errors="replace") if name_of in layer else ""
            if name in found or len(blobs) != 2:
                raise WeightsError(f"{src}: layer {name!r} occurs twice, or does not have one weight and one bias")
            weight, bias = (_fields(_bytes(blob)) for blob in blobs)
            found[name] = _tensor(name, weight, 2 if name.startswith("fc") else 4), _tensor(name, bias, 1)
    return found


def _tensor(name: str, blob: dict[int, Values], dimensions: int) -> ForeignTensor:
    """A blob without the leading sizes of 1 that Caffe adds: a bias may be 1 x 1 x 1 x 4096."""
    kind, pieces = ("<f4", blob.get(_FLOATS)) if _FLOATS in blob else ("<f8", blob.get(_DOUBLES, []))
    values = [_bytes(piece) for piece in pieces or []]
    shape = _shape(blob)
    while len(shape) > dimensions and shape[0] == 1:
        shape = shape[1:]
    if sum(map(len, values)) != prod(shape) * np.dtype(kind).itemsize:
        raise ValueError(f"layer {name!r} does not have as many values as its shape {shape}")

    def read() -> Tensor:
        arrays = [np.frombuffer(piece, kind) for piece in values]
        return torch.from_numpy(np.concatenate(arrays).astype(np.float32, copy=False).reshape(shape))

    return ForeignTensor(shape, read)


def _shape(blob: dict[int, Values]) -> tuple[int, ...]:
    if _SHAPE not in blob:
        return tuple(_int(blob.get(number, [0])[-1]) for number in _LEGACY_SHAPE)
    shape: list[int] = []
    for value in _fields(_bytes(blob[_SHAPE][-1])).get(_DIM, []):
        shape += [value] if isinstance(value, int) else _varints(value)
    if len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"an array has {len(shape)} dimensions")
    return tuple(shape)


# The wire format


def _fields(message: memoryview) -> dict[int, Values]:
    """Field number -> its values: integers, or the bytes of anything else."""
    found: dict[int, Values] = defaultdict(list)
    at = 0
    for _ in range(MAX_FIELDS):
        if at == len(message):
            return found
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            found[key >> 3].append(value)
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"a field has the unknown kind {kind}")
        size, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        if size > len(message) - at:
            raise ValueError(f"a message ends {size - len(message) + at} bytes too early")
        found[key >> 3].append(message[at : at + size])
        at += size
    raise ValueError(f"a message has more than {MAX_FIELDS} fields")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """An integer, seven bits per byte, and the place after it."""
    value = 0
    for place, byte in enumerate(message[at : at + 10]):
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise ValueError("a number has no end")


def _varints(packed: memoryview) -> list[int]:
    values: list[int] = []
    at = 0
    while at < len(packed) and len(values) <= MAX_DIMENSIONS:
        value, at = _varint(packed, at)
        values.append(value)
    return values


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number in place of a message")
    return value


def _int(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise ValueError("a message in place of a number")
    return value
