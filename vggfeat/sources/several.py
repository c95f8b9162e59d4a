"""The images of several sources, one after the other."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from vggfeat import sources
from vggfeat._util.left_out import LeftOut
from vggfeat.errors import DataError, ImageError
from vggfeat.sources.item import Item, utf8


def items_of_all(names: Iterable[str], left_out: LeftOut) -> Iterator[Item]:
    """The photos of all sources, with names that lead to them; a source that cannot be read is a failed photo."""
    for name in names:
        shown = utf8(name)
        inside = f"{shown.rstrip('/')}/" if Path(name).is_dir() else ""
        try:
            for item in sources.items(name, left_out):
                path = shown if item.path == utf8(Path(name).name) else inside + item.path
                yield Item(path, item.image, item.label, item.listed)
        except DataError as error:
            yield Item(shown, ImageError(str(error).removeprefix(f"{name}: ")))
