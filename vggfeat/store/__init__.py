"""The descriptor store: a folder of Parquet parts, a row an image, a column a scale.

    meta.json            format, versions, and the fingerprint: everything that decides a number
    part-00000.parquet   path, label, width, height, q256, q384, ...
    failures.csv         path, reason

The columns q256, ... are fixed-size lists of float32 or float16: flip-averaged, neither normalised nor
aggregated. Aggregation, normalisation and fusion are chosen when a store is read, without torch or a GPU.

A part is named by the place of its first image in the source, so that the rows stand in the order of the source
whoever wrote the parts, and whenever; its pages carry checksums.
"""

from vggfeat.store.files import FORMAT
from vggfeat.store.loading import Descriptors, Selection, load
from vggfeat.store.names import Names
from vggfeat.store.reading import Store
from vggfeat.store.writing import Parts, Record, Writer

__all__ = ["FORMAT", "Descriptors", "Names", "Parts", "Record", "Selection", "Store", "Writer", "load"]
