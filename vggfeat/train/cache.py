"""Decoded images of a set in one file on disk, for sets that do not fit into memory.

    16 bytes        the format
    32 bytes        sha256 of the sources, the decoders and the sizes
    uint32 (N, 2)   height and width of each image; for an unreadable image 0 and a number of bytes
    uint8           for each image its pixels (H, W, 3) RGB, or in UTF-8 why it is unreadable, one after the other

The pixels are those of decoding, in the original size: training with and without the file gives the same bits. One
process of a machine writes the file, whole or not at all. It is replaced only if the images have changed, and never
removed.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import PIL
from PIL import features

from vggfeat import __version__
from vggfeat._util.files import Locked, lock, remove_leftovers, replacing, signature
from vggfeat._util.printable import reason_of, say
from vggfeat._util.progress import progress
from vggfeat._util.regular_files import open_regular
from vggfeat.errors import ImageError, VggfeatError
from vggfeat.spec import MAX_PIXELS
from vggfeat.train.ranks import Ranks
from vggfeat.train.shards import Member

FORMAT = b"vggfeat pixels/2"
HEAD = len(FORMAT) + hashlib.sha256().digest_size
# Libraries of Pillow that round: versions may differ in the last bit.
CODECS = ("jpg", "libjpeg_turbo", "webp", "avif", "jpg_2000")

Decoded: TypeAlias = np.ndarray | ImageError  # uint8 (H, W, 3) RGB, or why the image is unreadable


@dataclass(frozen=True)
class CacheFile:
    """The file for the decoded images of some sources; `made_of` changes with the sources and the decoders."""

    path: Path
    made_of: bytes
    count: int

    @classmethod
    def of(cls, folder: Path, sources: Sequence[Path | Member], exif: bool = True) -> "CacheFile":
        """The same for the same sources in the same order, wherever `folder` is.

        exif : whether the images are turned as EXIF says.
        """
        decoders = [f"{name} {features.version(name)}" for name in CODECS]
        names = hashlib.sha256(b"" if exif else b"stored\0")
        states = hashlib.sha256(repr((__version__, PIL.__version__, decoders)).encode())
        of_shard = cache(_state)  # a shard holds many images
        for source in sources:
            if isinstance(source, Member):
                name, state = f"{source.shard.absolute()}\0{source.offset}\0{source.size}\0", of_shard(source.shard)
            else:
                name, state = f"{source.absolute()}\0", _state(source)
            names.update(name.encode(errors="surrogateescape"))
            states.update(repr(state).encode())
        return cls(folder / f"{names.hexdigest()[:16]}.pixels", states.digest(), len(sources))

    def open(self) -> "CachedImages | None":
        """The images; None if the file is missing or damaged, or the sources have changed."""
        try:
            with open_regular(self.path) as file:
                data = np.asarray(np.memmap(file, np.uint8, "r"))
        except (OSError, ValueError):  # ValueError: an empty file
            return None
        start = HEAD + 8 * self.count
        sizes = data[HEAD:start].copy()
        if len(data) < start or data[:HEAD].tobytes() != self.head(sizes):
            return None
        images = CachedImages(self, data, sizes.view("<u4").reshape(-1, 2).astype(np.int64), start)
        return images if images.whole else None

    def head(self, sizes: np.ndarray) -> bytes:
        """The first bytes of the file."""
        return FORMAT + hashlib.sha256(self.made_of + sizes.tobytes()).digest()

    def write(self, images: Iterable[Decoded]) -> None:
        """Write all images. Raises OSError."""
        sizes = np.zeros((self.count, 2), "<u4")
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            file.seek(HEAD + sizes.nbytes)
            for row, found in enumerate(images):
                data = str(found).encode() if isinstance(found, ImageError) else found.tobytes()
                sizes[row] = (0, len(data)) if isinstance(found, ImageError) else found.shape[:2]
                file.write(data)
            file.seek(0)
            file.write(self.head(sizes) + sizes.tobytes())


class CachedImages:
    """The images of a file by row, mapped into memory: processes share them, and the system keeps what fits."""

    def __init__(self, file: CacheFile, data: np.ndarray, sizes: np.ndarray, start: int) -> None:
        self.file, self.data, self.sizes = file, data, sizes
        height, width = sizes.T
        self.lengths = np.where(height > 0, 3 * height * width, width)
        self.ends = start + np.cumsum(self.lengths)

    @property
    def whole(self) -> bool:
        """Whether the file is as long as its images together; sizes that could overflow the sum are refused."""
        possible = self.sizes.max() <= MAX_PIXELS and self.lengths.max() <= 3 * MAX_PIXELS
        return bool(possible and self.ends[-1] == len(self.data))

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, row: int) -> Decoded:
        """The pixels are read-only."""
        height, width = self.sizes[row]
        data = self.data[self.ends[row] - self.lengths[row] : self.ends[row]]
        return data.reshape(height, width, 3) if height else ImageError(data.tobytes().decode(errors="replace"))

    def __reduce__(self) -> tuple[Any, ...]:
        return CacheFile.open, (self.file,)  # a process that is not forked maps the file itself


def cached_images(
    file: CacheFile, decode: Callable[[], Iterable[Decoded]], size: float, ranks: Ranks
) -> CachedImages | None:
    """The images of a cache file. If it is missing, one process of each machine writes it while its others wait.

    All processes of a run call it together. decode : gives all images, in order. size : about how many bytes they
    take. Returns None, and prints a line to stderr, if the file cannot be written. Raises VggfeatError if the folder
    cannot be created.
    """
    found = file.open()
    with ExitStack() as stack:
        lock_file = None if found else _lock_file(file.path)
        if lock_file and ranks.local == 0:
            stack.enter_context(lock(lock_file, wait=f"waiting for another run that decodes into {file.path}"))
        ranks.gather([])  # only now may the other processes of the machine ask for the lock
        if found or not lock_file:
            return found
        if ranks.local > 0:
            _await_free(lock_file)
            return file.open()
        return file.open() or _write(file, decode, size)


def _lock_file(path: Path) -> Path:
    """The file that is locked while `path` is written. Raises VggfeatError if it cannot be created."""
    file = path.with_suffix(".lock")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    except OSError as error:
        reason = f"cannot be written ({reason_of(error)})"
        raise VggfeatError(f"{path.parent}: {reason}; name another --cache-dir") from error
    return file


def _await_free(lock_file: Path) -> None:
    """Wait without a message, and without the time limit of a collective call."""
    while True:
        with suppress(Locked), lock(lock_file):
            return
        time.sleep(0.2)


def _write(file: CacheFile, decode: Callable[[], Iterable[Decoded]], size: float) -> CachedImages | None:
    folder, problem = file.path.parent, ""
    try:
        remove_leftovers(file.path)  # of a killed run; they take room
        file.path.with_name(f".{file.path.name}.part").unlink(missing_ok=True)  # as an earlier version named them
        free = shutil.disk_usage(folder).free
        if size > free:
            problem = f"{folder}: the decoded images take {size / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free"
        else:
            with progress(file.count, f"decoding into {file.path}") as bar:
                file.write(_counted(decode(), bar))
    except OSError as error:
        problem = f"{file.path}: cannot be written ({reason_of(error)})"
    if problem:
        say(f"{problem}; training continues without it, and decodes the images in each epoch")
        return None
    return file.open()


def _counted(images: Iterable[Decoded], bar: Any) -> Iterator[Decoded]:
    for found in images:
        yield found
        bar.update()


def _state(file: Path) -> tuple[int, ...] | None:
    """Size and time; not the inode, which is different after a copy or a new mount."""
    found = signature(file)
    return (found.size, found.mtime_ns) if found else None  # None: reading it fails as well, with the reason
