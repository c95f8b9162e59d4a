"""One progress bar for everything long: on a terminal a bar, elsewhere one line a minute and one at the end."""

import sys
from contextlib import nullcontext
from typing import Any

from tqdm import tqdm

from vggfeat._util.printable import hidden, printable, say

WIDTH = 60  # characters of what a bar counts, at most


class _Lines(tqdm):
    """A bar for logs: whole lines, the first of them not before there is something to tell."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:  # noqa: ARG002  (tqdm's interface)
        """Write a line; tqdm asks for one when it begins, at intervals, and (for an empty one) when it is closed."""
        if self.n:
            of_all, left = ("/{total_fmt}", "<{remaining}") if self.total else ("", "")
            self.bar_format = f"{{desc}}: {{n_fmt}}{of_all} [{{elapsed}}{left}, {{rate_fmt}}]"
            print(self, file=self.fp, flush=True)
        return False  # nothing stands on the line that would have to be cleared


def progress(total: int | None, what: str, unit: str = "image", **options: Any) -> "tqdm[Any]":
    """A tqdm bar on stderr with rate and time left; call its `update(n)` and `close()`, or use it in `with`."""
    options |= {"total": total, "desc": printable(hidden(what), WIDTH), "unit": f" {unit}"}
    if sys.stderr.isatty():
        return tqdm(dynamic_ncols=True, **options)
    return _Lines(mininterval=60, maxinterval=60, leave=False, **options)


def say_beside(bar: "tqdm[Any]", line: str) -> None:
    """Say a line while a bar is shown."""
    on_terminal = not bar.disable and not isinstance(bar, _Lines)
    with tqdm.external_write_mode(file=sys.stderr) if on_terminal else nullcontext():
        say(line)


def skip(bar: "tqdm[Any]", n: int) -> None:
    """Move a bar on by what an earlier run has done: it counts neither for the rate nor for the time left."""
    if not bar.disable:
        bar.initial += n
        bar.n += n
        bar.last_print_n += n
