"""The extraction engine: source -> decode -> batches of the same size -> net -> store.

    settings      ExtractionSettings
    run           extract, extract_layers: the way from a source to its stores
    opening       what is checked and opened first, and the progress bar
    outcome       what is said and refused at the end
    places        how a source is divided into ranges and groups, and which of its images have no row or have changed
    decided       the images of a source after a user's decisions about them
    identity      size, time and checksum of an image, which a row stores to recognise its image
    decoding      images are fetched and decoded ahead of the net; whatever one of them raises is its failure
    budget        the memory that they may take together
    children      the processes that decode, started, limited in time and replaced
    decoder_process   what runs in these processes
    filling       from decoded images to the parts of a store
    background    the net in a thread of its own; interrupts at the right moment
    cluster       extraction on a Ray cluster
    workers       the processes of the cluster
    environment   what torchrun says about its processes

The places of a source are divided into ranges of `part_size`, and these into groups. Batches are made within groups,
never across them, so the bits of a row do not depend on where a run began or which process described it. A part is
named by the place of its first row, so the order of the rows does not depend on this either. Therefore a run can be
killed at any moment and continued by the same command, and several processes can share a source without knowing of each
other: those of torchrun, or the workers of a Ray cluster.
"""

from typing import TYPE_CHECKING

from vggfeat._util.lazy import attach
from vggfeat.extraction.settings import ExtractionSettings

if TYPE_CHECKING:
    from vggfeat.extraction.run import default_out, extract, extract_layers
    from vggfeat.sources.item import Item

__getattr__ = attach(
    __name__,
    {
        "Item": "vggfeat.sources.item",
        "default_out": "vggfeat.extraction.run",
        "extract": "vggfeat.extraction.run",
        "extract_layers": "vggfeat.extraction.run",
    },
)

__all__ = ["ExtractionSettings", "Item", "default_out", "extract", "extract_layers"]
