"""Footers of Parquet files as trees that can be changed: Thrift's compact protocol, as its specification says.

A struct is a list of [field, type, value], a list is [type of its elements, [value, ...]].
"""

import random
import struct
from typing import Any

TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
INTEGERS = (4, 5, 6)
EXTREMES = (0, 1, -1, 2, 7, 127, 2**15, 2**31 - 1, -(2**31), 2**40, 10**12, 2**62)


class Reader:
    """Reads values from bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def integer(self) -> int:
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def value(self, kind: int) -> Any:
        if kind in (TRUE, FALSE):
            return kind == TRUE
        if kind in INTEGERS:
            return self.integer()
        if kind in (LIST, SET):
            size, inside = divmod(self.take(1)[0], 16)
            size = self.varint() if size == 15 else size
            return [inside, [self.take(1) if inside <= BYTE else self.value(inside) for _ in range(size)]]
        if kind == STRUCT:
            return self.fields()
        return self.take({BYTE: 1, DOUBLE: 8}.get(kind) or self.varint())

    def fields(self) -> list[list[Any]]:
        found, last = [], 0
        while (head := self.take(1)[0]) != 0:
            step, kind = divmod(head, 16)
            last = last + step if step else self.integer()
            found.append([last, kind, self.value(kind)])
        return found


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def integer(value: int) -> bytes:
    return varint((value << 1 ^ value >> 63) % 2**64)


def written(kind: int, value: Any) -> bytes:
    if kind in (TRUE, FALSE):
        return b""
    if kind in INTEGERS:
        return integer(value)
    if kind in (LIST, SET):
        inside, values = value
        head = bytes([len(values) << 4 | inside]) if len(values) < 15 else bytes([0xF0 | inside]) + varint(len(values))
        return head + b"".join(one if inside <= BYTE else written(inside, one) for one in values)
    if kind == STRUCT:
        return fields(value)
    return varint(len(value)) + value if kind == BINARY else value


def fields(struct_: list[list[Any]]) -> bytes:
    """Each field with its number in full, which the specification allows."""
    out = b""
    for number, kind, value in struct_:
        kind = (TRUE if value else FALSE) if kind in (TRUE, FALSE) else kind
        out += bytes([kind]) + integer(number) + written(kind, value)
    return out + b"\0"


def footer(part: bytes) -> list[list[Any]]:
    (size,) = struct.unpack("<I", part[-8:-4])
    return Reader(part[-8 - size : -8]).fields()


def with_footer(part: bytes, tree: list[list[Any]]) -> bytes:
    (size,) = struct.unpack("<I", part[-8:-4])
    data = fields(tree)
    return part[: -8 - size] + data + struct.pack("<I", len(data)) + b"PAR1"


def places(tree: list[list[Any]]) -> list[tuple[list[Any], int, int]]:
    """(container, index, type) of every value below a struct."""
    found: list[tuple[list[Any], int, int]] = []
    for field in tree:
        found.append((field, 2, field[1]))
        if field[1] == STRUCT:
            found += places(field[2])
        elif field[1] == LIST:
            inside, values = field[2]
            found += [(values, i, inside) for i in range(len(values))]
            found += [place for one in values if inside == STRUCT for place in places(one)]
    return found


def change(tree: list[list[Any]], rng: random.Random) -> None:
    """Change one value of a footer, or the length of one of its lists, or leave a field out."""
    container, at, kind = rng.choice(places(tree))
    value = container[at]
    if kind in INTEGERS:
        container[at] = rng.choice((*EXTREMES, value + 1, value - 1, 2 * value, -value))
    elif kind == BINARY:
        some = bytes(rng.randrange(256) for _ in range(rng.randrange(9)))
        container[at] = rng.choice((value[:-1], value + some, some, value[::-1], value * 50))
    elif kind in (TRUE, FALSE):
        container[at] = not value
    elif kind == LIST:
        value[1] = rng.choice((value[1][:-1], value[1] * 2, [], value[1][::-1], value[1] * 40))
    elif kind == STRUCT and value:
        rng.choice((value.pop, value.reverse, value.clear))()
