"""The XML annotations of VOC and ILSVRC: the objects of a photo, each with a name and a box."""

import math
from pathlib import Path
from xml.etree import ElementTree

from vggfeat._util.printable import reason_of
from vggfeat.data.base import read_text
from vggfeat.errors import DataError

XML_BYTES = 2**20


def read_objects(file: Path, inside: Path) -> list[ElementTree.Element]:
    """The objects of an annotation. Raises DataError if it is missing, a link out of `inside`, or is not XML."""
    text = read_text(file, inside, XML_BYTES)
    if "<!DOCTYPE" in text:  # it may declare entities that expand to gigabytes
        raise DataError(f"{file}: has a document type, which no annotation has; unpack the data set again")
    try:
        annotation = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataError(f"{file}: not XML ({reason_of(error)}); unpack the data set again") from error
    return annotation.findall("object")


def corners(element: ElementTree.Element) -> tuple[float, float, float, float]:
    """xmin, ymin, xmax, ymax of an object as they are written; NaN for what is not a number."""
    x0, y0, x1, y1 = (_number(element, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax"))
    return x0, y0, x1, y1


def _number(element: ElementTree.Element, path: str) -> float:
    try:
        return float(element.findtext(path) or "nan")
    except ValueError:
        return math.nan
