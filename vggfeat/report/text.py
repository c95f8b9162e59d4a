"""Numbers and names for display."""

import math
import re
from typing import TypeAlias

Cell: TypeAlias = str | float | int | None

# invisible characters: control characters, marks that change the direction of text, and code points without an encoding
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """The text with U+FFFD for each invisible character; markup is returned unchanged."""
    return text if hasattr(text, "__html__") else _UNPRINTABLE.sub("\ufffd", text)


def shortened(text: str, most: int) -> str:
    """Printable text of at most `most` characters, with … in the middle if it is shortened.

    >>> shortened("wheelbarrow", 7)
    'whe…row'
    """
    text = printable(text)
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


def known(value: object) -> bool:
    """Whether there is a value: not None, not NaN."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def number(value: Cell, decimals: int) -> str:
    """A table cell as text: numbers with thousands separators and a true minus sign, – for None and NaN.

    >>> number(1234, 2), number(-0.5, 2), number(None, 2), number("D", 2)
    ('1,234', '−0.50', '–', 'D')
    """
    if isinstance(value, str):
        return value
    if value is None or not known(value):
        return "–"
    shown = f"{value:,}" if isinstance(value, int) else f"{round(value, decimals) + 0.0:,.{decimals}f}"
    return shown.replace("-", "−")


def share(value: float) -> str:
    """A percentage as a length in CSS, from 0 to 100 %."""
    return f"{min(max(value, 0.0), 100.0):.2f}%"
