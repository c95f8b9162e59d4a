"""What tells whether a row belongs to the image that a source has now under its name."""

from hashlib import blake2b
from typing import NamedTuple

import pyarrow as pa

from vggfeat.store.names import Names

COLUMNS = {"size": pa.int64(), "mtime_ns": pa.int64(), "sha256": pa.string()}
NEW = 0xFFFFFF  # in place of the number of a part: the name has no row in the parts


class Identity(NamedTuple):
    """The bytes of an image; None for what is not known.

    size : bytes. mtime_ns : time of the last change, in nanoseconds since 1970. sha256 : checksum, hexadecimal.
    """

    size: int | None = None
    mtime_ns: int | None = None
    sha256: str | None = None


UNKNOWN = Identity()


class Row(NamedTuple):
    """A row, without its values. Marks are digests, empty if nothing is known.

    part : the number of the part in the writer's list; NEW if there is no row yet. seen : whether the source has
    listed the name. stat : mark of size and time. label : mark of the label. content : mark of the bytes.
    """

    part: int = NEW
    seen: bool = False
    stat: bytes = b""
    label: bytes = b""
    content: bytes = b""


class Rows:
    """The rows of a store by name, in 41 bytes for each."""

    def __init__(self) -> None:
        self._names = Names(width=24)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def get(self, name: str) -> Row | None:
        """None if there is no row, and none was put."""
        packed = self._names.get(name)
        if packed is None:
            return None
        packed = packed.ljust(24, b"\0")
        stat, label, content = packed[4:12], packed[12:16], packed[16:24]
        return Row(int.from_bytes(packed[:3]), packed[3] == 1, *(mark.strip(b"\0") for mark in (stat, label, content)))

    def put(self, name: str, row: Row) -> None:
        """Set the row of a name."""
        marks = row.stat.ljust(8, b"\0") + row.label.ljust(4, b"\0") + row.content.ljust(8, b"\0")
        self._names.put(name, row.part.to_bytes(3) + bytes([row.seen]) + marks)


def row_of(part: int, label: str | None, identity: Identity) -> Row:
    """The row in a part."""
    return Row(part, False, stat_mark(identity), label_mark(label), content_mark(identity))


def stat_mark(identity: Identity) -> bytes:
    """Different for another size or time."""
    known = identity.size is not None or identity.mtime_ns is not None
    return _mark(f"{identity.size} {identity.mtime_ns}", 8) if known else b""


def content_mark(identity: Identity) -> bytes:
    """Different for other bytes."""
    return _mark(identity.sha256, 8) if identity.sha256 else b""


def label_mark(label: str | None) -> bytes:
    """Different for another label."""
    return b"" if label is None else _mark(label, 4)


def _mark(text: str, size: int) -> bytes:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=size).digest().strip(b"\0")
