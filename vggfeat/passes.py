"""Passes of images through nets: rescaled, gathered by size, and sent through the dense nets of one device."""

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from operator import index
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from vggfeat import images
from vggfeat import weights as weights_of
from vggfeat.dense import check_scales, dense, spatial_mean
from vggfeat.errors import ImageError, UsageError, VggfeatError
from vggfeat.images import Source
from vggfeat.nets import Top, layers
from vggfeat.weights.native import require
from vggfeat.windows import use_windows
from vggfeat.winograd import use_winograd

Precision = Literal["auto", "float32", "tf32", "bfloat16", "float16"]

PRECISIONS = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# Pixels that one pass takes, mirror images included. On a CPU one image at a time is the fastest (its maps
# stay in the cache); small images go together for the sake of the fully connected layers.
BATCH_PIXELS = {"cpu": 2**18, "cuda": 2**23}
PASSES_AT_ONCE = 4  # on a CPU; each holds its maps, up to 2 GiB for the largest images
WINDOW = 16  # passes' worth of pixels that may wait for images of their size

K = TypeVar("K", bound=Hashable)


@dataclass
class Row(Generic[K]):
    """An image on its way: its descriptors, (S, C) for each net, and how many scales are still missing."""

    key: K
    scales: list[np.ndarray]
    missing: int


@dataclass
class Bucket(Generic[K]):
    """Rescaled images of one size, waiting to go through the nets together."""

    pieces: list[tuple[Row[K], int, Tensor]] = field(default_factory=list)

    @property
    def pixels(self) -> int:
        return sum(piece.shape[1] * piece.shape[2] for _, _, piece in self.pieces)


class DenseNet:
    """One net on one device: rescaled pixels in, flip-averaged descriptors of that scale out.

    float32 (N, 3, H, W) RGB in 0..255 -> float32 (N, C), C = 4096 for fc6 and fc7, 512 for pool5 (times the
    net's width). For fc8 these are posteriors: the soft-max of the spatially averaged class scores (Sect. 3.2),
    C the number of classes. Preprocessing is that of the weights, and can't be set.
    """

    def __init__(
        self,
        weights: weights_of.Weights,
        layer: Top = "fc7",
        *,
        mirror: bool = True,
        ceil: bool = False,
        device: torch.device | str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        self.weights, self.layer, self.mirror, self.precision = weights, layer, mirror, precision
        self.device = torch.device(device)
        self.dtype = PRECISIONS[precision]
        self.ceil = ceil
        self.dim = layers(weights.net, weights.width, weights.outputs, layer)[-1].outputs
        require(weights, layer)
        prep = weights.preprocessing
        self._bgr = prep.colour == "BGR"
        self._factor = prep.range / 255
        self._mean = torch.tensor(prep.mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(prep.std, device=self.device).view(1, 3, 1, 1)

    @cached_property
    def net(self) -> torch.nn.Module:
        """The net itself, loaded when the first image needs it: a finished store is read without it."""
        net = dense(weights_of.load(self.weights, self.layer, ceil=self.ceil), self.layer)
        net = net.to(self.device, self.dtype).to(memory_format=torch.channels_last)
        return use_windows(use_winograd(net)) if (self.device.type, self.dtype) == ("cpu", torch.float32) else net

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        if self._bgr:
            pixels = pixels.flip(1)
        x = (pixels * self._factor - self._mean) / self._std
        if self.mirror:
            x = torch.cat([x, x.flip(3)])
        x = x.to(self.dtype).contiguous(memory_format=torch.channels_last)
        with self._exact():
            y = spatial_mean(self.net(x))
        if self.layer == "fc8":
            y = y.softmax(dim=1)
        return (y[: len(pixels)] + y[len(pixels) :]) / 2 if self.mirror else y

    def _exact(self) -> AbstractContextManager[Any]:
        if self.device.type != "cuda":
            return nullcontext()
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=self.precision == "tf32")


class Passes:
    """Nets applied densely to images at several scales: what describing and classifying have in common.

    The parameters are Describer's, but that `layer` may be "fc8".
    """

    def __init__(
        self,
        net: str | None,
        *,
        scales: Sequence[int],
        layer: Top,
        weights: str | Path,
        mirror: bool,
        device: str,
        precision: Precision,
        ceil: bool,
    ) -> None:
        if precision not in ("auto", *PRECISIONS):
            raise UsageError(f"no precision {precision!r}; take one of auto, {', '.join(PRECISIONS)}")
        self.scales = whole(scales)
        check_scales(self.scales, layer, ceil)
        self.mirror, self.ceil = mirror, ceil
        self.device = find_device(device)
        self.precision: Precision = "float32" if precision == "auto" else precision
        self.nets = [
            DenseNet(found, layer, mirror=mirror, ceil=ceil, device=self.device, precision=self.precision)
            for found in resolve_weights(net, weights, layer)
        ]
        # The user's limit; a thread that starts during a pass reads that pass's share.
        self._threads = torch.get_num_threads()
        self._batch_pixels = BATCH_PIXELS[self.device.type] // (2 if mirror else 1)

    def prepare(self, image: Source, max_pixels: int = images.MAX_PIXELS) -> Tensor:
        """Read an image and make sure that each scale can be made of it: uint8 (3, H, W) RGB.

        Raises ImageError, naming the file.
        """
        tensor = torch.from_numpy(images.read(image, max_pixels)).permute(2, 0, 1)
        for q in self.scales:
            try:
                images.check_rescaled(tensor.shape[1], tensor.shape[2], q)
            except ImageError as error:
                named = f"{image}: {error}" if isinstance(image, str | Path) else str(error)
                raise ImageError(named) from error
        return tensor

    def stream(self, prepared: Iterable[tuple[K, Tensor]]) -> Iterator[tuple[K, list[np.ndarray]]]:
        """(key, uint8 (3, H, W)) pairs in, (key, [float32 (S, C) for each net]) out, not in the same order.

        Rescaled images of the same size go through the net together, never padded. A bounded number of them
        waits for company; then those that have waited longest go.
        """
        for bucket, values in self._passes(self._buckets(prepared)):
            for i, (row, s, _) in enumerate(bucket.pieces):
                for n, value in enumerate(values):
                    row.scales[n][s] = value[i]
                row.missing -= 1
                if row.missing == 0:
                    yield row.key, row.scales

    def _buckets(self, prepared: Iterable[tuple[K, Tensor]]) -> Iterator[Bucket[K]]:
        """Rescale, and gather what goes through the nets together."""
        waiting: dict[tuple[int, ...], Bucket[K]] = {}
        for key, image in prepared:
            empty = [np.empty((len(self.scales), net.dim), np.float32) for net in self.nets]
            row = Row(key, empty, len(self.scales))
            on_device = image.to(self.device)
            for s, q in enumerate(self.scales):
                piece = images.rescale(on_device, q)
                size = tuple(piece.shape)
                bucket = waiting.setdefault(size, Bucket())
                bucket.pieces.append((row, s, piece))
                if bucket.pixels + size[1] * size[2] > self._batch_pixels:
                    yield waiting.pop(size)
            while sum(bucket.pixels for bucket in waiting.values()) > WINDOW * self._batch_pixels:
                yield waiting.pop(next(iter(waiting)))
        yield from waiting.values()

    def _passes(self, buckets: Iterable[Bucket[K]]) -> Iterator[tuple[Bucket[K], list[np.ndarray]]]:
        """Send buckets through the nets, in their order; on a CPU several side by side.

        Passes that share the cores among them wait for each other less than the threads of one pass do.
        """
        first = list(islice(buckets := iter(buckets), 2))
        if self.device.type != "cpu" or len(first) < 2:  # a single pass gets all cores
            yield from ((bucket, self._pass(bucket)) for bucket in chain(first, buckets))
            return
        for net in self.nets:
            net.net  # noqa: B018  (loaded here, once, and not by each thread)
        at_once = min(self._threads, PASSES_AT_ONCE)
        pool = ThreadPoolExecutor(at_once, "net", torch.set_num_threads, (self._threads // at_once,))
        try:
            running: deque[tuple[Bucket[K], Future[list[np.ndarray]]]] = deque()
            for bucket in chain(first, buckets):
                running.append((bucket, pool.submit(self._pass, bucket)))
                if len(running) > at_once:
                    yield running[0][0], running.popleft()[1].result()
            while running:
                yield running[0][0], running.popleft()[1].result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(self._threads)  # the pool's share was also that of threads that start later

    def _pass(self, bucket: Bucket[K]) -> list[np.ndarray]:
        """float32 (N, C) of each net for the N pieces of a bucket."""
        return self._values(torch.stack([piece for _, _, piece in bucket.pieces]))

    def _values(self, pixels: Tensor) -> list[np.ndarray]:
        """The same for the pieces as a batch, in halves where the device's memory doesn't hold it whole."""
        try:
            return [net(pixels).cpu().numpy() for net in self.nets]
        except torch.OutOfMemoryError as error:
            if len(pixels) == 1:
                height, width = pixels.shape[2:]
                raise VggfeatError(
                    f"{self.device} has not enough memory for an image of {width}x{height}: "
                    "take smaller scales, another precision or --device cpu"
                ) from error
        # here, not in the handler, where the traceback still holds the maps that did not fit
        self._batch_pixels = max(self._batch_pixels // 2, 1)
        halves = [self._values(half) for half in pixels.split((len(pixels) + 1) // 2)]
        return [np.concatenate(values) for values in zip(*halves, strict=True)]


def whole(scales: Iterable[int]) -> tuple[int, ...]:
    """The scales as a tuple of int; raises UsageError for what isn't whole."""
    try:
        return tuple(index(q) for q in scales)
    except TypeError as error:
        raise UsageError(f"scales must be whole numbers, such as (256, 384, 512), not {scales!r}") from error


def find_device(device: str) -> torch.device:
    """The device by name; "auto" is the first CUDA device, or the CPU. Raises UsageError."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"no device {device!r}; take auto, cpu, cuda or cuda:1") from error
    if found.type not in BATCH_PIXELS:
        raise UsageError(f"device {device!r} is not supported; take cpu or cuda")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UsageError(f"device {device!r} is not there: torch sees {count} CUDA devices")
    return found


def resolve_weights(net: str | None, weights: str | Path, layer: Top) -> list[weights_of.Weights]:
    """The weights of each net of "D,E"; see Describer."""
    nets: list[str | None] = [None] if net is None else [word.strip() for word in net.split(",")]
    named = Path(weights).exists()  # a file whose name may have a comma
    files = [str(weights)] if named else [word.strip() for word in str(weights).split(",")]
    if net is None:
        nets = nets * len(files)
    if len(files) not in (1, len(nets)):
        raise UsageError(f"{len(files)} weights for {len(nets)} nets; give one for all or one for each")
    return [
        weights_of.resolve(file, name, layer)
        for name, file in zip(nets, files * (len(nets) // len(files)), strict=True)
    ]
