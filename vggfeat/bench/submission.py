"""Result files as the VOC evaluation server takes them:

    results/VOC2012/Main/comp2_cls_test_<class>.txt         lines `id score`
    results/VOC2012/Action/comp10_action_test_<class>.txt   lines `id object-index score`

and results.tgz, the folder `results` packed.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vggfeat.bench.probe import Scores
from vggfeat.data import ImageSet
from vggfeat.data.voc import submission_id
from vggfeat.errors import DataError, UsageError


@dataclass(frozen=True)
class Submission:
    """The server's names. comps : the numbers of the competitions, the first for VOC's own data alone, the other
    for any training data, as nets trained on ImageNet are; `comp` is the default.
    """

    folder: str
    task: str
    comps: tuple[int, ...]
    comp: int

    def number(self, comp: int | None) -> int:
        """The competition; raises UsageError for one of another task."""
        if comp is not None and comp not in self.comps:
            raise UsageError(f"no competition comp{comp} for this benchmark; take {' or '.join(map(str, self.comps))}")
        return comp or self.comp

    def write(self, images: ImageSet, scores: Scores, out: Path, comp: int | None = None) -> Path:
        """Write the files and the archive below the folder `out`; returns the archive.

        A sample is written for the classes whose list names it; who could not be read has no line. A class without
        training examples scores 0 throughout. Raises DataError where `out` can't be written.
        """
        number = self.number(comp)
        results = out / "results"
        try:
            folder = results / self.folder
            folder.mkdir(parents=True, exist_ok=True)
            for k, name in enumerate(images.classes):
                file = folder / f"comp{number}_{self.task}_test_{name}.txt"
                file.write_text("".join(f"{line}\n" for line in _lines(images, scores, k)), encoding="utf-8")
            with tarfile.open(out / "results.tgz", "w:gz") as archive:
                archive.add(results, "results")
        except OSError as error:
            raise DataError(f"{error.filename or out}: the submission can't be written ({error.strerror})") from error
        return out / "results.tgz"


def _lines(images: ImageSet, scores: Scores, k: int) -> Iterator[str]:
    for row, score in zip(scores.rows, np.nan_to_num(scores.values[:, k]), strict=True):
        if images.listed is None or images.listed[row, k]:
            yield f"{submission_id(images.paths[row])} {score:.8f}"
