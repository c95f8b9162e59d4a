"""JSON from outside: of a bounded size and depth, and checked against a type before it is used."""

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from vggfeat._util.regular_files import read_bytes

T = TypeVar("T")

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Setting = str | int | float | bool | None
PerCent = Annotated[float, msgspec.Meta(ge=0, le=100)]  # no NaN

MAX_BYTES = 2**26  # of a file; the largest of ours, the record of a benchmark, has a few MB
MAX_DEPTH = 32  # lists and objects in each other; ours have less than ten


def read_json(file: Path, kind: type[T] | Any, max_bytes: int = MAX_BYTES) -> T:
    """The content of a JSON file as a value of a type: a dataclass, a TypedDict, dict[str, int], ...

    Keys that the type does not name are left out. NaN and texts that are not Unicode are read, as `json` writes them.

    Raises OSError, FileNotFoundError among them, if the file cannot be read; ValueError, with one line that says what
    is wrong, if it is too large, is not JSON, or is not of the type.
    """
    return parse_json(read_bytes(file, max_bytes), kind)


def parse_json(text: bytes | str, kind: type[T] | Any) -> T:
    """The value of a JSON text, as `read_json`. Raises ValueError."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    _check_depth(value)
    return checked(value, kind)


def checked(value: Any, kind: type[T] | Any) -> T:
    """A value of JSON as one of a type, as `read_json`. Raises ValueError."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        said = str(error).replace("`$.", "`").replace("`$[", "`[").replace("$", "the file")
        raise ValueError(said.replace("`", "'")) from None


def _check_depth(value: Any) -> None:
    """Raise ValueError for deep nesting: such a value can be read, but neither written again nor shown."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inside = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [one for values in inside for one in values]
        if not level:
            return
    raise ValueError("nested too deeply")
