"""The loaded nets of one device, and the way of images through them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vggfeat import images
from vggfeat import weights as weights_of
from vggfeat._util.torch_settings import check_fork, find_device, torch_settings
from vggfeat.engine.batching import Bucket, Gatherer, K, Photo, Piece, Row, area
from vggfeat.engine.devices import Cpu, Gpu, machine_of
from vggfeat.engine.net import DenseNet
from vggfeat.engine.shared import Maps
from vggfeat.engine.views import View
from vggfeat.errors import UsageError, VggfeatError
from vggfeat.nets import file_top
from vggfeat.spec import NetSpec, Precision
from vggfeat.weights.native import require_classes

ValuesOf = Callable[[Tensor], list[Tensor]]  # float32 (N, 3, H, W) -> (N, ...) from each net at each layer

WAITING_UPLOADS = 16  # uploads' worth of decoded photos that may wait for others of their size


class Engine:
    """Nets on one device, which images go through together.

    Parameters
    ----------
    nets : sequence of DenseNet
        Of one device; for `stream`, of one deepest layer and mirror setting as well.
    precision : {"float32", "tf32", "bfloat16", "float16", "mixed"}
        That of the nets. With mixed, `stream` computes images whose values are not finite again by `DenseNet.exact`.
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
        self.machine = machine or machine_of(self.device)
        self._bytes_per_pixel = max(net.bytes_per_pixel for net in self.nets)
        self.batch_pixels = self.machine.batch_pixels(self._bytes_per_pixel) // self._copies

    @classmethod
    def of(cls, spec: NetSpec, machine: Cpu | Gpu | None = None) -> "Engine":
        """The engine that a spec asks for. Raises UsageError, WeightsError."""
        device = find_device(spec.device)
        machine = machine or machine_of(device)
        precision: Precision = machine.precision if spec.precision == "auto" else spec.precision
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
            if self.precision == "mixed":
                self._mend(piece, values, layers)
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
        with torch_settings(tf32=self.precision in ("tf32", "mixed")):
            buckets = self._buckets(prepared, scales, view, dims)
            for bucket, values in self._passes(buckets, load, values_of):
                for i, piece in enumerate(bucket.members):
                    yield piece, [value[i] for value in values]

    def _load(self) -> None:
        for net in self.nets:
            net.load()

    def _mend(self, piece: Piece[K], values: list[np.ndarray], layers: Sequence[str]) -> None:
        """Replace the values of a piece that are not finite in float16; here, where they are on the CPU already."""
        for n, net in enumerate(self.nets):
            of_net = values[n * len(layers) : (n + 1) * len(layers)]
            if not all(np.isfinite(value).all() for value in of_net):
                exact = self._values([piece.pixels], partial(net.exact, wanted=layers))
                for value, replacement in zip(of_net, exact, strict=True):
                    value[:] = replacement[0].cpu().numpy()

    def _buckets(
        self, prepared: Iterable[tuple[K, Tensor]], scales: Sequence[int], view: View, dims: Sequence[int]
    ) -> Iterator[Bucket[Piece[K]]]:
        """Rescale, cut, and gather what goes through the nets together."""
        gatherer: Gatherer[Piece[K]] = Gatherer()
        for photos in self._alike(prepared):
            rescaled: Iterable[Sequence[Tensor]] | None = self._rescaled(photos, scales)
            if rescaled is None:  # those that wait take the memory
                yield from gatherer.flush()
                rescaled = chain.from_iterable(self._rescaled([photo], scales, alone=True) or () for photo in photos)
            for photo, at_scales in zip(photos, rescaled, strict=True):
                for piece in self._pieces(photo.key, at_scales, view, dims):
                    yield from gatherer.put(piece, self.batch_pixels)
            yield from gatherer.flush(self.machine.waiting_pixels(self.batch_pixels))
        yield from gatherer.flush()

    def _alike(self, prepared: Iterable[tuple[K, Tensor]]) -> Iterator[list[Photo[K]]]:
        """Photos of one size, which are uploaded and rescaled together; on a CPU each photo alone."""
        gatherer: Gatherer[Photo[K]] = Gatherer()
        most = self.machine.tuning.upload_pixels
        for key, image in prepared:
            for bucket in gatherer.put(Photo(key, image), most) + gatherer.flush(WAITING_UPLOADS * most):
                yield bucket.members
        for bucket in gatherer.flush():
            yield bucket.members

    def _pieces(self, key: K, rescaled: Sequence[Tensor], view: View, dims: Sequence[int]) -> list[Piece[K]]:
        """Of one image, the largest first: among passes side by side, the others wait for a short one in the end."""
        cut = [view.pieces(image) for image in rescaled]
        values = [np.zeros((len(cut), dim), np.float32) for dim in dims]
        row = Row(key, values, sum(map(len, cut)))
        pieces = [Piece(row, s, pixels, len(parts)) for s, parts in enumerate(cut) for pixels in parts]
        return sorted(pieces, key=lambda piece: -area(piece))

    def _rescaled(
        self, photos: Sequence[Photo[K]], scales: Sequence[int], alone: bool = False
    ) -> list[Sequence[Tensor]] | None:
        """Of each photo, float32 (3, h, w) at each scale, on the device; None if its memory is too small for now.

        With `alone` it is too small for good, and VggfeatError is raised.
        """
        try:
            pixels = self.machine.upload([photo.pixels for photo in photos]).float()
            return list(zip(*(images.rescale(pixels, q) for q in scales), strict=True))
        except torch.OutOfMemoryError as error:
            self._check_memory(photos[0].pixels, alone, error)
        return None

    def _passes(
        self, buckets: Iterable[Bucket[Piece[K]]], load: Callable[[], None], values_of: ValuesOf
    ) -> Iterator[tuple[Bucket[Piece[K]], list[np.ndarray]]]:
        """Send buckets through the nets, in their order; float32 (N, ...) from each for the N pieces."""

        def of_bucket(bucket: Bucket[Piece[K]]) -> list[Tensor]:
            return self._values([piece.pixels for piece in bucket.members], values_of)

        buckets = iter(buckets)
        for first in buckets:  # not loaded if there is none
            load()  # once, and not by each of several threads
            run = self.machine.run(chain([first], buckets), of_bucket, self._pixels, self._bytes_per_pixel)
            for bucket, values in run:
                yield bucket, [value.numpy() for value in values]

    def _pixels(self, bucket: Bucket[Piece[K]]) -> int:
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
