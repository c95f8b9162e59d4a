"""What the page works on: a collection, its pictures, its map, and the user's decisions."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from vggfeat._util.printable import printable
from vggfeat.decisions import Decision, read_decisions, write_decisions
from vggfeat.explore.boxes import Object, read_boxes
from vggfeat.explore.collection import Collection
from vggfeat.explore.findings import HOW, Doubt, TwinGroups, find_doubts, find_twins
from vggfeat.explore.folder import Folder
from vggfeat.explore.layout import Layout
from vggfeat.explore.photos import Photos
from vggfeat.explore.predictions import HOW as HOW_OF_MODEL
from vggfeat.explore.predictions import Predictions
from vggfeat.explore.settings import ExploreSettings
from vggfeat.explore.sheets import Sheets
from vggfeat.formats import STORE
from vggfeat.reading import read_file

NEIGHBOURS = 24  # of a photo, that are shown


class Desk:
    """Everything that a page asks for, by the numbers of rows.

    predictions : of the model that is explored; None for a store.
    """

    def __init__(
        self, collection: Collection, settings: ExploreSettings, predictions: Predictions | None = None
    ) -> None:
        folder = Folder(collection.store.path, collection.digest)
        self.collection, self.predictions = collection, predictions
        self.classes = predictions.classes if predictions else collection.classes
        self.how = HOW_OF_MODEL if predictions else HOW
        self.photos = Photos(collection, settings.photos)
        self.sheets = Sheets(self.photos, len(collection), folder)
        self.layout = Layout(collection, folder)
        self.decisions_file = settings.decisions or beside(collection.store.path, "decisions.csv")
        file = settings.boxes or beside(collection.store.path, "boxes.json")
        self._boxes = read_boxes(file, collection) if settings.boxes or file.exists() else {}
        self._row = {name: row for row, name in enumerate(collection.names)}
        self._twins: TwinGroups | None = None
        self._doubts = predictions.doubts() if predictions else None
        self._writing, self._describing, self._finding = Lock(), Lock(), Lock()

    def about(self, row: int) -> dict[str, Any]:
        """The number, name and class of a row."""
        name, number = printable(self.collection.names[row]), self.collection.classes_of_rows[row].item()
        return {"row": row, "name": name, "class": number}

    def objects(self, row: int) -> list[Object]:
        """What a localiser has found in a photo, with boxes in pixels of the photo as it is shown; often nothing."""
        found = self._boxes.get(row)
        orientation = self.photos.orientation(row) if found else None
        return found.shown(self.collection.exif, orientation) if found and orientation else []

    def neighbours(self, row: int) -> list[dict[str, Any]]:
        """The nearest photos of a row, without itself."""
        return self._nearest(self.collection.X[row], without=row)

    def neighbours_of_image(self, image: bytes) -> list[dict[str, Any]]:
        """The nearest photos of an image file. Raises ImageError, StoreError, WeightsError."""
        made = self.collection.store.fingerprint
        cut = made.get("allow_truncated", False)
        pixels = read_file(image, exif=made.get("exif", True), allow_truncated=cut)  # before the net is loaded
        with self._describing:
            vector = self._describer.describe(pixels)
        return self._nearest(vector)

    @cached_property
    def _describer(self) -> Any:
        from vggfeat.store.remaking import describer_of_store  # torch

        basis = self.collection.basis
        return describer_of_store(self.collection.store, basis.agg, basis.normalize)

    def _nearest(self, vector: np.ndarray, without: int = -1) -> list[dict[str, Any]]:
        found = self.collection.neighbours(vector, NEIGHBOURS + 1)
        pairs = zip(found.rows[0].tolist(), found.cosines[0].tolist(), strict=True)
        return [self.about(row) | {"cosine": cosine} for row, cosine in pairs if row != without][:NEIGHBOURS]

    def twins(self) -> TwinGroups | None:
        """Near twins; None until the graph of neighbours is known."""
        with self._finding:
            if self._twins is None and self.layout.graph is not None:
                self._twins = find_twins(self.layout.graph)
            return self._twins

    def doubts(self) -> list[Doubt] | None:
        """Doubtful labels: those of the model; of a store those of the graph of neighbours, None until it is known."""
        if self._doubts is None and (twins := self.twins()) is not None:
            assert self.layout.graph is not None
            self._doubts = find_doubts(self.layout.graph, self.collection.classes_of_rows, twins.threshold)
        return self._doubts

    def decisions(self) -> dict[int, Decision]:
        """The decisions on rows. Raises DataError."""
        return {self._row[name]: one for name, one in self._read().items() if name in self._row}

    def decide(self, rows: Sequence[int], decision: Decision | None) -> None:
        """Write a decision on rows, or take it back (None). Raises DataError, OSError."""
        with self._writing:
            decisions = self._read()  # another program may have changed the file
            for name in (self.collection.names[row] for row in rows):
                decisions.pop(name, None)
                if decision is not None:
                    decisions[name] = decision
            write_decisions(self.decisions_file, decisions)

    def _read(self) -> dict[str, Decision]:
        return read_decisions(self.decisions_file) if self.decisions_file.exists() else {}


def beside(store: Path, kind: str) -> Path:
    """photos.vggfeat -> photos.KIND beside it, which a new store of the same photos can use too."""
    place = store.resolve()
    return place.with_name(f"{place.name.removesuffix(STORE)}.{kind}")
