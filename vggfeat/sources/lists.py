"""The images of a list on this machine; its entries are files, tars and addresses."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vggfeat.errors import DataError
from vggfeat.sources import remote, rows, shards
from vggfeat.sources.item import Item


def items(file: Path) -> Iterator[Item]:
    """The images that a list names, relative to the list's folder. Raises DataError."""
    try:
        with file.open("rb") as opened:
            for name, label in rows.rows(opened, str(file)):
                yield from _entry(name, label, file.parent)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error})") from error


def _entry(name: str, label: str | None, folder: Path) -> Iterator[Item]:
    name = name.removeprefix("file://")
    if remote.is_address(name):
        yield from remote.entry(name, label)
    elif shards.is_shard(name):
        yield from shards.members(folder / name, PurePosixPath(name).as_posix())
    else:
        yield Item(Path(name).as_posix(), folder / name, label)
