"""The images of a list on this machine; its entries are files, tars and addresses."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from vggfeat._util.left_out import LeftOut
from vggfeat._util.printable import reason_of
from vggfeat._util.regular_files import open_regular
from vggfeat.errors import DataError
from vggfeat.formats import is_tar
from vggfeat.sources import remote, rows, shards
from vggfeat.sources.addresses import is_address, without_file
from vggfeat.sources.item import Item, utf8


def items(file: Path, left_out: LeftOut) -> Iterator[Item]:
    """The images that a list names, relative to the list's folder. Raises DataError."""
    folder = file.parent
    missing, example = 0, ""  # entries before the first one that exists; later ones are not checked
    try:
        with open_regular(file) as opened:
            for name, label in rows.rows(opened, str(file), left_out, partial(_is_file, folder)):
                if not example or missing:
                    missing = 0 if is_address(name) or os.path.exists(folder / name) else missing + 1  # noqa: PTH110
                    example = example or name
                yield from _entry(name, label, folder, left_out)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({reason_of(error)})") from error
    if missing:
        place = os.path.realpath(folder)
        reason = f"entries of the list, none of which exists (they are relative to {place})"
        left_out.add(reason, example, count=missing)


def _is_file(folder: Path, name: str) -> bool:
    return os.path.isfile(folder / name)  # noqa: PTH113  (False for a name that no system takes; Path raises)


def _entry(name: str, label: str | None, folder: Path, left_out: LeftOut) -> Iterator[Item]:
    name = without_file(name)
    if is_address(name):
        yield from remote.entry(name, label, left_out)
    elif is_tar(name):
        yield from shards.members(folder / name, _stored(name), left_out, label)
    else:
        yield Item(_stored(name), folder / name, label)


def _stored(name: str) -> str:
    """The name of a file in the store; names that are UTF-8 stay as the list has them."""
    posix = Path(name).as_posix()
    try:
        posix.encode()
    except UnicodeEncodeError:
        return utf8(posix)
    return posix
