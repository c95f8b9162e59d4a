"""Decoded images of a set in one file on the disk, for sets that memory can't hold.

    16 bytes        the format
    32 bytes        sha256 of what the images were decoded from and by, and of the sizes
    uint32 (N, 2)   height and width of each image; 0 and a number of bytes where it can't be read
    uint8           the pixels (H, W, 3) RGB of each image, or in UTF-8 why it can't be read, one behind the other

The pixels are those that decoding gives, in the original size: training with and without the file is the same to the
bit. A file is written whole or not at all, by one process of a machine, and replaced only by one of the same images
when these have changed; nothing ever removes it.
"""

import fcntl
import hashlib
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import PIL
from PIL import features

from vggfeat import __version__
from vggfeat._util.progress import progress
from vggfeat.errors import ImageError, VggfeatError
from vggfeat.images import MAX_PIXELS
from vggfeat.train.checkpoint import part_of, write_whole
from vggfeat.train.ranks import Ranks
from vggfeat.train.shards import Member

FORMAT = b"vggfeat pixels/1"
HEAD = len(FORMAT) + hashlib.sha256().digest_size
CODECS = ("jpg", "libjpeg_turbo", "webp")  # Pillow's libraries that round; another version may do it otherwise

Found: TypeAlias = np.ndarray | ImageError  # uint8 (H, W, 3) RGB, or why there is none


@dataclass(frozen=True)
class Place:
    """Where the decoded images of some files lie. `made_of` tells the files' sizes and times, and the decoders."""

    file: Path
    made_of: bytes
    count: int

    @classmethod
    def of(cls, folder: Path, files: Sequence[Path | Member]) -> "Place":
        """The same for the same files in the same order, wherever `folder` is."""
        decoders = [f"{name} {features.version(name)}" for name in CODECS]
        names, states = hashlib.sha256(), hashlib.sha256(repr((__version__, PIL.__version__, decoders)).encode())
        of_shard = cache(_state)  # which holds many images
        for file in files:
            if isinstance(file, Member):
                name, state = f"{file.shard.absolute()}\0{file.offset}\0{file.size}\0", of_shard(file.shard)
            else:
                name, state = f"{file.absolute()}\0", _state(file)
            names.update(name.encode(errors="surrogateescape"))
            states.update(repr(state).encode())
        return cls(folder / f"{names.hexdigest()[:16]}.pixels", states.digest(), len(files))

    def open(self) -> "Kept | None":
        """The images; None where there is no file, or one that is damaged or of files that have changed since."""
        try:
            with self.file.open("rb") as file:
                data = np.asarray(np.memmap(file, np.uint8, "r"))
        except (OSError, ValueError):  # which an empty file is
            return None
        start = HEAD + 8 * self.count
        sizes = data[HEAD:start].copy()
        if len(data) < start or data[:HEAD].tobytes() != self.head(sizes):
            return None
        kept = Kept(self, data, sizes.view("<u4").reshape(-1, 2).astype(np.int64), start)
        return kept if kept.whole else None

    def head(self, sizes: np.ndarray) -> bytes:
        return FORMAT + hashlib.sha256(self.made_of + sizes.tobytes()).digest()

    def write(self, images: Iterable[Found]) -> None:
        """Raises VggfeatError where the disk is full or can't be written."""
        sizes = np.zeros((self.count, 2), "<u4")

        def fill(part: Path) -> None:
            with part.open("wb") as file:
                file.seek(HEAD + sizes.nbytes)
                for row, found in enumerate(images):
                    data = str(found).encode() if isinstance(found, ImageError) else found.tobytes()
                    sizes[row] = (0, len(data)) if isinstance(found, ImageError) else found.shape[:2]
                    file.write(data)
                file.seek(0)
                file.write(self.head(sizes) + sizes.tobytes())

        write_whole(self.file, fill)


class Kept:
    """The images of a file by row, mapped into memory: processes share them, and the system keeps what fits."""

    def __init__(self, place: Place, data: np.ndarray, sizes: np.ndarray, start: int) -> None:
        self.place, self.data, self.sizes = place, data, sizes
        height, width = sizes.T
        self.lengths = np.where(height > 0, 3 * height * width, width)
        self.ends = start + np.cumsum(self.lengths)

    @property
    def whole(self) -> bool:
        """Whether the file is as long as its images are; no size is believed that could overflow the sum."""
        possible = self.sizes.max() <= MAX_PIXELS and self.lengths.max() <= 3 * MAX_PIXELS
        return bool(possible and self.ends[-1] == len(self.data))

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, row: int) -> Found:
        """The pixels are read-only."""
        height, width = self.sizes[row]
        data = self.data[self.ends[row] - self.lengths[row] : self.ends[row]]
        return data.reshape(height, width, 3) if height else ImageError(data.tobytes().decode(errors="replace"))

    def __reduce__(self) -> tuple[Any, ...]:
        return Place.open, (self.place,)  # a process that is not forked maps the file itself, and copies nothing


def keep(place: Place, images: Callable[[], Iterable[Found]], size: float, ranks: Ranks) -> Kept | None:
    """The images of `place`, written first where need be, by one process of each machine while its others wait.

    images : gives them all, in order; size : about how many bytes they take. None, and a line on stderr, where the
    disk has no room for them. All processes of a run call it together. Raises VggfeatError for a folder that can't be
    written.
    """
    found = place.open()
    with nullcontext() if found else _lock(place.file) as lock:
        if lock and ranks.local == 0:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another run that decodes into {place.file}", file=sys.stderr)
        ranks.all([])  # only now do the others ask for the lock
        if not lock:
            return found
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = place.open()
        if found or ranks.local > 0:
            return found
        try:
            part_of(place.file).unlink(missing_ok=True)  # what a killed run left takes room
            _check_room(place.file.parent, size)
            with progress(place.count, f"decoding into {place.file}") as bar:
                place.write(_counted(images(), bar))
        except VggfeatError as error:
            print(f"{error}; training goes on without, and decodes each image when it is wanted", file=sys.stderr)
        return place.open()


def _lock(file: Path) -> IO[bytes]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.with_suffix(".lock").open("ab")
    except OSError as error:
        raise VggfeatError(f"{file.parent}: can't be written ({error.strerror}); name another --cache-dir") from error


def _check_room(folder: Path, size: float) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise VggfeatError(f"{folder}: the decoded images take {size / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free")


def _counted(images: Iterable[Found], bar: Any) -> Iterable[Found]:
    for found in images:
        yield found
        bar.update()


def _state(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:  # reading it fails as well, with the reason
        return None
    return found.st_size, found.st_mtime_ns
