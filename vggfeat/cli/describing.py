"""Images to descriptors: extract, describe, classify, export, nets."""

from pathlib import Path
from typing import Annotated, Any

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


def extract(
    source: Annotated[Path, typer.Argument(help="A folder, a .txt or .csv list, or an image.")] = Path(),
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
    part_size: Annotated[int, typer.Option(help="Images in a Parquet part.")] = 1000,
    dtype: Annotated[str, typer.Option(help="Of the stored vectors: float32 or float16.")] = "float32",
    workers: Annotated[int | None, typer.Option(help="Threads that decode. Default: all processors.")] = None,
) -> None:
    """Describe all images of a folder into a store; the same command continues a run that was killed."""
    from vggfeat.extract import extract

    store = extract(
        source,
        out,
        net=net,
        scales=scales,
        agg=agg,
        layer=layer,
        weights=weights,
        mirror=mirror,
        device=device,
        precision=precision,
        ceil=ceil,
        on_error=on_error,  # type: ignore[arg-type]
        part_size=part_size,
        dtype=dtype,  # type: ignore[arg-type]
        workers=workers,
    )
    failed = len(store.failures)
    typer.echo(f"{store.path}: {len(store)} images described" + (f", {failed} failed (failures.csv)" if failed else ""))


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
) -> None:
    """Print the descriptors of images, a line each: the name, then its values, with tabs; or save them."""
    import numpy as np

    from vggfeat.descriptors import Describer

    describer = Describer(
        net,
        scales=scales,
        agg=agg,  # type: ignore[arg-type]
        layer=layer,  # type: ignore[arg-type]
        weights=weights,
        mirror=mirror,
        normalize=normalize,  # type: ignore[arg-type]
        device=device,
        precision=precision,  # type: ignore[arg-type]
        ceil=ceil,
    )
    matrix = describer.describe(list(images))
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
        precision=precision,  # type: ignore[arg-type]
        ceil=ceil,
    )
    for image, predictions in zip(images, classifier.predict(images, top), strict=True):
        typer.echo(image)
        for found in predictions:
            typer.echo(f"{100 * found.probability:8.2f} %  {shown(found.name)}")


def nets(q: Annotated[int, typer.Option(help="Cost of a Q x 4/3 Q photo, applied densely.")] = 256) -> None:
    """Tables 1 and 2: the layers of each net, its parameters, and what it costs."""
    from vggfeat.tables import tables_1_and_2

    typer.echo(tables_1_and_2(q))


def export(
    store: Annotated[list[Path], typer.Argument(metavar="STORE...", help="A store; several are fused.")],
    out: Annotated[Path, typer.Argument(metavar="FILE", help=".npy, .npz, .h5, .csv or .mat.")],
    scales: Annotated[Any, typer.Option(parser=whole_numbers, metavar="Q,...", help="Some of the stored ones.")] = None,
    agg: Annotated[str | None, typer.Option(help="mean, max or stack. Default: as at the extraction.")] = None,
    normalize: Normalize = "l2",
) -> None:
    """Write a store for other tools."""
    from vggfeat.export import export

    export(store, out, agg=agg, normalize=normalize, scales=scales)  # type: ignore[arg-type]
