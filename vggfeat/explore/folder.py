"""What is kept in the folder _explore of a store, which readers of Parquet leave out: arrays and sheets of a digest.

A file from there may come from anybody: arrays have the length that they must have, sheets are decoded anew, and links
are neither read nor written.
"""

import errno
from contextlib import suppress
from pathlib import Path
from shutil import rmtree

import numpy as np

from vggfeat._util.files import replacing
from vggfeat._util.printable import reason_of, say
from vggfeat._util.regular_files import read_bytes
from vggfeat.errors import ImageError
from vggfeat.explore.photos import jpeg
from vggfeat.reading import read_file

_NAME = "_explore"
_QUALITY = 92  # of a sheet that is decoded and encoded once more


class Folder:
    """The files that belong to a digest; those of other digests are removed when the first file is written."""

    def __init__(self, store: Path, digest: str) -> None:
        self._all = store.resolve() / _NAME
        self.path = self._all / digest[:32]
        self._writable = True

    def array(self, name: str, dtype: type, *shape: int) -> np.ndarray | None:
        """An array of this shape; None if there is none."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        try:
            data = read_bytes(self._file(f"{name}.bin"), size)
        except (OSError, ValueError):
            return None
        return np.frombuffer(data, dtype).reshape(shape) if len(data) == size else None

    def keep_array(self, name: str, array: np.ndarray) -> None:
        """Keep an array, if the folder can be written."""
        self._keep(f"{name}.bin", np.ascontiguousarray(array).tobytes())

    def sheet(self, name: str, side: int) -> np.ndarray | None:
        """uint8 (side, side, 3), RGB; None if there is no such sheet."""
        try:
            pixels = read_file(self._file(f"{name}.jpg"), max_pixels=side * side)
        except (OSError, ImageError):
            return None
        return pixels if pixels.shape == (side, side, 3) else None

    def keep_sheet(self, name: str, pixels: np.ndarray) -> None:
        """Keep a sheet, if the folder can be written."""
        self._keep(f"{name}.jpg", jpeg(pixels, _QUALITY))

    def _keep(self, name: str, data: bytes) -> None:
        if not self._writable:
            return
        try:
            if not self.path.is_dir():
                self._forget_others()
                self.path.mkdir(parents=True)
            with replacing(self._file(name)) as temporary:
                temporary.write_bytes(data)
        except OSError as error:
            self._writable = False
            say(f"{self.path}: cannot be written ({reason_of(error)}); the map is made again the next time")

    def _file(self, name: str) -> Path:
        """A file of this name. Raises OSError if a link would lead elsewhere."""
        file = self.path / name
        if file.is_symlink() or self.path.resolve() != self.path:
            raise OSError(errno.ELOOP, "a link leads out of the store", str(file))
        return file

    def _forget_others(self) -> None:
        if self._all.is_symlink():
            raise OSError(errno.ELOOP, "a link leads out of the store", str(self._all))
        for other in self._all.glob("*"):
            with suppress(OSError):  # rmtree refuses links
                rmtree(other)
