"""The classification results of the paper, Tables 3 to 7: errors in per cent on ILSVRC-2012's validation set.

The training scale is (S,), or (Smin, Smax) if S was drawn from this range for each image. Errors are top-1, top-5 and,
in Tables 6 and 7, top-5 on the test set; None if the paper has no number.
"""

from typing import NamedTuple

S256, S384, JITTERED = (256,), (384,), (256, 512)

TITLES = {
    3: "Table 3: a single test scale, dense",
    4: "Table 4: multiple test scales, dense",
    5: "Table 5: dense and multi-crop evaluation, multiple test scales",
    6: "Table 6: fusion of nets",
    7: "Table 7: the state of the art of the time",
}


class PaperRow(NamedTuple):
    """A row of Tables 3 to 5."""

    net: str
    train_scale: tuple[int, ...]
    methods: tuple[str, ...]
    errors: tuple[float, float]


class PaperFusion(NamedTuple):
    """A row of Table 6. nets : (name, S), each at its own test scales."""

    title: str
    nets: frozenset[tuple[str, tuple[int, ...]]]
    methods: tuple[str, ...]
    errors: tuple[float, float, float | None]


DENSE, CROPS, BOTH = ("dense",), ("multi-crop",), ("dense", "multi-crop")

TABLE_3 = [
    PaperRow("A", S256, DENSE, (29.6, 10.4)),
    PaperRow("A-LRN", S256, DENSE, (29.7, 10.5)),
    PaperRow("B", S256, DENSE, (28.7, 9.9)),
    PaperRow("C", S256, DENSE, (28.1, 9.4)),
    PaperRow("C", S384, DENSE, (28.1, 9.3)),
    PaperRow("C", JITTERED, DENSE, (27.3, 8.8)),
    PaperRow("D", S256, DENSE, (27.0, 8.8)),
    PaperRow("D", S384, DENSE, (26.8, 8.7)),
    PaperRow("D", JITTERED, DENSE, (25.6, 8.1)),
    PaperRow("E", S256, DENSE, (27.3, 9.0)),
    PaperRow("E", S384, DENSE, (26.9, 8.7)),
    PaperRow("E", JITTERED, DENSE, (25.5, 8.0)),
]
TABLE_4 = [
    PaperRow("B", S256, DENSE, (28.2, 9.6)),
    PaperRow("C", S256, DENSE, (27.7, 9.2)),
    PaperRow("C", S384, DENSE, (27.8, 9.2)),
    PaperRow("C", JITTERED, DENSE, (26.3, 8.2)),
    PaperRow("D", S256, DENSE, (26.6, 8.6)),
    PaperRow("D", S384, DENSE, (26.5, 8.6)),
    PaperRow("D", JITTERED, DENSE, (24.8, 7.5)),
    PaperRow("E", S256, DENSE, (26.9, 8.7)),
    PaperRow("E", S384, DENSE, (26.7, 8.6)),
    PaperRow("E", JITTERED, DENSE, (24.8, 7.5)),
]
TABLE_5 = [
    PaperRow("D", JITTERED, DENSE, (24.8, 7.5)),
    PaperRow("D", JITTERED, CROPS, (24.6, 7.5)),
    PaperRow("D", JITTERED, BOTH, (24.4, 7.2)),
    PaperRow("E", JITTERED, DENSE, (24.8, 7.5)),
    PaperRow("E", JITTERED, CROPS, (24.6, 7.4)),
    PaperRow("E", JITTERED, BOTH, (24.4, 7.1)),
]
_SUBMITTED = frozenset([("D", S256), ("D", S384), ("D", JITTERED), ("C", S256), ("C", S384), ("E", S256), ("E", S384)])
_BEST = frozenset([("D", JITTERED), ("E", JITTERED)])
TABLE_6 = [
    PaperFusion("ILSVRC submission: 7 nets", _SUBMITTED, DENSE, (24.7, 7.5, 7.3)),
    PaperFusion("D & E", _BEST, DENSE, (24.0, 7.1, 7.0)),
    PaperFusion("D & E", _BEST, CROPS, (23.9, 7.2, None)),
    PaperFusion("D & E", _BEST, BOTH, (23.7, 6.8, 6.8)),
]
# The paper gives one number for both columns of GoogLeNet's top-5 errors.
TABLE_7: dict[str, tuple[float | None, float | None, float | None]] = {
    "VGG (2 nets, multi-crop & dense)": (23.7, 6.8, 6.8),
    "VGG (1 net, multi-crop & dense)": (24.4, 7.1, 7.0),
    "VGG (ILSVRC submission, 7 nets, dense)": (24.7, 7.5, 7.3),
    "GoogLeNet (1 net)": (None, 7.9, 7.9),
    "GoogLeNet (7 nets)": (None, 6.7, 6.7),
    "MSRA (11 nets)": (None, None, 8.1),
    "MSRA (1 net)": (27.9, 9.1, 9.1),
    "Clarifai (multiple nets)": (None, None, 11.7),
    "Clarifai (1 net)": (None, None, 12.5),
    "Zeiler & Fergus (6 nets)": (36.0, 14.7, 14.8),
    "Zeiler & Fergus (1 net)": (37.5, 16.0, 16.1),
    "OverFeat (7 nets)": (34.0, 13.2, 13.6),
    "OverFeat (1 net)": (35.7, 14.2, None),
    "Krizhevsky et al. (5 nets)": (38.1, 16.4, 16.4),
    "Krizhevsky et al. (1 net)": (40.7, 18.2, None),
}
