"""extract: opens a source and a store, and shows progress."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import Any

from vggfeat import sources
from vggfeat._util.left_out import LeftOut
from vggfeat._util.options import takes
from vggfeat._util.printable import say
from vggfeat._util.progress import progress, skip
from vggfeat.decisions import read_decisions
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, StoreError, UsageError, VggfeatError
from vggfeat.extraction.decided import decided
from vggfeat.extraction.decoding import DEFECT
from vggfeat.extraction.environment import launch_of_environment
from vggfeat.extraction.filling import fill
from vggfeat.extraction.places import AGAIN, CHANGED, NOT_COMPARED, RELABELLED, UNIDENTIFIED, Findings, Todo
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.formats import STORE
from vggfeat.sources.item import Item
from vggfeat.spec import DescriptorSpec
from vggfeat.store.reading import Store
from vggfeat.store.writing import Writer


@takes(spec=DescriptorSpec, settings=ExtractionSettings)
def extract(
    source: str | Path | Sequence[Item] = ".",
    out: str | Path | None = None,
    *,
    spec: DescriptorSpec,
    settings: ExtractionSettings,
    share: tuple[int, int] = (0, 1),
    describer: Describer | None = None,
) -> Store:
    """Describe all images of a source into a store, or continue a run that was killed.

    The rows are in the order of the source. Images that were added or repaired later, or described after an interrupt,
    follow the images before them. Images that have a row are not read again, unless their files have changed: a row
    stores size, time of the last change and SHA-256 of its file. Failed images are tried again, and changed labels are
    taken up.

    An interrupt (KeyboardInterrupt) is raised at once. Finished descriptors are stored; on a cluster, those in finished
    parts.

    Parameters
    ----------
    source : str, path, or sequence of Item
        A folder (all files below it that are not hidden; the label is the first folder), a .txt, .csv or .parquet list
        (column `path`, and `label` if any), a tar of images, a glob, or one image; each on this machine or at an
        address such as s3://bucket/photos. See `vggfeat.sources`.
    out : str or path, optional
        The store. Default: the name of the source with the suffix .vggfeat, in the current folder.
    net, scales, agg, layer, weights, lineage, mirror, normalize, device, precision, ceil, exif, allow_truncated
        See `DescriptorSpec` and `NetSpec`. A store holds one net: extract nets D and E separately and load both.
    on_error, part_size, dtype, max_pixels, max_bytes, image_seconds, workers, deterministic, engine, moved, decisions
        See `ExtractionSettings`.
    spec : DescriptorSpec, optional
        The settings of the descriptors as one object, instead of single settings.
    settings : ExtractionSettings, optional
        The settings of the extraction as one object, instead of single settings.
    share : (int, int)
        (i, n): this is the i-th of n processes that call this with the same arguments to make one store. Each describes
        every n-th range of `part_size` images.
    describer : Describer, optional
        A describer with loaded nets, instead of the settings of the descriptors. Only for the engine "local".

    Returns
    -------
    Store

    Raises
    ------
    DataError
        If the source has no images, or none of them can be read; if the file of decisions is damaged.
    StoreError
        If `out` was made with other settings or of another source, is in use, is damaged, or cannot be written; if
        images have changed that several processes cannot describe again.
    WeightsError
        If the weights are missing, damaged, or lack the layer.
    ImageError
        If an image cannot be read and `on_error` is "fail".
    UsageError
        If an argument is invalid.
    VggfeatError
        If images met a defect of vggfeat, after all others were described; if no process can be started.

    References
    ----------
    Appendix B, "Generalisation of Very Deep Features".
    """
    _check(settings, share, describer)
    found, on_cluster = Findings(), settings.engine == "ray"
    try:
        items = _items(source, found.remarks)
        if settings.decisions is not None:
            items = decided(items, read_decisions(settings.decisions), found.remarks)
        # the process that starts the work of a cluster needs no GPU
        describer = describer or Describer(spec=replace(spec, device="cpu") if on_cluster else spec)
        writer = _writer(Path(out) if out is not None else default_out(source), source, describer, settings, share)
        with writer, _bar(source, describer.task, share) as bar:
            _print(writer.remarks.lines() if share[0] == 0 else [])
            if on_cluster:
                from vggfeat.extraction.cluster import fill_on_cluster

                found = fill_on_cluster(writer, source, spec, settings, bar)
            else:
                note = writer.note if share[1] == 1 else None
                todo = Todo(items, writer.rows, settings.part_size, share, writer.failures, note, found)
                fill(writer, todo, describer, settings, _Shown(bar, todo))
                if note and isinstance(source, str | Path):
                    todo.forget_what_is_gone()
    finally:
        _say(found, source, share)
    if on_cluster or share[1] > 1:
        _refuse_changes(found, writer.path)
    _refuse_defects(writer, source)
    return _finished(writer, source)


def default_out(source: str | Path | Sequence[Item]) -> Path:
    """Name the store of a source: photos/ -> photos.vggfeat in the current folder.

    Parameters
    ----------
    source : str or path
        See `extract`.

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If the source is a sequence of Item, which has no name.
    """
    if not isinstance(source, str | Path):
        raise UsageError("a list of items has no name for its store; give extract(items, out=...)")
    return Path(f"{sources.name_of(source)}{STORE}")


def _say(found: Findings, source: str | Path | Sequence[Item], share: tuple[int, int]) -> None:
    """Print what the source leaves out, and how it differs from the existing rows.

    Of several processes each compares its own images, and the first one tells what all of them see.
    """
    first = share[0] == 0
    lines = found.remarks.lines(None if first else (UNIDENTIFIED, NOT_COMPARED))
    if first and isinstance(source, str | Path) and found.whole and (gone := found.known - found.listed):
        what = f"rows kept of images that {source} no longer has (extract into a new store to be without them)"
        lines.append(f"{what}: {gone:,}")
    _print(lines)


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        say(line)


def _refuse_changes(found: Findings, store: Path) -> None:
    """Raise StoreError if existing rows had to be changed, which several processes cannot do together."""
    for reason in (CHANGED, AGAIN, RELABELLED):
        if count := found.remarks.count(reason):
            raise StoreError(
                f"{store}: {reason}: {count:,}, such as {found.remarks.example(reason)}; all other images are done; "
                "run the same command once in one process to bring their rows up to date"
            )


def _refuse_defects(writer: Writer, source: str | Path | Sequence[Item]) -> None:
    """Raise VggfeatError if images of the source met a defect."""
    listed = None if isinstance(source, str | Path) else {item.path for item in source}
    met = [path for path, reason in writer.failures.items() if reason.startswith(DEFECT)]
    met = [path for path in met if listed is None or path in listed]  # a list may be another one than before
    if met:
        example = f"{met[0]}: {writer.failures[met[0]]}"
        raise VggfeatError(
            f"{writer.path}: images that met a defect: {len(met):,}, such as {example}; all others are done"
        )


def _writer(
    out: Path,
    source: str | Path | Sequence[Item],
    describer: Describer,
    settings: ExtractionSettings,
    share: tuple[int, int],
) -> Writer:
    nets = describer.engine.nets
    if len(nets) > 1:
        raise UsageError("a store holds one net; extract each net into its own store and load them together")
    return Writer(
        out,
        describer.fingerprint()[0],
        agg=describer.spec.agg,
        weights=nets[0].weights.name,
        dtype=settings.dtype,
        share=share,
        launch=launch_of_environment(),
        source=sources.address_of(source) if isinstance(source, str | Path) else None,
        moved=settings.moved,
    )


def _finished(writer: Writer, source: str | Path | Sequence[Item]) -> Store:
    store = Store(writer.path)
    if writer.settled and not store.parts:
        name, failed = source if isinstance(source, str | Path) else "the list", len(store.failures)
        raise DataError(f"{name}: none of its {failed} files could be read as an image; see {writer.path}/failures.csv")
    return store


def _check(settings: ExtractionSettings, share: tuple[int, int], describer: Describer | None) -> None:
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


def _items(source: str | Path | Sequence[Item], remarks: LeftOut) -> Iterator[Item]:
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


def _bar(source: str | Path | Sequence[Item], task: str, share: tuple[int, int]) -> Any:
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


class _Shown:
    """Moves a bar on by the images that are done, and by those that had a row before."""

    def __init__(self, bar: Any, todo: Todo) -> None:
        self._bar, self._todo, self._skipped = bar, todo, 0

    def __call__(self, done: int) -> None:
        skipped = self._todo.skipped
        skip(self._bar, skipped - self._skipped)
        self._skipped = skipped
        self._bar.update(done)
