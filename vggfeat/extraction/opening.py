"""What an extraction begins with: a checked request, the images of a source, the writer of a store, a progress bar."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import Any, get_args

from vggfeat import sources
from vggfeat._util.left_out import LeftOut
from vggfeat._util.progress import progress, skip
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, UsageError
from vggfeat.extraction.environment import launch_of_environment
from vggfeat.extraction.places import Todo
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.sources.item import Item
from vggfeat.spec import DescriptorSpec, Precision
from vggfeat.store import files
from vggfeat.store.writing import Writer

Images = str | Path | Sequence[Item]  # what `extract` takes as a source


def check(settings: ExtractionSettings, share: tuple[int, int], describer: Describer | None) -> None:
    """Raise UsageError for a share or an engine that cannot be."""
    if not 0 <= share[0] < share[1]:
        raise UsageError(f"share must be (i, n) with i from 0 to n - 1, not {share}")
    if settings.engine == "local":
        return
    if share[1] > 1:
        raise UsageError("with the engine ray one process starts the work of all; leave out torchrun, and share")
    if settings.decisions is not None:
        raise UsageError("the engine ray takes no decisions; extract without it, or name the photos in a list")
    if describer is not None:
        raise UsageError("a describer cannot be sent to workers; give extract(..., engine='ray') its settings instead")
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise UsageError("the engine ray needs Ray: pip install 'vggfeat[ray]'") from error


def items_of(source: Images, remarks: LeftOut) -> Iterator[Item]:
    """The images of a source. Raises DataError, before any other work, if there are none."""
    if not isinstance(source, str | Path):
        source = list(source)
        for item in source:
            if not (isinstance(item, Item) and isinstance(item.path, str) and isinstance(item.label, str | None)):
                raise UsageError(f"{item!r} is no Item whose path is a str and whose label is a str or None")
        if not source:
            raise DataError("the list of images is empty")
        if len({item.path for item in source}) < len(source):
            raise UsageError("two items have the same path; give each its own, which names its row")
        return iter(source)
    items = sources.items(source, remarks)
    first = next(items, None)
    if first is None:
        raise DataError(f"{source}: has no files to describe")
    return chain([first], items)


def continued(spec: DescriptorSpec, stores: Iterable[Path]) -> DescriptorSpec:
    """The spec; in place of the precision "auto" that of the first store that exists, on whatever machine it was made.

    Raises StoreError if a store cannot be read.
    """
    for store in stores if spec.precision == "auto" else ():
        if (store / "meta.json").exists():
            made: Any = files.read_meta(store)["fingerprint"].get("precision")
            if made in get_args(Precision):  # if not, the fingerprints differ
                return replace(spec, precision=made)
    return spec


def writer_of(
    out: Path,
    source: Images,
    describer: Describer,
    layer: str,
    settings: ExtractionSettings,
    share: tuple[int, int],
) -> Writer:
    """A writer of the store of a layer. Raises UsageError if there are several nets, or the net has no such layer."""
    fingerprint, weights = describer.stored(layer)
    return Writer(
        out,
        fingerprint,
        agg=describer.spec.agg,
        weights=weights,
        dtype=settings.dtype,
        share=share,
        launch=launch_of_environment(),
        source=sources.address_of(source) if isinstance(source, str | Path) else None,
        moved=settings.moved,
    )


def bar_of(source: Images, task: str, share: tuple[int, int]) -> Any:
    """A progress bar. Its total follows when the images are counted, which describing does not wait for."""
    if not isinstance(source, str | Path):
        return progress(-(-len(source) // share[1]), task, disable=share[0] > 0)
    bar = progress(None, task, disable=share[0] > 0)

    def count() -> None:
        with suppress(Exception):  # the total is only shown
            if total := sources.count(source):
                bar.total = -(-total // share[1])

    Thread(target=count, name="count", daemon=True).start()
    return bar


class Shown:
    """Moves a bar on by the images that are done, and by those that had a row before."""

    def __init__(self, bar: Any, todo: Todo) -> None:
        self._bar, self._todo, self._skipped = bar, todo, 0

    def __call__(self, done: int) -> None:
        skipped = self._todo.skipped
        skip(self._bar, skipped - self._skipped)
        self._skipped = skipped
        self._bar.update(done)
