"""Images to descriptors and classes: extract, describe, classify, export, nets."""

import os
import signal
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from vggfeat._util.files import check_folder
from vggfeat._util.printable import printable, say
from vggfeat.cli.derive import Several, Without, whole_numbers
from vggfeat.cli.output import show
from vggfeat.cli.usage import check_source
from vggfeat.errors import UsageError
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.spec import MAX_PIXELS, Aggregation, DescriptorSpec, Normalisation, PosteriorSpec, check_layers

if TYPE_CHECKING:
    from vggfeat.store import Store


def extract(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder, list (.txt, .csv, .parquet), tar, glob or image; or its address, s3://...",
        ),
    ] = ".",
    out: Annotated[
        Path | None,
        typer.Option(
            help="The store. Default: SOURCE.vggfeat in the current folder. With several layers, NAME.vggfeat makes "
            "NAME.LAYER.vggfeat for each of them."
        ),
    ] = None,
    *,
    specs: Annotated[
        list[DescriptorSpec],
        Without("normalize"),  # which is chosen when a store is read
        Several("layer", "Or several, such as conv4_3,pool5: a store for each, in one pass over the images."),
    ],
    settings: ExtractionSettings,
) -> None:
    """Describe all images of a source into a store. Run the same command again to continue a run that was killed.

    On two cores net E takes 0.5 to 0.7 s a photo at Q=256, and 4 to 6 s at the three scales of the default: try
    --scales 256 first. A GPU was not measured yet.

    With --layer conv4_3,pool5 each image is decoded once and goes through the net once, and each layer has a store of
    its own: SOURCE.conv4_3.vggfeat and SOURCE.pool5.vggfeat. Each of them can be continued alone: --layer pool5 --out
    SOURCE.pool5.vggfeat.

    With torchrun the processes share the work, each on its own GPU. On a Ray cluster each GPU has one worker, and
    --workers is the number of its processors; source, store and weights must be on storage that all nodes share.
    """
    check_source(source)
    from vggfeat.extraction.environment import local_device, share_of_environment
    from vggfeat.extraction.run import default_out, extract, extract_layers, outs_of_layers
    from vggfeat.store import Store

    layers = [spec.layer for spec in specs]
    check_layers(layers)
    out = out or default_out(source)
    stores = list(outs_of_layers(out, layers).values()) if layers[1:] else [out]
    for store in stores:
        check_folder(store)
    share = share_of_environment()
    # no process knows how many rows the others have added
    before = {store: _rows(store) if share[1] == 1 else 0 for store in stores}
    _end_like_ctrl_c()
    try:
        with redirect_stdout(sys.stderr):  # Ray reports lost nodes on stdout, in many lines
            spec = replace(specs[0], device=local_device(specs[0].device, share))
            if layers[1:]:
                extract_layers(source, layers, out, spec=spec, settings=settings, share=share)
            else:
                extract(source, out, spec=spec, settings=settings, share=share)
    except KeyboardInterrupt:
        where = " and ".join(map(str, stores))
        _end_now(f"interrupted; finished descriptors are in {where}, run the same command again to continue")
    for store in stores:
        _say_what_is_done(Store(store), share, before[store])


def _end_like_ctrl_c() -> None:
    """Handle a cluster's request to end like Ctrl-C: temporary files are removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _rows(store: Path) -> int:
    """How many rows a store has; 0 if it does not exist, or is damaged, which the extraction reports."""
    from vggfeat.errors import StoreError
    from vggfeat.store import Store

    try:
        return len(Store(store))
    except StoreError:
        return 0


def _say_what_is_done(store: "Store", share: tuple[int, int], before: int) -> None:
    if share[1] > 1:
        show(f"{store.path}: process {share[0]} of {share[1]} has ended")
        if not store.settled:  # the last process reports for all
            return
    failed = len(store.failures)
    done = f"{store.path}: {len(store)} images described"
    done += f", {failed} failed (failures.csv)" if failed else ""
    done += f"; the store had {before} rows before this run" if before else ""
    show(done + (": no image is new" if before == len(store) else ""))


def _end_now(message: str) -> NoReturn:
    """End without waiting for threads: a pass of the net takes seconds."""
    say(f"vggfeat: {message}")
    sys.stdout.flush()
    os._exit(130)


def describe(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...")],
    out: Annotated[
        Path | None,
        typer.Option(help="Write a file instead: .npy, .npz, .h5, .csv or .mat, as export writes it."),
    ] = None,
    max_pixels: Annotated[
        int, typer.Option(help="Largest number of pixels of an image. A larger one is an error.")
    ] = MAX_PIXELS,
    *,
    spec: DescriptorSpec,
) -> None:
    """Print the descriptors of images, one line for each.

    A line has the name of the image, and then the values, separated by tabs.
    """
    from vggfeat.descriptors import Describer
    from vggfeat.sources.item import utf8
    from vggfeat.store.exporting import InMemory, check_out, write

    if out is not None:
        check_out(out)
        _end_like_ctrl_c()
    files = _files(images)
    matrix = Describer(spec=spec).describe(files, max_pixels)
    if out is not None:
        write(InMemory(matrix, [utf8(image) for image in images]), out)
        return
    for image, row in zip(images, matrix, strict=True):
        show("\t".join([printable(image), *(f"{value:.6g}" for value in row)]))


def _files(images: list[str]) -> list[Path]:
    """The paths of image files, before weights are downloaded for them.

    Raises UsageError for what only `extract` takes, and OSError for a file that does not exist.
    """
    for image in images:
        what = "an address" if "://" in image else "a folder" if Path(image).is_dir() else ""
        if what:
            raise UsageError(f"{image}: is {what}; name image files, or describe it with vggfeat extract")
        Path(image).stat()
    return [Path(image) for image in images]


def classify(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...")],
    top: Annotated[int, typer.Option(help="How many classes of each image.")] = 5,
    *,
    spec: PosteriorSpec,
) -> None:
    """Print the most probable classes of images."""
    from vggfeat.classify import Classifier
    from vggfeat.weights.header import shown

    files = _files(images)
    classifier = Classifier(spec=spec)
    for image, predictions in zip(images, classifier.predict(files, top), strict=True):
        show(printable(image))
        for found in predictions:
            show(f"{100 * found.probability:8.2f} %  {shown(found.name)}")


def nets(q: Annotated[int, typer.Option(help="Cost for a photo of Q x 4/3 Q pixels, applied densely.")] = 256) -> None:
    """Print the layers of each net, its parameters and its cost.

    These are Tables 1 and 2 of the paper, with FLOPs.
    """
    from vggfeat.nets.text import tables_1_and_2

    show(*tables_1_and_2(q).split("\n"))


def export(
    store: Annotated[list[Path], typer.Argument(metavar="STORE...", help="A store; several are fused.")],
    out: Annotated[Path, typer.Argument(metavar="FILE", help=".npy, .npz, .h5, .csv or .mat.")],
    scales: Annotated[
        Any, typer.Option(parser=whole_numbers, metavar="Q,...", help="Stored scales to use. Default: all.")
    ] = None,
    agg: Annotated[Aggregation | None, typer.Option(help="Aggregation over the scales. Default: as extracted.")] = None,
    normalize: Annotated[Normalisation, typer.Option(help="L2 normalisation.")] = DescriptorSpec.normalize,
) -> None:
    """Write a store to a file for other tools."""
    from vggfeat.store.exporting import check_out, names_file, write
    from vggfeat.store.loading import Selection

    _end_like_ctrl_c()
    check_out(out)
    rows = Selection(store, agg=agg, normalize=normalize, scales=scales)
    write(rows, out)
    line = f"{out}: {rows.shape[0]:,} images with {rows.shape[1]:,} numbers each"
    if out.suffix == ".npy":
        line += f"; the names are in {names_file(out)}, and the labels in neither: .npz, .h5, .csv and .mat hold them"
    show(line)
