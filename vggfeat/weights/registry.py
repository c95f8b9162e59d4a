"""From what a user says of weights (a name, a file, or nothing) to a native file on this machine."""

import os
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from vggfeat._util.fetch import cache_dir, download, locked
from vggfeat.errors import FetchError, UsageError, WeightsError
from vggfeat.nets import CONFIGS, TOPS, Top, parameter_count
from vggfeat.weights.convert import convert, sniff
from vggfeat.weights.header import Weights
from vggfeat.weights.native import called, digest, inspect, read, require
from vggfeat.weights.published import ASSETS, REGISTRY, Entry

NAMES = tuple(dict.fromkeys(name for name, _ in REGISTRY))
AUTO = ("oxford", "torchvision")  # in the order in which they are looked for
DEFAULT_NET = "D"


class Available(NamedTuple):
    """A row of `vggfeat weights list`: what the registry has, and what of it is on this machine.

    `layers` are what a descriptor can be of, and fc8 for classes; `cached` those that a file here holds (of
    Oxford's nets there is a smaller file that ends at pool5). `size` is in bytes: of the file at `path`, or of
    a download (to 0.1 %) where `path` is None. `top1` and `top5` are the accuracy in per cent on ILSVRC-2012's
    validation set, one centre crop an image.
    """

    name: str
    net: str
    file: str
    size: int | None
    path: Path | None
    lineage: str
    licence: str
    top1: float | None
    top5: float | None
    layers: tuple[str, ...]
    cached: tuple[str, ...]


def resolve(spec: str | Path = "auto", net: str | None = None, top: Top = "fc7") -> Weights:
    """The weights of `net` that `spec` means, with the layers up to `top`.

    `spec` is a name of the registry, a file, or a folder of native files. A file of another framework is
    converted into the cache first. "auto" is what $VGGFEAT_WEIGHTS says (a file or a folder), else what the
    cache holds, else a download: Oxford's weights, or torchvision's for a net that Oxford did not publish.
    `net` None is the weights' own net, D where nothing says more.

    Raises UsageError for a net that does not exist; WeightsError where the weights can't be had (it says
    where to get the file, and where to put it), contradict the net, or end before `top`.
    """
    if net is not None and net not in CONFIGS:
        raise UsageError(f"no net {net!r}; the nets are {', '.join(CONFIGS)}")
    if spec == "auto":
        weights = _auto(net, top)
    elif spec in NAMES:
        weights = _named(str(spec), net, top)
    else:
        weights = _at(Path(spec).expanduser(), net, top)
    require(weights, top)
    return weights


def available() -> list[Available]:
    """Everything in the registry, in its order."""
    rows = []
    for (name, net), entry in REGISTRY.items():
        path = _place(name, net, entry)
        cached: tuple[str, ...] = TOPS if path else ()
        if path is None and entry.conv and (path := _place(name, net, entry.conv)):
            cached = ("pool5",)
        size = path.stat().st_size if path else 4 * parameter_count(net) if entry.urls else None
        scores = entry.top1, entry.top5
        rows.append(Available(name, net, entry.file, size, path, entry.lineage, entry.licence, *scores, TOPS, cached))
    return rows


def _place(name: str, net: str, entry: Entry) -> Path | None:
    return next((path for path in (_native(name, net, entry), _raw(entry)) if path.is_file()), None)


def _auto(net: str | None, top: Top) -> Weights:
    if said := os.environ.get("VGGFEAT_WEIGHTS"):
        place = Path(said).expanduser()
        if not place.exists():
            raise WeightsError(f"$VGGFEAT_WEIGHTS names {place}, which does not exist")
        found = _in_folder(place, net, top) if place.is_dir() else _at(place, net, top)
        if found:
            return found
    net = net or DEFAULT_NET
    names = [name for name in AUTO if (name, net) in REGISTRY]
    if not names:
        raise WeightsError(f"nobody publishes weights of net {net}: give a file with --weights, or net D or E")
    here = [name for name in names if any(_is_here(name, net, entry) for entry in _serving(name, net, top))]
    return _named((here or names)[0], net, top)


def _named(name: str, net: str | None, top: Top) -> Weights:
    nets = [known for registered, known in REGISTRY if registered == name]
    net = net or (DEFAULT_NET if DEFAULT_NET in nets else nets[0])
    if net not in nets:
        raise WeightsError(f"the weights {name!r} are of net {', '.join(nets)}; there are none of net {net}")
    serving = _serving(name, net, top)
    entry = next((entry for entry in serving if _is_here(name, net, entry)), serving[0])
    native = _native(name, net, entry)
    if not native.is_file():
        if not entry.urls:
            raise WeightsError(f"{native} is missing: this vggfeat was installed without its {name} weights")
        _obtain(entry, native)
    return _agreeing(replace(read(native), name=name), net)


def _obtain(entry: Entry, native: Path) -> None:
    """Bring a published file into the cache, in native form; one put there by hand is left where it is."""
    raw = _raw(entry)
    try:
        with locked(native):
            if native.is_file():  # another process was quicker
                return
            by_hand = raw.is_file()
            convert(download(entry.urls, raw, **entry.check), native)
            if not by_hand:
                raw.unlink()
    except FetchError as error:
        raise WeightsError(f"{error}; `--weights slim` tries things offline") from None


def _serving(name: str, net: str, top: Top) -> list[Entry]:
    """The files of an entry that hold `top`, the smaller first."""
    entry = REGISTRY[name, net]
    return [entry.conv, entry] if entry.conv and top == "pool5" else [entry]


def _is_here(name: str, net: str, entry: Entry) -> bool:
    return _native(name, net, entry).is_file() or _raw(entry).is_file()


def _native(name: str, net: str, entry: Entry) -> Path:
    if not entry.urls:
        return ASSETS / entry.file
    part = "" if entry == REGISTRY[name, net] else "-conv"
    return cache_dir() / f"{name}-{net}{part}.safetensors"


def _raw(entry: Entry) -> Path:
    return cache_dir() / entry.file


def _at(path: Path, net: str | None, top: Top) -> Weights:
    if not path.exists():
        raise WeightsError(f"no weights file {path}, nor a name in the registry ({', '.join(NAMES)})")
    if path.is_dir():
        found = _in_folder(path, net, top)
        if not found:
            raise WeightsError(f"{path} holds no native weights (*.safetensors) of net {net or DEFAULT_NET}")
        return found
    if sniff(path) == "native":
        return _agreeing(read(path), net)
    native = cache_dir() / f"{path.stem}-{digest(path)[:16]}.safetensors"
    if not native.is_file():
        with locked(native):
            convert(path, native)
    return _agreeing(replace(read(native), name=path.name), net)


def _in_folder(folder: Path, net: str | None, top: Top) -> Weights | None:
    """The native file of `net` in a folder; one that reaches `top` before others, then by name."""
    found, damaged = [], []
    for path in sorted(folder.glob("*.safetensors")):
        try:
            found.append(inspect(path))
        except WeightsError as error:
            damaged.append(error)
    nets = sorted({weights.net for weights in found})
    if net is None and DEFAULT_NET not in nets and len(nets) > 1:
        raise WeightsError(f"{folder} holds weights of the nets {', '.join(nets)}: say which with --net")
    wanted = net or (nets[0] if len(nets) == 1 else DEFAULT_NET)
    fitting = [weights for weights in found if weights.net == wanted]
    if not fitting and damaged:
        raise damaged[0]
    reach = TOPS.index(top)
    fitting.sort(key=lambda weights: TOPS.index(weights.top) < reach)
    return read(fitting[0].path) if fitting else None


def _agreeing(weights: Weights, net: str | None) -> Weights:
    if net is not None and weights.net != net:
        raise WeightsError(
            f"{called(weights)} holds net {weights.net}, not {net}: leave out --net, or give weights of that net"
        )
    return weights
