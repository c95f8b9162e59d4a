"""Where the time of an extraction goes: seconds of each stage.

A describer and a machine that time their own work stand in for those of the engine; nothing else differs. Images are
decoded, and passes run on a CPU, in several threads, whose seconds are added up; each other stage is in one thread.
Each stage excludes the stages that run within it. On a GPU, events on its stream time the layers, and "launching
passes" is the time that Python takes to ask for them.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from cProfile import Profile
from pathlib import Path
from pstats import Stats
from threading import Lock, local
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from vggfeat.descriptors import Describer
from vggfeat.engine import Engine
from vggfeat.engine.devices import Cpu, Gpu
from vggfeat.engine.net import DenseNet

T = TypeVar("T")


class Stages:
    """Seconds of each stage; `with stages.watching(describer) as watched: extract(..., describer=watched)`."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._lock = Lock()
        self._marks: list[list[torch.cuda.Event]] = []  # of each pass on a GPU: before, after pool5, at the end
        self._thread = local()

    @contextmanager
    def watching(self, describer: Describer) -> Iterator[Describer]:
        cuda = describer.engine.device.type == "cuda"
        with ExitStack() as stack:
            for net in describer.engine.nets:
                for hook in self._hooks(net, cuda):
                    stack.callback(hook.remove)
            began = time.perf_counter()
            with Profile() as profile:  # of this thread, which writes
                yield WatchedDescriber(describer, self)
            self._seconds["in all"] = time.perf_counter() - began
        self._seconds["writing"] = _cumulative(profile, "store", "commit")
        for marks in self._marks:
            for stage, a, b in zip(("convolutions", "fully connected"), marks, marks[1:], strict=False):
                self._add(stage, a.elapsed_time(b) / 1000)

    def table(self) -> dict[str, float]:
        """Seconds, the longest first."""
        ordered = sorted(self._seconds.items(), key=lambda pair: -pair[1])
        return {stage: round(seconds, 3) for stage, seconds in ordered}

    @contextmanager
    def timed(self, stage: str, cores: str = "") -> Iterator[None]:
        """Time the block, without the stages within it. cores : also add the thread's processor seconds to this row."""
        outer = getattr(self._thread, "within", 0.0)
        self._thread.within = 0.0
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            seconds = time.perf_counter() - wall
            self._add(stage, seconds - self._thread.within)
            if cores:
                self._add(cores, time.thread_time() - cpu)
            self._thread.within = outer + seconds

    def each(self, values: Iterable[T], stage: str) -> Iterator[T]:
        """The same values; the time that each takes to come is the stage's."""
        values = iter(values)
        while True:
            with self.timed(stage):
                try:
                    value = next(values)
                except StopIteration:
                    return
            yield value

    def _add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self._seconds[stage] += seconds

    def _hooks(self, net: DenseNet, cuda: bool) -> Iterator[Any]:
        layers = net.load()
        first, *_, last = layers.children()
        yield first.register_forward_pre_hook(lambda *_: self._begin(cuda))
        yield layers.pool5.register_forward_hook(lambda *_: self._mark("convolutions", cuda))
        if last is not layers.pool5:
            yield last.register_forward_hook(lambda *_: self._mark("fully connected", cuda))

    def _begin(self, cuda: bool) -> None:
        if cuda:
            self._marks.append([])
        self._thread.last = time.perf_counter()
        self._mark("", cuda)

    def _mark(self, stage: str, cuda: bool) -> None:
        if cuda:
            self._marks[-1].append(torch.cuda.Event(enable_timing=True))
            self._marks[-1][-1].record()
        elif stage:
            now = time.perf_counter()
            self._add(stage, now - self._thread.last)
            self._thread.last = now


class WatchedDescriber(Describer):
    """A describer with the same nets that times decoding and waiting for decoded photos."""

    def __init__(self, describer: Describer, stages: Stages) -> None:
        engine = describer.engine
        machine: Any = WatchedMachine(engine.machine, stages)
        super().__init__(spec=describer.spec, engine=Engine(engine.nets, engine.precision, machine))
        self._stages = stages

    def prepare(self, *args: Any) -> Tensor:
        # what the wall clock has more than the cores: it waits for a core or for Python's lock
        with self._stages.timed("reading and decoding", cores="reading and decoding, cores' seconds"):
            return super().prepare(*args)

    def stream(
        self, prepared: Iterable[Any], layers: Sequence[str] | None = None
    ) -> Iterator[tuple[Any, list[np.ndarray]]]:
        return super().stream(self._stages.each(prepared, "waiting for decoded photos"), layers)


class WatchedMachine:
    """A Cpu or Gpu that times rescaling, passes and waiting for them."""

    def __init__(self, machine: Cpu | Gpu, stages: Stages) -> None:
        self._machine, self._stages = machine, stages
        self._gpu = isinstance(machine, Gpu)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def run(self, work: Iterable[Any], values: Callable[[Any], list[Tensor]], *args: Any) -> Iterator[Any]:
        def timed(one: Any) -> list[Tensor]:
            with self._stages.timed("launching passes" if self._gpu else "passes"):
                return values(one)

        work = self._stages.each(work, "uploading and rescaling" if self._gpu else "rescaling")
        waiting = "waiting for the GPU" if self._gpu else "waiting for passes"
        return self._stages.each(self._machine.run(work, timed, *args), waiting)


def _cumulative(profile: Profile, package: str, function: str) -> float:
    """Seconds in a function of one of vggfeat's packages."""
    found = Stats(profile).stats.items()  # type: ignore[attr-defined]
    return next(times[3] for (file, _, name), times in found if name == function and Path(file).parent.name == package)
