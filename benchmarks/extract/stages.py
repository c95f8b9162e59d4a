"""Where the time of an extraction goes: seconds of each stage, by timers around vggfeat's own functions.

Decoding and, on a CPU, passes run in several threads, whose seconds are summed; the other stages are one thread's.
Of a GPU the events on its stream tell how long layers took; "launching" is what Python takes to ask for them.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock, local
from typing import Any
from unittest.mock import patch

import torch
from vggfeat.engine.passes import DenseNet, Passes

from vggfeat.descriptors import Describer
from vggfeat.extraction.decoding import Decoder
from vggfeat.store.writing import Writer


class Stages:
    """Seconds by stage; `with stages.watching(describer): extract(...)` fills them."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._lock = Lock()
        self._marks: list[list[torch.cuda.Event]] = []  # of each pass on a GPU: before, after pool5, at the end
        self._pass = local()

    @contextmanager
    def watching(self, describer: Describer) -> Iterator[None]:
        cuda = describer.device.type == "cuda"
        with ExitStack() as stack:
            for owner, name, stage in [
                (Passes, "prepare", "reading and decoding"),
                (Decoder, "_result", "waiting for decoded photos"),
                (Passes, "_rescaled", "uploading and rescaling" if cuda else "rescaling"),
                (Passes, "_values", "launching passes" if cuda else "passes"),
                (torch.cuda.Event, "synchronize", "waiting for the GPU"),
                (Writer, "commit", "writing"),
            ]:
                stack.enter_context(patch.object(owner, name, self._timed(getattr(owner, name), stage)))
            for net in describer.nets:
                for hook in self._hooks(net, cuda):
                    stack.callback(hook.remove)
            began = time.perf_counter()
            yield
            self._seconds["in all"] = time.perf_counter() - began
        for marks in self._marks:
            for stage, a, b in zip(("convolutions", "fully connected"), marks, marks[1:], strict=False):
                self._add(stage, a.elapsed_time(b) / 1000)

    def table(self) -> dict[str, float]:
        """Seconds, the longest first."""
        ordered = sorted(self._seconds.items(), key=lambda pair: -pair[1])
        return {stage: round(seconds, 3) for stage, seconds in ordered}

    def _add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self._seconds[stage] += seconds

    def _timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            wall, cpu = time.perf_counter(), time.thread_time()
            try:
                return function(*args, **options)
            finally:
                self._add(stage, time.perf_counter() - wall)
                if stage == "reading and decoding":  # the rest of its time it waits, for a core or for Python's lock
                    self._add("reading and decoding, cores' seconds", time.thread_time() - cpu)

        return timed

    def _hooks(self, net: DenseNet, cuda: bool) -> Iterator[Any]:
        first, *_, last = (module for _, module in net.net.named_children())
        yield first.register_forward_pre_hook(lambda *_: self._begin(cuda))
        yield net.net.pool5.register_forward_hook(lambda *_: self._mark("convolutions", cuda))
        if last is not net.net.pool5:
            yield last.register_forward_hook(lambda *_: self._mark("fully connected", cuda))

    def _begin(self, cuda: bool) -> None:
        if cuda:
            self._marks.append([])
        self._pass.last = time.perf_counter()
        self._mark("", cuda)

    def _mark(self, stage: str, cuda: bool) -> None:
        if cuda:
            self._marks[-1].append(torch.cuda.Event(enable_timing=True))
            self._marks[-1][-1].record()
        elif stage:
            now = time.perf_counter()
            self._add(stage, now - self._pass.last)
            self._pass.last = now
