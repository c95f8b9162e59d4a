"""Damage to files: what disks, editors and strangers do to them."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

# What may stand in the place of any value of a JSON file.
NUMBERS = (True, -1, 0.5, 2**70, 10**400, float("nan"), float("inf"))
STRANGE = (None, *NUMBERS, "", "\udce9", "x" * 5000, [], {}, [[]], {"a": 1})
TEXTS = (b"-1", b"nan", b"inf", b"1e999", b"9" * 5000, b'"', b"\0" * 9, b"\r", b"\n\n", b"\xff\xfe", b",,,,")


def flipped(data: bytes, draw: random.Random) -> bytes:
    """One bit is another."""
    changed = bytearray(data)
    changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def mangled(data: bytes, draw: random.Random) -> bytes:
    """One kind of damage to a text file: bits, cuts, foreign words, repeated and lost stretches, another encoding."""
    at, to = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    kinds: list[Callable[[], bytes]] = [
        lambda: flipped(data, draw),
        lambda: data[:at],
        lambda: data[:at] + draw.choice(TEXTS) + data[at:],
        lambda: data[:at] + data[to:],
        lambda: data + data[at:to],
        lambda: data.decode(errors="replace").encode("utf-16"),
    ]
    return draw.choice(kinds)()


def changed_json(data: bytes, draw: random.Random) -> bytes:
    """A JSON file with a value of another type or size, without a key, nested deeply, or mangled as text."""
    value = json.loads(data)
    box, key = draw.choice(list(_places([value])))
    match draw.randrange(4):
        case 0:
            box[key] = draw.choice(STRANGE)
        case 1:
            del box[key]
        case 2:
            depth = draw.choice([1, 30, 600, 10**5])
            box[key] = "DEEP"
            return json.dumps(value).replace('"DEEP"', "[" * depth + "]" * depth).encode()
        case 3:
            return mangled(data, draw)
    return json.dumps(value).encode()


def _places(box: Any) -> Iterator[tuple[Any, Any]]:
    """Each list or object with each of its keys, at any depth."""
    for key, value in list(box.items() if isinstance(box, dict) else enumerate(box)):
        yield box, key
        if isinstance(value, dict | list):
            yield from _places(value)
