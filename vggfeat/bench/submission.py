"""Result files as the VOC evaluation server takes them:

    results/VOC2012/Main/comp2_cls_test_<class>.txt         lines `id score`
    results/VOC2012/Action/comp10_action_test_<class>.txt   lines `id object-index score`

and results.tgz, the folder `results` packed.
"""

import errno
import os
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

    def prepare(self, out: Path) -> Path:
        """Make the folder of the files below `out`, and return it; raises DataError where it can't be written."""
        folder = out / "results" / self.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        except OSError as error:
            raise _unwritable(out, error) from error
        return folder

    def write(self, images: ImageSet, scores: Scores, out: Path, comp: int | None = None) -> Path:
        """Write the files and the archive below the folder `out`; returns the archive.

        A sample is written for the classes whose list names it; who could not be read has no line. A class without
        training examples scores 0 throughout. Raises DataError where `out` can't be written.
        """
        number, folder = self.number(comp), self.prepare(out)
        try:
            for k, name in enumerate(images.classes):
                file = folder / f"comp{number}_{self.task}_test_{name}.txt"
                file.write_text("".join(f"{line}\n" for line in _lines(images, scores, k)), encoding="utf-8")
            with tarfile.open(out / "results.tgz", "w:gz") as archive:
                archive.add(out / "results", "results")
        except OSError as error:
            raise _unwritable(out, error) from error
        return out / "results.tgz"


def _unwritable(out: Path, error: OSError) -> DataError:
    return DataError(f"{error.filename or out}: can't be written ({error.strerror}); name another folder to submit")


def _lines(images: ImageSet, scores: Scores, k: int) -> Iterator[str]:
    for row, score in zip(scores.rows, np.nan_to_num(scores.values[:, k]), strict=True):
        if images.listed is None or images.listed[row, k]:
            yield f"{submission_id(images.paths[row])} {score:.8f}"
