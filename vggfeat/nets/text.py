"""Tables 1 and 2 of the paper, from nets.CONFIGS, with what each net costs."""

from itertools import groupby, zip_longest

from vggfeat.errors import UsageError
from vggfeat.nets.table import CONFIGS, CROP, flops, parameter_count, weight_layers


def tables_1_and_2(q: int = 256) -> str:
    """Layers, parameters (millions) and GFLOPs of each net, as text; a multiplication with an addition counts as two.

    The cost is that of one pass to the class scores: over a crop of 224x224, and over a photo of q x 4/3 q pixels. The
    mirrored image has the same cost. Raises UsageError if a photo of Q has no place for the fully connected layers.
    """
    if q < CROP:
        raise UsageError(f"Q={q} is too small for the fully connected layers: their smallest Q is {CROP}")
    names = list(CONFIGS)
    long = (4 * q + 1) // 3
    rows = [names, [f"{weight_layers(n)} layers" for n in names], []]
    for block in zip_longest(*(_blocks(n) for n in names)):
        depth = max(len(layers) for layers in block)
        rows += [[layers[i] if i < len(layers) else "" for layers in block] for i in range(depth)]
        rows += [["maxpool"] * len(names), []]
    rows += [["FC-4096"] * len(names)] * 2 + [["FC-1000"] * len(names), ["soft-max"] * len(names), []]
    head, body = [], []
    for row in rows:
        head.append("")
        body.append(row)
    body.append([f"{parameter_count(n) / 1e6:.1f}" for n in names])
    head.append("parameters (millions)")
    body.append([f"{flops(n) / 1e9:.1f}" for n in names])
    head.append(f"GFLOPs, {CROP}x{CROP}")
    body.append([f"{flops(n, q, long) / 1e9:.1f}" for n in names])
    head.append(f"GFLOPs, {q}x{long} dense")
    width = max(len(word) for row in body for word in row) + 2
    left = max(map(len, head)) + 2
    return "\n".join(
        (name.ljust(left) + "".join(word.ljust(width) for word in row)).rstrip()
        for name, row in zip(head, body, strict=True)
    )


def _blocks(net: str) -> list[list[str]]:
    """The convolutional layers of a net, block by block; a max-pooling follows each block."""
    words = [word for word in CONFIGS[net] if not word.startswith("FC")]
    return [list(group) for pooling, group in groupby(words, lambda word: word == "maxpool") if not pooling]
