"""What differs between a CPU and a GPU: how many pixels go together, how they get there, how passes overlap."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from threading import Condition
from typing import TypeVar

import torch
from torch import Tensor

from vggfeat._util.memory import total_memory
from vggfeat._util.torch_settings import torch_settings
from vggfeat.spec import Precision

A = TypeVar("A")
B = TypeVar("B")

PIXEL_BYTES = 12  # of one that waits: three float32
TENSOR_CORES = 7  # the compute capability of the first devices that have them, for float16


@dataclass(frozen=True)
class Tuning:
    """What decides speed and memory, but no value beyond rounding.

    batch_pixels : pixels of one pass through the net at most, mirror images included.
    waiting : how many passes' worth of pixels may wait for images of their size.
    at_once : passes side by side on a CPU; on a GPU, passes launched whose results are not read yet.
    upload_pixels : pixels of decoded photos of one size at most that are uploaded and rescaled together; 0: each alone.
    group : images of an extraction among which passes are made: about a minute of work at most.
    """

    batch_pixels: int
    waiting: int
    at_once: int
    upload_pixels: int = 0
    group: int = 16


# One image at a time is the fastest on a CPU (its maps stay in the cache); small images go together for the sake of
# the fully connected layers.
CPU_TUNING = Tuning(batch_pixels=2**18, waiting=16, at_once=4)
# Not measured yet. The 9,144 photos of Caltech-101 have 2,255 sizes: with 64 passes' worth that wait they make 10,600
# passes at three scales, with 16 they make 16,000.
GPU_TUNING = Tuning(batch_pixels=2**23, waiting=64, at_once=2, upload_pixels=2**22, group=1024)


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
    """Large things share it up to `most`; one that is larger than that has it alone."""

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

    memory : bytes of the machine. threads : the user's limit (a thread that starts during a pass would read its share).
    """

    def __init__(self, tuning: Tuning = CPU_TUNING, memory: int | None = None, threads: int | None = None) -> None:
        self.tuning = tuning
        self._memory = total_memory() if memory is None else memory
        self._threads = torch.get_num_threads() if threads is None else threads

    @property
    def precision(self) -> Precision:
        """What "auto" means here. In bfloat16 a CPU would be faster, at the price of accuracy."""
        return "float32"

    def batch_pixels(self, _: float) -> int:
        """Pixels of one pass at most, mirror images included."""
        return self.tuning.batch_pixels

    def waiting_pixels(self, batch_pixels: int) -> int:
        """Rescaled pixels that may wait for others of their size."""
        return self.tuning.waiting * batch_pixels

    def upload(self, photos: Sequence[Tensor]) -> Tensor:
        """Photos of one size, uint8 (3, H, W), where the net is: (N, 3, H, W)."""
        return together(photos)

    def run(
        self,
        work: Iterable[A],
        values: Callable[[A], list[Tensor]],
        pixels: Callable[[A], int],
        bytes_per_pixel: float = 0.0,
    ) -> Iterator[tuple[A, list[Tensor]]]:
        """(work, its values on the CPU) in the order of the work.

        pixels : of a piece of work, mirror images included. bytes_per_pixel : of its maps. The maps of passes side by
            side fill a quarter of the memory; a pass that needs more goes alone.
        """
        first = list(islice(work := iter(work), 2))
        if len(first) < 2:
            yield from ((one, values(one)) for one in first)
            return
        at_once = min(self._threads, self.tuning.at_once)
        room = Room(int(self._memory / 4 / bytes_per_pixel) if bytes_per_pixel else 2**62)

        def in_room(one: A) -> list[Tensor]:
            with room.taken(pixels(one)):
                return values(one)

        pool = ThreadPoolExecutor(at_once, "net", torch.set_num_threads, (self._threads // at_once,))
        with torch_settings(threads=self._threads):  # the pool's share is also that of threads that start later
            try:
                yield from in_order(chain(first, work), lambda one: pool.submit(in_room, one).result, at_once)
            finally:
                pool.shutdown(cancel_futures=True)


class Gpu:
    """One pass after the other on a CUDA device, launched ahead: it does not wait for Python between them.

    All goes through one stream, the copies too: an image's bytes take far less time than its passes.
    """

    def __init__(self, device: torch.device, tuning: Tuning = GPU_TUNING) -> None:
        self.device, self.tuning = device, tuning
        properties = torch.cuda.get_device_properties(device)
        self._memory, self._tensor_cores = properties.total_memory, properties.major >= TENSOR_CORES

    @property
    def precision(self) -> Precision:
        """What "auto" means here. 1 - cosine to float64 was 1e-7 in float16 and 3e-5 in bfloat16, on CPUs."""
        return "mixed" if self._tensor_cores else "float32"

    def batch_pixels(self, bytes_per_pixel: float) -> int:
        """Pixels of one pass at most, mirror images included, so that its maps fill a quarter of the memory.

        The rest is for the weights, the images that wait and what cuDNN takes for itself. The memory counts as a
        whole and the number is a power of two: what is free at the moment would decide which images share a pass, and
        with that the last bits of the results. More than the tuning's number would only make images wait.
        """
        fitting = int(self._memory / 4 / bytes_per_pixel)
        return min(self.tuning.batch_pixels, 2 ** max(fitting.bit_length() - 1, 0))

    def waiting_pixels(self, batch_pixels: int) -> int:
        """Rescaled pixels that may wait for others of their size: in an eighth of the memory at most."""
        return min(self.tuning.waiting * batch_pixels, self._memory // 8 // PIXEL_BYTES)

    def upload(self, photos: Sequence[Tensor]) -> Tensor:
        """Photos of one size, uint8 (3, H, W), on their way to the device: (N, 3, H, W).

        Not from pageable memory: Python would wait for all that is launched.
        """
        return together(photos).pin_memory().to(self.device, non_blocking=True)

    def run(
        self,
        work: Iterable[A],
        values: Callable[[A], list[Tensor]],
        pixels: Callable[[A], int],  # noqa: ARG002  (passes go one after the other)
        bytes_per_pixel: float = 0.0,  # noqa: ARG002
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

        return in_order(work, launch, self.tuning.at_once)


def machine_of(device: torch.device) -> Cpu | Gpu:
    """The machine of a device, with its usual tuning."""
    return Gpu(device) if device.type == "cuda" else Cpu()


def together(photos: Sequence[Tensor]) -> Tensor:
    """(3, H, W) each -> (N, 3, H, W), with the bytes in the order in which decoders give them; one is not copied."""
    if len(photos) == 1:
        return photos[0][None]
    return torch.stack([photo.permute(1, 2, 0) for photo in photos]).permute(0, 3, 1, 2)
