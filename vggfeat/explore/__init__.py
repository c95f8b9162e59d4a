"""A page on this machine that shows the photos of a store as a map, and keeps what the user decides about them.

settings     ExploreSettings
serving      explore: reads a store or a model, and serves its page
site, gate   the addresses of the page, and who may ask for them
desk         what the page works on:
collection       the rows of the store, in random order
photos, sheets   pictures of rows, and thumbnails in sheets
boxes            what a localiser has found in the photos
layout           the map, made in the background; embedding: PCA and t-SNE
findings         near twins and doubtful labels
predictions      doubtful labels and confusions of a model
folder       what is kept in the store's folder _explore
page/        the page itself: HTML, CSS and JavaScript as they are
"""

from typing import TYPE_CHECKING

from vggfeat._util.lazy import attach
from vggfeat.explore.settings import ExploreSettings

if TYPE_CHECKING:
    from vggfeat.explore.serving import explore

__getattr__ = attach(__name__, {"explore": "vggfeat.explore.serving"})

__all__ = ["ExploreSettings", "explore"]
