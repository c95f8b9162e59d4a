"""Passes of images through nets: rescaled, gathered by size, and sent through the dense nets of one device."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from vggfeat import images
from vggfeat import weights as weights_of
from vggfeat.aggregate import whole
from vggfeat.dense import check_scales, dense, spatial_mean
from vggfeat.devices import Cpu, Gpu, find_device, float32_as
from vggfeat.errors import ImageError, UsageError, VggfeatError
from vggfeat.faster import use_faster
from vggfeat.halves import computes_in, round_results
from vggfeat.images import Source
from vggfeat.nets import Layer, Top, layers
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
        return len(self.pieces) * self.pieces[0][2][0].numel() if self.pieces else 0


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
        plan = layers(weights.net, weights.width, weights.outputs, layer)
        self.dim = plan[-1].outputs
        self.bytes_a_pixel = widest(plan) * self.dtype.itemsize
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
        if self.device.type == "cuda":
            return use_faster(net)
        if not computes_in(self.dtype):
            return round_results(use_windows(use_winograd(net.float())))
        return use_windows(use_winograd(net) if self.dtype == torch.float32 else net)

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        if self._bgr:
            pixels = pixels.flip(1)
        x = ((pixels * self._factor - self._mean) / self._std).to(self.dtype)
        if self.mirror:
            x = torch.cat([x, x.flip(3)])
        x = x.contiguous(memory_format=torch.channels_last)
        with self._exact():
            y = spatial_mean(self.net(x))
        if self.layer == "fc8":
            y = y.softmax(dim=1)
        return (y[: len(pixels)] + y[len(pixels) :]) / 2 if self.mirror else y

    def _exact(self) -> AbstractContextManager[Any]:
        if self.device.type != "cuda":
            return nullcontext()
        return float32_as(tf32=self.precision == "tf32")


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
        self.machine = Gpu(self.device) if self.device.type == "cuda" else Cpu()
        pixels = self.machine.batch_pixels(max(net.bytes_a_pixel for net in self.nets))
        self._batch_pixels = pixels // (2 if mirror else 1)

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
        pixels = 0  # that wait
        for key, image in prepared:
            empty = [np.empty((len(self.scales), net.dim), np.float32) for net in self.nets]
            row = Row(key, empty, len(self.scales))
            pieces = self._rescaled(image)
            if not pieces:  # those that wait take the memory
                yield from waiting.values()
                waiting.clear()
                pixels = 0
            pieces = pieces or self._rescaled(image, again=True)
            # the largest first: of passes side by side it is a short one, then, that the others wait for in the end
            for s, piece in sorted(enumerate(pieces), key=lambda pair: -pair[1].numel()):
                size = tuple(piece.shape)
                bucket = waiting.setdefault(size, Bucket())
                bucket.pieces.append((row, s, piece))
                pixels += size[1] * size[2]
                if bucket.pixels + size[1] * size[2] > self._batch_pixels:
                    pixels -= bucket.pixels
                    yield waiting.pop(size)
            while pixels > self.machine.waiting_pixels(self._batch_pixels):
                oldest = waiting.pop(next(iter(waiting)))
                pixels -= oldest.pixels
                yield oldest
        yield from waiting.values()

    def _rescaled(self, image: Tensor, again: bool = False) -> list[Tensor]:
        """float32 (3, h, w) at each scale, on the device; none where its memory doesn't hold them the first time."""
        try:
            on_device = self.machine.upload(image).float()
            return [images.rescale(on_device, q) for q in self.scales]
        except torch.OutOfMemoryError as error:
            self._check_memory(image, again, error)
        return []

    def _passes(self, buckets: Iterable[Bucket[K]]) -> Iterator[tuple[Bucket[K], list[np.ndarray]]]:
        """Send buckets through the nets, in their order: float32 (N, C) of each net for the N pieces of a bucket."""
        buckets = iter(buckets)
        for first in buckets:
            for net in self.nets:
                net.net  # noqa: B018  (loaded here, once, and not by each of several threads)
            for bucket, values in self.machine.run(chain([first], buckets), self._pass, self._pixels):
                yield bucket, [value.numpy() for value in values]

    def _pixels(self, bucket: Bucket[K]) -> int:
        return bucket.pixels * (2 if self.mirror else 1)

    def _pass(self, bucket: Bucket[K]) -> list[Tensor]:
        return self._values([piece for _, _, piece in bucket.pieces])

    def _values(self, pieces: list[Tensor]) -> list[Tensor]:
        """(N, C) of each net for N rescaled images, in halves where the device's memory doesn't hold them whole."""
        try:
            pixels = torch.stack(pieces)
            return [net(pixels) for net in self.nets]
        except torch.OutOfMemoryError as error:
            self._check_memory(pieces[0], len(pieces) == 1, error)
        # here, not in the handler, where the traceback still holds the maps that did not fit
        self._batch_pixels = max(self._batch_pixels // 2, 1)
        half = (len(pieces) + 1) // 2
        halves = [self._values(pieces[:half]), self._values(pieces[half:])]
        return [torch.cat(values) for values in zip(*halves, strict=True)]

    def _check_memory(self, image: Tensor, alone: bool, error: Exception) -> None:
        """Raises VggfeatError for an image that doesn't fit by itself, and where smaller batches are no answer."""
        height, width = image.shape[1:]
        if alone:
            raise VggfeatError(
                f"{self.device} has not enough memory for an image of {width}x{height}: "
                "take smaller scales, another precision or --device cpu"
            ) from error
        if torch.are_deterministic_algorithms_enabled():
            raise VggfeatError(
                f"{self.device} has not enough memory for a whole batch, of {width}x{height}, and smaller ones would "
                "change the last bits: make room on it, take another precision, or leave out --deterministic"
            ) from error


def widest(plan: Sequence[Layer]) -> float:
    """The most values that a layer of a net reads and writes, a pixel of the image.

    With two convolutions of 64 channels at the start it is 128, for the second of them; fc6 as windows, 25,088 values
    for each 32x32 pixels at most, and its results make 28.5.

    >>> [widest(layers(net)) for net in "AE"]
    [128.0, 128.0]
    """
    most, area = 0.0, 1.0  # area: places of the layer's input, a pixel
    for layer in plan:
        most = max(most, area * (layer.inputs + layer.outputs))
        area /= 4 if layer.kind == "maxpool" else 1
    return most


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
