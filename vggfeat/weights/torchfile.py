"""The files of torch.save, read without torch.load: a pickle is a program, and can ask for any memory.

Its steps are followed here, and build plain values only: a tensor becomes a `ForeignTensor`, the name of a class or
function stays a name, and any other call gives an object without content. Keys that are no text are left out.
"""

import io
import pickletools
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vggfeat.weights.foreign import ForeignTensor

MAX_PICKLE = 1 << 26  # bytes; a checkpoint with the state of its optimiser has some 100 thousand
MAX_STEPS = 500_000  # some 10 thousand of such a checkpoint
MAX_DIMENSIONS = 32
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the files before PyTorch 1.6
_MODULES = ("torch", "torch._utils", "torch._tensor", "torch.nn.parameter", "torch.serialization", "torch.storage")
_OTHERS = ("collections.OrderedDict", "collections.Counter", "_codecs.encode", *(
    f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("set", "complex", "bytearray")
))  # fmt: skip
_DTYPES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}


class NotOnlyTensors(Exception):
    """The pickle names a class or function that no state dict needs."""


class _Name(str):
    """The name of a class or function, with its module."""


class _Other:
    """What stands for the result of a call that is not made."""


class _Storage(NamedTuple):
    """`size` numbers of which tensors are parts; in the file they are in the storage `key`, from number `start`."""

    key: str
    dtype: torch.dtype
    start: int
    size: int


_MARK = _Other()


def content_of(data: bytes) -> Any:
    """The value in a file of torch.save.

    Raises NotOnlyTensors, or any other exception if the file is damaged; `read` of its tensors raises as well.
    """
    return _of_zip(data) if data.startswith(b"PK") else _of_pickles(data)


def _of_zip(data: bytes) -> Any:
    archive = zipfile.ZipFile(io.BytesIO(data))
    program = next(name for name in archive.namelist() if name.endswith("data.pkl"))
    folder = program.removesuffix("data.pkl")
    if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
        raise ValueError("its numbers are big-endian")
    if archive.getinfo(program).file_size > MAX_PICKLE:
        raise ValueError(f"its pickle is larger than {MAX_PICKLE:,} bytes")
    return _Machine(io.BytesIO(archive.read(program)), lambda key: archive.read(f"{folder}data/{key}")).run()


def _of_pickles(data: bytes) -> Any:
    """Five pickles, then each storage: how many numbers it has, in 8 bytes, and the numbers."""
    file, places = io.BytesIO(data), dict[str, slice]()
    machine = _Machine(file, lambda key: memoryview(data)[places[key]])
    if machine.run() != _MAGIC or machine.run() != _PROTOCOL:
        raise NotOnlyTensors
    if machine.run()["little_endian"] is not True:
        raise ValueError("its numbers are big-endian")
    content = machine.run()
    for key in machine.run():
        size = int.from_bytes(file.read(8), "little") * machine.dtypes[key].itemsize
        places[key] = slice(file.tell(), file.tell() + size)
        if places[key].stop > len(data):
            raise ValueError("it ends early")
        file.seek(size, io.SEEK_CUR)
    return content


class _Machine:
    """Follows the pickles of one file. bytes_of : the bytes of a storage by its key."""

    def __init__(self, file: io.BytesIO, bytes_of: Callable[[str], bytes | memoryview]) -> None:
        self._file, self._bytes_of = file, bytes_of
        self.dtypes: dict[str, torch.dtype] = {}
        self._steps = 0

    def run(self) -> Any:
        """The value of the next pickle."""
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        for opcode, argument, _ in pickletools.genops(self._file):
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise ValueError(f"its pickle has more than {MAX_STEPS:,} steps")
            if opcode.name in _PUSHED:
                self._stack.append(argument)
            elif opcode.name in _CONSTANTS:
                self._stack.append(_CONSTANTS[opcode.name]())
            elif opcode.name not in ("PROTO", "FRAME", "STOP"):
                _STEPS[opcode.name](self, argument)
        return self._stack.pop()

    def _pop(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise ValueError("its pickle takes more values than there are")
        values = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return values

    def _pop_to_mark(self) -> list[Any]:
        place = next(i for i in range(len(self._stack) - 1, -1, -1) if self._stack[i] is _MARK)
        values = self._pop(len(self._stack) - place)
        return values[1:]

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _put(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def _extend(self, values: list[Any]) -> None:
        """Add to the list on the stack; what is added to a set has no use."""
        if isinstance(self._stack[-1], list):
            self._stack[-1].extend(values)

    def _set(self, values: list[Any]) -> None:
        if isinstance(self._stack[-1], dict):
            self._stack[-1].update(_pairs(zip(values[::2], values[1::2], strict=True)))

    def _name(self, text: str) -> None:
        module = text.rpartition(".")[0]
        if module not in _MODULES and text not in _OTHERS:
            raise NotOnlyTensors
        self._push(_Name(text))

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            return _Other()
        if function == "collections.OrderedDict":
            return _pairs(arguments[0] if arguments else ())
        if function in ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"):
            return self._tensor(*arguments[:4])
        if "arameter" in function and arguments:  # _rebuild_parameter, Parameter: the tensor comes first
            return arguments[0]
        if function == "torch._tensor._rebuild_from_type_v2":
            return self._call(arguments[0], arguments[2])
        return _Other()

    def _storage(self, what: Any) -> None:
        kind, name, key, _, size, *view = what
        if kind != "storage" or name not in _DTYPES or not isinstance(key, str):
            raise NotOnlyTensors
        if self.dtypes.setdefault(key, _DTYPES[name]) != _DTYPES[name]:
            raise ValueError("it has one storage of two types")
        start, size = view[0][1:] if view and view[0] else (0, size)
        self._push(_Storage(key, _DTYPES[name], *_numbers((start, size))))

    def _tensor(self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        if not isinstance(storage, _Storage):
            return _Other()
        offset, *_ = _numbers((offset,))
        shape, strides = _numbers(shape), _numbers(strides)
        if len(shape) != len(strides):
            raise ValueError("a tensor has not as many strides as dimensions")
        end = offset + 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) if all(shape) else 0
        if end > storage.size:
            raise ValueError("a tensor is larger than its storage")

        def read() -> Tensor:
            if not end:
                return torch.empty(shape, dtype=storage.dtype)
            width = storage.dtype.itemsize
            first = storage.start + offset
            part = bytearray(memoryview(self._bytes_of(storage.key))[first * width : (first + end - offset) * width])
            return torch.frombuffer(part, dtype=storage.dtype, count=end - offset).as_strided(shape, strides)

        return ForeignTensor(shape, read)


def _numbers(values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple) or len(values) > MAX_DIMENSIONS:
        raise ValueError("a shape is not a tuple of a few numbers")
    if not all(type(value) is int and 0 <= value < 2**48 for value in values):
        raise ValueError("a size is not a whole number from 0 on")
    return values


def _pairs(pairs: Any) -> dict[str, Any]:
    return {key: value for key, value in pairs if type(key) is str}


_PUSHED = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": _Other,
    "MARK": lambda: _MARK,
}
_STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    "TUPLE": lambda m, _: m._push(tuple(m._pop_to_mark())),
    "TUPLE1": lambda m, _: m._push(tuple(m._pop(1))),
    "TUPLE2": lambda m, _: m._push(tuple(m._pop(2))),
    "TUPLE3": lambda m, _: m._push(tuple(m._pop(3))),
    "LIST": lambda m, _: m._push(m._pop_to_mark()),
    "DICT": lambda m, _: m._push(_pairs(zip(*[iter(m._pop_to_mark())] * 2, strict=True))),
    "APPEND": lambda m, _: m._extend(m._pop(1)),
    "APPENDS": lambda m, _: m._extend(m._pop_to_mark()),
    "ADDITEMS": lambda m, _: m._extend(m._pop_to_mark()),
    "SETITEM": lambda m, _: m._set(m._pop(2)),
    "SETITEMS": lambda m, _: m._set(m._pop_to_mark()),
    "PUT": lambda m, place: m._put(place),
    "BINPUT": lambda m, place: m._put(place),
    "LONG_BINPUT": lambda m, place: m._put(place),
    "MEMOIZE": lambda m, _: m._put(len(m._memo)),
    "GET": lambda m, place: m._push(m._memo[place]),
    "BINGET": lambda m, place: m._push(m._memo[place]),
    "LONG_BINGET": lambda m, place: m._push(m._memo[place]),
    "GLOBAL": lambda m, names: m._name(names.replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda m, _: m._name(".".join(m._pop(2))),
    "REDUCE": lambda m, _: m._push(m._call(*m._pop(2))),
    "NEWOBJ": lambda m, _: m._push(m._call(*m._pop(2))),
    "BUILD": lambda m, _: m._pop(1),  # attributes, such as the versions in a state dict
    "BINPERSID": lambda m, _: m._storage(*m._pop(1)),
}
