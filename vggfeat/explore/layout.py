"""The map: where each photo lies. PCA at once; then, in the background, the graph of neighbours, and t-SNE over it."""

from collections.abc import Callable
from threading import Event, Thread
from typing import Literal

import numpy as np

from vggfeat._util.printable import reason_of, say
from vggfeat.explore.collection import Collection
from vggfeat.explore.embedding import FEWEST, fitted, pca, tsne
from vggfeat.explore.folder import Folder
from vggfeat.neighbours import Neighbours, nearest

K = 15  # neighbours of each photo in the graph

Stage = Literal["comparing", "arranging", "done"]
Graph = Callable[[np.ndarray, int], Neighbours]


class Layout:
    """The map of a collection, which changes until its stage is "done".

    find : gives the graph of the K nearest rows of each row.

    places : float32 (N, 2), in 0..1. version : grows with each change of the places. share : how much of a stage is
    done. graph : None until it is known.
    """

    def __init__(self, collection: Collection, folder: Folder, find: Graph = nearest) -> None:
        self._collection, self._folder, self._find = collection, folder, find
        self._end = Event()
        self.stage: Stage = "comparing"
        self.version, self.share = 0, 0.0
        self.graph: Neighbours | None = None
        kept = folder.array("map", np.float32, len(collection), 2)
        self._is_kept = kept is not None and bool(np.isfinite(kept).all())
        self.places = kept if kept is not None and self._is_kept else fitted(pca(collection.X))

    def start(self) -> Thread:
        """Compute the graph, and then the map, in a thread."""
        thread = Thread(target=self._run, name="layout", daemon=True)
        thread.start()
        return thread

    def end(self) -> None:
        """End the computation of the map within some steps."""
        self._end.set()

    def _run(self) -> None:
        try:
            self.graph = self._known_graph()
            if not self._is_kept and len(self._collection) >= FEWEST:
                self._arrange(self.graph)
        except Exception as error:  # the page goes on with what there is
            say(f"the map stays as it is, because it cannot be arranged ({reason_of(error)})")
        self.stage = "done"

    def _known_graph(self) -> Neighbours:
        n = len(self._collection)
        shape = n, min(K, n - 1)
        rows, cosines = self._folder.array("rows", np.int32, *shape), self._folder.array("cosines", np.float32, *shape)
        if rows is not None and cosines is not None and _is_valid(rows, cosines):
            return Neighbours(rows.astype(np.int64), cosines)
        found = self._find(self._collection.X, K)
        self._folder.keep_array("rows", found.rows.astype(np.int32))
        self._folder.keep_array("cosines", found.cosines)
        return found

    def _arrange(self, graph: Neighbours) -> None:
        self.stage = "arranging"
        for share, places in tsne(self.places, graph):
            if self._end.is_set():
                return
            self.places, self.share = fitted(places), share
            self.version += 1
        self._folder.keep_array("map", self.places)


def _is_valid(rows: np.ndarray, cosines: np.ndarray) -> bool:
    """Whether an array from outside is a graph."""
    return bool(((rows >= 0) & (rows < len(rows))).all() and (np.abs(cosines) <= 1.001).all())
