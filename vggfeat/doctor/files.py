"""Weights and data sets on this machine. Of weights the size is checked; their contents are not read."""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

import vggfeat
from vggfeat._util.fetch import cache_dir
from vggfeat._util.printable import reason_of
from vggfeat._util.regular_files import open_regular
from vggfeat.doctor.check import Check, pip, quoted
from vggfeat.errors import FetchError

PACKAGE = Path(vggfeat.__file__).parent / "assets"
SHIPPED = ("slim.safetensors", "vgg19-oxford-int8.safetensors")
NATIVE = ".safetensors"  # whose header says how long the file is
WEIGHTS = (NATIVE, ".h5", ".pth", ".caffemodel", ".mat")
UNFINISHED = (".part", ".bad")
MAX_HEADER = 4 << 20  # bytes
FETCH = "vggfeat weights fetch oxford"
MOST = 6  # files named in a line
NETS = {"11": "A", "13": "B", "16": "D", "19": "E"}  # VGG's number of layers -> net
DATA_SETS = {  # the folder in $VGGFEAT_DATA -> what needs it
    "voc2007": "vggfeat bench voc2007",
    "voc2012": "vggfeat bench voc2012 and voc2012-actions",
    "caltech101": "vggfeat bench caltech101",
    "caltech256": "vggfeat bench caltech256",
    "ilsvrc2012": "vggfeat evaluate without --data",
}
BY_HAND = {"ilsvrc2012": "download it by hand from https://image-net.org; vggfeat evaluate --data FOLDER"}


def checks() -> list[Check]:
    """The weights of the package, of the cache, and those that $VGGFEAT_WEIGHTS names; then the data sets."""
    return [_package(), _cache(), _named(), *(_data(name, without) for name, without in DATA_SETS.items())]


def _package() -> Check:
    name, without = "weights-package", "--weights slim and oxford-int8: work without a download"
    again = f"{pip('install', '--force-reinstall', '--no-deps', '.')} # in the folder of vggfeat's source"
    files = [PACKAGE / file for file in SHIPPED]
    if absent := [file.name for file in files if not _is_here(file)]:
        return Check(name, "missing", f"not in {PACKAGE}: {', '.join(absent)}", without, again)
    if bad := _damaged(files):
        return Check(name, "missing", bad[0], without, again)
    return Check(name, "ok", _listed(files), without)


def _cache() -> Check:
    name, without = "weights-cache", "fc6, fc7 and classes without a download"
    try:
        place = cache_dir()
        files = sorted(file for file in place.iterdir() if file.suffix in (*WEIGHTS, *UNFINISHED))
    except FileNotFoundError:
        files = []
    except FetchError as error:
        return Check(name, "warning", str(error).partition(";")[0], without, "export VGGFEAT_CACHE=FOLDER")
    except OSError as error:
        found = f"{error.filename}: {reason_of(error)}"
        return Check(name, "warning", found, without, "export VGGFEAT_CACHE=FOLDER")
    whole = [file for file in files if file.suffix in WEIGHTS]
    if bad := _damaged(whole):
        return Check(name, "warning", bad[0], without, f"rm {quoted(bad[1])}")
    for file in files:
        if file.suffix in UNFINISHED:
            what = "an unfinished download" if file.suffix == ".part" else "a download with a wrong checksum"
            return Check(name, "warning", f"{file}: {what} of {_size(file)}", without, _to_finish(file))
    if not whole:
        return Check(name, "missing", f"no weights in {place}", without, FETCH)
    return Check(name, "ok", f"{place}: {_listed(whole)}", without)


def _named() -> Check:
    name, without = "weights-given", "all commands that run a net, unless --weights is given"
    place, unset = _given(), "unset VGGFEAT_WEIGHTS"
    if place is None:
        return Check(name, "ok", "$VGGFEAT_WEIGHTS is not set, and need not be", without)
    if not _is_here(place):
        return Check(name, "missing", f"{place}: not found; $VGGFEAT_WEIGHTS names it", without, unset)
    files = sorted(place.glob(f"*{NATIVE}")) if place.is_dir() else [place]
    if not files:
        return Check(name, "warning", f"{place}: holds no native weights (*{NATIVE})", without, unset)
    if bad := _damaged(files):
        return Check(name, "warning", bad[0], without, unset)
    return Check(name, "ok", f"{place}: {_listed(files)}", without)


def _data(name: str, without: str) -> Check:
    """A folder that is not empty is taken for the data set; the benchmark says what it lacks."""
    top = os.environ.get("VGGFEAT_DATA")
    place = Path(top or "", name)
    try:
        if top and any(place.iterdir()):
            return Check(f"data-{name}", "ok", f"{place} (contents not read)", without)
    except OSError:
        pass
    found = f"{place}: no such folder, or empty" if top else "$VGGFEAT_DATA is not set"
    remedy = f"vggfeat bench {name} --download" + ("" if top else f" --root {name}")
    return Check(f"data-{name}", "missing", found, without, BY_HAND.get(name, remedy))


def _given() -> Path | None:
    named = os.environ.get("VGGFEAT_WEIGHTS")
    try:
        return Path(named).expanduser() if named else None
    except RuntimeError:  # no home folder
        return Path(str(named))


def _is_here(place: Path) -> bool:
    try:
        return place.exists()
    except OSError:  # in a folder that cannot be read
        return False


def _damaged(files: Iterable[Path]) -> tuple[str, Path] | None:
    """A line about the first file whose size is not the one that its header says, and the file."""
    return next(((f"{file}: {trouble}", file) for file in files if (trouble := _trouble(file))), None)


def _trouble(file: Path) -> str:
    """What is wrong with a native file, by its header alone; empty if nothing is, or if its size is not known."""
    if file.suffix != NATIVE:
        return ""
    try:
        with open_regular(file) as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > MAX_HEADER:
                return "is no safetensors file"
            header = json.loads(opened.read(length))
            whole = 8 + length + max(one["data_offsets"][1] for name, one in header.items() if name != "__metadata__")
            size = os.fstat(opened.fileno()).st_size
    except OSError as error:
        return f"cannot be read ({reason_of(error)})"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "its header is damaged"
    return "" if size == whole else f"has {size:,} bytes, not {whole:,}"


def _listed(files: list[Path]) -> str:
    """Names and sizes, and how far they were checked."""
    words = [f"{file.name} {_size(file)}{'' if file.suffix == NATIVE else ' (right size unknown)'}" for file in files]
    more = [f"{len(files) - MOST} more"] * (len(files) > MOST)
    return f"{', '.join(words[:MOST] + more)}; contents not read"


def _size(file: Path) -> str:
    try:
        return f"{file.stat().st_size / 1e6:,.0f} MB"
    except OSError as error:
        return f"({reason_of(error)})"


def _to_finish(left: Path) -> str:
    """The command that continues a download, by the name of the published file; or removes what is of no use."""
    found = re.match(r"vgg(\d\d)(_weights_tf_dim_ordering_tf_kernels\.h5|-\w+\.pth)\.part$", left.name)
    if not found or found[1] not in NETS:
        return f"rm {quoted(left)}"
    return f"vggfeat weights fetch {'oxford' if found[2].endswith('h5') else 'torchvision'} --net {NETS[found[1]]}"
