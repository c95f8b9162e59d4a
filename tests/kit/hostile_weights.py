"""Weights files that ask for far more memory than they have bytes, and whole ones that are damaged at random.

`python -m tests.kit.hostile_weights FILE...` verifies files in little memory; one line for each.
"""

import pickle
import random
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import h5py
import torch
from safetensors.torch import save_file

from tests.kit.foreign_caffe import write_caffe
from tests.kit.foreign_files import keras_layers, named_layers, torchvision_net, write_keras
from tests.kit.foreign_matconvnet import matconvnet_net, write_matconvnet
from vggfeat.errors import WeightsError
from vggfeat.weights import convert, verify

MEMORY = 600_000_000  # bytes that a verification may take; the stack of MATLAB files has 256 MB, little of it used
LARGE = 3_000_000_000  # bytes that the hostile files ask for


class Call:
    """Pickled as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def zipped(file: Path, content: bytes) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x/data.pkl", content)
        archive.writestr("x/version", "3")
    return file


def calls(folder: Path) -> list[Path]:
    """1 KB each. All of these are allowed by torch.load(weights_only=True)."""
    of = {
        "tensor": Call(torch.FloatTensor, LARGE // 4),
        "storage": Call(torch.UntypedStorage, LARGE),
        "bytes": Call(bytearray, LARGE),
        "size": Call(torch.Size, Call(bytearray, LARGE)),
    }
    return [zipped(folder / f"{name}.pth", pickle.dumps({"features.0.weight": call}, 2)) for name, call in of.items()]


class Stored:
    """A storage that its pickle declares, of the old format."""

    def __init__(self, count):
        self.persistent = ("storage", torch.FloatStorage, "0", "cpu", count, None)


class OldPickler(pickle._Pickler):
    def persistent_id(self, thing):
        return thing.persistent if isinstance(thing, Stored) else None


def old_format(folder: Path) -> list[Path]:
    file = folder / "old.pth"
    weight = Call(torch._utils._rebuild_tensor_v2, Stored(LARGE // 4), 0, (4, 3, 3, 3), (27, 9, 3, 1), False, {})
    with file.open("wb") as out:
        for thing in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {"features.0.weight": weight}, ["0"]):
            OldPickler(out, 2).dump(thing)
        out.write(struct.pack("<q", LARGE // 4) + bytes(500))
    return [file]


def deep_keys(folder: Path) -> list[Path]:
    """A key of a dictionary whose hash needs a stack of any size, and one that takes for ever."""
    deep = b"\x80\x02}(" + b")" + b"\x85" * 100_000 + b"K\x01u."
    wide = b"\x80\x02}(" + b")" + b"q\x00h\x00\x86" * 60 + b"K\x01u."
    return [zipped(folder / f"{name}.pth", content) for name, content in (("deep", deep), ("wide", wide))]


def changed_keras(file: Path, change: Callable[[h5py.File], None]) -> Path:
    write_keras(file, keras_layers("D"))
    with h5py.File(file, "r+") as opened:
        del opened["fc2/fc2_b_1:0"]
        change(opened)
    return file


@cache
def zeros(size: int) -> bytes:
    pack, block = zlib.compressobj(1), bytes(1 << 20)
    return b"".join(pack.compress(block) for _ in range(size >> 20)) + pack.flush()


def bomb(file: h5py.File) -> None:
    made = file.create_dataset("fc2/fc2_b_1:0", (256,), "f4", chunks=(256,), compression="gzip")
    made.id.write_direct_chunk((0,), zeros(LARGE // 4))


def huge_chunk(file: h5py.File) -> None:
    options = {"maxshape": (None,), "chunks": (LARGE // 4,), "compression": "gzip"}
    made = file.create_dataset("fc2/fc2_b_1:0", (256,), "f4", **options)
    made.id.write_direct_chunk((0,), zlib.compress(bytes(1024)))


def twice_packed(file: h5py.File) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((256,))
    plan.set_deflate(1)
    plan.set_deflate(1)
    space = h5py.h5s.create_simple((256,))
    made = h5py.h5d.create(file["fc2"].id, b"fc2_b_1:0", h5py.h5t.IEEE_F32LE, space, plan)
    made.write_direct_chunk((0,), zlib.compress(zeros(LARGE // 4)))


def unwritten(file: h5py.File) -> None:
    file.create_dataset("fc2/fc2_b_1:0", (256,), "f4", fillvalue=1)


def datasets(folder: Path) -> list[Path]:
    changes = {"bomb": bomb, "huge chunk": huge_chunk, "twice packed": twice_packed, "unwritten": unwritten}
    return [changed_keras(folder / f"{name}.h5", change) for name, change in changes.items()]


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matlab(folder: Path) -> list[Path]:
    """A text without letters, a struct array without fields, cells and numbers, all of 2^30 by 1."""
    ends = {
        "text": (4, element(16, b"")),
        "struct": (2, struct.pack("<HHI", 5, 4, 32) + element(1, b"")),
        "cells": (1, b""),
        "numbers": (7, element(7, b"")),
        "sparse": (5, element(5, b"") * 2 + element(9, b"")),
    }
    files = []
    for name, (kind, end) in ends.items():
        flags = element(6, struct.pack("<II", kind, LARGE // 4)) + element(5, struct.pack("<ii", 1 << 30, 1))
        content = element(14, flags + element(1, b"layers") + end)
        files.append(folder / f"{name}.mat")
        files[-1].write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + content)
    return files


HOSTILE = {"calls": calls, "old format": old_format, "keys": deep_keys, "HDF5": datasets, "MATLAB": matlab}


def whole_files(folder: Path) -> list[Path]:
    """One small file of each format."""
    state, layers = torchvision_net("A").state_dict(), named_layers("D")
    torch.save(state, folder / "zip.pth")
    torch.save({"state_dict": state, "epoch": 3}, folder / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, folder / "foreign.safetensors")
    convert(folder / "zip.pth", folder / "native.safetensors")
    write_keras(folder / "keras.h5", keras_layers("D"))
    write_caffe(folder / "v1.caffemodel", layers)
    write_caffe(folder / "v2.caffemodel", layers, "V2")
    write_matconvnet(folder / "v7.mat", matconvnet_net(layers))
    write_matconvnet(folder / "v73.mat", matconvnet_net(layers, "v7.3"), "v7.3")
    return sorted(file for file in folder.iterdir() if file.is_file())


def damaged(data: bytes, draw: random.Random) -> bytes:
    """A few bytes changed, most of them near the ends, where headers and directories are; or a piece lost, or twice."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 3, 20))):
        near = draw.choice((300, 5000, len(changed)))
        at = draw.choice(
            (draw.randrange(min(near, len(changed))), len(changed) - 1 - draw.randrange(min(near, len(changed))))
        )
        piece = draw.choice(
            (bytes([changed[at] ^ 1 << draw.randrange(8)]), b"\xff" * 4, b"\x7f", bytes(8), b"\xff\xff\xff\x7f")
        )
        changed[at : at + len(piece)] = piece
    if draw.random() < 0.15:
        at, length = draw.randrange(len(changed)), draw.randrange(1, 2000)
        changed[at : at + length] = changed[at : at + length] * draw.choice((0, 2))
    return bytes(changed)


def main(files: list[str]) -> None:
    """Print "read" or "refused", and the seconds, for each file."""
    import resource

    taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.RLIM_INFINITY))
    for file in files:
        start = time.monotonic()
        try:
            verify(file)
            said = "read"
        except WeightsError as error:
            assert str(file) in str(error), error
            assert len(str(error).splitlines()) == 1, error
            said = "refused"
        print(said, round(time.monotonic() - start, 1), Path(file).name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
