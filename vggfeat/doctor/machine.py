"""Memory, processors, disk, write access. Nothing is written."""

import os
import shutil
from pathlib import Path

from vggfeat._util.fetch import cache_dir
from vggfeat._util.files import check_folder
from vggfeat._util.memory import free_memory, total_memory
from vggfeat._util.printable import reason_of
from vggfeat._util.processes import cores
from vggfeat.doctor.check import Check
from vggfeat.errors import VggfeatError

MEMORY = 2e9  # bytes; the weights of net E take 0.57e9, and may be there twice while they are read
DOWNLOAD = 1.2e9  # bytes; the same weights as they are published, and converted
STORE = 1e9  # bytes; 20 thousand images at three scales
WHERE_CACHE = "downloads of weights, and files of other frameworks as --weights"
WHERE_HERE = "vggfeat extract without --out"
OTHER_CACHE = "export VGGFEAT_CACHE=FOLDER"
OTHER_OUT = "vggfeat extract PHOTOS --out FOLDER/photos.vggfeat"


def checks() -> list[Check]:
    """What the machine has for this process."""
    return [
        _memory(),
        Check(
            "processors", "ok", f"{cores()} of {os.cpu_count()} for this process", "nothing; nets run faster on more"
        ),
        _disk("disk-cache", _cache(), DOWNLOAD, WHERE_CACHE, OTHER_CACHE),
        _disk("disk-here", Path(), STORE, WHERE_HERE, OTHER_OUT),
        _write("write-cache", _cache(), WHERE_CACHE, OTHER_CACHE),
        _write("write-here", Path(), WHERE_HERE, OTHER_OUT),
    ]


def _memory() -> Check:
    free, without = free_memory(), "nets with fc6 and fc7, and large photos"
    found = f"{_gb(free)} free for this process, of {_gb(total_memory())}"
    if free < MEMORY:
        return Check("memory", "warning", found, without, "end other programs, or use --layer pool5")
    return Check("memory", "ok", found, without)


def _cache() -> Path | None:
    """The folder of the cache; None if there is no home folder for it."""
    try:
        return cache_dir()
    except VggfeatError:
        return None


def _disk(name: str, folder: Path | None, least: float, without: str, remedy: str) -> Check:
    """Free space of the disk that a folder is on, or will be on."""
    if folder is None:
        return Check(name, "warning", "no home folder for the cache", without, remedy)
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Check(name, "warning", f"{folder}: {reason_of(error)}", without, remedy)
    found = f"{_gb(free)} free at {folder.absolute()}"
    return Check(name, "ok", found, without) if free >= least else Check(name, "warning", found, without, remedy)


def _write(name: str, folder: Path | None, without: str, remedy: str) -> Check:
    """Whether a folder can be written, or made, as far as the system says it without a try."""
    if folder is None:
        return Check(name, "warning", "no home folder for the cache", without, remedy)
    try:
        check_folder(folder.absolute())
    except (VggfeatError, OSError) as error:
        return Check(name, "warning", f"{error}".partition(";")[0], without, remedy)
    return Check(name, "ok", f"{folder.absolute()} can be written", without)


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
