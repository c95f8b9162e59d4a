"""Options that several commands share."""

from typing import Annotated, Any

import typer


def whole_numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: give whole numbers with commas, such as 256,384,512") from error


Net = Annotated[str | None, typer.Option(help="A, A-LRN, B, C, D or E; several: D,E. Default: the weights' own, D.")]
Scales = Annotated[Any, typer.Option(parser=whole_numbers, metavar="Q,...", help="Smallest image sides.")]
Agg = Annotated[str, typer.Option(help="Over the scales: mean, max or stack.")]
LayerOption = Annotated[str, typer.Option(help="fc7, fc6 or pool5, after the ReLU.")]
WeightsOption = Annotated[str, typer.Option(help="auto, oxford, torchvision, slim, or a file.")]
Mirror = Annotated[bool, typer.Option("--mirror/--no-mirror", help="Average with the mirror image.")]
Normalize = Annotated[str, typer.Option(help="l2, per-scale or none.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
PrecisionOption = Annotated[str, typer.Option(help="auto, float32, tf32, bfloat16 or float16.")]
Ceil = Annotated[bool, typer.Option("--ceil/--floor", help="Round pooled sizes up, as Caffe does.")]
DEFAULT_SCALES = "256,384,512"
