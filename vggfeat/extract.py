"""The extraction engine: list -> decode -> same-size batches -> net -> store."""

import csv
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

from torch import Tensor

from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, ImageError, UsageError
from vggfeat.images import Source
from vggfeat.progress import progress
from vggfeat.store import Record, Store, Writer

PART_SIZE = 1000
PART_SECONDS = 120  # a part is also closed after this time, so that a kill never costs much more
# Images are batched within groups of the list, never across them: a resumed run, which starts at a group,
# then sends the same batches through the net as an unbroken one and gives the same bits.
GROUP = 64

T = TypeVar("T")


@dataclass(frozen=True)
class Item:
    """An image to describe: its name in the store (relative, POSIX), what to read, and its label if any."""

    path: str
    image: Source
    label: str | None = None


def extract(
    source: str | Path | Sequence[Item] = ".",
    out: str | Path | None = None,
    *,
    on_error: Literal["skip", "fail"] = "skip",
    part_size: int = PART_SIZE,
    dtype: Literal["float32", "float16"] = "float32",
    workers: int | None = None,
    describer: Describer | None = None,
    **options: Any,
) -> Store:
    """Describe all images of a source into a store, or continue where a killed run stopped.

    source : a folder (every file below it that isn't hidden; label: its first folder), a .txt list or .csv table
        of paths (column `path`, and `label` if any), one image, or a list of Items.
    out : the store; None: the source's name with the suffix .vggfeat, in the current folder.
    on_error : what an image that can't be read does: "skip" lists it in failures.csv, "fail" ends the run.
    part_size : images in a Parquet part. dtype : of the stored vectors.
    workers : threads that decode, beside the net; None: one a processor.
    describer, or options : see Describer. A store holds one net; extract D and E apart and load both.

    Rows stand in the order of the source; images in the store already are not read again, failed ones are tried
    again. Raises DataError where there is nothing to describe, StoreError, WeightsError, UsageError; ImageError
    with on_error="fail".
    """
    if on_error not in ("skip", "fail"):
        raise UsageError(f"on_error is skip or fail, not {on_error!r}")
    if part_size < 1:
        raise UsageError(f"part_size must be at least 1, not {part_size}")
    items = list_items(Path(source)) if isinstance(source, str | Path) else list(source)
    if len({item.path for item in items}) < len(items):
        raise UsageError("two items have the same path; a row can't share its name")
    describer = describer or Describer(**options)
    if len(describer.nets) > 1:
        raise UsageError("a store holds one net: extract each net into its own store and load them together")
    out = Path(out) if out is not None else default_out(source)
    net = describer.nets[0].weights
    with (
        Writer(out, describer.fingerprint()[0], agg=describer.agg, weights=net.name, dtype=dtype) as writer,
        progress(len(items), "describing") as bar,
        _Decoder(describer, workers or os.cpu_count() or 1) as decoder,
    ):
        bar.update(sum(item.path in writer.done for item in items))
        _fill(writer, items, decoder, part_size, on_error, bar)
    store = Store(out)
    if not store.parts:
        name = source if isinstance(source, str | Path) else "the list"
        raise DataError(f"{name}: none of its {len(items)} files could be read as an image; see {out}/failures.csv")
    return store


def _fill(writer: Writer, items: Sequence[Item], decoder: "_Decoder", part_size: int, on_error: str, bar: Any) -> None:
    """Describe what the store lacks, part by part; whatever ends the run, what is computed is written."""
    decoded = decoder.decode(item for item in items if item.path not in writer.done)
    records: list[tuple[int, Record]] = []

    def commit() -> float:
        writer.commit([record for _, record in sorted(records, key=lambda pair: pair[0])])
        records.clear()
        return time.monotonic()

    began = time.monotonic()
    try:
        for part in batched(items, part_size):
            for group in batched(part, GROUP):
                todo = sum(item.path not in writer.done for item in group)
                if todo:  # else the net isn't even loaded
                    records += _described(islice(decoded, todo), decoder.describer, writer, on_error, bar)
                if time.monotonic() - began > PART_SECONDS:
                    began = commit()
            began = commit()
    finally:
        commit()


def _described(
    decoded: Iterable[tuple[int, Item, "Tensor | ImageError"]],
    describer: Describer,
    writer: Writer,
    on_error: str,
    bar: Any,
) -> Iterator[tuple[int, Record]]:
    read: dict[int, tuple[Item, int, int]] = {}

    def readable() -> Iterator[tuple[int, Tensor]]:
        for place, item, image in decoded:
            if isinstance(image, ImageError):
                writer.failures[item.path] = str(image).removeprefix(f"{item.image}: ")
                bar.update()
                if on_error == "fail":
                    raise image
            else:
                read[place] = (item, image.shape[2], image.shape[1])
                yield place, image

    for place, (vectors,) in describer.stream(readable()):
        item, width, height = read.pop(place)
        bar.update()
        scales = dict(zip(describer.scales, vectors, strict=True))
        yield place, Record(item.path, item.label, width, height, scales)


class _Decoder:
    """Reads images in threads, a bounded number ahead of the net."""

    def __init__(self, describer: Describer, workers: int) -> None:
        self.describer = describer
        self._ahead = 4 * workers
        self._pool = ThreadPoolExecutor(workers, "decode")

    def __enter__(self) -> "_Decoder":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def decode(self, items: Iterable[Item]) -> Iterator[tuple[int, Item, "Tensor | ImageError"]]:
        """(place, item, uint8 (3, H, W) or why it can't be had), in the order of the items."""
        pending: deque[tuple[int, Item, Future[Tensor]]] = deque()
        for place, item in enumerate(items):
            pending.append((place, item, self._pool.submit(self.describer.prepare, item.image)))
            if len(pending) > self._ahead:
                yield self._result(*pending.popleft())
        while pending:
            yield self._result(*pending.popleft())

    @staticmethod
    def _result(place: int, item: Item, future: Future[Tensor]) -> tuple[int, Item, "Tensor | ImageError"]:
        try:
            return place, item, future.result()
        except ImageError as error:
            return place, item, error


def batched(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Slices of at most `size` values, in order."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def default_out(source: str | Path | Sequence[Item]) -> Path:
    """photos/ -> photos.vggfeat in the current folder."""
    if not isinstance(source, str | Path):
        raise UsageError("name the store: extract(items, out=...)")
    path = Path(source).resolve()
    return Path(f"{path.name if path.is_dir() else path.stem}.vggfeat")


def list_items(source: Path) -> list[Item]:
    """The images of a folder, a .txt or .csv list, or one file. Raises DataError where there are none."""
    if source.is_dir():
        items = list(_walk(source))
    elif not source.exists():
        raise DataError(f"{source}: no such folder, list or image")
    elif source.suffix.lower() in (".txt", ".csv"):
        items = list(_listed(source))
    else:
        items = [Item(source.name, source)]
    if not items:
        raise DataError(f"{source}: has no files to describe")
    return items


def _walk(root: Path) -> Iterator[Item]:
    """Every file below root but hidden ones and stores, sorted by path; the label is the first folder."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not (name.startswith(".") or name.endswith(".vggfeat"))]
        folders.sort()
        for name in sorted(files):
            if not name.startswith("."):
                file = Path(folder, name)
                parts = [_utf8(part) for part in file.relative_to(root).parts]
                yield Item("/".join(parts), file, parts[0] if len(parts) > 1 else None)


def _utf8(name: str) -> str:
    """A file's name; bytes that aren't UTF-8 are escaped as \\xe9."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _listed(file: Path) -> Iterator[Item]:
    """The images that a list names, relative to the list's folder."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is not UTF-8 text") from error
    if file.suffix.lower() == ".txt":
        rows: Iterable[dict[str, str]] = ({"path": line} for line in text.splitlines() if line.strip())
    else:
        table = csv.DictReader(text.splitlines())
        if "path" not in (table.fieldnames or ()):
            raise DataError(f"{file}: has no column 'path'; its first line must name the columns")
        rows = table
    seen: set[str] = set()
    for row in rows:
        if row["path"] not in seen:
            seen.add(row["path"])
            yield Item(Path(row["path"]).as_posix(), file.parent / row["path"], row.get("label") or None)
