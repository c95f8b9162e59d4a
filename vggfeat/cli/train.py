"""vggfeat train: Sect. 3.1."""

import os
from pathlib import Path
from typing import Annotated

import typer

from vggfeat.cli.options import Device
from vggfeat.errors import UsageError


def train(
    data: Annotated[Path, typer.Option(help="A folder with train/<class>/ and val/<class>/, or ILSVRC's layout.")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="The run's folder; the same command continues it.")],
    net: Annotated[str, typer.Option(help="A, A-LRN, B, C, D, E or B-5x5 (Table 1).")] = "D",
    width: Annotated[float, typer.Option(help="Factor on the net's channels; 1 is the paper's.")] = 1.0,
    scale: Annotated[str, typer.Option(help="S: 256, 384, or drawn for each image: 256-512 (Sect. 3.1).")] = "256",
    init: Annotated[str, typer.Option(help="random, random-0.1, glorot, or from:WEIGHTS (Sect. 3.1).")] = "glorot",
    fill: Annotated[str, typer.Option(help="With from: of another net, how the other layers begin.")] = "random",
    finetune: Annotated[str, typer.Option(help="With from: train all layers, or only fc.")] = "all",
    schedule: Annotated[str | None, typer.Option(help="paper: the chain A, NET, 384, 256-512, below RUN.")] = None,
    batch: Annotated[int, typer.Option(help="Images of a step, over all processes (Sect. 3.1).")] = 256,
    momentum: Annotated[float, typer.Option(help="Sect. 3.1.")] = 0.9,
    weight_decay: Annotated[float, typer.Option(help="Sect. 3.1.")] = 5e-4,
    dropout: Annotated[float, typer.Option(help="After fc6 and fc7 (Sect. 3.1).")] = 0.5,
    lr: Annotated[float | None, typer.Option(help="Default: 0.01; 0.001 from the same net (Sect. 3.1).")] = None,
    drops: Annotated[int, typer.Option(help="How often lr is divided by 10; then the run ends (Sect. 3.1).")] = 3,
    patience: Annotated[int, typer.Option(help="Epochs without improvement before lr is divided.")] = 5,
    gain: Annotated[float, typer.Option(help="Points of top-1 error that are an improvement.")] = 0.1,
    epochs: Annotated[int, typer.Option(help="At most (Sect. 3.1).")] = 74,
    colour: Annotated[float, typer.Option(help="Strength of the RGB shift (Sect. 3.1; Krizhevsky's).")] = 0.1,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Mirror half of the crops (Sect. 3.1).")] = True,
    statistics: Annotated[str, typer.Option(help="Of the pixels: own, ilsvrc, or auto.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    device: Device = "auto",
    micro: Annotated[int, typer.Option(help="Images that go through the net at once.")] = 64,
    workers: Annotated[int | None, typer.Option(help="Processes that decode. Default: as the machine has.")] = None,
    cache: Annotated[float, typer.Option(help="GiB for decoded images, kept if they all fit.")] = 2.0,
    cache_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="Keep what doesn't fit there decoded in DIR, for later runs too.")
    ] = None,
    compile: Annotated[bool, typer.Option("--compile", help="With torch.compile.")] = False,
    save_minutes: Annotated[float, typer.Option(help="Between checkpoints within an epoch.")] = 10.0,
    dense: Annotated[bool, typer.Option("--dense", help="Measure the best net densely too (Sect. 3.2).")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard's files too.")] = False,
) -> None:
    """Train a net as the paper does; with torchrun on several GPUs. The same command continues a run."""
    from vggfeat.train import Recipe, train, train_paper

    if schedule not in (None, "paper"):
        raise UsageError(f"no schedule {schedule!r}; take paper, or leave it out")
    recipe = Recipe(
        net=net,
        width=width,
        scale=scale,
        init=init,
        fill=fill,  # type: ignore[arg-type]
        finetune=finetune,  # type: ignore[arg-type]
        batch=batch,
        momentum=momentum,
        weight_decay=weight_decay,
        dropout=dropout,
        lr=lr,
        drops=drops,
        patience=patience,
        gain=gain,
        epochs=epochs,
        colour=colour,
        flip=flip,
        statistics=statistics,  # type: ignore[arg-type]
        seed=seed,
        precision=precision,  # type: ignore[arg-type]
        device=device,
        micro=micro,
        workers=workers,
        cache=cache,
        cache_dir=cache_dir,
        compile=compile,
        save_minutes=save_minutes,
        dense=dense,
        tensorboard=tensorboard,
    )
    results = train_paper(data, out, recipe) if schedule else [train(data, out, recipe)]
    if os.environ.get("RANK", "0") == "0":  # torchrun starts several processes
        for result in results:
            typer.echo(result)
