"""vggfeat weights: list, fetch, convert, verify, publish."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vggfeat.cli.derive import help_of
from vggfeat.cli.output import show
from vggfeat.cli.usage import Command
from vggfeat.errors import UsageError
from vggfeat.spec import Lineage, NetSpec

app = typer.Typer(help="List, fetch, convert, verify and publish weights.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list", cls=Command)
def list_weights() -> None:
    """List the weights that have a name, and which of them are on this machine."""
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
        show("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip())
    show("SIZE: of the file here, or of its download. slim is for tests, and to try fc6 and fc7; not for results.")
    show("TOP-1 and TOP-5: published accuracy in per cent on the validation set of ILSVRC-2012, one centre crop.")


@app.command("fetch", cls=Command)
def fetch_weights(
    name: Annotated[str, typer.Argument(metavar="NAME", help="oxford or torchvision.")],
    net: Annotated[
        str | None, typer.Option(help='A, B, D or E; several with commas, such as "D,E". Default: D.')
    ] = None,
) -> None:
    """Download weights into the cache, about 550 MB for each net, and verify them."""
    from difflib import get_close_matches

    from vggfeat.nets import TOPS
    from vggfeat.weights import resolve
    from vggfeat.weights.published import REGISTRY

    if name not in REGISTRY.names:
        near = get_close_matches(name, REGISTRY.names, 1)
        others = ", ".join(known for known in REGISTRY.names if known not in near)
        raise UsageError(f"no weights {name!r} to fetch; take {f'{near[0]}, or ' if near else ''}one of {others}")
    top = min((known.top for (of, _), known in REGISTRY.named.items() if of == name), key=TOPS.index)
    for one in net.split(",") if net else [None]:
        show(str(resolve(name, one, top).path))


@app.command("convert", cls=Command)
def convert_weights(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="PyTorch .pth, timm .safetensors, Keras .h5, .caffemodel, .mat.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The native file, .safetensors.")],
    net: Annotated[
        str | None, typer.Option(help="A-LRN, which has the same tensors as A. Default: the net of the file.")
    ] = None,
    lineage: Annotated[Lineage | None, typer.Option(help=help_of(NetSpec, "lineage"))] = None,
    layer: Annotated[
        Literal["fc7", "fc6", "pool5"] | None,
        typer.Option(help="Last layer to convert. Default: all layers of the file."),
    ] = None,
) -> None:
    """Convert a file of another framework to the native format. No code in the file is run."""
    from vggfeat.weights import convert

    weights = convert(file, out, net=net, lineage=lineage, top=layer)
    prep = weights.preprocessing
    assumed = f", assumed for {weights.lineage}; give --lineage if you know who trained it" if weights.assumed else ""
    show(f"{weights.path}: net {weights.net} up to {weights.top}, for {prep.colour} in 0..{prep.range:g}{assumed}")


@app.command("verify", cls=Command)
def verify_weights(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A native file, or one that can be converted.")],
    golden: Annotated[
        bool, typer.Option("--golden", help="Compute a descriptor and compare it with the recorded one.")
    ] = False,
    device: Annotated[str, typer.Option(help=help_of(NetSpec, "device"))] = NetSpec.device,
) -> None:
    """Read a whole file and print what it is and what it can be used for."""
    from vggfeat.weights import verify

    show(*str(verify(file)).split("\n"))
    if golden:
        from vggfeat.golden import measure, require_proof

        measured = measure(file, device)
        for one in measured:
            show(f"{one.layer:<10} {' '.join(f'{value:.5f}' for value in one.values)}")
        proof = require_proof(file, measured)
        show(f"golden     {proof.layer} is {proof.distance:.1g} from the recorded descriptor: the same numbers")
        if measured[-1] is not proof:
            show(f"           {measured[-1].layer} has no record: compare its numbers with another machine's")


@app.command("publish", cls=Command)
def publish_weights(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run of `vggfeat train`.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The native file, .safetensors; its card gets the suffix .md.")
    ],
    licence: Annotated[str, typer.Option(help="Licence of the weights, such as CC-BY-4.0.")],
    dtype: Annotated[Literal["float32", "float16", "bfloat16"], typer.Option(help="Type of the tensors.")] = "float32",
    name: Annotated[str, typer.Option(help="Title of the card. Default: the name of the file.")] = "",
) -> None:
    """Write the best weights of a training run to a file, with a model card: data, recipe, scores."""
    from vggfeat.weights.publish import publish

    published = publish(run, out, licence=licence, dtype=dtype, name=name)
    show(f"{published.weights.path}: sha256 {published.weights.sha256}; its card is {published.card}")
