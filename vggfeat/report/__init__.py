"""Results that people look at: one HTML file with its plots and thumbnails inside, free of torch.

    page     Page and the blocks it is made of: Text, Notes, Facts, Table, Bars, Figure, Figures, Gallery
    plots    lines, skyline, dots, confusion: matplotlib drawings as inline SVG in the colours of the page
    cases    which hits, mistakes and confusions are worth showing
    thumbs   pixels -> a small JPEG inside the page

>>> page = Page("Digits", sections=[Section("Per class", [Bars([("one", 97.5), ("two", None)])])])
>>> "97.5" in page.html()
True
"""

from vggfeat.report import cases, plots
from vggfeat.report.page import (
    Bars,
    Block,
    Facts,
    Figure,
    Figures,
    Gallery,
    Headline,
    Notes,
    Page,
    Picture,
    Section,
    Table,
    Text,
    check_target,
)
from vggfeat.report.thumbs import thumbnail

__all__ = [
    "Bars",
    "Block",
    "Facts",
    "Figure",
    "Figures",
    "Gallery",
    "Headline",
    "Notes",
    "Page",
    "Picture",
    "Section",
    "Table",
    "Text",
    "cases",
    "check_target",
    "plots",
    "thumbnail",
]
