"""vggfeat localize: fit."""

import os
from pathlib import Path
from typing import Annotated

import typer

from vggfeat._util.files import check_folder
from vggfeat.cli.derive import Without, derived
from vggfeat.cli.output import show
from vggfeat.localization.settings import BoxRecipe

app = typer.Typer(help="Say where the objects of an image are.", no_args_is_help=True, rich_markup_mode=None)


@app.command("fit")
@derived
def fit_boxes(
    data: Annotated[
        Path, typer.Argument(help="A CSV file path,label,x0,y0,x1,y1[,subset], a VOCdevkit, or ILSVRC's CLS-LOC.")
    ],
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder of the run. The same command continues it.")],
    images: Annotated[
        Path | None,
        typer.Option(help="The folder of the photos of a CSV file. Default: its own, or the folder images in it."),
    ] = None,
    *,
    recipe: Annotated[BoxRecipe, Without("dense")],
) -> None:
    """Train a net to predict boxes from photos with boxes. The same command continues a run."""
    from vggfeat.localization import fit

    check_folder(out)
    result = fit(data, out, images=images, recipe=recipe)
    if os.environ.get("RANK", "0") == "0":  # torchrun starts several processes
        show(*str(result).split("\n"))
