"""The extraction engine: source -> decode -> same-size batches -> net -> store.

    settings      ExtractionSettings: what `extract` can be asked for
    run           extract: opens source and store, shows progress
    places        how a source is cut into ranges and groups, and what lacks a row
    decoding      reads and decodes images in threads, ahead of the net
    filling       from decoded images to the parts of a store
    background    the net in a thread of its own; interrupts at the right moment
    cluster       the same on a Ray cluster
    environment   the share and the device of one of several processes

The places of a source are cut into ranges of `part_size`, these into groups. Batches are made within groups, never
across them, so that the bits of a row don't depend on where a run began, nor on which process described it; a part is
named by the place of its first row, so that the order of the rows doesn't either. Hence a run can be killed at any
moment and continued by the same command, and several processes can share a source without knowing of each other:
those of torchrun, or the workers of a Ray cluster.
"""

from typing import TYPE_CHECKING

from vggfeat._util.lazy import attach
from vggfeat.extraction.settings import ExtractionSettings

if TYPE_CHECKING:
    from vggfeat.extraction.run import default_out, extract
    from vggfeat.sources import Item

__getattr__ = attach(
    __name__,
    {
        "Item": "vggfeat.sources",
        "default_out": "vggfeat.extraction.run",
        "extract": "vggfeat.extraction.run",
    },
)[0]

__all__ = ["ExtractionSettings", "Item", "default_out", "extract"]
