"""From a name, a file or a folder to a native file on this machine."""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from vggfeat._util.printable import say
from vggfeat.errors import FetchError, WeightsError
from vggfeat.nets import TOPS, Top, parameter_count
from vggfeat.nets.table import check_net
from vggfeat.spec import Lineage
from vggfeat.weights.convert import convert_into_cache, sniff
from vggfeat.weights.copies import copies_of, copy_of, obtain
from vggfeat.weights.header import Weights
from vggfeat.weights.native import known_as, read, read_header, require
from vggfeat.weights.published import REGISTRY
from vggfeat.weights.registry import Registry

AUTO = ("oxford", "torchvision")  # tried in this order
DEFAULT_NET = "D"
BUNDLED = ("oxford-int8", "E")  # has the layers up to pool5


class Available(NamedTuple):
    """One published set of weights, and what of it is on this machine.

    Parameters
    ----------
    name, net : str
        The name in the registry, and the net.
    file : str
        The name of the published file.
    size : int or None
        Bytes of the file at `path`, or of the download (to 0.1 %); None if there is neither.
    path : Path or None
        The file on this machine.
    lineage, licence : str
        Who trained the weights, and their licence.
    top1, top5 : float or None
        Accuracy in per cent on the validation set of ILSVRC-2012, one centre crop per image.
    layers : tuple of str
        The layers of the published file: pool5, fc6, fc7 for descriptors, fc8 for classes.
    cached : tuple of str
        The layers of the file at `path`. Oxford's weights also have a smaller file that ends at pool5.
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


def resolve(
    spec: str | Path = "auto",
    net: str | None = None,
    top: Top = "fc7",
    lineage: Lineage | None = None,
    *,
    registry: Registry = REGISTRY,
) -> Weights:
    """Find weights, and download or convert them if needed.

    Parameters
    ----------
    spec : str or Path
        A name of the registry ("oxford", "torchvision", "oxford-int8", "slim"), a file, or a folder of native files. A
        file of another framework is converted into the cache: all of it, or only the layers up to `top` if later ones
        are unusable. "auto" takes the file or folder that $VGGFEAT_WEIGHTS names, else what the cache holds. Else, up
        to pool5, if `net` is E or not given, it takes "oxford-int8", which is part of this package. Else it downloads
        Oxford's weights, or torchvision's for a net that Oxford did not publish.
    net : str, optional
        The net that the weights must be of. By default D if there is a choice.
    top : {"fc7", "fc8", "fc6", "pool5"}
        The last layer that is needed.
    lineage : {"oxford", "torchvision"}, optional
        The lineage that the weights must be of. It decides the preprocessing of a file of another framework that is
        not recognised; without it that is assumed, and a line on stderr says so.
    registry : Registry
        The published files that are known, see `vggfeat.weights.published`.

    Returns
    -------
    Weights
        A native file that holds the layers up to `top`, at least.

    Raises
    ------
    UsageError
        If there is no such net.
    WeightsError
        If the weights are not found, cannot be downloaded or read, are of another net or lineage, or end before `top`.

    Examples
    --------
    >>> weights = resolve("slim")
    >>> weights.net, weights.width, weights.layers
    ('A', 0.1875, ('pool5', 'fc6', 'fc7'))
    """
    if net is not None:
        check_net(net)
    try:
        if spec == "auto":
            weights = _auto(registry, net, top, lineage)
        elif spec in registry.names:
            weights = _named(registry, str(spec), net, top)
        else:
            weights = _at(registry, Path(spec).expanduser(), net, top, lineage)
    except FetchError as error:
        raise WeightsError(f"{error}; without a network {_here(spec, net, top, lineage)}") from None
    require(weights, top)
    return _of_lineage(weights, lineage)


def available(registry: Registry = REGISTRY) -> list[Available]:
    """List the weights that are known by name.

    Parameters
    ----------
    registry : Registry
        The published files that are known, see `vggfeat.weights.published`.

    Returns
    -------
    list of Available
        One per name and net, in the order of the registry.
    """
    rows = []
    for (name, net), known in registry.named.items():
        path = copy_of(registry, name, net, known).path
        layers: tuple[str, ...] = TOPS[: TOPS.index(known.top) + 1]
        cached = layers
        if path is None and known.conv:
            path, cached = copy_of(registry, name, net, known.conv).path, TOPS[:1]
        size = path.stat().st_size if path else 4 * parameter_count(net) if known.urls else None
        about = known.lineage, known.licence, known.top1, known.top5
        rows.append(Available(name, net, known.file, size, path, *about, layers, cached if path else ()))
    return rows


def _auto(registry: Registry, net: str | None, top: Top, lineage: Lineage | None) -> Weights:
    if given := os.environ.get("VGGFEAT_WEIGHTS"):
        place = Path(given).expanduser()
        if not place.exists():
            raise WeightsError(f"{place}: not found; $VGGFEAT_WEIGHTS names it, change or remove that")
        found = _in_folder(place, net, top) if place.is_dir() else _at(registry, place, net, top, lineage)
        if found:
            return found
    wanted, net = net, net or DEFAULT_NET
    known = [name for name in AUTO if (name, net) in registry.named]
    names = [name for name in known if lineage in (None, registry.named[name, net].lineage)]
    if not names:
        whose, remedy = (f" of the lineage {lineage}", ", leave out --lineage") if known else ("", "")
        raise WeightsError(
            f"no published weights of net {net}{whose} are known; "
            f"give a file with --weights{remedy}, or take net D or E"
        )
    here = [name for name in names if any(copy.path for copy in copies_of(registry, name, net, top))]
    suits = top == "pool5" and wanted in (None, BUNDLED[1]) and lineage in (None, "oxford")
    if not here and suits and BUNDLED in registry.named:
        _say_once(
            f"using {BUNDLED[0]}, the convolutional layers of net {BUNDLED[1]} inside this package; "
            f"for all layers: vggfeat weights fetch oxford --net {BUNDLED[1]}"
        )
        return _named(registry, *BUNDLED, top)
    return _named(registry, (here or names)[0], net, top)


def _named(registry: Registry, name: str, net: str | None, top: Top) -> Weights:
    nets = [known for registered, known in registry.named if registered == name]
    net = net or (DEFAULT_NET if DEFAULT_NET in nets else nets[0])
    if net not in nets:
        raise WeightsError(f"the weights {name!r} are of net {', '.join(nets)}; there are none of net {net}")
    copies = copies_of(registry, name, net, top)
    copy = next((copy for copy in copies if copy.path), copies[0])
    if not copy.native.is_file():
        if not copy.published.urls:
            raise WeightsError(f"{copy.native}: not found; install vggfeat again with its {name} weights")
        obtain(registry, copy, net)
    return _of_net(replace(read(copy.native), name=name), net)


def _here(spec: str | Path, net: str | None, top: Top, lineage: Lineage | None) -> str:
    """What works without a download, in the place of what was asked for."""
    bundled, its_net = BUNDLED
    if top == "fc8":
        return (
            f"descriptors work with --layer pool5 (the convolutional layers of net {its_net} are inside this package), "
            "and classes with --weights slim, for tests only"
        )
    leave_out = "leave out --lineage, and " if lineage == "torchvision" else ""
    words = [] if net in (None, its_net) else [f"--net {its_net}"]
    words += [] if top == "pool5" else ["--layer pool5"]
    words += [f"--weights {bundled}"] if spec != "auto" or not words else []
    tests = ", or --weights slim, for tests only" if top != "pool5" and net in (None, "A") else ""
    inside = f"(the convolutional layers of net {its_net} are inside this package)"
    return f"{leave_out}use {' '.join(words)} {inside}{tests}"


def _at(registry: Registry, path: Path, net: str | None, top: Top, lineage: Lineage | None) -> Weights:
    if not path.exists():
        raise WeightsError(f"{path}: no such file, and no name of published weights ({', '.join(registry.names)})")
    if path.is_dir():
        found = _in_folder(path, net, top)
        if not found:
            raise WeightsError(f"{path}: holds no native weights (*.safetensors) of net {net or DEFAULT_NET}")
        return found
    if sniff(path) == "native":
        return _of_net(read(path), net)
    return _of_net(replace(read(convert_into_cache(path, top, lineage, registry)), name=path.name), net)


def _in_folder(folder: Path, net: str | None, top: Top) -> Weights | None:
    """The native file of `net` in a folder: the first by name that reaches `top`, else the first by name."""
    found, damaged = [], []
    for path in sorted(folder.glob("*.safetensors")):
        try:
            found.append(read_header(path))
        except WeightsError as error:
            damaged.append(error)
    nets = sorted({weights.net for weights in found})
    if net is None and DEFAULT_NET not in nets and len(nets) > 1:
        raise WeightsError(f"{folder}: holds weights of the nets {', '.join(nets)}; choose one with --net")
    wanted = net or (nets[0] if len(nets) == 1 else DEFAULT_NET)
    fitting = [weights for weights in found if weights.net == wanted]
    if not fitting and damaged:
        raise damaged[0]
    fitting.sort(key=lambda weights: TOPS.index(weights.top) < TOPS.index(top))
    return read(fitting[0].path) if fitting else None


def _of_net(weights: Weights, net: str | None) -> Weights:
    """The weights, which must be of `net` if it is given. Raises WeightsError."""
    if net is not None and weights.net != net:
        raise WeightsError(
            f"{known_as(weights)}: holds net {weights.net}, not {net}; leave out --net, or give weights of that net"
        )
    return weights


def _of_lineage(weights: Weights, lineage: Lineage | None) -> Weights:
    """The weights, which must be of `lineage` if it is given. Says so once if theirs is assumed."""
    if lineage is None:
        if weights.assumed:
            _say_once(
                f"{known_as(weights)}: does not say who trained it; {weights.lineage}'s preprocessing is assumed "
                f"({weights.preprocessing}); give --lineage oxford or --lineage torchvision"
            )
        return weights
    if weights.lineage != lineage:
        again = f", or convert its source again with --lineage {lineage}" if weights.assumed else ""
        raise WeightsError(
            f"{known_as(weights)}: is of the lineage {weights.lineage}, not {lineage}; leave out --lineage{again}"
        )
    return replace(weights, assumed=False)


@cache
def _say_once(line: str) -> None:
    """Print a line on stderr, once in a process."""
    say(line)
