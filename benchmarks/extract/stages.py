"""Where the time of an extraction goes: seconds of each stage, by timers that vggfeat's engine and store are given.

Decoding and, on a CPU, passes run in several threads; their seconds are added up. Every other stage runs in one thread.
On a GPU, events on its stream tell how long the layers took; "launching passes" is the time that Python needs to start
them.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Lock, local
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vggfeat.descriptors import Describer
from vggfeat.engine import Engine, View
from vggfeat.engine.devices import Cpu, Gpu
from vggfeat.extraction import ExtractionSettings
from vggfeat.extraction.filling import fill
from vggfeat.extraction.places import Todo
from vggfeat.sources import Item
from vggfeat.store import Writer

DECODING = "reading and decoding"
DECODING_CORES = "reading and decoding, cores' seconds"  # the rest of DECODING waits for a core or for Python's lock
WAITING = "waiting for decoded photos"
RESCALING = {"cpu": "rescaling", "cuda": "uploading and rescaling"}
PASSES = {"cpu": "passes", "cuda": "launching passes"}
BATCHES = "making batches"  # WAITING and rescaling, as a GPU's loop sees them
RESULTS = "waiting for the GPU"


def profile(describer: Describer, items: Sequence[Item], out: Path) -> dict[str, float]:
    """Seconds of each stage, the longest first, of what `vggfeat.extract` does with a loaded net."""
    clock, engine, settings = Clock(), describer.engine, ExtractionSettings()
    describer = describer.variant(engine=TimedEngine(engine, clock), view=TimedView(describer.view, clock))
    layers = LayerTimes(clock, engine.device.type == "cuda")
    weights = engine.nets[0].weights.name
    with ExitStack() as stack:
        for hook in layers.hooks(engine.nets[0].load()):
            stack.callback(hook.remove)
        began = time.perf_counter()
        with TimedWriter(out, describer.fingerprint()[0], agg=describer.spec.agg, weights=weights) as writer:
            writer.clock = clock
            clock.begin(WAITING)
            fill(writer, Todo(items, writer.names, settings.part_size), describer, settings, lambda _: None)
        clock.add("in all", time.perf_counter() - began)
    layers.add_events()
    return clock.table()


class Clock:
    """Seconds by stage, from any thread."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._lock = Lock()
        self._begun: dict[str, float] = {}

    def add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self._seconds[stage] += seconds

    def begin(self, stage: str) -> None:
        """Start a stage that one thread begins and ends in different places."""
        self._begun[stage] = time.perf_counter()

    def end(self, stage: str) -> None:
        """End it; without effect if it was not started."""
        if stage in self._begun:
            self.add(stage, time.perf_counter() - self._begun.pop(stage))

    def timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        """The function, with its calls timed."""

        def timed(*args: Any, **options: Any) -> Any:
            wall, cpu = time.perf_counter(), time.thread_time()
            try:
                return function(*args, **options)
            finally:
                self.add(stage, time.perf_counter() - wall)
                if stage == DECODING:
                    self.add(DECODING_CORES, time.thread_time() - cpu)

        return timed

    def waited(self, iterable: Iterable[Any], stage: str) -> Iterator[Any]:
        """The iterable, with the waiting for its items timed."""
        iterator, end = iter(iterable), object()
        following = self.timed(lambda: next(iterator, end), stage)
        while (one := following()) is not end:
            yield one

    def table(self) -> dict[str, float]:
        """Seconds, the longest first."""
        seconds = dict(self._seconds)
        if RESULTS in seconds:  # the loop that asks for results also makes batches and launches passes
            seconds[RESULTS] -= seconds.pop(BATCHES, 0.0) + seconds.get(PASSES["cuda"], 0.0)
        ordered = sorted(seconds.items(), key=lambda pair: -pair[1])
        return {stage: round(each, 3) for stage, each in ordered}


class TimedView:
    """A view that times reading; its first call of `pieces` after an upload ends rescaling."""

    def __init__(self, view: View, clock: Clock) -> None:
        self._view, self._clock = view, clock
        self.read: Callable[[Any, int], np.ndarray] = clock.timed(view.read, DECODING)
        self.facts = view.facts

    def pieces(self, rescaled: Tensor) -> list[Tensor]:
        for stage in RESCALING.values():
            self._clock.end(stage)
        return self._view.pieces(rescaled)


class TimedMachine:
    """A CPU or GPU that times passes, and from `upload` on rescaling."""

    def __init__(self, machine: Cpu | Gpu, device: str, clock: Clock) -> None:
        self._machine, self._device, self._clock = machine, device, clock
        self.batch_pixels, self.waiting_pixels = machine.batch_pixels, machine.waiting_pixels

    def upload(self, image: Tensor) -> Tensor:
        self._clock.begin(RESCALING[self._device])
        return self._machine.upload(image)

    def run(self, work: Iterable[Any], values: Callable[..., Any], *sizes: Any) -> Iterator[Any]:
        values = self._clock.timed(values, PASSES[self._device])
        if self._device == "cpu":
            return self._machine.run(work, values, *sizes)
        return self._clock.waited(self._machine.run(self._clock.waited(work, BATCHES), values, *sizes), RESULTS)


class TimedEngine(Engine):
    """An engine that shares the nets of another one and times how long it waits for decoded photos."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        machine: Any = TimedMachine(engine.machine, engine.device.type, clock)
        super().__init__(engine.nets, engine.precision, machine)
        self._clock = clock

    def stream(self, prepared: Iterable[Any], *options: Any) -> Iterator[Any]:
        self._clock.end(WAITING)  # for the first photo of a group, which is read before this is called
        yield from super().stream(self._clock.waited(prepared, WAITING), *options)
        self._clock.begin(WAITING)


class TimedWriter(Writer):
    """A writer that times `commit`."""

    clock: Clock

    def commit(self, *records: Any) -> None:
        self.clock.timed(super().commit, "writing")(*records)


class LayerTimes:
    """Seconds of the convolutions and of the fully connected layers."""

    def __init__(self, clock: Clock, gpu: bool) -> None:
        self._clock, self._gpu = clock, gpu
        self._marks: list[list[torch.cuda.Event]] = []  # of each pass on a GPU: before, after pool5, at the end
        self._pass = local()

    def hooks(self, net: nn.Sequential) -> Iterator[Any]:
        """Set hooks on the layers of a net, and give their handles."""
        first, *_, last = net.children()
        yield first.register_forward_pre_hook(lambda *_: self._begin())
        yield net.pool5.register_forward_hook(lambda *_: self._mark("convolutions"))
        if last is not net.pool5:
            yield last.register_forward_hook(lambda *_: self._mark("fully connected"))

    def add_events(self) -> None:
        """Add the seconds between the events of a GPU, once its passes are done."""
        for marks in self._marks:
            for stage, a, b in zip(("convolutions", "fully connected"), marks, marks[1:], strict=False):
                self._clock.add(stage, a.elapsed_time(b) / 1000)

    def _begin(self) -> None:
        if self._gpu:
            self._marks.append([])
        self._pass.last = time.perf_counter()
        self._mark("")

    def _mark(self, stage: str) -> None:
        if self._gpu:
            self._marks[-1].append(torch.cuda.Event(enable_timing=True))
            self._marks[-1][-1].record()
        elif stage:
            now = time.perf_counter()
            self._clock.add(stage, now - self._pass.last)
            self._pass.last = now
