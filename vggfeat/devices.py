"""What differs between a CPU and a GPU: how many pixels go together, how they get there, how passes overlap."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from threading import Condition
from typing import Any, TypeVar

import torch
from torch import Tensor

from vggfeat.errors import UsageError

A = TypeVar("A")
B = TypeVar("B")

PIXEL_BYTES = 12  # of one that waits: three float32

# On a CPU
CPU_PIXELS = 2**18
WINDOW = 16  # passes' worth of pixels that may wait for images of their size
PASSES_AT_ONCE = 4  # each holds its maps

# On a GPU; not measured yet
GPU_PIXELS = 2**23
# The 9,144 photos of Caltech-101 have 2,255 sizes: with 64 passes' worth that wait they make 10,600 passes at three
# scales, with 16 they make 16,000.
GPU_WINDOW = 64
LAUNCHED = 2  # passes whose results are not read yet while Python gathers the next


def find_device(device: str) -> torch.device:
    """The device by name; "auto" is the first CUDA device, or the CPU. Raises UsageError."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"no device {device!r}; take auto, cpu, cuda or cuda:1") from error
    if found.type not in ("cpu", "cuda"):
        raise UsageError(f"device {device!r} is not supported; take cpu or cuda")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UsageError(f"device {device!r} is not there: torch sees {count} CUDA devices")
    return found


def in_order(work: Iterable[A], start: Callable[[A], Callable[[], B]], ahead: int) -> Iterator[tuple[A, B]]:
    """(work, result) in the order of the work; up to `ahead` of it is started before the first result is asked for.

    `start` begins a piece of work and gives what waits for its result.
    """
    under_way: deque[tuple[A, Callable[[], B]]] = deque()
    for one in work:
        under_way.append((one, start(one)))
        if len(under_way) > ahead:
            first, result = under_way.popleft()
            yield first, result()
    while under_way:
        first, result = under_way.popleft()
        yield first, result()


class Room:
    """What takes much goes together only up to `most`; what takes more than that goes alone."""

    def __init__(self, most: int) -> None:
        self._most, self._used, self._changed = most, 0, Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + size <= self._most)
            self._used += size
        try:
            yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()


class Cpu:
    """Several passes side by side in threads; one alone gets all cores.

    Passes that share the cores among them wait for each other less than the threads of one pass do.
    """

    def __init__(self) -> None:
        # The user's limit; a thread that starts during a pass reads that pass's share.
        self._threads = torch.get_num_threads()
        self._memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self._most = 2**62  # pixels of all passes at a time

    def batch_pixels(self, bytes_a_pixel: float) -> int:
        """Pixels that one pass takes, mirror images included.

        One image at a time is the fastest (its maps stay in the cache); small images go together for the sake of
        the fully connected layers. The maps of passes side by side fill a quarter of the memory; of an image that is
        larger than that, its pass goes alone.
        """
        self._most = int(self._memory / 4 / bytes_a_pixel)
        return CPU_PIXELS

    def waiting_pixels(self, batch_pixels: int) -> int:
        """Rescaled pixels that may wait for others of their size."""
        return WINDOW * batch_pixels

    def upload(self, image: Tensor) -> Tensor:
        """The image where the net is."""
        return image

    def run(
        self, work: Iterable[A], values: Callable[[A], list[Tensor]], pixels: Callable[[A], int]
    ) -> Iterator[tuple[A, list[Tensor]]]:
        """(work, its values on the CPU) in the order of the work. pixels : of a piece of it, mirror images included."""
        first = list(islice(work := iter(work), 2))
        if len(first) < 2:
            yield from ((one, values(one)) for one in first)
            return
        at_once = min(self._threads, PASSES_AT_ONCE)
        room = Room(self._most)

        def in_room(one: A) -> list[Tensor]:
            with room.taken(pixels(one)):
                return values(one)

        pool = ThreadPoolExecutor(at_once, "net", torch.set_num_threads, (self._threads // at_once,))
        try:
            yield from in_order(chain(first, work), lambda one: pool.submit(in_room, one).result, at_once)
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(self._threads)  # the pool's share was also that of threads that start later


class Gpu:
    """One pass after the other on a CUDA device, launched ahead: it does not wait for Python between them.

    All goes through one stream, the copies too: an image's bytes take far less time than its passes.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._memory = torch.cuda.get_device_properties(device).total_memory

    def batch_pixels(self, bytes_a_pixel: float) -> int:
        """Pixels that one pass takes, mirror images included, so that its maps fill a quarter of the memory.

        The rest is for the weights, the images that wait and what cuDNN takes for itself. The memory counts as a
        whole and the number is a power of two: what is free at the moment would decide which images share a pass, and
        with that the last bits of the results. More than GPU_PIXELS would only make images wait.
        """
        fitting = int(self._memory / 4 / bytes_a_pixel)
        return min(GPU_PIXELS, 2 ** max(fitting.bit_length() - 1, 0))

    def waiting_pixels(self, batch_pixels: int) -> int:
        """Rescaled pixels that may wait for others of their size: in an eighth of the memory."""
        return min(GPU_WINDOW * batch_pixels, self._memory // 8 // PIXEL_BYTES)

    def upload(self, image: Tensor) -> Tensor:
        """The image on its way to the device. Not from pageable memory: Python would wait for all that is launched."""
        return image.pin_memory().to(self.device, non_blocking=True)

    def run(
        self, work: Iterable[A], values: Callable[[A], list[Tensor]], pixels: Callable[[A], int]
    ) -> Iterator[tuple[A, list[Tensor]]]:
        """(work, its values on the CPU) in the order of the work.

        What can fail for want of memory fails while it is launched, in `values`; what was launched before stays valid.
        """

        def launch(one: A) -> Callable[[], list[Tensor]]:
            copies = [value.to("cpu", non_blocking=True) for value in values(one)]  # into pinned memory
            arrived = torch.cuda.Event(blocking=True)  # who waits for it leaves the core to the decoders
            arrived.record(torch.cuda.current_stream(self.device))

            def result() -> list[Tensor]:
                arrived.synchronize()
                return copies

            return result

        return in_order(work, launch, LAUNCHED)


@contextmanager
def float32_as(tf32: bool) -> Iterator[None]:
    """Products and convolutions of float32 in TF32 on CUDA devices, or as they are, whatever was set before."""
    backends: Any = torch.backends
    wanted: list[tuple[Any, Any]]
    if hasattr(backends.cuda.matmul, "fp32_precision"):
        name, on_cuda = "fp32_precision", "tf32" if tf32 else "ieee"
        # on a CPU the permission for TF32 may mean bfloat16
        wanted = [(backends.cuda.matmul, on_cuda), (backends.cudnn.conv, on_cuda), (backends.mkldnn.matmul, "ieee")]
    else:  # torch 2.8
        name, wanted = "allow_tf32", [(backends.cuda.matmul, tf32), (backends.cudnn, tf32)]
    before = [getattr(backend, name) for backend, _ in wanted]
    try:
        for backend, value in wanted:
            setattr(backend, name, value)
        yield
    finally:
        for (backend, _), was in zip(wanted, before, strict=True):
            setattr(backend, name, was)
