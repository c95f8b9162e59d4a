"""The descriptor store: a folder of Parquet files with one row per image and one column per scale.

    meta.json            format, versions, and the fingerprint: everything that decides the values
    part-00000.parquet   path, label, width, height, size, changed_ns, sha256, q256, q384, ...
    failures.csv         path, reason

The columns q256, ... are fixed-size lists of float32 or float16: averaged over space and mirror images, neither
normalised nor aggregated. In a store of boxes they are lists of any length, of rows with the numbers that `row` in the
fingerprint names. Aggregation, normalisation and fusion are chosen when a store is read, without torch or a
GPU. A part is named by the place of its first image in the source, so the rows are in the order of the source whichever
process wrote the parts, and whenever. The pages of the parts have checksums, and each part holds the fingerprint in its
metadata (vggfeat.fingerprint).

The files of this package:

    parts       the Parquet files: their names, how they are written, and checked while they are read
    files       meta.json and the lists of failures
    names       a set of names, or a map from names, that takes little memory
    identity    Identity: size, time and checksum of an image file; Rows: the rows of a store by name
    reading     Store
    loading     load: a store as a matrix
    remaking    a describer that makes the rows of a store again, for other images
    exporting   export: a store as a file for other tools
    writing     Writer, PartWriter: adding rows
    settling    making one store of what several runs or processes wrote
"""

from vggfeat.store.exporting import export
from vggfeat.store.files import FORMAT
from vggfeat.store.loading import Descriptors, load
from vggfeat.store.reading import Store

__all__ = ["FORMAT", "Descriptors", "Store", "export", "load"]
