"""vggfeat weights: list, fetch, convert, verify, publish."""

from pathlib import Path
from typing import Annotated

import typer

from vggfeat.cli.options import Device, Net
from vggfeat.errors import UsageError

OneNet = Annotated[str | None, typer.Option(help="A-LRN, which a file can't tell from A; else what the file holds.")]

app = typer.Typer(help="List, fetch, convert, verify and publish weights.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
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
    typer.echo("TOP-1 and TOP-5: per cent right on ILSVRC-2012's validation set, one centre crop, as published.")


@app.command("fetch")
def fetch_weights(name: Annotated[str, typer.Argument(help="oxford or torchvision.")], net: Net = None) -> None:
    """Download weights into the cache, whole and verified."""
    from vggfeat.weights import resolve
    from vggfeat.weights.registry import REGISTRY

    if name not in REGISTRY.names:
        raise UsageError(f"no weights {name!r} to fetch; take one of {', '.join(REGISTRY.names)}")
    for one in net.split(",") if net else [None]:
        typer.echo(resolve(name, one, "fc8").path)


@app.command("convert")
def convert_weights(
    file: Annotated[Path, typer.Argument(help="PyTorch .pth, timm .safetensors, Keras .h5, .caffemodel, .mat.")],
    out: Annotated[Path, typer.Argument(help="The native file, .safetensors.")],
    net: OneNet = None,
    lineage: Annotated[
        str | None,
        typer.Option(help="oxford (BGR, 0..255) or torchvision (RGB, 0..1), where the file doesn't say; by its form."),
    ] = None,
) -> None:
    """Convert a file of another framework to the native format."""
    from vggfeat.weights import convert

    weights = convert(file, out, net=net, lineage=lineage)  # type: ignore[arg-type]
    prep = weights.preprocessing
    typer.echo(f"{weights.path}: net {weights.net} up to {weights.top}, for {prep.colour} in 0..{prep.range:g}")


@app.command("verify")
def verify_weights(
    file: Annotated[Path, typer.Argument(help="A native file, or one that can be converted.")],
    golden: Annotated[
        bool, typer.Option("--golden", help="Print a descriptor's numbers, compare with the record.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Read a file from end to end, and say what it is and what can be done with it."""
    from vggfeat.weights import verify

    typer.echo(verify(file))
    if golden:
        from vggfeat.golden import measure, require_proof

        measured = measure(file, device)
        for one in measured:
            typer.echo(f"{one.layer:<10} {' '.join(f'{value:.5f}' for value in one.values)}")
        proof = require_proof(file, measured)
        typer.echo(f"golden     {proof.layer} is {proof.distance:.1g} from the recorded descriptor: the same numbers")
        if measured[-1] is not proof:
            typer.echo(f"           {measured[-1].layer} has no record: compare its numbers with another machine's")


@app.command("publish")
def publish_weights(
    run: Annotated[Path, typer.Argument(help="The folder of a run of `vggfeat train`.")],
    out: Annotated[Path, typer.Argument(help="The native file, .safetensors; its card gets the suffix .md.")],
    licence: Annotated[str, typer.Option(help="Of the weights, such as CC-BY-4.0.")],
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "float32",
    name: Annotated[str, typer.Option(help="Title of the card. Default: the file's name.")] = "",
) -> None:
    """Make the best weights of a training run a file for others, with a model card: data, recipe, scores."""
    from vggfeat.weights.publish import publish

    published = publish(run, out, licence=licence, dtype=dtype, name=name)  # type: ignore[arg-type]
    typer.echo(f"{published.weights.path}: sha256 {published.weights.sha256}; its card is {published.card}")
