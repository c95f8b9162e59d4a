"""One progress bar for everything long: on a terminal a bar, elsewhere one line a minute."""

import sys
from typing import Any

from tqdm import tqdm


def progress(total: int | None, what: str, unit: str = "image", **options: Any) -> "tqdm[Any]":
    """A tqdm bar on stderr with rate and time left; call its `update(n)` and `close()`, or use it in `with`."""
    if sys.stderr.isatty():
        return tqdm(total=total, desc=what, unit=f" {unit}", dynamic_ncols=True, **options)
    line = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]\n"
    return tqdm(
        total=total, desc=what, unit=f" {unit}", mininterval=60, maxinterval=60, bar_format=line, leave=False, **options
    )
