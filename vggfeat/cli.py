"""The command. Each body forwards to the library function of the same name, with the same defaults.

Nothing heavy is imported here: `--help` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vggfeat import __version__
from vggfeat.errors import UsageError, VggfeatError

app = typer.Typer(
    help="VGG descriptors of images, as Simonyan & Zisserman describe them, and what they are worth.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
weights_app = typer.Typer(help="List, fetch, convert and verify weights.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(weights_app, name="weights")


def _scales(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: give whole numbers with commas, such as 256,384,512") from error


Net = Annotated[str | None, typer.Option(help="A, A-LRN, B, C, D or E; several: D,E. Default: the weights' own, D.")]
Scales = Annotated[Any, typer.Option(parser=_scales, metavar="Q,...", help="Smallest image sides.")]
Agg = Annotated[str, typer.Option(help="Over the scales: mean, max or stack.")]
LayerOption = Annotated[str, typer.Option(help="fc7, fc6 or pool5, after the ReLU.")]
WeightsOption = Annotated[str, typer.Option(help="auto, oxford, torchvision, slim, or a file.")]
Mirror = Annotated[bool, typer.Option("--mirror/--no-mirror", help="Average with the mirror image.")]
Normalize = Annotated[str, typer.Option(help="l2, per-scale or none.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
PrecisionOption = Annotated[str, typer.Option(help="auto, float32, tf32, bfloat16 or float16.")]
Ceil = Annotated[bool, typer.Option("--ceil/--floor", help="Round pooled sizes up, as Caffe does.")]
DEFAULT_SCALES = "256,384,512"
BENCHMARKS = "voc2007, voc2012, voc2012-actions, caltech101, caltech256, folder, digits"


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help=f"One of {BENCHMARKS}.")],
    root: Annotated[Path | None, typer.Option(help="The data set's folder. Default: $VGGFEAT_DATA/NAME.")] = None,
    recipe: Annotated[str | None, typer.Option(help="paper: its scales and aggregation, where none are given.")] = None,
    net: Net = None,
    scales: Annotated[Any, typer.Option(parser=_scales, metavar="Q,...", help="Default: the benchmark's own.")] = None,
    agg: Annotated[str | None, typer.Option(help="mean, max or stack. Default: the benchmark's own.")] = None,
    layer: LayerOption = "fc7",
    weights: Annotated[str | None, typer.Option(help="As for extract; slim for digits.")] = None,
    mirror: Mirror = True,
    normalize: Normalize = "l2",
    device: Device = "auto",
    precision: PrecisionOption = "auto",
    ceil: Ceil = False,
    seeds: Annotated[int | None, typer.Option(help="Random splits. Default: the benchmark's own, 3.")] = None,
    train_per_class: Annotated[int | None, typer.Option(help="Training images a class.")] = None,
    test_per_class: Annotated[int | None, typer.Option(help="Test images a class, at most.")] = None,
    background: Annotated[bool, typer.Option("--background/--no-background", help="Count it as a class.")] = True,
    box: Annotated[bool, typer.Option("--box/--no-box", help="Actions: image and box stacked, or image only.")] = True,
    splits: Annotated[Path | None, typer.Option(help="Take the splits of this file.")] = None,
    save_splits: Annotated[Path | None, typer.Option(help="Write the splits to this file.")] = None,
    submission: Annotated[Path | None, typer.Option(help="Write the VOC server's files to this folder.")] = None,
    comp: Annotated[int | None, typer.Option(help="Their competition. Default: 2, actions 10.")] = None,
    stores: Annotated[Path | None, typer.Option(help="Folder of the stores. Default: in the cache.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes that train SVMs; -1: all processors.")] = -1,
    json: Annotated[Path | None, typer.Option(help="Write the result for machines.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch what is missing of the data set first.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Compare with the record of the same settings.")] = False,
    record: Annotated[
        Path | None, typer.Option(help="That record. Default: benchmarks/NAME/expected.json, here.")
    ] = None,
) -> None:
    """Measure descriptors as the paper does: extract once, train linear SVMs, print the score beside the paper's."""
    from vggfeat import bench

    if name not in bench.BENCHMARKS:
        raise UsageError(f"no benchmark {name!r}; take one of {', '.join(bench.BENCHMARKS)}")
    for file in (json, save_splits, submission):
        if file is not None and not file.parent.is_dir():
            raise UsageError(f"{file.parent}: no such folder for {file.name}")
    if download:
        bench.download(name, root)
    result = bench.run(
        bench.BENCHMARKS[name],
        root=root,
        recipe=recipe,  # type: ignore[arg-type]
        net=net,
        scales=scales,
        agg=agg,  # type: ignore[arg-type]
        layer=layer,
        weights=weights,
        mirror=mirror,
        normalize=normalize,
        device=device,
        precision=precision,
        ceil=ceil,
        seeds=seeds,
        train_per_class=train_per_class,
        test_per_class=test_per_class,
        background=background,
        box=box,
        splits=splits,
        save_splits=save_splits,
        submission=submission,
        comp=comp,
        stores=stores,
        jobs=jobs,
    )
    typer.echo(result.table())
    if json is not None:
        json.write_text(result.json(), encoding="utf-8")
    if check:
        typer.echo(bench.check(result, record))


@app.command()
def nets(q: Annotated[int, typer.Option(help="Cost of a Q x 4/3 Q photo, applied densely.")] = 256) -> None:
    """Tables 1 and 2: the layers of each net, its parameters, and what it costs."""
    from vggfeat.tables import tables_1_and_2

    typer.echo(tables_1_and_2(q))


@app.command()
def export(
    store: Annotated[list[Path], typer.Argument(metavar="STORE...", help="A store; several are fused.")],
    out: Annotated[Path, typer.Argument(metavar="FILE", help=".npy, .npz, .h5, .csv or .mat.")],
    scales: Annotated[Any, typer.Option(parser=_scales, metavar="Q,...", help="Some of the stored ones.")] = None,
    agg: Annotated[str | None, typer.Option(help="mean, max or stack. Default: as at the extraction.")] = None,
    normalize: Normalize = "l2",
) -> None:
    """Write a store for other tools."""
    from vggfeat.export import export

    export(store, out, agg=agg, normalize=normalize, scales=scales)  # type: ignore[arg-type]


@weights_app.command("list")
def list_weights() -> None:
    """The weights that are known by name, and which of them are on this machine."""
    from vggfeat.weights import available

    rows = [("NAME", "NET", "LINEAGE", "LAYERS", "SIZE", "TOP-1", "TOP-5", "LICENCE", "CACHED", "FILE")]
    for row in available():
        size = f"{row.size / 1e6:.0f} MB" if row.size else "-"
        top1, top5 = (f"{value:.1f}" if value else "-" for value in (row.top1, row.top5))
        facts = (row.name, row.net, row.lineage, ",".join(row.layers), size, top1, top5, row.licence)
        cached = {0: "no", len(row.layers): "yes"}.get(len(row.cached), f"{','.join(row.cached)} only")
        rows.append((*facts, cached, str(row.path or row.file)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for line in rows:
        typer.echo("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip())


@weights_app.command("fetch")
def fetch_weights(name: Annotated[str, typer.Argument(help="oxford or torchvision.")], net: Net = None) -> None:
    """Download weights into the cache, whole and verified."""
    from vggfeat.weights import resolve

    typer.echo(resolve(name, net, "fc8").path)


@weights_app.command("convert")
def convert_weights(
    file: Annotated[Path, typer.Argument(help="PyTorch .pth, timm .safetensors, Keras .h5, .caffemodel, .mat.")],
    out: Annotated[Path, typer.Argument(help="The native file, .safetensors.")],
    net: Net = None,
) -> None:
    """Convert a file of another framework to the native format."""
    from vggfeat.weights import convert

    weights = convert(file, out, net=net)
    typer.echo(f"{weights.path}: net {weights.net} up to {weights.top}, {weights.lineage} preprocessing")


@weights_app.command("verify")
def verify_weights(
    file: Annotated[Path, typer.Argument(help="A native file, or one that can be converted.")],
    golden: Annotated[bool, typer.Option("--golden", help="Compare a descriptor with the recorded one.")] = False,
    device: Device = "auto",
) -> None:
    """Read a file from end to end, and say what it is and what can be done with it."""
    from vggfeat.weights import verify

    typer.echo(verify(file))
    if golden:
        from vggfeat.golden import check

        proof = check(file, device)
        typer.echo(f"golden     {proof.layer} is {proof.distance:.1g} from the recorded descriptor: the same numbers")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"vggfeat {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    pass


def main() -> None:
    """The entry point: errors become one line on stderr and an exit status (1 failed, 2 wrong usage)."""
    try:
        app()
    except UsageError as error:
        _fail(str(error), 2)
    except VggfeatError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("interrupted; what is done is kept, the same command continues it", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), 1)


def _fail(message: str, status: int) -> None:
    print(f"vggfeat: {message}", file=sys.stderr)
    sys.exit(status)
