"""Commands from settings: a parameter that is a dataclass becomes one option for each of its fields.

Names, types, defaults and help texts are those of the dataclass and its numpydoc docstring, so that they exist once:

    def extract(source: str = ".", *, spec: DescriptorSpec, settings: ExtractionSettings) -> None

becomes ``vggfeat extract [SOURCE] --net --scales ... --on-error ...``, and the body gets the two objects.
`Annotated[DescriptorSpec, Without("normalize")]` leaves fields out, which keep their defaults. For
`Annotated[list[DescriptorSpec], Several("layer", "...")]` the option takes several values with commas, and the body
gets an object for each. The first paragraph of the text of a parameter is the help. In the metadata of a field, `flags`
are the names of a switch, and `parse` reads numbers from text.
"""

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from dataclasses import Field, fields, is_dataclass
from operator import getitem
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, Union, get_args, get_origin, get_type_hints

import typer
from docstring_parser import DocstringStyle, parse

from vggfeat._util.options import default_of
from vggfeat.errors import UsageError

LISTED = 8  # choices of an option, at most, that its line of help lists


class Without(tuple[str, ...]):
    """Fields that a command does not offer."""

    def __new__(cls, *names: str) -> Self:
        return super().__new__(cls, names)


class Several(NamedTuple):
    """A field of which a command takes several values. more : what its help says of that."""

    field: str
    more: str

    def settings(self, kind: Any, **given: Any) -> list[Any]:
        """A settings object for each value."""
        return [kind(**given | {self.field: word.strip()}) for word in given[self.field].split(",")]


def derived(body: Callable[..., None]) -> Callable[..., None]:
    """The body of a command with its settings as options."""
    own, hints = inspect.signature(body), get_type_hints(body, include_extras=True)
    groups = {name: found for name, hint in hints.items() if (found := _options(hint))}
    parameters = [p.replace(annotation=hints[name]) for name, p in own.parameters.items() if name not in groups]
    parameters += [option for _, options in groups.values() for option in options]

    @functools.wraps(body)
    def command(**given: Any) -> None:
        for name, (make, options) in groups.items():
            given[name] = make(**{option.name: given.pop(option.name) for option in options})
        body(**given)

    command.__signature__ = inspect.Signature(sorted(parameters, key=_kind))  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _options(hint: Any) -> tuple[Callable[..., Any], list[inspect.Parameter]] | None:
    """What makes the settings object, and the options of its fields; None if a parameter is no such object."""
    settings, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    several = next((extra for extra in extras if isinstance(extra, Several)), None)
    if several:
        (settings,) = get_args(settings)
    if not is_dataclass(settings):
        return None
    left_out = {name for extra in extras if isinstance(extra, Without) for name in extra}
    own = sorted(fields(settings), key=lambda field: field.kw_only is True)  # as in the signature of the dataclass
    options = [option_of(field, settings, several) for field in own if field.name not in left_out]
    return functools.partial(several.settings, settings) if several else settings, options  # type: ignore[return-value]


def _kind(parameter: inspect.Parameter) -> int:
    return parameter.kind


def option_of(field: Field[Any], settings: Any, several: Several | None = None) -> inspect.Parameter:
    """The option of one field of a dataclass."""
    kind = option_type(get_type_hints(settings)[field.name])
    default, flags = default_of(field), _flags(field, kind)
    about: dict[str, Any] = {"help": help_of(settings, field.name)}
    if kind is Sequence:
        about |= {
            "parser": _parser(field.metadata.get("parse", whole_numbers)),
            "metavar": field.metadata.get("metavar", "Q,..."),
        }
        default = ",".join(map(str, default)) if isinstance(default, tuple) else default
        kind = Any
    elif len(_choices(kind)) > LISTED:
        about["metavar"] = field.name.upper()
    if several and field.name == several.field:
        about |= {"help": f"{about['help']} {several.more}", "metavar": f"{field.name.upper()},..."}
        kind = str
    annotation = getitem(Annotated, (kind, typer.Option(*flags, **about)))
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _choices(kind: Any) -> tuple[Any, ...]:
    """The values of a Literal, also of one that may be None."""
    return next((get_args(one) for one in (kind, *get_args(kind)) if get_origin(one) is Literal), ())


def _flags(field: Field[Any], kind: Any) -> list[str]:
    """Of a switch: what turns it on and off; a switch that is off by default needs no opposite."""
    if "flags" in field.metadata:
        return [field.metadata["flags"]]
    name = field.name.replace("_", "-")
    if kind is not bool and kind != bool | None:
        return []
    return [f"--{name}" if field.default is False else f"--{name}/--no-{name}"]


def option_type(hint: Any) -> Any:
    """The type of an option for the type of a field: of several, the one that a command line can give."""
    origin = get_origin(hint)
    if origin is tuple or (inspect.isclass(origin) and issubclass(origin, Sequence)):
        return Sequence
    if origin not in (Union, types.UnionType):
        return hint
    found = [option_type(one) for one in get_args(hint) if one is not type(None)]
    optional = len(found) < len(get_args(hint))
    best = next((one for one in found if get_origin(one) is Literal or one in (Sequence, Path)), found[0])
    return best | None if optional and best is not Sequence else best


@functools.cache
def _documented(settings: type) -> dict[str, str]:
    found = parse(settings.__doc__ or "", DocstringStyle.NUMPYDOC).params
    return {
        name.strip(): " ".join((parameter.description or "").partition("\n\n")[0].split())
        for parameter in found
        for name in parameter.arg_name.split(",")
    }


def help_of(settings: type, name: str) -> str:
    """What the docstring of a dataclass, or of one that it extends, says of a field."""
    return next((text for cls in settings.__mro__ if (text := _documented(cls).get(name))), "")


def _parser(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser whose own words reach the user; click would replace them."""

    def parser(text: str) -> Any:
        try:
            return parse(text)
        except UsageError as error:
            raise typer.BadParameter(str(error)) from error

    return parser


def whole_numbers(text: str) -> tuple[int, ...]:
    """Parse "256,384,512". Raises typer.BadParameter."""
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: give whole numbers with commas, such as 256,384,512") from error
