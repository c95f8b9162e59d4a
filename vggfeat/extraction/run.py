"""extract and extract_layers: from a source to the store of one layer, or to one store for each of several."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from vggfeat import sources
from vggfeat._util.left_out import LeftOut
from vggfeat._util.options import takes
from vggfeat.decisions import read_decisions
from vggfeat.descriptors import Describer
from vggfeat.errors import UsageError
from vggfeat.extraction.decided import decided
from vggfeat.extraction.filling import fill
from vggfeat.extraction.opening import Images, Shown, bar_of, check, continued, items_of, writer_of
from vggfeat.extraction.outcome import (
    finished,
    refuse_changes,
    refuse_defects,
    say_of_stores,
    say_what_was_found,
)
from vggfeat.extraction.places import Findings, Known, Todo
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.formats import STORE
from vggfeat.spec import DescriptorLayer, DescriptorSpec, check_layers, deepest
from vggfeat.store.reading import Store


@takes(spec=DescriptorSpec, settings=ExtractionSettings)
def extract(
    source: Images = ".",
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
    check(settings, share, describer)
    store = Path(out) if out is not None else default_out(source)
    layer = describer.spec.top if describer else spec.top
    return _extract(source, {layer: store}, spec, settings, share, describer)[layer]


@takes(spec=DescriptorSpec, settings=ExtractionSettings, without=("layer",))
def extract_layers(
    source: Images,
    layers: Sequence[DescriptorLayer],
    out: str | Path | None = None,
    *,
    spec: Callable[..., DescriptorSpec],
    settings: ExtractionSettings,
    share: tuple[int, int] = (0, 1),
) -> dict[str, Store]:
    """Describe all images of a source at several layers, into one store for each layer.

    Each image is decoded and rescaled once, and goes through the net once, up to the deepest of the layers. The rows
    are those of `extract` with one layer: on a CPU to the bit, on a GPU but for rounding. Each store can be continued
    alone, by `extract`. An image that only some of the stores lack is described for these.

    Parameters
    ----------
    source : str, path, or sequence of Item
        As for `extract`.
    layers : sequence of str
        Names of different layers, such as ["conv4_3", "pool5"]; see `DescriptorSpec`.
    out : str or path, optional
        The stores without the names of their layers: photos.vggfeat makes photos.conv4_3.vggfeat and
        photos.pool5.vggfeat. Default: the name of the source, in the current folder.
    net, scales, agg, weights, lineage, mirror, normalize, device, precision, ceil, exif, allow_truncated
        See `DescriptorSpec` and `NetSpec`. The weights have the deepest of the layers.
    on_error, part_size, dtype, max_pixels, max_bytes, image_seconds, workers, deterministic, engine, moved, decisions
        See `ExtractionSettings`. The engine is "local".
    spec : DescriptorSpec, optional
        The settings of the descriptors as one object, instead of single settings. Its layer does not count.
    settings : ExtractionSettings, optional
        The settings of the extraction as one object, instead of single settings.
    share : (int, int)
        As for `extract`.

    Returns
    -------
    dict of str to Store
        The store of each layer.

    Raises
    ------
    UsageError
        If an argument is invalid, a layer is given twice, the net has no such layer, or a scale is too small for one.
    DataError, StoreError, WeightsError, ImageError, VggfeatError
        As `extract`.
    """
    check_layers(layers)
    if settings.engine == "ray":
        raise UsageError("the engine ray describes one layer at a time; give the command once for each layer")
    check(settings, share, None)
    specs = {layer: spec(layer=layer) for layer in layers}  # all of them, because net and scales must suit each layer
    stores = outs_of_layers(Path(out) if out is not None else default_out(source), layers)
    return _extract(source, stores, specs[deepest(layers)], settings, share)


def extract_with(
    describer: Describer, source: Images, stores: Mapping[str, Path], settings: ExtractionSettings
) -> dict[str, Store]:
    """Describe all images of a source at several layers of a describer into their stores; the rest is as `extract`."""
    check(settings, (0, 1), describer)
    return _extract(source, stores, DescriptorSpec(), settings, (0, 1), describer)


def _extract(
    source: Images,
    stores: Mapping[str, Path],
    spec: DescriptorSpec,
    settings: ExtractionSettings,
    share: tuple[int, int],
    describer: Describer | None = None,
) -> dict[str, Store]:
    """Describe a source at the layers that have a store; the spec or the describer is of the deepest."""
    remarks, found = LeftOut(), {layer: Findings() for layer in stores}
    on_cluster, alone = settings.engine == "ray", share[1] == 1
    try:
        items = items_of(source, remarks)
        if settings.decisions is not None:
            items = decided(items, read_decisions(settings.decisions), remarks)
        spec = continued(spec, stores.values())
        # the process that starts the work of a cluster needs no GPU
        describer = describer or Describer(spec=replace(spec, device="cpu") if on_cluster else spec)
        writers = {layer: writer_of(out, source, describer, layer, settings, share) for layer, out in stores.items()}
        with ExitStack() as opened:
            for writer in writers.values():
                opened.enter_context(writer)
            bar = opened.enter_context(bar_of(source, describer.task, share))
            if share[0] == 0:
                say_of_stores({writer.path: writer.remarks.lines() for writer in writers.values()})
            if on_cluster:
                from vggfeat.extraction.cluster import fill_on_cluster

                ((layer, writer),) = writers.items()
                found[layer], remarks = fill_on_cluster(writer, source, spec, settings, bar), LeftOut()
            else:
                known = {
                    layer: Known(writer.rows, writer.failures, writer.note if alone else None, found[layer])
                    for layer, writer in writers.items()
                }
                todo = Todo(items, known, settings.part_size, share)
                fill(writers, todo, describer, settings, Shown(bar, todo))
                if alone and isinstance(source, str | Path):
                    for one in known.values():
                        one.forget_what_is_gone()
    finally:
        say_what_was_found(remarks, {stores[layer]: one for layer, one in found.items()}, source, share)
    for layer, writer in writers.items():
        if on_cluster or not alone:
            refuse_changes(found[layer], writer.path)
        refuse_defects(writer, source)
    return {layer: finished(writer, source) for layer, writer in writers.items()}


def default_out(source: Images) -> Path:
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


def outs_of_layers(out: Path, layers: Sequence[str]) -> dict[str, Path]:
    """Name the store of each layer: photos.vggfeat -> photos.conv4_3.vggfeat, photos.pool5.vggfeat.

    Raises UsageError if `out` has no name.
    """
    if not out.name:
        raise UsageError(f"{out}: has no name to which the layers can be added; take another, such as photos{STORE}")
    return {layer: out.with_name(f"{out.name.removesuffix(STORE)}.{layer}{STORE}") for layer in layers}
