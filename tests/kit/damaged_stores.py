"""Stores that are damaged in many ways, each read in many ways: what comes of it.

    python -m tests.kit.damaged_stores COUNT [SEED]

prints how often what came of it. Reading runs in a process of its own, which has 4 GB of addresses, and may die.
"""

import copy
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.kit import thrift

FINGERPRINT = {"net": "D", "weights_sha256": "ab" * 32, "layer": "fc7", "scales": [256, 384], "mean": (1.0, 2.0)}
ROOM = 4 * 2**30
SECONDS = 20
Damage = Callable[[Path, random.Random], None]


def make(path: Path, first: int = 0, **others: Any) -> Path:
    """A store of three parts of five rows, and two failures."""
    from vggfeat.store.identity import Identity
    from vggfeat.store.writing import Record, Writer

    rng = np.random.default_rng(first)
    with Writer(path, FINGERPRINT | others, source="photos") as writer:
        for start in (0, 5, 10):
            names = [f"{first + start + i:03}.jpg" for i in range(5)]
            scales = [{q: rng.random(6, np.float32) for q in (256, 384)} for _ in names]
            known = [Identity(1000 + i, 10**18 + i, f"{first + start + i:064x}") for i in range(5)]
            writer.commit(
                [Record(n, "cat", 640, 480, s, k) for n, s, k in zip(names, scales, known, strict=True)], start
            )
        writer.failures.update({"broken.jpg": "truncated", "a,\nb.jpg": "no image"})
    return path


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bits flipped, bytes set to extremes, pieces cut out or doubled."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, size = rng.randrange(len(out) + 1), rng.randrange(1, 9)
        match rng.randrange(5):
            case 0 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at : at + size] = rng.choice((b"\0", b"\xff", b'"', b",", b"\n", b"[" * 9)) * size
            case 2:
                del out[at : at + size]
            case 3:
                out[at:at] = out[max(0, at - size) : at + size]
            case _:
                del out[at:]
    return bytes(out)


def bytes_of_part(store: Path, rng: random.Random) -> None:
    part = rng.choice(sorted(store.glob("part-*")))
    part.write_bytes(mutated(part.read_bytes(), rng))


def footer_of_part(store: Path, rng: random.Random) -> None:
    part = rng.choice(sorted(store.glob("part-*")))
    data = part.read_bytes()
    tree = thrift.footer(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        thrift.change(tree, rng)
    part.write_bytes(thrift.with_footer(data, tree))


def json_value(rng: random.Random) -> Any:
    deep: Any = "deep"
    for _ in range(rng.choice((3, 100, 900))):
        deep = [deep]
    return rng.choice((None, True, -1, 0, 2**70, 1e308, float("nan"), "", "x" * 9999, "\ud800\n", [], {}, deep, [1.5]))


def values_of_meta(store: Path, rng: random.Random) -> None:
    file = store / "meta.json"
    meta = json.loads(file.read_text())
    inside = rng.choice((meta, meta["fingerprint"]))
    key = rng.choice(sorted(inside))
    match rng.randrange(4):
        case 0:
            del inside[key]
        case 1:
            inside[key] = [json_value(rng)]
        case 2 if isinstance(inside[key], dict | list):
            inside[key] = json.dumps(inside[key])
        case _:
            inside[key] = json_value(rng)
    file.write_text(json.dumps(meta))


def bytes_of_meta(store: Path, rng: random.Random) -> None:
    file = store / "meta.json"
    deep = b"[" * 100_000, b'{"a":' * 50_000, b"1" * 5000, b"\xff", b'{"format": "vggfeat-store/1", "fingerprint": []}'
    file.write_bytes(rng.choice(deep) if rng.random() < 0.2 else mutated(file.read_bytes(), rng))


def failures(store: Path, rng: random.Random) -> None:
    file = store / "failures.csv"
    long = b"," * 10**6, b"x" * 10**6, b'path,reason\n"' + b"x" * 10**6, b"path,reason\na\n", b"\0" * 99
    file.write_bytes(rng.choice(long) if rng.random() < 0.2 else mutated(file.read_bytes(), rng))


def foreign_part(store: Path, rng: random.Random) -> None:
    """A part of a store of other weights, in the place of a part or beside it."""
    other = make(store.with_name("other"), 100, weights_sha256="cd" * 32)
    name = rng.choice(("part-00005.parquet", "part-00005-2.parquet", "part-00099.parquet"))
    shutil.copy(sorted(other.glob("part-*"))[rng.randrange(3)], store / name)


def odd_file(store: Path, rng: random.Random) -> None:
    """A folder, a pipe, an empty file, a link to nowhere or to itself in the place of a file."""
    file = rng.choice([*sorted(store.glob("part-*")), store / "meta.json", store / "failures.csv", store / ".lock"])
    file.unlink()
    match rng.randrange(5):
        case 0:
            file.mkdir()
        case 1:
            os.mkfifo(file)
        case 2:
            file.write_bytes(b"")
        case 3:
            file.symlink_to("nowhere")
        case 4:
            file.symlink_to(file.name)


DAMAGES: list[Damage] = [
    bytes_of_part, footer_of_part, footer_of_part, values_of_meta, bytes_of_meta, failures, foreign_part, odd_file,
]  # fmt: skip


def rows_of(store: Path) -> dict[str, tuple[bytes, ...]]:
    from vggfeat.store import Store

    table = Store(store).read(["path", "label", "q256", "q384"])
    return {row["path"]: (row["label"], row["q256"], row["q384"]) for row in table.to_pylist()}


def read_in_one_way(store: Path, way: int, good: dict[str, Any]) -> str:
    """Read a store, and say what came of it; the errors are for the caller."""
    from vggfeat.store import Store, export, load
    from vggfeat.store.writing import Writer

    if way == 0:
        Store(store).failures  # noqa: B018
        assert len(Store(store)) >= 0
    elif way == 1:
        data = load(store, agg="stack", normalize="none")
        names = {name: row.tolist() for name, row in zip(data.paths, data.X, strict=True)}
        assert all(row == [*good[name][1], *good[name][2]] for name, row in names.items()), "foreign rows"
    elif way == 2:
        export(store, store.with_name("x.npy"))
    elif way == 3:
        with Writer(store, FINGERPRINT, source="photos", agg="max") as writer:
            writer.commit([])
    found = rows_of(store)
    return "right rows" if found == good else "some rows" if found.items() <= good.items() else "foreign rows"


def attempt(number: int, seed: int, good_store: Path, good: dict[str, Any]) -> str:
    from vggfeat.errors import StoreError

    rng, damage = random.Random(f"{seed} {number}"), DAMAGES[number % len(DAMAGES)]
    with tempfile.TemporaryDirectory() as folder:
        store = Path(shutil.copytree(good_store, Path(folder) / "s"))
        damage(store, rng)
        try:
            came = read_in_one_way(store, number // len(DAMAGES) % 4, good)
        except StoreError as error:
            came = "one line" if "\n" not in str(error) and str(store) in str(error) else f"a bad line: {error}"
        except Exception as error:
            came = "foreign rows" if "foreign" in str(error) else type(error).__name__
    return f"{damage.__name__}: {came}"


def run(start: int, count: int, seed: int) -> None:
    """In the process of its own."""
    import resource

    from vggfeat import errors  # noqa: F401

    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    with tempfile.TemporaryDirectory() as folder:
        store = make(Path(folder) / "good")
        good = copy.deepcopy(rows_of(store))
        for number in range(start, count):
            signal.alarm(SECONDS)  # ends the process if it waits
            os.write(1, f"{attempt(number, seed, store, good)}\n".encode())


def outcomes(count: int, seed: int = 0) -> Counter[str]:
    """What came of `count` damages; "died" stands for the end of the process."""
    found: Counter[str] = Counter()
    while (done := found.total()) < count:
        command = [sys.executable, "-m", "tests.kit.damaged_stores", "run", *map(str, (done, count, seed))]
        found.update(subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.splitlines())
        if found.total() < count:
            found[f"{DAMAGES[found.total() % len(DAMAGES)].__name__}: died or hung"] += 1
    return found


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(*map(int, sys.argv[2:]))
    else:
        for what, times in sorted(outcomes(*map(int, sys.argv[1:])).items()):
            print(f"{times:7,}  {what}")
