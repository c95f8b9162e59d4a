"""Numbers and names for display."""

import math
from typing import TypeAlias

from vggfeat._util.printable import printable

Cell: TypeAlias = str | float | int | None


def plain(value: object) -> object:
    """Text as `printable`; markup and other values stay as they are."""
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def brief(name: str) -> str:
    """The name of a file, without its middle if it would take many lines."""
    return printable(name, 60)


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
