"""Published files, and where they are on this machine."""

from pathlib import Path
from typing import NamedTuple

from vggfeat._util.fetch import cache_dir, download, locked
from vggfeat._util.printable import say
from vggfeat.nets import Top, parameter_count
from vggfeat.weights.convert import convert
from vggfeat.weights.registry import PublishedFile, Registry


class Copy(NamedTuple):
    """A published file and its two possible places on this machine: converted, or as it was published."""

    published: PublishedFile
    native: Path
    raw: Path

    @property
    def path(self) -> Path | None:
        """The place that has the file."""
        return next((path for path in (self.native, self.raw) if path.is_file()), None)


def copy_of(registry: Registry, name: str, net: str, published: PublishedFile) -> Copy:
    """The places of the file of a name and net, or of the smaller one."""
    part = "" if published == registry.named[name, net] else "-conv"
    converted = cache_dir() / f"{name}-{net}{part}.safetensors"
    return Copy(
        published,
        converted if published.urls else registry.assets / published.file,
        cache_dir() / published.file,
    )


def copies_of(registry: Registry, name: str, net: str, top: Top) -> list[Copy]:
    """The files that hold `top`, the smaller first."""
    known = registry.named[name, net]
    files = [known.conv, known] if known.conv and top == "pool5" else [known]
    return [copy_of(registry, name, net, file) for file in files]


def obtain(registry: Registry, copy: Copy, net: str) -> None:
    """Download and convert a published file; one that a user put into the cache stays there."""
    with locked(copy.native):
        if copy.native.is_file():  # another process was faster
            return
        by_hand = copy.raw.is_file()
        if not by_hand:
            say(f"downloading {copy.raw.name}, about {_megabytes(copy, net):,} MB, once")
        most = 5 * parameter_count(net)  # bytes: float32 takes 4, and the form of a file takes little more
        raw = download(copy.published.urls, copy.raw, max_bytes=most, **copy.published.check)
        convert(raw, copy.native, registry=registry)
        if not by_hand:
            raw.unlink()


def _megabytes(copy: Copy, net: str) -> int:
    """Of a published file, whose numbers are float32."""
    part = copy.native.stem.endswith("-conv")
    return round(4 * parameter_count(net, top="pool5" if part else "fc8") / 1e6)
