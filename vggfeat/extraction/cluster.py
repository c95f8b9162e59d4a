"""Extraction on a Ray cluster: a stream of ranges that lack rows -> an actor a device -> the store.

The process that starts the work holds the store's lock, hears of each range that is through, and writes down the
failures. A task lists the source and gives out its ranges, one at a time; actors describe them, each with a net of its
own, and write the parts. The vectors don't travel: source, store and weights lie on storage that all nodes share.

When an actor is lost Ray starts another and gives it the range again. What the first had written of it stays: parts
end with groups, so that the bits are the same, and which rows are there is read from the store. Should the lost one go
on writing, then rows stand twice until the end, when the store is settled.
"""

import json
import logging
import os
import pickle
import socket
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext, Datasource, ReadTask
from ray.data.block import BlockMetadata

from vggfeat import sources
from vggfeat._util.memory import keep_freed_memory
from vggfeat._util.progress import skip
from vggfeat.descriptors import Describer
from vggfeat.errors import UsageError, VggfeatError, WeightsError
from vggfeat.extraction.filling import fill
from vggfeat.extraction.places import Todo
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.sources import Item
from vggfeat.spec import DescriptorSpec
from vggfeat.store import Parts, Writer
from vggfeat.store.files import write_whole
from vggfeat.store.writing import names_within

CPUS = 4  # of an actor without a GPU, where the nodes have as many: as many passes go side by side
TRIES = 4  # of a range: Ray would try one on which each process dies for ever

Work = list[tuple[int, Item]]  # items of one range, with their places


@dataclass
class Done:
    """What an actor tells of a range: how many images are done, which of them failed, what ended it too early."""

    images: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    error: VggfeatError | None = None


@dataclass(frozen=True)
class Job:
    """What each actor is told."""

    store: Path
    fingerprint: dict[str, Any]
    spec: DescriptorSpec
    settings: ExtractionSettings
    folder: Path  # that relative names refer to
    tries: int


def fill_on_cluster(
    writer: Writer,
    source: str | Path | Sequence[Item],
    spec: DescriptorSpec,
    settings: ExtractionSettings,
    bar: Any,
    tries: int = TRIES,
) -> None:
    """Describe what lacks a row in the open store.

    tries : of a range whose workers are lost. Raises UsageError where the cluster has no such devices, what describing
    raises, and VggfeatError where workers are lost again and again.
    """
    with _cluster(), _settings():
        skip(bar, len(writer.names))
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        actors, cpus, gpus = deal(nodes, spec.device, settings.workers)
        settings = replace(settings, workers=max(1, cpus))
        spec = replace(spec, device="cuda" if gpus else "cpu")
        job = Job(writer.path.absolute(), writer.meta["fingerprint"], spec, settings, Path.cwd(), tries)
        ranges = ray.data.read_datasource(
            _Ranges(_shared(source, writer), settings.part_size), num_cpus=0, override_num_blocks=1
        )
        through = ranges.map_batches(
            _Actor,
            fn_constructor_args=(job,),
            batch_size=1,
            batch_format="pyarrow",
            # Not from 1 to n: with one task at a time Ray takes actors away while the source is listed, and adds none.
            # At the end it takes those away that are idle, which makes room for one whose node is lost.
            compute=ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
            num_cpus=cpus,
            num_gpus=gpus,
        )
        with closing(_results(through)) as results:
            for done in results:
                writer.failures.update(done.failures)
                writer.commit(())  # now and then the failures
                bar.update(done.images)
                if done.error:
                    raise done.error
        writer.settle()


def deal(nodes: Sequence[dict[str, float]], device: str, workers: int | None) -> tuple[int, int, int]:
    """(actors, CPUs, GPUs of each) for nodes with these resources. Raises UsageError where no node has room for one."""
    with_gpus = [node for node in nodes if node.get("GPU", 0) >= 1]
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"on a cluster the device is auto, cpu or cuda, not {device!r}: Ray chooses which of them")
    gpus = int(device == "cuda" or (device == "auto" and bool(with_gpus)))
    if gpus:
        share = min((node.get("CPU", 0) // node["GPU"] for node in with_gpus), default=0)
        rooms = [(node.get("CPU", 0), node["GPU"]) for node in with_gpus]
    else:
        share = min([CPUS, *(node["CPU"] for node in nodes if node.get("CPU", 0) >= 1)])
        rooms = [(node.get("CPU", 0), node.get("CPU", 0)) for node in nodes]
    cpus = workers or int(share)
    actors = int(sum(min(most, room // cpus if cpus else most) for room, most in rooms))
    if actors < 1:
        wanted = f"{cpus} CPUs" + " and a GPU" * gpus
        raise UsageError(f"no node of the Ray cluster has {wanted}: take other --workers or another --device")
    return actors, cpus, gpus


@contextmanager
def _cluster() -> Iterator[None]:
    """Ray, as it is where it runs in this process already; joined or started here, it is left or ended again."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it would write between the lines of our bar
    try:
        ray.init(logging_level=logging.ERROR, log_to_driver=False)
        yield
    finally:
        ray.shutdown()


@contextmanager
def _settings() -> Iterator[None]:
    """Ray Data's: a block a range, which may take hours on a CPU; no words beside our bar."""
    context, logger = DataContext.get_current(), logging.getLogger("ray.data")
    wanted = {
        "target_max_block_size": 1,
        "execution_no_progress_timeout_s": -1,
        "enable_progress_bars": False,
        "print_on_execution_start": False,
    }
    before, level = {name: getattr(context, name) for name in wanted}, logger.level
    try:
        logger.setLevel(logging.ERROR)
        for name, value in wanted.items():
            setattr(context, name, value)
        with warnings.catch_warnings():  # there may be fewer ranges left than actors
            warnings.filterwarnings("ignore", "The minimum number of concurrent actors", UserWarning)
            yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            setattr(context, name, value)


def _shared(source: str | Path | Sequence[Item], writer: Writer) -> Any:
    """The source and the names that have rows, in Ray's object store: the lister needs both, again if it is lost."""
    if isinstance(source, str | Path):
        source = str(source) if "://" in str(source) else str(Path(source).absolute())
    try:
        return ray.put((source, writer.names))
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise UsageError(f"an image of the list can't be sent to other processes ({error}); name its file") from error


def _results(through: Any) -> Generator[Done, None, None]:
    try:
        for batch in through.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from map(_unpacked, batch["pickled"])
    except ray.exceptions.UserCodeException:
        raise
    except ray.exceptions.RayError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise VggfeatError(
            f"Ray failed ({reason}); what is written is kept, run the same command again to continue"
        ) from error


class _Ranges(Datasource):
    """A block for each range of a source that lacks rows, listed by one task as a stream."""

    def __init__(self, shared: Any, part_size: int) -> None:
        super().__init__()
        self._shared, self._part_size = shared, part_size

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, *_: Any, **__: Any) -> list[ReadTask]:
        shared, part_size = self._shared, self._part_size
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(lambda: _ranges(shared, part_size), unknown)]


def _ranges(shared: Any, part_size: int) -> Iterator[pa.Table]:
    """The same blocks each time: the names are those at the start. A source that breaks off ends with its error."""
    try:
        source, names = ray.get(shared)
    except Exception as error:  # Ray would try the task again and again
        yield _packed(VggfeatError(f"the list of images can't be read by other processes ({error})"))
        return
    items = sources.items(source) if isinstance(source, str) else source
    try:
        for _, work in groupby(Todo(items, names, part_size), lambda pair: pair[0] // part_size):
            yield _packed(list(work))
    except VggfeatError as error:
        yield _packed(error)


class _Actor:
    """Describes ranges, one at a time, with a describer of its own."""

    def __init__(self, job: Job) -> None:
        keep_freed_memory()
        with suppress(OSError):  # names that aren't relative need no folder
            os.chdir(job.folder)
        self._job = job

    def __call__(self, batch: pa.Table) -> pa.Table:
        return pa.concat_tables([_packed(self._done(_unpacked(pickled))) for pickled in batch["pickled"]])

    def _done(self, work: Work | VggfeatError) -> Done:
        if isinstance(work, VggfeatError):
            return Done(error=work)
        job, done = self._job, Done()

        def show(images: int) -> None:
            done.images += images

        try:
            owner = f".{socket.gethostname()}-{os.getpid()}"
            parts = Parts(job.store, job.fingerprint["scales"], job.fingerprint["dtype"], owner)
            note = self._begin(work)
            todo = self._without_row(work)
            show(len(work) - len(todo))
            done.failures = parts.failures
            fill(parts, todo, self._describer, job.settings, show)
            note.unlink(missing_ok=True)
        except VggfeatError as error:
            done.error = error
        return done

    def _begin(self, work: Work) -> Path:
        """Write down that a range is begun, in a file that stays when this process is lost.

        Raises VggfeatError where too many have been lost over it.
        """
        (first, item), (_, last) = work[0], work[-1]
        note = self._job.store / f".begun-{first:05d}.tmp"  # one that is left is swept away with the others
        lost = note.stat().st_size if note.exists() else 0
        if lost >= self._job.tries:
            raise VggfeatError(
                f"{lost} workers were lost over the images from {item.path} to {last.path}: is one too large for "
                "their memory? what is written is kept, run the same command again to continue"
            )
        write_whole(note, lambda file: file.write_bytes(b"." * (lost + 1)))
        return note

    def _without_row(self, work: Work) -> Work:
        """Of a range that a lost actor began, what that has not written."""
        size = self._job.settings.part_size
        first = work[0][0] // size * size
        names = names_within(self._job.store, range(first, first + size))
        return [(place, item) for place, item in work if item.path not in names]

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


def _packed(value: Any) -> pa.Table:
    return pa.table({"pickled": pa.array([ray.cloudpickle.dumps(value)], pa.large_binary())})


def _unpacked(pickled: Any) -> Any:
    return pickle.loads(pickled.as_py())
