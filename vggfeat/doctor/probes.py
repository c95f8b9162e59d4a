"""What runs in processes of its own: `python probes.py [path, probe, words]`, the argument as JSON.

A probe takes words, and returns what JSON holds, or raises anything. Nothing of vggfeat is imported, so that a process
starts at once.
"""

import ctypes
import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

# Formats by the names of Pillow's decoders; those of the other formats are always there.
CODECS = {
    "jpeg": "jpg",
    "png": "zlib",
    "webp": "webp",
    "avif": "avif",
    "tiff": "libtiff",
    "jpeg2000": "jpg_2000",
}


def imports(*modules: str) -> None:
    """Import modules."""
    for module in modules:
        import_module(module)


def codecs() -> dict[str, bool]:
    """Format -> whether Pillow decodes it."""
    from PIL import features

    return {name: bool(features.check(decoder)) for name, decoder in CODECS.items()}


def gpus(library: str = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1") -> dict[str, Any]:
    """What NVIDIA's driver says, as torch will see it: its highest CUDA version, and name and bytes of each GPU.

    `trouble` is the driver's own name of an error.
    """
    driver = ctypes.CDLL(library)
    version, count = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    found: dict[str, Any] = {"cuda": (version.value // 1000, version.value % 1000 // 10), "gpus": [], "trouble": ""}
    if error := driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        word = ctypes.c_char_p()
        driver.cuGetErrorName(error, ctypes.byref(word))
        return found | {"trouble": (word.value or b"error %d" % error).decode(errors="replace")}
    for number in range(count.value):
        device, name, size = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_size_t()
        driver.cuDeviceGet(ctypes.byref(device), number)
        driver.cuDeviceGetName(name, len(name), device)
        driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
        found["gpus"].append((name.value.decode(errors="replace"), size.value))
    return found


PROBES: dict[str, Callable[..., Any]] = {"imports": imports, "codecs": codecs, "gpus": gpus}


def main() -> None:
    """Answer one question in one line of JSON, and end at once: to take modules down takes long, or crashes."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what an import prints is no answer
    path, probe, words = json.loads(sys.argv[1])
    sys.path[:] = path  # an import finds what it would find in the process that asks
    try:
        said = {"value": PROBES[probe](*words)}
    except BaseException as error:  # a package may even call sys.exit
        first = next(iter(str(error).strip().splitlines()), "")
        said = {"trouble": f"{type(error).__name__}: {first}".removesuffix(": ")}
    answer.write(json.dumps(said))
    answer.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
