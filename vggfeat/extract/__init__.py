"""The extraction engine: source -> decode -> same-size batches -> net -> store.

The places of a source are cut into ranges of `part_size`, these into groups. Batches are made within groups, never
across them, so that the bits of a row don't depend on where a run began, nor on which process described it; a part is
named by the place of its first row, so that the order of the rows doesn't either. Hence a run can be killed at any
moment and continued by the same command, and several processes can share a source without knowing of each other:
those of torchrun, or the workers of a Ray cluster.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import Any, Literal

from vggfeat import sources
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, UsageError
from vggfeat.extract.filling import Filling
from vggfeat.extract.places import Todo
from vggfeat.images import MAX_PIXELS
from vggfeat.progress import progress, skip
from vggfeat.sources import Item
from vggfeat.store import Store, Writer

__all__ = ["PART_SIZE", "Item", "default_out", "extract"]

PART_SIZE = 1000


def extract(
    source: str | Path | Sequence[Item] = ".",
    out: str | Path | None = None,
    *,
    on_error: Literal["skip", "fail"] = "skip",
    part_size: int = PART_SIZE,
    dtype: Literal["float32", "float16"] = "float32",
    max_pixels: int = MAX_PIXELS,
    workers: int | None = None,
    deterministic: bool = False,
    share: tuple[int, int] = (0, 1),
    engine: Literal["local", "ray"] = "local",
    describer: Describer | None = None,
    **options: Any,
) -> Store:
    """Describe all images of a source into a store, or continue where a killed run stopped.

    source : a folder (every file below it that isn't hidden; label: its first folder), a .txt, .csv or .parquet list
        (column `path`, and `label` if any), a tar of images, a glob, one image, each here or at an address such as
        s3://bucket/photos (see vggfeat.sources); or a list of Items.
    out : the store; None: the source's name with the suffix .vggfeat, in the current folder.
    on_error : what an image that can't be read does: "skip" lists it in failures.csv, "fail" ends the run.
    part_size : images in a Parquet part. dtype : of the stored vectors.
    max_pixels : of an image as it is read; one that has more is a failure.
    workers : threads that decode, beside the net; None: one a processor.
    deterministic : the same bits in each run on the same machine, with the same number of threads, even after an
        interrupt: only algorithms that promise so, and of a group that is interrupted nothing is kept. A GPU whose
        memory doesn't hold a whole batch is then an error, not a reason for smaller ones. Without it a kill or several
        processes change no bit on a CPU, and rows described after an interrupt may differ by rounding: by less than
        1e-6 in a descriptor of norm 1, in float32.
    share : (i, n): this is the i-th of n processes that call this with the same arguments to make one store; each
        describes every n-th range of `part_size` images.
    engine : "local" describes in this process; "ray" on the cluster of $RAY_ADDRESS, the one that this process or
        this machine has joined, else on this machine: one describer a GPU, or a few CPUs where there is none. The
        source, `out` and the weights are then on storage that all nodes share. Each range is described by one of
        them, and by another if that is lost. `workers` is the CPUs of each; the engines make the same store, and
        each continues what the other began.
    describer, or options : see Describer; for "ray" the options. A store holds one net; extract D and E apart and
        load both.

    Rows stand in the order of the source, but for those that were added or repaired later, or interrupted: they come
    behind the images before them. Images in the store already are not read again, failed ones are tried again.
    An interrupt (KeyboardInterrupt) is raised at once; what is described is stored, on a cluster what is in finished
    parts.

    Raises DataError where there is nothing to describe, StoreError, WeightsError, UsageError; ImageError with
    on_error="fail".
    """
    _check(on_error, part_size, max_pixels, workers, share)
    _check_engine(engine, share, describer)
    items = _items(source)
    out = Path(out) if out is not None else default_out(source)
    # the process that starts work on a cluster needs no GPU
    describer = describer or Describer(**options | ({"device": "cpu"} if engine == "ray" else {}))
    if len(describer.nets) > 1:
        raise UsageError("a store holds one net: extract each net into its own store and load them together")
    weights, fingerprint = describer.nets[0].weights.name, describer.fingerprint()[0]
    filling = Filling(part_size, max_pixels, workers, deterministic, on_error == "fail")
    with (
        Writer(out, fingerprint, agg=describer.agg, weights=weights, dtype=dtype, share=share) as writer,
        progress(_known(source), describer.task, disable=share[0] > 0) as bar,
    ):
        _count(source, bar, share[1])
        if engine == "ray":
            from vggfeat.extract.cluster import fill_on_cluster

            fill_on_cluster(writer, source, filling, options, bar)
        else:
            todo = Todo(items, writer.names, part_size, share, writer.failures)
            filling.fill(writer, todo, describer, _Shown(bar, todo))
    store = Store(out)
    if writer.settled and not store.parts:
        name, failed = source if isinstance(source, str | Path) else "the list", len(store.failures)
        raise DataError(f"{name}: none of its {failed} files could be read as an image; see {out}/failures.csv")
    return store


def default_out(source: str | Path | Sequence[Item]) -> Path:
    """photos/ -> photos.vggfeat in the current folder."""
    if not isinstance(source, str | Path):
        raise UsageError("name the store: extract(items, out=...)")
    return Path(f"{sources.name_of(source)}.vggfeat")


def _check(on_error: str, part_size: int, max_pixels: int, workers: int | None, share: tuple[int, int]) -> None:
    if on_error not in ("skip", "fail"):
        raise UsageError(f"on_error is skip or fail, not {on_error!r}")
    if part_size < 1:
        raise UsageError(f"part_size must be at least 1, not {part_size}")
    if not 1 <= max_pixels <= 2 * MAX_PIXELS:
        raise UsageError(f"max_pixels must be from 1 to {2 * MAX_PIXELS:,}, not {max_pixels:,}")
    if workers is not None and workers < 1:
        raise UsageError(f"workers must be at least 1, not {workers}")
    if not 0 <= share[0] < share[1]:
        raise UsageError(f"share is (i, n) with i from 0 to n - 1, not {share}")


def _check_engine(engine: str, share: tuple[int, int], describer: Describer | None) -> None:
    if engine not in ("local", "ray"):
        raise UsageError(f"engine is local or ray, not {engine!r}")
    if engine == "local":
        return
    if share[1] > 1:
        raise UsageError("with the engine ray one process starts the work of all: leave out torchrun, and share")
    if describer is not None:
        raise UsageError("a describer stays in its process: give extract(..., engine='ray') its options instead")
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise UsageError("the engine ray needs Ray: pip install 'vggfeat[ray]'") from error


def _items(source: str | Path | Sequence[Item]) -> Iterator[Item]:
    """The images of a source. Raises DataError, before anything else is begun, where there are none."""
    if not isinstance(source, str | Path):
        source = list(source)
        for item in source:
            if not (isinstance(item, Item) and isinstance(item.path, str) and isinstance(item.label, str | None)):
                raise UsageError(f"{item!r} is no Item with a text as path, and as label if any")
        if not source:
            raise DataError("the list of images is empty")
        if len({item.path for item in source}) < len(source):
            raise UsageError("two items have the same path; a row can't share its name")
        return iter(source)
    items = sources.items(source)
    first = next(items, None)
    if first is None:
        raise DataError(f"{source}: has no files to describe")
    return chain([first], items)


def _known(source: str | Path | Sequence[Item]) -> int | None:
    return None if isinstance(source, str | Path) else len(source)


def _count(source: str | Path | Sequence[Item], bar: Any, world: int) -> None:
    """Tell the progress bar how many images there are, once that is known; describing doesn't wait for it."""

    def count() -> None:
        with suppress(Exception):  # it is only shown
            if isinstance(source, str | Path) and (total := sources.count(source)):
                bar.total = -(-total // world)

    Thread(target=count, name="count", daemon=True).start()


class _Shown:
    """Moves a bar on by the images that are done, and by those that had a row before."""

    def __init__(self, bar: Any, todo: Todo) -> None:
        self._bar, self._todo, self._skipped = bar, todo, 0

    def __call__(self, done: int) -> None:
        skipped = self._todo.skipped
        skip(self._bar, skipped - self._skipped)
        self._skipped = skipped
        self._bar.update(done)
