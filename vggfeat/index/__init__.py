"""Search among the photos of a store by their descriptors, and photos that it has twice.

The files of an index are in the folder _index of its store, which readers of Parquet leave out.

    settings    IndexSettings
    searching   Index, build: what users call
    building    making an index, and bringing it up to date with its store
    rows        which rows of the store an index has
    files       index.json, and the arrays that it names
    fixed       descriptors in 16 bits
    reading     the rows, searched exactly or among candidates
    lists       inverted lists of codes, in faiss
    tuning      how much of the lists a search has to read
    graph       the graph of nearest neighbours
    queries     what is searched for, as descriptors
    duplicates  equal files, equal pixels, near twins
    photos      the photos of a store, found again in its source
    sheet       contact sheets
"""

from typing import TYPE_CHECKING

from vggfeat._util.lazy import attach
from vggfeat.index.settings import IndexSettings

if TYPE_CHECKING:
    from vggfeat.index.duplicates import Duplicate, Duplicates
    from vggfeat.index.searching import Index, Match, build
    from vggfeat.index.sheet import write_sheet

__getattr__ = attach(
    __name__,
    {
        "Duplicate": "vggfeat.index.duplicates",
        "Duplicates": "vggfeat.index.duplicates",
        "Index": "vggfeat.index.searching",
        "Match": "vggfeat.index.searching",
        "build": "vggfeat.index.searching",
        "write_sheet": "vggfeat.index.sheet",
    },
)

__all__ = ["Duplicate", "Duplicates", "Index", "IndexSettings", "Match", "build", "write_sheet"]
