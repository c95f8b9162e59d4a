"""The map: where each photo lies. PCA at once; then, in the background, the graph of neighbours, and t-SNE over it."""

from threading import Event, Thread
from typing import Literal

import numpy as np

from vggfeat._util.printable import reason_of, say
from vggfeat.explore.collection import Collection
from vggfeat.explore.embedding import FEWEST, fitted, pca, tsne
from vggfeat.explore.folder import Folder
from vggfeat.index.graph import K
from vggfeat.neighbours import Neighbours

Stage = Literal["comparing", "arranging", "done"]


class Layout:
    """The map of a collection, which changes until its stage is "done".

    places : float32 (N, 2), in 0..1. version : grows with each change of the places. share : how much of a stage is
    done. graph : None until it is known.
    """

    def __init__(self, collection: Collection, folder: Folder) -> None:
        self._collection, self._folder = collection, folder
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
            self.graph = self._graph()
            if not self._is_kept and len(self._collection) >= FEWEST:
                self._arrange(self.graph)
        except Exception as error:  # the page goes on with what there is
            say(f"the map stays as it is, because it cannot be arranged ({reason_of(error)})")
        self.stage = "done"

    def _graph(self) -> Neighbours:
        """The graph of the collection. The index keeps that of a whole store, and the folder here that of a sample."""
        n = len(self._collection)
        if n == self._collection.total:
            return self._collection.graph()
        shape = n, min(K, n - 1)
        rows, cosines = self._folder.array("rows", np.int64, *shape), self._folder.array("cosines", np.float32, *shape)
        if rows is not None and cosines is not None and ((rows >= 0) & (rows < n) & (np.abs(cosines) <= 1)).all():
            return Neighbours(rows, cosines)
        found = self._collection.graph()
        self._folder.keep_array("rows", found.rows)
        self._folder.keep_array("cosines", found.cosines.clip(-1, 1))
        return found

    def _arrange(self, graph: Neighbours) -> None:
        self.stage = "arranging"
        for share, places in tsne(self.places, graph):
            if self._end.is_set():
                return
            self.places, self.share = fitted(places), share
            self.version += 1
        self._folder.keep_array("map", self.places)
