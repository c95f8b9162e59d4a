"""What a localiser says of an image: for each of the likeliest classes one box."""

from typing import NamedTuple


class Located(NamedTuple):
    """A class of an image and the box of its object.

    Attributes
    ----------
    label : str
        The class; "" from a net whose boxes have no class.
    probability : float
        Of the class, in 0..1.
    box : tuple of 4 float
        x0, y0, x1, y1 in pixels of the stored photo, from 0, clipped to it. The right and lower edge lie outside the
        last pixel.
    confidence : float
        The sum of the confidences of the candidates that were merged; 0 without a candidate.
    candidates : int
        How many candidates were merged.
    """

    label: str
    probability: float
    box: tuple[float, float, float, float]
    confidence: float
    candidates: int
