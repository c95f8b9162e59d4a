"""The Appendix B descriptor: images -> one descriptor per scale -> aggregation -> L2."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vggfeat import images
from vggfeat._util.files import signature, size_and_change
from vggfeat._util.options import takes
from vggfeat.aggregate import aggregate, fuse
from vggfeat.engine import Engine, View, Whole
from vggfeat.engine.batching import K
from vggfeat.errors import ImageError, UsageError
from vggfeat.images import Source
from vggfeat.inputs import column, is_image
from vggfeat.spec import DescriptorSpec, NetSpec, PosteriorSpec

__all__ = ["Describer", "clear_cache", "describe"]


class Describer:
    """Turns images into VGG descriptors (Appendix B).

    Parameters
    ----------
    net, scales, agg, layer, weights, lineage, mirror, normalize, device, precision, ceil, exif, allow_truncated
        See `DescriptorSpec` and `NetSpec`.
    spec : DescriptorSpec or PosteriorSpec
        All of these as one object, instead of them.
    engine : Engine, optional
        Nets that are loaded already, made for an equal net, weights, mirror, device, precision and ceil, and for this
        layer or a later one.
    view : View, optional
        How each image is cut: `Whole()` (the default), `Grid(5)`, `Box()`.
    facts : mapping, optional
        What else the values depend on; it becomes part of the fingerprint.
    task : str
        What a progress bar says.

    Raises
    ------
    UsageError
        If an argument is invalid.
    WeightsError
        If the weights are missing, damaged, or lack the layer.

    Examples
    --------
    >>> describer = Describer(weights="slim", layer="pool5", scales=(64,))
    >>> describer.describe(np.zeros((80, 100, 3), np.uint8)).shape
    (96,)

    References
    ----------
    Appendix B, "Generalisation of Very Deep Features".
    """

    @takes(spec=DescriptorSpec, positional=["net"])
    def __init__(
        self,
        *,
        spec: DescriptorSpec | PosteriorSpec,
        engine: Engine | None = None,
        view: View | None = None,
        facts: Mapping[str, Any] | None = None,
        task: str = "describing",
    ) -> None:
        self.spec = spec
        self.engine = engine or Engine.of(spec)
        self.view: View = view or Whole()
        self.facts, self.task = dict(facts or {}), task

    @property
    def dim(self) -> int:
        """Length of a descriptor."""
        scales = len(self.spec.scales) if self.spec.agg == "stack" else 1
        return sum(net.dim(self.spec.top) for net in self.engine.nets) * scales

    def variant(self, engine: Engine | None = None, view: View | None = None, **changes: Any) -> "Describer":
        """A describer with other settings that shares the loaded nets.

        Parameters
        ----------
        engine : Engine, optional
            Some of the nets; see `Engine.apart`.
        view : View, optional
        **changes
            Fields of the spec: scales, agg, normalize.
        """
        spec = replace(self.spec, **changes)
        engine, view = engine or self.engine, view or self.view
        return Describer(spec=spec, engine=engine, view=view, facts=self.facts, task=self.task)

    def fingerprint(self, layer: str | None = None) -> list[dict[str, Any]]:
        """For each net, everything that decides the values of a single scale.

        Parameters
        ----------
        layer : str, optional
            The layer that has the values. Default: that of the spec.
        """
        return [
            {
                "net": net.weights.net,
                "width": net.weights.width,
                "weights_sha256": net.weights.sha256,
                "preprocessing": asdict(net.weights.preprocessing),
                "layer": layer or self.spec.top,
                "scales": list(self.spec.scales),
                "mirror": self.spec.mirror,
                "pooling": "ceil" if self.spec.ceil else "floor",
                "precision": self.engine.precision,
                "rescaling": images.RESCALING,
                **({} if self.spec.exif else {"exif": False}),  # stores of earlier versions are upright, without it
                **({"allow_truncated": True} if self.spec.allow_truncated else {}),
                **({"lineage": "assumed"} if net.weights.assumed else {}),
                **self.facts,
                **self.view.facts(),
            }
            for net in self.engine.nets
        ]

    def stored(self, layer: str) -> tuple[dict[str, Any], str]:
        """Say what the store of a layer records.

        Parameters
        ----------
        layer : str

        Returns
        -------
        (dict, str)
            The fingerprint, and the name of the weights.

        Raises
        ------
        UsageError
            If there are several nets, or the net has no such layer.
        """
        nets = self.engine.nets
        if len(nets) > 1:
            raise UsageError("a store holds one net; extract each net into its own store and load them together")
        nets[0].dim(layer)  # raises UsageError
        return self.fingerprint(layer)[0], nets[0].weights.name

    def prepare(self, image: Source, max_pixels: int = images.MAX_PIXELS) -> Tensor:
        """Decode an image and check that it can be rescaled to each scale.

        Returns
        -------
        Tensor, uint8, shape (3, H, W), RGB

        Raises
        ------
        ImageError
            If the image cannot be read or is too large; the message names the file.
        """
        spec = self.spec
        pixels = images.read(self.view.source(image), max_pixels, exif=spec.exif, allow_truncated=spec.allow_truncated)
        return self.prepared(pixels, image)

    def prepared(self, pixels: np.ndarray, image: Source) -> Tensor:
        """Cut the pixels that were read for an image, and check that they can be rescaled to each scale.

        Parameters
        ----------
        pixels : ndarray, uint8, shape (H, W, 3), RGB
            What was read for `view.source(image)`.
        image : path, bytes, file object, PIL image, array or tensor
            The image, for messages and the view.

        Returns
        -------
        Tensor, uint8, shape (3, h, w), RGB

        Raises
        ------
        ImageError
            If the image is too large; the message names the file.
        """
        tensor = torch.from_numpy(self.view.cut(pixels, image)).permute(2, 0, 1)
        for q in self.spec.scales:
            try:
                images.check_rescaled(tensor.shape[1], tensor.shape[2], q)
            except ImageError as error:
                named = f"{image}: {error}" if isinstance(image, str | Path) else str(error)
                raise ImageError(named) from error
        return tensor

    def prepare_all(
        self, images: Iterable[Source], max_pixels: int = images.MAX_PIXELS
    ) -> Iterator[tuple[int, Tensor]]:
        """Decode several images, as `prepare` does.

        Yields
        ------
        (int, Tensor)
            The index of the image, from 0, and its pixels.

        Raises
        ------
        ImageError
            As `prepare`; the message says the index of an image that is no file.
        UsageError
            If a table or an array of paths has several columns.
        """
        for i, image in enumerate(column(images)):
            try:
                tensor = self.prepare(image, max_pixels)
            except ImageError as error:
                if isinstance(image, str | os.PathLike):
                    raise
                raise ImageError(f"image {i} of the list (from 0): {error}") from error
            yield i, tensor

    def stream(
        self, prepared: Iterable[tuple[K, Tensor]], layers: Sequence[str] | None = None
    ) -> Iterator[tuple[K, list[np.ndarray]]]:
        """Describe a stream of prepared images; see `Engine.stream`.

        Parameters
        ----------
        prepared : iterable of (key, Tensor)
            Images from `prepare`.
        layers : sequence of str, optional
            Layers whose values are wanted, up to that of the spec. Default: that of the spec.

        Yields
        ------
        (key, list of ndarray, float32, shape (S, C))
            The values at each of the S scales: for each net, one array for each layer. Not in the order of the input.
        """
        return self.engine.stream(prepared, self.spec.scales, self.view, layers or (self.spec.top,))

    def describe(self, image: Source | Iterable[Source], max_pixels: int = images.MAX_PIXELS) -> np.ndarray:
        """Describe one image or several.

        Parameters
        ----------
        image : as for `vggfeat.describe`
        max_pixels : int
            Largest number of pixels of an image. A larger one is an error.

        Returns
        -------
        ndarray, float32, shape (dim,) for one image, (N, dim) for several

        Raises
        ------
        ImageError
            If an image cannot be read or has too many pixels; the message names the file.
        """
        single = is_image(image)
        prepared = [(0, self.prepare(image, max_pixels))] if single else self.prepare_all(image, max_pixels)
        rows = dict(self.stream(prepared))
        if not rows:
            return np.zeros((0, self.dim), np.float32)
        ordered = [rows[i] for i in range(len(rows))]
        per_net = [
            aggregate(list(np.stack([row[n] for row in ordered], axis=1)), self.spec.agg, self.spec.normalize)
            for n in range(len(self.engine.nets))
        ]
        matrix = fuse(per_net, self.spec.normalize)
        return matrix[0] if single else matrix


@lru_cache(maxsize=1)
def _kept(spec: NetSpec, weights: Any) -> Describer:  # noqa: ARG001  (part of the key)
    return Describer(spec=spec)


def _weights_now(spec: NetSpec) -> Any:
    """Changes if a file of weights is replaced, or another one is named by the environment."""
    named = os.environ.get("VGGFEAT_WEIGHTS")
    files = [Path(name).expanduser() for name in (*spec.weights.split(","), *([named] if named else []))]
    inside = [file for folder in files if folder.is_dir() for file in sorted(folder.glob("*.safetensors"))]
    return named, *((signature(file), size_and_change(file)) for file in files + inside)


def clear_cache() -> None:
    """Free the nets that `describe` keeps."""
    _kept.cache_clear()


@takes(spec=DescriptorSpec)
def describe(image: Source | Iterable[Source], *, spec: DescriptorSpec) -> np.ndarray:
    """Describe one image or several.

    The nets of the last call are kept, so that a loop of calls loads them once; `clear_cache` frees them.

    Parameters
    ----------
    image : path, bytes, file object, PIL image, array or tensor, or an iterable of these
        Arrays are uint8 (H, W, 3) RGB or (H, W), or uint8 (N, H, W, 3) for N images; tensors uint8 (3, H, W). A Series,
        an array of paths, and a table with one column count as several.
    net, scales, agg, layer, weights, lineage, mirror, normalize, device, precision, ceil, exif, allow_truncated
        See `DescriptorSpec` and `NetSpec`.
    spec : DescriptorSpec
        All of these as one object, instead of them.

    Returns
    -------
    ndarray, float32, shape (dim,) for one image, (N, dim) for several
        L2 norm 1, unless `normalize` is "none".

    Raises
    ------
    UsageError
        If an argument is invalid.
    ImageError
        If an image cannot be read; the message names the file.
    WeightsError
        If the weights are missing, damaged, or lack the layer.

    Examples
    --------
    >>> describe(np.zeros((80, 100, 3), np.uint8), weights="slim", layer="pool5", scales=(64,)).shape
    (96,)

    References
    ----------
    Appendix B, "Generalisation of Very Deep Features".
    """
    return _kept(spec, _weights_now(spec)).describe(image)
