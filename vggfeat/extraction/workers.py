"""The workers of a Ray cluster: ranges of a source that lack rows, and the actors that describe them."""

import json
import os
import pickle
import socket
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from vggfeat import sources
from vggfeat._util.memory import keep_freed_memory
from vggfeat._util.printable import reason_of
from vggfeat._util.processes import cores
from vggfeat.descriptors import Describer
from vggfeat.errors import VggfeatError, WeightsError
from vggfeat.extraction.budget import share_of_memory
from vggfeat.extraction.filling import fill
from vggfeat.extraction.places import Findings, Known, Todo, Work
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.spec import DescriptorSpec
from vggfeat.store.files import writing
from vggfeat.store.settling import names_within
from vggfeat.store.writing import PartWriter

Range = list[Work]  # items of one range


@dataclass
class Done:
    """What an actor reports about a range: how many images are done, which of them failed, and what ended it early.

    found : what was found while the source was listed; only after the last range.
    """

    images: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    error: VggfeatError | None = None
    found: Findings | None = None


@dataclass(frozen=True)
class Job:
    """What all actors need to know. folder : to which relative names refer. tries : of a range whose actors are lost.
    part_seconds : see `fill`.
    """

    store: Path
    fingerprint: dict[str, Any]
    spec: DescriptorSpec
    settings: ExtractionSettings
    folder: Path
    tries: int
    part_seconds: float


def packed(value: Any) -> pa.Table:
    """A block that Ray Data passes on."""
    return pa.table({"pickled": pa.array([ray.cloudpickle.dumps(value)], pa.large_binary())})


def unpacked(pickled: Any) -> Any:
    """The value in a row of a block."""
    return pickle.loads(pickled.as_py())


class Ranges(Datasource):
    """One block for each range of a source that lacks rows; one task lists the source as a stream.

    shared : (source, the existing rows) in Ray's object store.
    """

    def __init__(self, shared: Any, layer: str, part_size: int) -> None:
        super().__init__()
        self._shared, self._layer, self._part_size = shared, layer, part_size

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown."""
        return None

    def get_read_tasks(self, *_: Any, **__: Any) -> list[ReadTask]:
        """The one task."""
        shared, layer, part_size = self._shared, self._layer, self._part_size
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(lambda: _ranges(shared, layer, part_size), unknown)]


def _ranges(shared: Any, layer: str, part_size: int) -> Iterator[pa.Table]:
    """The same blocks each time, because the rows are those at the start. The last one is the Findings or the error."""
    try:
        source, rows = deepcopy(ray.get(shared))  # what Ray shares cannot be changed
    except Exception as error:  # Ray would try the task again and again
        yield packed(VggfeatError(f"the list of images cannot be read by other processes ({reason_of(error)})"))
        return
    found = Findings()
    items = sources.items(source, found.remarks) if isinstance(source, str) else source
    todo = Todo(items, {layer: Known(rows, found=found)}, part_size)
    try:
        for _, work in groupby(todo, lambda one: one[0] // part_size):
            yield packed(list(work))
        yield packed(found)
    except VggfeatError as error:
        yield packed(error)


class Actor:
    """Describes ranges, one at a time, with its own describer."""

    def __init__(self, job: Job) -> None:
        keep_freed_memory()
        with suppress(OSError):  # absolute names need no folder
            os.chdir(job.folder)
        self._job = job
        self._owner = f".{socket.gethostname()}-{os.getpid()}"

    def __call__(self, batch: pa.Table) -> pa.Table:
        """A Done for each range."""
        return pa.concat_tables([packed(self._done(unpacked(pickled))) for pickled in batch["pickled"]])

    def _done(self, work: Range | Findings | VggfeatError) -> Done:
        if isinstance(work, VggfeatError):
            return Done(error=work)
        if isinstance(work, Findings):
            return Done(found=work)
        job, done = self._job, Done()

        def show(images: int) -> None:
            done.images += images

        try:
            writer = PartWriter(job.store, job.fingerprint, self._owner)
            note = self._begin(work)
            todo = self._without_rows(work)
            show(len(work) - len(todo))
            done.failures = writer.failures
            here = max(1, cores() // (job.settings.workers or 1))  # actors on this node, at most
            writers, memory = {job.spec.top: writer}, share_of_memory(here)
            fill(writers, todo, self._describer, job.settings, show, job.part_seconds, memory)
            note.unlink(missing_ok=True)
        except VggfeatError as error:
            done.error = error
        return done

    def _begin(self, work: Range) -> Path:
        """Note that a range is begun, in a file that stays if this process is lost.

        Raises VggfeatError if too many processes were lost over the range.
        """
        (first, item, _), (_, last, _) = work[0], work[-1]
        note = self._job.store / f".begun-{first:05d}.tmp"  # removed at the end with the other temporary files
        lost = note.stat().st_size if note.exists() else 0
        if lost >= self._job.tries:
            raise VggfeatError(
                f"{lost} workers were lost over the images from {item.path} to {last.path}: is one too large for "
                "their memory? finished descriptors are kept, run the same command again to continue"
            )
        with writing(note, self._owner) as temporary:
            temporary.write_bytes(b"." * (lost + 1))
        return note

    def _without_rows(self, work: Range) -> Range:
        """The items of a range that a lost actor has not written."""
        size = self._job.settings.part_size
        first = work[0][0] // size * size
        names = names_within(self._job.store, self._job.fingerprint, range(first, first + size))
        return [one for one in work if one[1].path not in names]

    @cached_property
    def _describer(self) -> Describer:
        describer = Describer(spec=self._job.spec)
        for key, value in json.loads(json.dumps(describer.fingerprint()[0])).items():
            if (wanted := self._job.fingerprint[key]) != value:
                raise WeightsError(
                    f"{socket.gethostname()}: {key} is {value!r} on this node, not {wanted!r}; "
                    "give --weights a file on storage that all nodes share"
                )
        return describer
