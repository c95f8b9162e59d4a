"""A user's own classes: fit, predict."""

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from vggfeat._util.files import check_folder, check_writable, write_text
from vggfeat.cli.derive import Without
from vggfeat.cli.output import show
from vggfeat.model.settings import FitSettings, FitSpec


def fit(
    source: Annotated[
        str,
        typer.Argument(help="A folder with a folder for each class, a list with labels, a tar, or a store of these."),
    ],
    out: Annotated[Path, typer.Option(metavar="MODEL", help="The file of the model, such as birds.vggmodel.")],
    store: Annotated[
        Path | None, typer.Option(help="The store of the descriptors. Default: SOURCE.vggfeat in the current folder.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures as JSON to this file.")] = None,
    *,
    spec: Annotated[FitSpec, Without("agg", "normalize")],
    settings: FitSettings,
) -> None:
    """Train a classifier on your own labelled photos, and measure it on photos that were held out.

    The photos are described once, into a store. Run the same command again to continue or to train anew.
    """
    from vggfeat.model.run import fit

    for file in (out, json):
        if file is not None:
            check_writable(file)
    if store is not None:
        check_folder(store)
    model = fit(source, store=store, spec=spec, settings=settings)
    model.save(out)
    assert model.figures
    show(*model.figures.lines())
    if json is not None:
        write_text(json, json_format.dumps(model.figures.as_json(), indent=1) + "\n")
    show(f"{out}: a model of {len(model.classes_)} classes")
