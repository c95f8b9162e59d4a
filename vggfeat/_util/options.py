"""Settings as dataclasses, and functions that take their fields as keywords: each option, its default and its help
exist once, in the dataclass and its numpydoc docstring.
"""

import functools
import inspect
from collections.abc import Callable, Collection, Iterable
from dataclasses import MISSING, Field, fields, replace
from functools import partial
from typing import Any, TypeVar, get_args

from vggfeat.errors import UsageError

R = TypeVar("R")


def check_choice(what: str, value: Any, choices: Any) -> None:
    """Raise UsageError if `value` is none of the choices of a Literal."""
    if value not in get_args(choices):
        raise UsageError(f"no {what} {value!r}; take one of {', '.join(get_args(choices))}")


def default_of(field: Field[Any]) -> Any:
    """The default of a field; inspect.Parameter.empty if it has none."""
    if field.default is not MISSING:
        return field.default
    return inspect.Parameter.empty if field.default_factory is MISSING else field.default_factory()


def parameters_of(settings: type, kind: Any = inspect.Parameter.KEYWORD_ONLY) -> list[inspect.Parameter]:
    """The fields of a dataclass as parameters of a function."""
    return [
        inspect.Parameter(field.name, kind, default=default_of(field), annotation=field.type)
        for field in fields(settings)
    ]


def takes(
    *, positional: Iterable[str] = (), without: Collection[str] = (), **groups: type
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Let a function that takes settings objects take their fields as keywords.

    ``@takes(spec=DescriptorSpec)`` on ``f(source, *, spec)`` gives ``f(source, *, net=None, scales=..., ...)``, which
    builds the object and passes it on; ``f(source, spec=...)`` passes a ready one. The signature, and so `help`, shows
    both.

    positional : fields that may be given by position as well, after the function's own parameters.
    without : fields that the function gives itself. In place of the object that has them it gets a function that makes
    the object of them: ``spec(layer="pool5")``.
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        own = inspect.signature(function)
        ready = [p.replace(default=None, annotation=f"{p.annotation.__name__} | None") for p in _groups(own, groups)]
        signature = own.replace(parameters=[*_flat(own, groups, set(positional), without), *ready])

        @functools.wraps(function)
        def wrapper(*args: Any, **options: Any) -> R:
            bound = signature.bind(*args, **options).arguments
            for name, settings in groups.items():
                given = {field.name: bound.pop(field.name) for field in fields(settings) if field.name in bound}
                ready = bound.get(name)
                if ready is not None and given:
                    raise TypeError(f"{function.__name__}() got {name} and also {', '.join(given)}")
                if any(field.name in without for field in fields(settings)):
                    bound[name] = partial(settings, **given) if ready is None else partial(replace, ready)
                elif ready is None:
                    bound[name] = settings(**given)
            return function(**bound)

        wrapper.__signature__ = signature  # type: ignore[attr-defined]
        return wrapper

    return decorate


def _groups(own: inspect.Signature, groups: dict[str, type]) -> list[inspect.Parameter]:
    return [own.parameters[name].replace(annotation=settings) for name, settings in groups.items()]


def _flat(
    own: inspect.Signature, groups: dict[str, type], positional: set[str], without: Collection[str] = ()
) -> list[inspect.Parameter]:
    kept = [parameter for name, parameter in own.parameters.items() if name not in groups]
    added = [p for settings in groups.values() for p in parameters_of(settings) if p.name not in without]
    first = [p for p in kept if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    first += [p.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) for p in added if p.name in positional]
    return [
        *first,
        *(p for p in kept if p.kind is inspect.Parameter.KEYWORD_ONLY),
        *(p for p in added if p.name not in positional),
    ]


def with_parameters_of(
    *settings: type, positional: Iterable[str] = ()
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Let a function `f(self, **options)` take the fields of dataclasses, with their defaults and unchecked.

    scikit-learn reads the parameters of an estimator from the signature, and wants their values as they were given.
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        signature = inspect.Signature(
            _flat(inspect.Signature([own]), {one.__name__: one for one in settings}, set(positional))
        )

        @functools.wraps(function)
        def wrapper(*args: Any, **options: Any) -> R:
            bound = signature.bind(*args, **options)
            bound.apply_defaults()
            return function(**bound.arguments)

        wrapper.__signature__ = signature  # type: ignore[attr-defined]
        return wrapper

    return decorate
