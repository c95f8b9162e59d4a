"""Training: train (Sect. 3.1)."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from vggfeat._util.files import check_folder
from vggfeat.cli.output import show
from vggfeat.train.recipe import Recipe


def train(
    data: Annotated[
        Path,
        typer.Option(
            help="A folder with train/<class>/ and val/<class>/, ILSVRC's layout, or shards train-*.tar, val-*.tar."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder of the run. The same command continues it.")],
    schedule: Annotated[
        Literal["paper"] | None,
        typer.Option(
            help="paper: train A, then NET at S=256, 384 and 256-512, each from the run before it; below RUN."
        ),
    ] = None,
    *,
    recipe: Recipe,
) -> None:
    """Train a net as the paper does; with torchrun on several GPUs. The same command continues a run."""
    from vggfeat.train import train, train_paper

    check_folder(out)
    results = train_paper(data, out, recipe) if schedule else [train(data, out, recipe)]
    if os.environ.get("RANK", "0") == "0":  # torchrun starts several processes
        for result in results:
            show(*str(result).split("\n"))
