"""The files of an index, in the folder _index of its store: index.json, and arrays of numbers without a header.

index.json names the arrays and their checksums. A new array gets a new name, index.json is replaced, and only then the
old array is removed: a process that is killed leaves the index as it was. The descriptors are the exception: new rows
are added behind those that index.json counts.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from msgspec import Meta as Limits
from numpy.typing import DTypeLike

from vggfeat import __version__
from vggfeat._util.files import lock, no_link, replacing, reserve
from vggfeat._util.json_files import Count, read_json
from vggfeat._util.printable import reason_of
from vggfeat._util.regular_files import open_regular
from vggfeat.errors import StoreError
from vggfeat.index.fixed import FixedPoint, row_type
from vggfeat.index.settings import IndexSettings, UnitNorm
from vggfeat.spec import Aggregation

FOLDER = "_index"  # tools that read the Parquet files of a folder leave out names that begin with _
FORMAT: Literal["vggfeat-index/2"] = "vggfeat-index/2"
MAX_JSON = 2**26  # bytes; each part of the store takes about 60
MAX_DIM = 2**20  # values of a descriptor
REBUILD = "build it again with vggfeat index build --rebuild"

Share = Annotated[float, Limits(ge=0, le=1)]


class Array(NamedTuple):
    """A file of numbers. sha256 : of its bytes; empty for the descriptors, whose values are checked in use."""

    name: Annotated[str, Limits(pattern=r"^[a-z]{1,20}-[0-9]{1,9}\.bin$")]
    sha256: Annotated[str, Limits(pattern=r"^([0-9a-f]{64})?$")]


class PartMark(NamedTuple):
    """By what a part of the store is known again without reading it."""

    name: str
    size: Count
    changed_ns: int


class Basis(NamedTuple):
    """What the rows of an index are made of: as long as it is the same, so are they."""

    parts: list[PartMark]
    agg: Aggregation
    normalize: UnitNorm


class Recall(NamedTuple):
    """Share of the ten true neighbours that is found, over so many photos of the store."""

    value: Share
    queries: Count


@dataclass(frozen=True)
class Lists:
    """The inverted lists. rows : of the index when their centres were chosen. scale : of the codes.

    probes, candidates : how many lists a search reads, and how many of their rows are compared exactly.
    """

    rows: Count
    dim: Annotated[int, Limits(ge=1, le=2**12)]
    count: Annotated[int, Limits(ge=1, le=2**20)]
    scale: Annotated[float, Limits(gt=0, le=1e9)]
    probes: Annotated[int, Limits(ge=1, le=2**20)]
    candidates: Annotated[int, Limits(ge=1, le=2**20)]
    recall: Recall


@dataclass(frozen=True)
class State:
    """What index.json says.

    fingerprint : of the store. rows : of the index, with those that the store no longer has. k : neighbours of each row
    in the graph. files : what each array holds -> its file.
    """

    fingerprint: dict[str, Any]
    agg: Aggregation
    normalize: UnitNorm
    exact_rows: Count
    goal: Share
    dim: Annotated[int, Limits(ge=1, le=MAX_DIM)]
    rows: Count = 0
    parts: list[PartMark] = field(default_factory=list)
    lists: Lists | None = None
    k: Annotated[int, Limits(ge=0, le=1000)] = 0
    files: dict[str, Array] = field(default_factory=dict)
    number: Annotated[int, Limits(ge=0, lt=10**9)] = 0
    vggfeat: str = __version__
    format: Literal["vggfeat-index/1", "vggfeat-index/2"] = FORMAT  # 1 has float16 descriptors

    @property
    def settings(self) -> IndexSettings:
        """The settings by which the index was made."""
        return IndexSettings(self.agg, self.normalize, self.exact_rows, self.goal)

    @property
    def basis(self) -> Basis:
        """What its rows are made of."""
        return Basis(self.parts, self.agg, self.normalize)

    @property
    def has_graph(self) -> bool:
        """Whether the graph of nearest neighbours has been computed."""
        return "neighbours" in self.files

    def needs_lists(self, rows: int) -> bool:
        """Whether so many rows are searched among candidates."""
        return rows > max(1, self.exact_rows)


def folder_of(store: Path) -> Path:
    """The folder of the index of a store."""
    return store / FOLDER


def read_state(folder: Path) -> State | None:
    """What index.json says; None if there is no index. Raises StoreError if it is damaged."""
    file = folder / "index.json"
    try:
        return read_json(file, State, MAX_JSON)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"{file}: cannot be read ({reason_of(error)}); {REBUILD}") from error


def write_state(folder: Path, state: State) -> None:
    """Replace index.json, and remove the arrays that it does not name. Raises StoreError."""
    with writing(folder / "index.json") as temporary:
        temporary.write_text(json.dumps(asdict(state), indent=1) + "\n", encoding="utf-8")
    named = {array.name for array in state.files.values()}
    for file in folder.glob("*.bin"):
        if file.name not in named:
            with suppress(OSError):
                file.unlink()


@contextmanager
def writing(file: Path) -> Iterator[Path]:
    """A temporary path that replaces `file` at the end. Raises StoreError."""
    try:
        with replacing(file) as temporary:
            yield temporary
    except OSError as error:
        raise _not_written(file, error) from error


def _not_written(file: Path, error: OSError) -> StoreError:
    return StoreError(f"{file}: cannot be written ({reason_of(error)}); make room for it, or give write access")


@contextmanager
def locked(store: Path) -> Iterator[Path]:
    """The folder of the index, for one process at a time. Raises StoreError if it cannot be made."""
    folder = folder_of(store)
    try:
        folder.mkdir(exist_ok=True)
        with lock(folder / ".lock", wait=f"{folder}: another process makes this index; waiting for it") as _:
            yield folder
    except OSError as error:
        raise _not_written(folder, error) from error


class Arrays:
    """The arrays of an index as they are read, and written under new names.

    Raises StoreError for an array that is missing, damaged or cannot be written.
    """

    def __init__(self, folder: Path, state: State) -> None:
        self.folder, self.state = folder, state

    def read(self, what: str, dtype: DTypeLike, *shape: int) -> np.ndarray:
        """An array whose checksum is right, mapped read-only."""
        array = self._named(what)
        try:
            with open_regular(self.folder / array.name) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != array.sha256:
                    raise ValueError("has another checksum")
        except (OSError, ValueError) as error:
            raise self._damaged(array, error) from error
        return self._mapped(array, dtype, shape)

    def write(self, what: str, values: np.ndarray) -> None:
        """Write an array; `state` then names its file."""
        name, data = self._new_name(what), np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
        with writing(self.folder / name) as temporary, temporary.open("wb") as file:
            file.write(data)
        sha256 = hashlib.sha256(data).hexdigest()
        self.state = _with_file(self.state, what, Array(name, sha256))

    def descriptors(self) -> FixedPoint:
        """(rows, dim), mapped read-only."""
        return FixedPoint(self._mapped(self._named("descriptors"), row_type(self.state.dim), (self.state.rows,)))

    @contextmanager
    def more_descriptors(self, rows: int) -> Iterator[FixedPoint]:
        """(rows, dim) to be filled, behind the descriptors that there are; then `state` counts them."""
        state, row = self.state, row_type(self.state.dim)
        if "descriptors" not in state.files:
            state = _with_file(state, "descriptors", Array(self._new_name("descriptors"), ""))
        path = self.folder / state.files["descriptors"].name
        try:
            with open(path, "r+b" if state.rows else "w+b", opener=no_link) as file:
                file.truncate(state.rows * row.itemsize)  # what a killed process left
                file.seek(0, os.SEEK_END)
                try:
                    reserve(file, rows * row.itemsize)
                    space = np.memmap(file, row, "r+", state.rows * row.itemsize, (rows,))
                    yield FixedPoint(space)
                    space.flush()
                except BaseException:
                    file.truncate(state.rows * row.itemsize)
                    raise
        except OSError as error:
            raise _not_written(path, error) from error
        self.state = replace(state, rows=state.rows + rows)

    def _new_name(self, what: str) -> str:
        self.state = replace(self.state, number=self.state.number + 1)
        return f"{what}-{self.state.number}.bin"

    def _named(self, what: str) -> Array:
        if what not in self.state.files:
            raise StoreError(f"{self.folder / 'index.json'}: does not name the file of its {what}; {REBUILD}")
        return self.state.files[what]

    def _mapped(self, array: Array, dtype: DTypeLike, shape: Sequence[int]) -> np.ndarray:
        path = self.folder / array.name
        try:
            with open_regular(path) as file:
                if not np.prod(shape):
                    return np.empty(shape, dtype)
                return np.memmap(file, dtype, "r", 0, tuple(shape))
        except (OSError, ValueError) as error:  # ValueError: the file is too short
            raise self._damaged(array, error) from error

    def _damaged(self, array: Array, error: Exception) -> StoreError:
        path = self.folder / array.name
        if isinstance(error, FileNotFoundError):
            return StoreError(f"{path}: not found; open the index again, for it may have changed, or {REBUILD}")
        return StoreError(f"{path}: is damaged ({reason_of(error)}); {REBUILD}")


def _with_file(state: State, what: str, array: Array) -> State:
    return replace(state, files={**state.files, what: array})
