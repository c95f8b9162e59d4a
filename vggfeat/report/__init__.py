"""HTML reports: one file with its plots and thumbnails inside. Free of torch.

    page         Page, its Headline and its Sections
    blocks       what is in a section: Text, Notes, Facts, Table, Bars, Skyline, Matrix, Figure, Figures, Gallery
    confusions   which classes are taken for one another
    provenance   the folder of the images, the versions, the machine, the command
    plots        drawings as SVG: lines, dots, confusion
    svg          matplotlib figures as SVG in the colours of the page
    cases        which hits, mistakes and confusions to show
    thumbs       thumbnails inside the page
    text         numbers and names for display

>>> page = Page("Digits", sections=[Section("Per class", [Bars([("one", 97.5), ("two", None)])])])
>>> "97.5" in page.html()
True
"""

from vggfeat.report.blocks import (
    Bars,
    Block,
    Facts,
    Figure,
    Figures,
    Gallery,
    Matrix,
    Notes,
    Picture,
    Skyline,
    Table,
    Text,
)
from vggfeat.report.page import Headline, Page, Section, check_target
from vggfeat.report.thumbs import thumbnail

__all__ = [
    "Bars",
    "Block",
    "Facts",
    "Figure",
    "Figures",
    "Gallery",
    "Headline",
    "Matrix",
    "Notes",
    "Page",
    "Picture",
    "Section",
    "Skyline",
    "Table",
    "Text",
    "check_target",
    "thumbnail",
]
