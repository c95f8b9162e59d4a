"""Extraction on a Ray cluster: a stream of ranges that lack rows -> one actor for each device -> the store.

The process that starts the work holds the store's lock, is told when a range is finished, and writes the list of
failures. One task lists the source and hands out its ranges, one at a time; actors describe them, each with its own
net, and write the parts. Vectors are not sent: source, store and weights are on storage that all nodes share.

If an actor is lost, Ray starts another one and gives it the range again. The parts that the first one wrote stay: they
end with groups, so the bits are the same, and the store says which rows exist. If the lost actor still writes, rows
exist twice until the end, when the store is settled.
"""

import logging
import os
import pickle
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext

from vggfeat._util.printable import reason_of
from vggfeat._util.progress import skip
from vggfeat.errors import UsageError, VggfeatError
from vggfeat.extraction.filling import PART_SECONDS
from vggfeat.extraction.places import Findings
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.extraction.workers import Actor, Done, Job, Ranges, unpacked
from vggfeat.sources.item import Item
from vggfeat.spec import DescriptorSpec
from vggfeat.store.writing import Writer

CPUS = 4  # of an actor without a GPU, if the nodes have so many; that many passes run at the same time
TRIES = 4  # of a range; Ray alone would try a range that kills its process for ever


def fill_on_cluster(
    writer: Writer,
    source: str | Path | Sequence[Item],
    spec: DescriptorSpec,
    settings: ExtractionSettings,
    bar: Any,
    tries: int = TRIES,
    part_seconds: float = PART_SECONDS,
) -> Findings:
    """Describe the images that have no row in the open store, and return what was found while the source was listed.

    tries : of a range whose actors are lost. part_seconds : see `fill`.

    Raises UsageError if the cluster lacks such devices, the errors of describing, and VggfeatError if too many workers
    are lost.
    """
    with _cluster(), _ray_data_settings():
        found = Findings()
        skip(bar, len(writer.rows))
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        actors, cpus, gpus = deal(nodes, spec.device, settings.workers)
        settings = replace(settings, workers=max(1, cpus))
        fingerprint = writer.meta["fingerprint"]
        spec = replace(spec, device="cuda" if gpus else "cpu", precision=fingerprint["precision"])
        job = Job(writer.path.absolute(), fingerprint, spec, settings, Path.cwd(), tries, part_seconds)
        ranges = Ranges(_shared(source, writer), spec.top, settings.part_size)
        finished = ray.data.read_datasource(ranges, num_cpus=0, override_num_blocks=1).map_batches(
            Actor,
            fn_constructor_args=(job,),
            batch_size=1,
            batch_format="pyarrow",
            # Not from 1 to n: with one task at a time Ray removes actors while the source is listed, and adds none.
            # At the end it removes idle actors, which makes room for one whose node is lost.
            compute=ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
            num_cpus=cpus,
            num_gpus=gpus,
        )
        with closing(_results(finished)) as results:
            for done in results:
                writer.failures.update(done.failures)
                writer.commit(())  # writes the failures from time to time
                bar.update(done.images)
                found = done.found or found
                if done.error:
                    raise done.error
        writer.settle()
        return found


def deal(nodes: Sequence[dict[str, float]], device: str, workers: int | None) -> tuple[int, int, int]:
    """(actors, CPUs and GPUs of each) for nodes with these resources. Raises UsageError if no node has room for one."""
    with_gpus = [node for node in nodes if node.get("GPU", 0) >= 1]
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"on a cluster the device is auto, cpu or cuda, not {device!r}: Ray chooses the GPU")
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
    """Join or start Ray, and leave it at the end; if this process uses it already, it stays as it is."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # other messages would break the progress bar
    try:
        ray.init(logging_level=logging.ERROR, log_to_driver=False)
        yield
    finally:
        ray.shutdown()


@contextmanager
def _ray_data_settings() -> Iterator[None]:
    """One block for each range, which may take hours on a CPU, and no messages beside the progress bar."""
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
        with warnings.catch_warnings():  # there may be fewer ranges than actors
            warnings.filterwarnings("ignore", "The minimum number of concurrent actors", UserWarning)
            yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            setattr(context, name, value)


def _shared(source: str | Path | Sequence[Item], writer: Writer) -> Any:
    """Source and rows in Ray's object store: the task that lists needs both, again if it is lost."""
    if isinstance(source, str | Path):
        source = str(source) if "://" in str(source) else str(Path(source).absolute())
    try:
        return ray.put((source, writer.rows))
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        reason = f"an image of the list cannot be sent to other processes ({reason_of(error)})"
        raise UsageError(f"{reason}; give the name of its file") from error


def _results(finished: Any) -> Generator[Done, None, None]:
    try:
        for batch in finished.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from map(unpacked, batch["pickled"])
    except ray.exceptions.UserCodeException:
        raise
    except ray.exceptions.RayError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise VggfeatError(
            f"Ray failed ({reason}); finished descriptors are kept, run the same command again to continue"
        ) from error
