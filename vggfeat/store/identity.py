"""How it is known whether a row belongs to the image that a source has now under the same name."""

from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

import pyarrow as pa

from vggfeat.store.names import Names

COLUMNS = {"size": pa.int64(), "changed_ns": pa.int64(), "sha256": pa.string()}
NEW = 2**32 - 1  # stands for the number of a part if the name has no row in the parts


class Identity(NamedTuple):
    """The bytes of an image; None for what is not known.

    size : bytes. changed_ns : time of the last change of the file or of its name, in nanoseconds since 1970. sha256 :
    checksum, hexadecimal; of a part of an image (Region) with the box.
    """

    size: int | None = None
    changed_ns: int | None = None
    sha256: str | None = None


UNKNOWN = Identity()


class Row(NamedTuple):
    """A row, without its values. A mark is a number computed from what it stands for; 0 if that is not known.

    part : the number of the part in the writer's list; NEW if there is no row yet. seen : whether the source has
    listed the name. stat : mark of size and time. label : mark of the label. content : mark of the checksum.
    """

    part: int = NEW
    seen: bool = False
    stat: int = 0
    label: int = 0
    content: int = 0


class Rows:
    """The rows of a store by name, in 45 bytes for each."""

    def __init__(self) -> None:
        self._names = Names(width=_PACKED.size)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def get(self, name: str) -> Row | None:
        """None if there is no row, and the source has not listed the name."""
        return _unpacked(self._names.get(name))

    def put(self, name: str, row: Row) -> Row | None:
        """Set the row of a name, and return the one before."""
        return _unpacked(self._names.replace(name, lambda _: _PACKED.pack(*row)))

    def see(self, name: str) -> Row:
        """Mark the row of a name as seen, and return it as it was before."""

        def seen(packed: bytes | None) -> bytes:
            return _PACKED.pack(*(_unpacked(packed) or Row())._replace(seen=True))

        return _unpacked(self._names.replace(name, seen)) or Row()


_PACKED = Struct("<IBQQQ")


def _unpacked(packed: bytes | None) -> Row | None:
    return None if packed is None else Row(*_PACKED.unpack(packed.ljust(_PACKED.size, b"\0")))


def row_of(part: int, label: str | None, identity: Identity) -> Row:
    """The row of an image in the part with this number."""
    return Row(part, False, stat_mark(identity), label_mark(label), content_mark(identity))


def stat_mark(identity: Identity) -> int:
    """The mark of size and time. Different ones have the same mark with a probability of about 2^-64."""
    size, changed_ns, _ = identity
    if size is None and changed_ns is None:
        return 0
    return ((size or 0) * _ODD ^ ((changed_ns or 0) + 1)) % 2**64


_ODD = 0x9E3779B97F4A7C15  # spreads sizes over all bits


def content_mark(identity: Identity) -> int:
    """The mark of the checksum: its first 64 bits."""
    return int(identity.sha256[:16], 16) if identity.sha256 else 0


@lru_cache(maxsize=1024)
def label_mark(label: str | None) -> int:
    """The mark of a label. Different labels have the same mark with a probability of 2^-64."""
    if label is None:
        return 0
    return int.from_bytes(blake2b(label.encode(errors="surrogatepass"), digest_size=8).digest(), "little")
