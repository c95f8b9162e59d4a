"""The loaded nets of one device, and the way of images through them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vggfeat import images
from vggfeat import weights as weights_of
from vggfeat._util.torch_settings import check_fork, find_device, torch_settings
from vggfeat.engine.batching import Bucket, Gatherer, K, Piece, Row
from vggfeat.engine.devices import Cpu, Gpu
from vggfeat.engine.net import DenseNet
from vggfeat.engine.shared import Maps
from vggfeat.engine.views import View
from vggfeat.errors import UsageError, VggfeatError
from vggfeat.nets import file_top
from vggfeat.spec import NetSpec, Precision
from vggfeat.weights.native import require_classes

ValuesOf = Callable[[Tensor], list[Tensor]]  # float32 (N, 3, H, W) -> (N, ...) from each net at each layer


class Engine:
    """Nets on one device, which images go through together.

    Parameters
    ----------
    nets : sequence of DenseNet
        Of one device; for `stream`, of one deepest layer and mirror setting as well.
    precision : {"float32", "tf32", "bfloat16", "float16"}
    machine : Cpu or Gpu, optional
        How the device is used. Default: the one of the nets' device, with its usual tuning.

    Attributes
    ----------
    batch_pixels : int
        Pixels of one pass at most, without mirror images; halved if the device's memory proves too small.
    """

    def __init__(
        self, nets: Sequence[DenseNet], precision: Precision = "float32", machine: Cpu | Gpu | None = None
    ) -> None:
        self.nets, self.precision = list(nets), precision
        self.device = self.nets[0].device
        self.mirror = any(net.mirror for net in self.nets)
        self._maps = Maps(self.nets)
        self.machine = machine or (Gpu(self.device) if self.device.type == "cuda" else Cpu())
        self._bytes_per_pixel = max(net.bytes_per_pixel for net in self.nets)
        self.batch_pixels = self.machine.batch_pixels(self._bytes_per_pixel) // self._copies

    @classmethod
    def of(cls, spec: NetSpec, machine: Cpu | Gpu | None = None) -> "Engine":
        """The engine that a spec asks for. Raises UsageError, WeightsError."""
        device = find_device(spec.device)
        precision: Precision = "float32" if spec.precision == "auto" else spec.precision
        nets = [
            DenseNet(found, spec.top, mirror=spec.mirror, ceil=spec.ceil, device=device, precision=precision)
            for found in resolve_nets(spec)
        ]
        return cls(nets, precision, machine)

    @property
    def _copies(self) -> int:
        return 2 if self.mirror else 1

    def apart(self) -> list["Engine"]:
        """One engine for each net; they share the loaded nets."""
        return [Engine([net], self.precision, self.machine) for net in self.nets]

    def stream(
        self, prepared: Iterable[tuple[K, Tensor]], scales: Sequence[int], view: View, layers: Sequence[str]
    ) -> Iterator[tuple[K, list[np.ndarray]]]:
        """Send images through the nets.

        Rescaled images of the same size go through the nets together, never padded. A bounded number of them waits
        for others of its size; then those that have waited longest go.

        Parameters
        ----------
        prepared : iterable of (key, Tensor)
            Images, uint8 (3, H, W) RGB, under keys of any kind.
        scales : sequence of int
            Smallest sides Q, in pixels.
        view : View
            How each rescaled image is cut; the values of its pieces are averaged.
        layers : sequence of str
            The layers whose values are wanted. The nets run up to the deepest of them.

        Yields
        ------
        (key, list of ndarray, float32, shape (S, C))
            The values at each of the S scales: for each net, one array for each layer. Not in the order of the input.

        Raises
        ------
        UsageError
            If a net has no such layer.
        VggfeatError
            If the device's memory is too small for an image by itself, or if this process is a fork of one in which a
            net has run.
        """

        def values_of(pixels: Tensor) -> list[Tensor]:
            return [values for net in self.nets for values in net(pixels, layers)]

        dims = [net.dim(layer) for net in self.nets for layer in layers]
        for piece, values in self._of_pieces(prepared, scales, view, dims, self._load, values_of):
            for total, value in zip(piece.row.values, values, strict=True):
                total[piece.scale] += value / piece.share
            piece.row.missing -= 1
            if piece.row.missing == 0:
                yield piece.row.key, piece.row.values

    def maps(
        self, prepared: Iterable[tuple[K, Tensor]], scales: Sequence[int], view: View
    ) -> Iterator[tuple[K, list[list[np.ndarray]]]]:
        """Send images through the nets, and keep the maps of fc8; see `Maps`.

        Parameters
        ----------
        prepared, scales
            As for `stream`.
        view : View
            What makes one piece of each rescaled image.

        Yields
        ------
        (key, list of lists of ndarray, float32, shape (copies, outputs, h, w))
            For each scale the map of each net. Not in the order of the input.

        Raises
        ------
        VggfeatError
            As `stream`.
        """
        of_images: dict[K, dict[int, list[np.ndarray]]] = defaultdict(dict)
        for piece, maps in self._of_pieces(prepared, scales, view, (), self._maps.load, self._maps):
            found = of_images[piece.row.key]
            found[piece.scale] = maps
            if len(found) == len(scales):
                yield piece.row.key, [maps for _, maps in sorted(of_images.pop(piece.row.key).items())]

    def _of_pieces(
        self,
        prepared: Iterable[tuple[K, Tensor]],
        scales: Sequence[int],
        view: View,
        dims: Sequence[int],
        load: Callable[[], None],
        values_of: ValuesOf,
    ) -> Iterator[tuple[Piece[K], list[np.ndarray]]]:
        """Each piece of each image with its values."""
        check_fork()
        with torch_settings(tf32=self.precision == "tf32"):
            buckets = self._buckets(prepared, scales, view, dims)
            for bucket, values in self._passes(buckets, load, values_of):
                for i, piece in enumerate(bucket.pieces):
                    yield piece, [value[i] for value in values]

    def _load(self) -> None:
        for net in self.nets:
            net.load()

    def _buckets(
        self, prepared: Iterable[tuple[K, Tensor]], scales: Sequence[int], view: View, dims: Sequence[int]
    ) -> Iterator[Bucket[K]]:
        """Rescale, cut, and gather what goes through the nets together."""
        gatherer: Gatherer[K] = Gatherer()
        for key, image in prepared:
            rescaled = self._rescaled(image, scales)
            if rescaled is None:  # those that wait take the memory
                yield from gatherer.flush()
                rescaled = self._rescaled(image, scales, again=True)
            for piece in self._pieces(key, rescaled or [], view, dims):
                yield from gatherer.put(piece, self.batch_pixels)
            yield from gatherer.flush(self.machine.waiting_pixels(self.batch_pixels))
        yield from gatherer.flush()

    def _pieces(self, key: K, rescaled: Sequence[Tensor], view: View, dims: Sequence[int]) -> list[Piece[K]]:
        """Of one image, the largest first: among passes side by side, the others wait for a short one in the end."""
        cut = [view.pieces(image) for image in rescaled]
        values = [np.zeros((len(cut), dim), np.float32) for dim in dims]
        row = Row(key, values, sum(map(len, cut)))
        pieces = [Piece(row, s, pixels, len(parts)) for s, parts in enumerate(cut) for pixels in parts]
        return sorted(pieces, key=lambda piece: -piece.area)

    def _rescaled(self, image: Tensor, scales: Sequence[int], again: bool = False) -> list[Tensor] | None:
        """float32 (3, h, w) at each scale, on the device; None the first time that its memory is too small."""
        try:
            on_device = self.machine.upload(image).float()
            return [images.rescale(on_device, q) for q in scales]
        except torch.OutOfMemoryError as error:
            self._check_memory(image, again, error)
        return None

    def _passes(
        self, buckets: Iterable[Bucket[K]], load: Callable[[], None], values_of: ValuesOf
    ) -> Iterator[tuple[Bucket[K], list[np.ndarray]]]:
        """Send buckets through the nets, in their order; float32 (N, ...) from each for the N pieces."""

        def of_bucket(bucket: Bucket[K]) -> list[Tensor]:
            return self._values([piece.pixels for piece in bucket.pieces], values_of)

        buckets = iter(buckets)
        for first in buckets:  # not loaded if there is none
            load()  # once, and not by each of several threads
            run = self.machine.run(chain([first], buckets), of_bucket, self._pixels, self._bytes_per_pixel)
            for bucket, values in run:
                yield bucket, [value.numpy() for value in values]

    def _pixels(self, bucket: Bucket[K]) -> int:
        return bucket.pixels * self._copies

    def _values(self, pieces: list[Tensor], values_of: ValuesOf) -> list[Tensor]:
        """The values of N pieces, in halves if the device's memory is too small for all."""
        try:
            return values_of(torch.stack(pieces))
        except torch.OutOfMemoryError as error:
            self._check_memory(pieces[0], len(pieces) == 1, error)
        # here, not in the handler, where the traceback still holds the maps that did not fit
        self.batch_pixels = max(self.batch_pixels // 2, 1)
        half = (len(pieces) + 1) // 2
        halves = [self._values(pieces[:half], values_of), self._values(pieces[half:], values_of)]
        return [torch.cat(values) for values in zip(*halves, strict=True)]

    def _check_memory(self, image: Tensor, alone: bool, error: Exception) -> None:
        """Raise VggfeatError if an image does not fit by itself, or if smaller batches are no answer."""
        height, width = image.shape[1:]
        if alone:
            raise VggfeatError(
                f"{self.device} has not enough memory for an image of {width}x{height}: "
                "use smaller scales, another precision or --device cpu"
            ) from error
        if torch.are_deterministic_algorithms_enabled():
            raise VggfeatError(
                f"{self.device} has not enough memory for a whole batch of {width}x{height}, and smaller batches would "
                "change the last bits: free memory on it, use another precision, or leave out --deterministic"
            ) from error


def resolve_nets(spec: NetSpec) -> list[weights_of.Weights]:
    """The weights of each net of "D,E"; see NetSpec. Raises UsageError, WeightsError."""
    found = [weights_of.resolve(file, net, file_top(spec.top), spec.lineage) for net, file in asked_nets(spec)]
    if spec.top == "fc8":
        for weights in found:
            require_classes(weights)
    return found


def asked_nets(spec: NetSpec) -> list[tuple[str | None, str]]:
    """Each net of "D,E" with what names its weights; None for the net of the weights. Raises UsageError."""
    nets: list[str | None] = [None] if spec.net is None else [word.strip() for word in spec.net.split(",")]
    named = Path(spec.weights).exists()  # a file whose name may have a comma
    files = [spec.weights] if named else [word.strip() for word in spec.weights.split(",")]
    if spec.net is None:
        nets = nets * len(files)
    if len(files) not in (1, len(nets)):
        raise UsageError(f"{len(files)} weights for {len(nets)} nets; give one for all or one for each")
    return list(zip(nets, files * (len(nets) // len(files)), strict=True))
