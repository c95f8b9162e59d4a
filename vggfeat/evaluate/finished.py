"""Finished runs: stores that have a file run.json, which is written last."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

from vggfeat._util.files import write_text
from vggfeat._util.json_files import MAX_BYTES, checked, read_json
from vggfeat._util.printable import reason_of
from vggfeat.errors import StoreError
from vggfeat.store import Store

FACTS = "run.json"
AGAIN = "run the command that made it again"


class Facts(Protocol):
    """What run.json has in any case. images : how many, with unreadable ones."""

    @property
    def data(self) -> str: ...
    @property
    def images(self) -> int: ...


F = TypeVar("F", bound=Facts)


def write_facts(store: Path, facts: Any) -> None:
    """Write run.json of a dataclass, whole or not at all. Raises StoreError."""
    try:
        write_text(store / FACTS, json.dumps(asdict(facts), ensure_ascii=False, indent=1) + "\n")
    except OSError as error:
        raise StoreError(
            f"{store / FACTS}: cannot be written ({reason_of(error)}); run the same command again to continue"
        ) from error


def read_facts(store: Store, kind: type[F], made: Any, max_bytes: int = MAX_BYTES) -> F:
    """The facts of a run. made : the type of its fingerprint. Raises StoreError if it is damaged or not finished."""
    path = store.path
    try:
        facts: F = read_json(path / FACTS, kind, max_bytes)
    except FileNotFoundError:
        raise StoreError(f"{path}: is not finished; {AGAIN} to continue it") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path / FACTS}: cannot be read ({reason_of(error)}); {AGAIN}") from error
    try:
        checked(store.fingerprint, made)
        checked(store.meta.get("weights"), str)
    except ValueError as error:
        raise StoreError(f"{path / 'meta.json'}: is not that of a run ({error}); remove {path} and {AGAIN}") from None
    held = len(store) + len(store.failures)
    if held < facts.images:
        raise StoreError(f"{path}: holds {held} of {facts.images} images; {AGAIN} to continue it")
    if held > facts.images:
        raise StoreError(f"{path}: holds images that {facts.data} no longer has; remove it and evaluate again")
    return facts


def runs_at(path: Path, maker: str) -> Iterator[Path]:
    """The run at a path, or the runs in a folder. maker : the command that makes runs. Raises StoreError if none."""
    if (path / "meta.json").exists():
        yield path
        return
    below = sorted(meta.parent for meta in path.glob("*/meta.json")) if path.is_dir() else []
    if not below:
        raise StoreError(f"{path}: is neither a run nor a folder of runs; `{maker}` makes runs")
    yield from below
