"""HTML reports: one file with its plots and thumbnails inside. Free of torch.

    page     Page and its blocks: Text, Notes, Facts, Table, Bars, Figure, Figures, Gallery
    plots    drawings as SVG: lines, skyline, dots, confusion
    svg      matplotlib figures as SVG in the colours of the page
    cases    which hits, mistakes and confusions to show
    thumbs   thumbnails inside the page
    text     numbers and names for display

>>> page = Page("Digits", sections=[Section("Per class", [Bars([("one", 97.5), ("two", None)])])])
>>> "97.5" in page.html()
True
"""

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
    "check_target",
    "thumbnail",
]
