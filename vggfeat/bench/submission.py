"""Result files for the VOC evaluation server:

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

from vggfeat._util.files import replacing, write_text
from vggfeat._util.printable import reason_of
from vggfeat.bench.probe import FoldScores
from vggfeat.data import ImageSet
from vggfeat.data.voc import submission_id
from vggfeat.errors import DataError, UsageError


@dataclass(frozen=True)
class Submission:
    """The server's names. comps : numbers of the competitions: first that for VOC's own data alone, then that for any
    training data, such as nets trained on ImageNet. comp : the default.
    """

    folder: str
    task: str
    comps: tuple[int, ...]
    comp: int

    def number(self, comp: int | None) -> int:
        """The number of the competition. Raises UsageError if it belongs to another task."""
        if comp is not None and comp not in self.comps:
            raise UsageError(f"no competition comp{comp} for this benchmark; take {' or '.join(map(str, self.comps))}")
        return comp or self.comp

    def prepare(self, out: Path) -> Path:
        """Make the folder of the files below `out`, and return it. Raises DataError if it cannot be written."""
        folder = out / "results" / self.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        except OSError as error:
            raise _unwritable(out, error) from error
        return folder

    def write(self, images: ImageSet, scores: FoldScores, out: Path, comp: int | None = None) -> Path:
        """Write the files and the archive below the folder `out`; returns the archive.

        A sample has a line for each class whose list names it, unless it could not be read. A class without training
        examples scores 0 throughout. Raises DataError if `out` cannot be written.
        """
        number, folder, packed = self.number(comp), self.prepare(out), out / "results.tgz"
        try:
            for k, name in enumerate(images.classes):
                file = folder / f"comp{number}_{self.task}_test_{name}.txt"
                write_text(file, "".join(f"{line}\n" for line in _lines(images, scores, k)))
            with (
                replacing(packed) as temporary,
                temporary.open("wb") as stream,
                tarfile.open(packed.name, "w:gz", stream) as archive,
            ):
                archive.add(out / "results", "results", filter=_finished)
        except OSError as error:
            raise _unwritable(out, error) from error
        return packed


def _finished(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out hidden files, which a killed process may have left."""
    return None if Path(member.name).name.startswith(".") else member


def _unwritable(out: Path, error: OSError) -> DataError:
    return DataError(f"{error.filename or out}: cannot be written ({reason_of(error)}); name another folder to submit")


def _lines(images: ImageSet, scores: FoldScores, k: int) -> Iterator[str]:
    for row, score in zip(scores.rows, np.nan_to_num(scores.values[:, k]), strict=True):
        if images.listed is None or images.listed[row, k]:
            yield f"{submission_id(images.paths[row])} {score:.8f}"
