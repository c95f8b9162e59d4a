"""The localisation results of the paper, Tables 8 to 10: errors in per cent on ILSVRC-2012's validation set."""

from typing import NamedTuple

TITLES = {
    8: "Table 8: the box of the true class from the central crop (protocol 1)",
    9: "Table 9: top-5 localisation error, dense (protocol 2)",
    10: "Table 10: the state of the art of the time",
}


class PaperCrop(NamedTuple):
    """A row of Table 8. tuned : the layers that were fine-tuned."""

    tuned: str
    regression: str
    error: float


class PaperDense(NamedTuple):
    """A row of Table 9: (S, test scales) of each net. test : the error on the test set, which the text gives."""

    nets: tuple[tuple[int, tuple[int, ...]], ...]
    error: float
    test: float | None = None


S, NET = 384, "D"  # of Table 8; all nets have the configuration D

TABLE_8 = [PaperCrop("fc", "scr", 36.4), PaperCrop("fc", "pcr", 34.3), PaperCrop("all", "pcr", 33.1)]
TABLE_9 = [
    PaperDense(((256, (256,)),), 29.5),
    PaperDense(((384, (384,)),), 28.2),
    PaperDense(((384, (352, 384)),), 27.5),
    PaperDense(((256, (256,)), (384, (352, 384))), 26.9, 25.3),
]
TABLE_10: dict[str, tuple[float | None, float | None]] = {
    "VGG": (26.9, 25.3),
    "GoogLeNet": (None, 26.7),
    "OverFeat": (30.0, 29.9),
    "Krizhevsky et al.": (None, 34.2),
}
