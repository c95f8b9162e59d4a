"""From an image to its boxes at each scale, of the centre crop or of all places, and to the posteriors of its classes.

It is a Describer, so that the engine that fills descriptor stores fills stores of boxes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vggfeat import images
from vggfeat._util.torch_settings import find_device
from vggfeat.boxes import decode, rescaled
from vggfeat.descriptors import Describer
from vggfeat.engine import Engine, Grid, Whole
from vggfeat.engine.batching import K
from vggfeat.engine.net import DenseNet
from vggfeat.engine.views import grid_corners
from vggfeat.localization.models import Models
from vggfeat.localization.spec import LocalizerSpec
from vggfeat.spec import Precision

STRIDE = 32  # of the places of the dense application, in pixels of the rescaled image
POSTERIORS = "fc8"  # the layer of the posteriors
ROW = ("class", "confidence", "x0", "y0", "x1", "y1")  # the numbers of a candidate


def layer_of(net: int) -> str:
    """The layer of the boxes of the box net with this number, from 0."""
    return f"boxes {net}"


class BoxDescriber(Describer):
    """Turns images into the boxes of several nets, and the posteriors of the classifier, at several scales.

    The boxes of the centre crop (protocol 1) are (4 * classes,) or (4,): x0, y0, x1, y1 of each class of the net, or of
    all. Candidates (protocol 2) are (N * 6,): rows as ROW says, for each of the likeliest classes and each place.
    Without a classifier the class is 0, the only one. All are in pixels of the image as it was read, not clipped.

    layers : those of all box nets, and POSTERIORS if there is a classifier and `protocol` is 2.
    """

    def __init__(
        self, models: Models, protocol: int, spec: LocalizerSpec, facts: Mapping[str, Any] | None = None
    ) -> None:
        self.models, self.keep, self.protocol = models, spec.keep, protocol
        device = find_device(spec.device)
        precision: Precision = "float32" if spec.precision == "auto" else spec.precision
        classifier = models.classifier if protocol == 2 else None
        nets = [
            DenseNet(weights, "fc8", mirror=spec.mirror and weights is classifier, device=device, precision=precision)
            for weights in (*models.boxes, *([classifier] if classifier else []))
        ]
        self.layers = [*map(layer_of, range(len(models.boxes))), *([POSTERIORS] if classifier else [])]
        super().__init__(
            spec=spec.posteriors,
            engine=Engine(nets, precision),
            view=Whole() if protocol == 2 else Grid(1),
            facts={"method": "dense" if protocol == 2 else "centre", **(facts or {})},
            task=f"localising ({'whole image' if protocol == 2 else 'centre crop'})",
        )

    def stored(self, layer: str) -> tuple[dict[str, Any], str]:
        """The fingerprint of the values of a layer, and the name of the weights."""
        place = self.layers.index(layer)
        weights = self.engine.nets[place].weights
        made = super().fingerprint()[place]
        if layer != POSTERIORS:
            classifier = self.models.classifier
            made |= {"layer": "boxes", "boxes": weights.boxes, "mirror": False}
            if self.protocol == 2:
                known = {"classifier": classifier.sha256, "mirror": self.spec.mirror} if classifier else {}
                made |= {"row": list(ROW), "keep": min(self.keep, len(self.models.classes) or 1), **known}
        return made, weights.name

    def stream(
        self, prepared: Iterable[tuple[K, Tensor]], layers: Sequence[str] | None = None
    ) -> Iterator[tuple[K, list[Any]]]:
        """Localise in a stream of prepared images; see `Engine.maps`.

        Yields
        ------
        (key, list of lists of ndarray, float32)
            For each layer the values at each scale.
        """
        sizes: dict[K, tuple[int, int]] = {}

        def noted() -> Iterator[tuple[K, Tensor]]:
            for key, image in prepared:
                sizes[key] = image.shape[1], image.shape[2]
                yield key, image

        for key, maps in self.engine.maps(noted(), self.spec.scales, self.view):
            found = self._values(maps, sizes.pop(key))
            yield key, [found[layer] for layer in layers or self.layers]

    def _values(self, maps: list[list[np.ndarray]], size: tuple[int, int]) -> dict[str, list[np.ndarray]]:
        """For each layer the values at each scale, of the maps of each net at each scale of an image of this size."""
        return self._of_centre(maps, size) if self.protocol == 1 else self._candidates(maps, size)

    def _of_centre(self, maps: list[list[np.ndarray]], size: tuple[int, int]) -> dict[str, list[np.ndarray]]:
        return {
            layer: [
                self._boxes(_codes(of_scale[net]), q, size).numpy().ravel()
                for q, of_scale in zip(self.spec.scales, maps, strict=True)
            ]
            for net, layer in enumerate(self.layers)
        }

    def _candidates(self, maps: list[list[np.ndarray]], size: tuple[int, int]) -> dict[str, list[np.ndarray]]:
        found: dict[str, list[np.ndarray]] = {layer: [] for layer in self.layers}
        kept, chances = np.zeros(1, np.int64), [np.ones(1, np.float32)] * len(maps)
        if POSTERIORS in found:
            found[POSTERIORS] = [_posterior(of_scale[-1]) for of_scale in maps]
            kept = np.argsort(-np.mean(found[POSTERIORS], axis=0), kind="stable")[: self.keep]
            chances = [_at_places(of_scale[-1], kept) for of_scale in maps]
        for q, of_scale, of_places in zip(self.spec.scales, maps, chances, strict=True):
            for net in range(len(self.models.boxes)):
                codes = _codes(of_scale[net])[torch.from_numpy(self.models.order(net)[kept])]
                boxes = self._boxes(codes, q, size).numpy()
                classes = np.repeat(kept, len(boxes) // len(kept))
                rows = np.column_stack([classes, np.broadcast_to(of_places, len(boxes)), boxes])
                found[layer_of(net)].append(rows.astype(np.float32).ravel())
        return found

    def _boxes(self, codes: Tensor, q: int, size: tuple[int, int]) -> Tensor:
        """(K, 4, h, w) codes at all places -> (K h w, 4) boxes in an image of this size, class by class, row by row."""
        height, width = images.rescaled_size(*size, q)
        (top, left) = grid_corners(height, width, 1)[0] if self.protocol == 1 else (0, 0)
        down, across = (STRIDE * torch.arange(n) for n in codes.shape[2:])
        y, x = torch.meshgrid(top + down, left + across, indexing="ij")
        windows = torch.stack([x, y], dim=2).reshape(-1, 2).repeat(len(codes), 1)
        flat = codes.permute(0, 2, 3, 1).reshape(-1, 4)
        return rescaled(decode(flat.double(), windows.double()), (height, width), size).float()


def _codes(outputs: np.ndarray) -> Tensor:
    """(1, 4 K, h, w), the outputs of fc8, -> (K, 4, h, w)."""
    return torch.from_numpy(outputs[0]).unflatten(0, (-1, 4))


def _posterior(scores: np.ndarray) -> np.ndarray:
    """(copies, classes, h, w) -> (classes,): the soft-max of the spatial mean, averaged with the mirror image's."""
    means = torch.from_numpy(scores).mean(dim=(2, 3), dtype=torch.float32)
    return means.softmax(dim=1).mean(dim=0).numpy()


def _at_places(scores: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The posteriors of some classes at each place of the image itself: (K h w,), class by class, row by row."""
    return torch.from_numpy(scores[0]).softmax(dim=0)[torch.from_numpy(kept)].flatten().numpy()
