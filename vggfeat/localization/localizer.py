"""From images to what is in them and where: box nets and a classifier that are loaded once."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from vggfeat._util.left_out import LeftOut
from vggfeat._util.options import takes
from vggfeat.errors import ImageError, UsageError
from vggfeat.extraction.decoding import Decoded, Decoder, Failure
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.images import Source
from vggfeat.inputs import is_image
from vggfeat.localization.describing import POSTERIORS, ROW, BoxDescriber
from vggfeat.localization.guesses import TOP, Located, guesses
from vggfeat.localization.models import Model, open_models
from vggfeat.localization.rules import MergeRule
from vggfeat.localization.spec import LocalizerSpec
from vggfeat.sources.several import items_of_all

GROUP = 16  # photos that go through the nets together
NOT_FINITE = "its boxes have values that are not finite; take another --precision or another net"


class LocatedPhoto(NamedTuple):
    """What is in a photo of a source, or why it cannot be read.

    Attributes
    ----------
    path : str
        As the source names it.
    located : list of Located or None
        The likeliest class first; None for a photo that cannot be read, or whose boxes are not finite.
    reason : str
        Why it cannot be read, or has no boxes.
    pixels : ndarray, uint8, shape (H, W, 3), or None
        The photo, RGB.
    candidates : ndarray, float64, shape (N, 4)
        The boxes of the likeliest class before merging, x0, y0, x1, y1 in pixels of the photo.
    sha256 : str or None
        Of the file, hexadecimal.
    exif : bool
        Whether the photo was turned upright as EXIF says.
    """

    path: str
    located: list[Located] | None
    reason: str = ""
    pixels: np.ndarray | None = None
    candidates: np.ndarray = np.zeros((0, 4))
    sha256: str | None = None
    exif: bool = False


class Localizer:
    """Says what is in images and where, by one or several nets that predict boxes (Appendix A.1, protocol 2).

    The nets see the whole image at each scale. Each place gives a box for each class, with the probability of the class
    there as its confidence. The boxes of a class, of all places, scales and nets, are merged, and the one with the
    highest confidence is taken.

    Parameters
    ----------
    models : str, path or Weights, or a sequence of these
        Nets that predict boxes: files, or folders of runs.
    classifier : str, path or Weights, optional
        A net that classifies: a name of the registry, a file, or the folder of a run. It is needed if the nets have a
        box for each of several classes.
    scales, mirror, keep, device, precision, exif, allow_truncated
        See `LocalizerSpec`.
    rule, vertical, horizontal, apart, score, average
        See `MergeRule`.
    spec : LocalizerSpec
        Its settings as one object, instead of single ones.
    merging : MergeRule
        Its settings as one object, instead of single ones.

    Attributes
    ----------
    names : tuple of str
        The classes; one empty name if boxes have no class.

    Raises
    ------
    UsageError
        If an argument is invalid, or a classifier is needed.
    WeightsError
        If weights are missing or damaged, predict something else, or have other classes than the classifier.
    """

    @takes(spec=LocalizerSpec, merging=MergeRule)
    def __init__(
        self,
        models: Model | Sequence[Model],
        classifier: Model | None = None,
        *,
        spec: LocalizerSpec,
        merging: MergeRule,
    ) -> None:
        found = open_models(models, classifier)
        if classifier is None and len(found.classes) > 1:
            raise UsageError(
                f"{found.boxes[0].path}: has a box for each of {len(found.classes)} classes, so a net must say which "
                "class an image has: give a classifier of the same classes, such as a run of `vggfeat train` on the "
                "same data"
            )
        self.spec, self.merging, self.names = spec, merging, found.classes or ("",)
        self.describer = BoxDescriber(found, 2, spec)

    def localize(self, images: Iterable[Source], top: int = TOP) -> list[list[Located]]:
        """Find the most probable classes of each image, and a box for each.

        Parameters
        ----------
        images : iterable of images
            Each as for `vggfeat.describe`.
        top : int
            How many classes of each image, at most `keep`.

        Returns
        -------
        list of lists of Located
            The most probable class first.

        Raises
        ------
        UsageError
            If `top` is out of range, or if `images` is one image and no list.
        ImageError
            If an image cannot be read, or its boxes are not finite; the message names the file, or the place in the
            list.
        """
        self._check(top)
        if is_image(images):
            raise UsageError("localize takes a list of images; give [image] for one")
        found = {}
        for i, _, located, _ in self._of(self.describer.prepare_all(images), top):
            if located is None:
                raise ImageError(f"image {i} of the list (from 0): {NOT_FINITE}")
            found[i] = located
        return [found[i] for i in range(len(found))]

    def photos(
        self, names: Iterable[str], left_out: LeftOut, top: int = TOP, settings: ExtractionSettings | None = None
    ) -> Iterator[LocatedPhoto]:
        """Localise in all photos of several sources, in their order; they are decoded ahead, in other processes.

        Parameters
        ----------
        names : iterable of str
            Photos, folders, lists, tars and globs.
        left_out : LeftOut
            Counts the files that are no photos.
        top : int
            As for `localize`.
        settings : ExtractionSettings, optional
            Limits of reading.

        Yields
        ------
        LocatedPhoto
        """
        self._check(top)
        with Decoder(self.describer, settings or ExtractionSettings()) as decoder:
            decoded = decoder.decode(enumerate(items_of_all(names, left_out)))
            for _, group in groupby(decoded, lambda one: one.place // GROUP):
                yield from self._of_group(group, top)

    def _of_group(self, group: Iterable[Decoded], top: int) -> Iterator[LocatedPhoto]:
        read: dict[int, tuple[str, str | None]] = {}  # path and SHA-256
        found: dict[int, LocatedPhoto] = {}

        def readable() -> Iterator[tuple[int, Tensor]]:
            for one in group:
                if isinstance(one.image, Failure):
                    found[one.place] = LocatedPhoto(one.path, None, one.image.reason)
                else:
                    read[one.place] = one.path, one.identity.sha256
                    yield one.place, one.image

        for place, image, located, candidates in self._of(readable(), top):
            path, sha256 = read[place]
            if located is None:
                found[place] = LocatedPhoto(path, None, NOT_FINITE)
                continue
            pixels = image.permute(1, 2, 0).numpy()
            found[place] = LocatedPhoto(path, located, "", pixels, candidates, sha256, self.spec.exif)
        for place in sorted(found):
            yield found[place]

    def _of(
        self, prepared: Iterable[tuple[int, Tensor]], top: int
    ) -> Iterator[tuple[int, Tensor, list[Located] | None, np.ndarray]]:
        """(key, image, what is in it, candidates of the likeliest class), in any order.

        None for what is in it if values are not finite.
        """
        images: dict[int, Tensor] = {}

        def noted() -> Iterator[tuple[int, Tensor]]:
            for key, image in prepared:
                images[key] = image
                yield key, image

        for key, values in self.describer.stream(noted()):
            of_layer = dict(zip(self.describer.layers, values, strict=True))
            posteriors = of_layer.pop(POSTERIORS, None)
            posterior = np.ones(1) if posteriors is None else np.mean(posteriors, axis=0)
            rows = [one.reshape(-1, len(ROW)) for scales in of_layer.values() for one in scales]
            image, every = images.pop(key), np.concatenate(rows)
            if not (np.isfinite(every).all() and np.isfinite(posterior).all()):
                yield key, image, None, every[:0, 2:]
                continue
            located = guesses(rows, posterior, self.names, (image.shape[1], image.shape[2]), self.merging, top)
            candidates = every[every[:, 0] == posterior.argmax(), 2:].astype(np.float64)
            yield key, image, located, candidates

    def _check(self, top: int) -> None:
        if not 1 <= top <= self.spec.keep:
            raise UsageError(f"top must be from 1 to {self.spec.keep}, the number of classes that get boxes, not {top}")


@takes(spec=LocalizerSpec, merging=MergeRule)
def localize(
    image: Source | Iterable[Source],
    model: Model | Sequence[Model],
    *,
    classifier: Model | None = None,
    top: int = TOP,
    spec: LocalizerSpec,
    merging: MergeRule,
) -> Any:
    """Say what is in one image or several, and where.

    Parameters
    ----------
    image : as for `describe`
    model, classifier
        See `vggfeat.localization.Localizer`, which loads the nets once for many calls.
    top : int
        How many classes of each image, at most `keep`.
    scales, mirror, keep, device, precision, exif, allow_truncated
        See `LocalizerSpec`.
    rule, vertical, horizontal, apart, score, average
        See `MergeRule`.
    spec : LocalizerSpec
        Its settings as one object, instead of single ones.
    merging : MergeRule
        Its settings as one object, instead of single ones.

    Returns
    -------
    list of Located for one image, list of such lists for several
        The most probable class first. A Located has `label`, `probability`, and `box`: x0, y0, x1, y1 in pixels.

    Raises
    ------
    UsageError, WeightsError
        As `vggfeat.localization.Localizer`; UsageError also if `top` is out of range.
    ImageError
        If an image cannot be read; the message names the file.

    References
    ----------
    Appendix A.1.
    """
    localizer = Localizer(model, classifier, spec=spec, merging=merging)
    return localizer.localize([image], top)[0] if is_image(image) else localizer.localize(image, top)
