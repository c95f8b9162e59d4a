"""The photos of a store, found again in its source."""

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from vggfeat import sources
from vggfeat._util.left_out import LeftOut
from vggfeat.errors import DataError, ImageError
from vggfeat.extraction.identity import checksum, stamp
from vggfeat.images import read
from vggfeat.sources.item import Fetched
from vggfeat.store import Store

GONE = "photos that are not found, or cannot be read any more"
CHANGED = "photos that have changed since they were described"


class Photos:
    """Reads photos of a store as they were described; what cannot be read is counted in `remarks`."""

    def __init__(self, store: Store, rows: Collection[int]) -> None:
        self.store, self.remarks = store, LeftOut()
        self._exif = store.fingerprint.get("exif", True)
        self._truncated = store.fingerprint.get("allow_truncated", False)
        wanted = sorted(set(rows))
        table = store.read(["path", "size", "changed_ns", "sha256"]).take(pa.array(wanted, pa.int64()))
        self._known = dict(zip(wanted, table.to_pylist(), strict=True))
        self._images = _found(store, {one["path"] for one in self._known.values()})

    def read(self, row: int) -> np.ndarray | None:
        """uint8 (H, W, 3) RGB; None if the photo is gone or has changed."""
        known = self._known[row]
        image = self._images.get(known["path"])
        try:
            if image is None or isinstance(image, ImageError):
                self.remarks.add(GONE, known["path"])
                return None
            if _has_changed(image, known):
                self.remarks.add(CHANGED, known["path"])
                return None
            image = image.fetch() if isinstance(image, Fetched) else image
            return read(image, exif=self._exif, allow_truncated=self._truncated)
        except ImageError:
            self.remarks.add(GONE, known["path"])
            return None


def _has_changed(image: Any, known: dict[str, Any]) -> bool:
    """Whether an image is known to be another one than was described."""
    if known["sha256"] is None or tuple(stamp(image)[:2]) == (known["size"], known["changed_ns"]):
        return False
    return checksum(image) not in (known["sha256"], None)


def _found(store: Store, names: set[str]) -> dict[str, Any]:
    """name -> image, of those that the source of the store has."""
    source = store.meta.get("source")
    if not source:
        return {}
    found: dict[str, Any] = {name: file for name in names if (file := _file(source, name))}
    if len(found) < len(names):  # names that are not UTF-8; lists, archives, addresses
        rest = names - found.keys()
        with suppress(DataError):
            found |= {item.path: item.image for item in sources.items(source) if item.path in rest}
    return found


def _file(source: str, name: str) -> Path | None:
    """The file of a name in a folder; None if there is none, or the name leads out of the folder."""
    parts = PurePosixPath(name).parts
    if not Path(source).is_dir() or ".." in parts or PurePosixPath(name).is_absolute():
        return None
    file = Path(source, *parts)
    return file if file.is_file() else None
