"""Files of safetensors, opened once: what is hashed is what is read."""

import hashlib
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import msgspec
import torch
from torch import Tensor

from vggfeat._util.json_files import parse_json
from vggfeat.errors import WeightsError

MAX_HEADER = 4 << 20  # bytes; a full net E with 1000 class names takes 40 thousand
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class TensorInfo(NamedTuple):
    """What a header says of a tensor; `dtype` as safetensors names it."""

    dtype: str
    shape: tuple[int, ...]


class _Entry(TypedDict):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class TensorFile:
    """The header of a file of safetensors; then its tensors, one by one. Raises WeightsError if it is not whole.

    metadata : texts by key, "" for none. infos : of each tensor, in the order of the file.
    """

    def __init__(self, path: Path, file: io.BufferedReader | io.BytesIO) -> None:
        self.path, self._file = path, file
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER:
            raise WeightsError(f"{path}: is not a safetensors file; its header would be {length} bytes long")
        self._start = 8 + length
        try:
            self.metadata, self._entries = _parsed(file.read(length))
            self._check_places(file.seek(0, io.SEEK_END) - self._start)
        except (ValueError, msgspec.ValidationError) as error:
            raise self._not_whole(str(error)) from None
        self.infos = {name: TensorInfo(one["dtype"], tuple(one["shape"])) for name, one in self._entries.items()}

    def _check_places(self, size: int) -> None:
        """Raise ValueError unless the tensors fill the rest of the file, each with the bytes of its shape."""
        end = 0
        for name, one in self._entries.items():
            if one["dtype"] not in DTYPES:
                raise ValueError(f"{name[:200]!a} is of the unknown type {one['dtype'][:20]!a}")
            width = math.prod(one["shape"]) * DTYPES[one["dtype"]].itemsize
            if min(one["shape"], default=0) < 0 or list(one["data_offsets"]) != [end, end + width]:
                raise ValueError(f"{name[:200]!a} is not where its shape and the tensor before it say")
            end += width
        if end != size:
            raise ValueError(f"its tensors take {end:,} bytes, and it has {size:,}")

    def _not_whole(self, reason: str) -> WeightsError:
        return WeightsError(f"{self.path}: is not a whole safetensors file ({reason}); fetch or convert it again")

    def tensor(self, name: str) -> Tensor:
        """One tensor, in memory of its own."""
        one = self._entries[name]
        begin, end = one["data_offsets"]
        self._file.seek(self._start + begin)
        values = torch.empty(end - begin, dtype=torch.uint8)
        if self._file.readinto(values.numpy().data) != end - begin:
            raise self._not_whole("it became shorter")
        return values.view(DTYPES[one["dtype"]]).reshape(one["shape"])

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All tensors in the order of the file. Then `sha256` is that of the bytes that were read."""
        self._file.seek(0)
        sums = hashlib.sha256(self._file.read(self._start))
        for name in self._entries:
            tensor = self.tensor(name)
            sums.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
            yield name, tensor
        self.sha256 = sums.hexdigest()


def _parsed(text: bytes) -> tuple[dict[str, str], dict[str, _Entry]]:
    header: dict[str, Any] = parse_json(text, dict[str, Any])
    metadata = msgspec.convert(header.pop("__metadata__", {}), dict[str, str])
    entries = msgspec.convert(header, dict[str, _Entry])
    return metadata, dict(sorted(entries.items(), key=lambda item: item[1]["data_offsets"]))
