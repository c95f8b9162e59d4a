"""Images to descriptors: extract, describe, classify, export, nets."""

import os
import signal
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from vggfeat.cli.options import (
    DEFAULT_SCALES,
    Agg,
    Ceil,
    Device,
    LayerOption,
    Mirror,
    Net,
    Normalize,
    PrecisionOption,
    Scales,
    WeightsOption,
    whole_numbers,
)

if TYPE_CHECKING:
    from vggfeat.store import Store

MaxPixels = Annotated[int, typer.Option(help="An image that has more is not read.")]


def extract(
    source: Annotated[
        str, typer.Argument(help="A folder, list (.txt, .csv, .parquet), tar, glob or image; or its address, s3://...")
    ] = ".",
    out: Annotated[Path | None, typer.Option(help="The store. Default: SOURCE.vggfeat, here.")] = None,
    net: Net = None,
    scales: Scales = DEFAULT_SCALES,
    agg: Agg = "mean",
    layer: LayerOption = "fc7",
    weights: WeightsOption = "auto",
    mirror: Mirror = True,
    device: Device = "auto",
    precision: PrecisionOption = "auto",
    ceil: Ceil = False,
    on_error: Annotated[str, typer.Option(help="An image that can't be read: skip or fail.")] = "skip",
    part_size: Annotated[int, typer.Option(help="Images in a Parquet part, and in what one process takes.")] = 1000,
    dtype: Annotated[str, typer.Option(help="Of the stored vectors: float32 or float16.")] = "float32",
    max_pixels: MaxPixels = 89_478_485,
    workers: Annotated[int | None, typer.Option(help="Threads that decode. Default: all processors.")] = None,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="The same bits in each run.")] = False,
    engine: Annotated[str, typer.Option(help="local, or ray: the cluster of $RAY_ADDRESS, or this machine.")] = "local",
) -> None:
    """Describe all images of a folder into a store; the same command continues a run that was killed.

    Under torchrun the processes share the work, each with the CUDA device of its own. On a Ray cluster each GPU is a
    worker's, and --workers its processors; source, store and weights lie on storage that all nodes share.
    """
    from vggfeat.extraction.environment import local_device, share_of_environment
    from vggfeat.extraction.run import default_out, extract

    out = out or default_out(source)
    share = share_of_environment()
    before = _rows(out) if share[1] == 1 else 0  # of several processes nobody knows what the others have added
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's request to end is as good as Ctrl-C
    try:
        with redirect_stdout(sys.stderr):  # where Ray tells of lost nodes, in many lines
            store = extract(
                source,
                out,
                net=net,
                scales=scales,
                agg=agg,
                layer=layer,
                weights=weights,
                mirror=mirror,
                device=local_device(device, share),
                precision=precision,
                ceil=ceil,
                on_error=on_error,
                part_size=part_size,
                dtype=dtype,
                max_pixels=max_pixels,
                workers=workers,
                deterministic=deterministic,
                share=share,
                engine=engine,
            )
    except KeyboardInterrupt:
        _end_now(f"interrupted; what is described is in {out}, the same command continues it")
    _say_what_is_done(store, share, before)


def _rows(store: Path) -> int:
    """How many a store has; 0 where it is none, or damaged, which the extraction says."""
    from vggfeat.errors import StoreError
    from vggfeat.store import Store

    try:
        return len(Store(store))
    except StoreError:
        return 0


def _say_what_is_done(store: "Store", share: tuple[int, int], before: int) -> None:
    if share[1] > 1:
        typer.echo(f"{store.path}: process {share[0]} of {share[1]} has ended")
        if not store.settled:  # the last says it for all
            return
    failed = len(store.failures)
    done = f"{store.path}: {len(store)} images described"
    done += f", {failed} failed (failures.csv)" if failed else ""
    typer.echo(done + (f"; {before} of them before this run" if before else ""))


def _end_now(message: str) -> NoReturn:
    """Python would wait for the threads: a pass of the net takes seconds."""
    typer.echo(f"vggfeat: {message}", err=True)
    sys.stdout.flush()
    os._exit(130)


def describe(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...")],
    out: Annotated[Path | None, typer.Option(help="Save a matrix as .npy instead of printing.")] = None,
    net: Net = None,
    scales: Scales = DEFAULT_SCALES,
    agg: Agg = "mean",
    layer: LayerOption = "fc7",
    weights: WeightsOption = "auto",
    mirror: Mirror = True,
    normalize: Normalize = "l2",
    device: Device = "auto",
    precision: PrecisionOption = "auto",
    ceil: Ceil = False,
    max_pixels: MaxPixels = 89_478_485,
) -> None:
    """Print the descriptors of images, a line each: the name, then its values, with tabs; or save them."""
    import numpy as np

    from vggfeat.descriptors import Describer

    describer = Describer(
        net,
        scales=scales,
        agg=agg,
        layer=layer,
        weights=weights,
        mirror=mirror,
        normalize=normalize,
        device=device,
        precision=precision,
        ceil=ceil,
    )
    matrix = describer.describe(list(images), max_pixels)
    if out is not None:
        np.save(out, matrix)
        return
    for image, row in zip(images, matrix, strict=True):
        typer.echo("\t".join([str(image), *(f"{value:.6g}" for value in row)]))


def classify(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...")],
    net: Net = None,
    scales: Scales = DEFAULT_SCALES,
    weights: WeightsOption = "auto",
    mirror: Mirror = True,
    device: Device = "auto",
    precision: PrecisionOption = "auto",
    ceil: Ceil = False,
    top: Annotated[int, typer.Option(help="How many classes of each image.")] = 5,
) -> None:
    """Print the likeliest classes of images, with their probabilities."""
    from vggfeat.classify import Classifier
    from vggfeat.weights.header import shown

    classifier = Classifier(
        net,
        scales=scales,
        weights=weights,
        mirror=mirror,
        device=device,
        precision=precision,
        ceil=ceil,
    )
    for image, predictions in zip(images, classifier.predict(images, top), strict=True):
        typer.echo(image)
        for found in predictions:
            typer.echo(f"{100 * found.probability:8.2f} %  {shown(found.name)}")


def nets(q: Annotated[int, typer.Option(help="Cost of a Q x 4/3 Q photo, applied densely.")] = 256) -> None:
    """Tables 1 and 2: the layers of each net, its parameters, and what it costs."""
    from vggfeat.nets.text import tables_1_and_2

    typer.echo(tables_1_and_2(q))


def export(
    store: Annotated[list[Path], typer.Argument(metavar="STORE...", help="A store; several are fused.")],
    out: Annotated[Path, typer.Argument(metavar="FILE", help=".npy, .npz, .h5, .csv or .mat.")],
    scales: Annotated[Any, typer.Option(parser=whole_numbers, metavar="Q,...", help="Some of the stored ones.")] = None,
    agg: Annotated[str | None, typer.Option(help="mean, max or stack. Default: as at the extraction.")] = None,
    normalize: Normalize = "l2",
) -> None:
    """Write a store for other tools."""
    from vggfeat.store.export import export

    export(store, out, agg=agg, normalize=normalize, scales=scales)  # type: ignore[arg-type]
