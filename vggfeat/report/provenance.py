"""Where a result comes from: the folder of its images, the versions, the machine, the command."""

import os
import platform
import shlex
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from vggfeat._util.printable import hidden


def provenance(
    vggfeat: str,
    facts: Iterable[tuple[str, str]],
    command: Sequence[str] | None,
    *,
    processor: str | None = None,
) -> list[tuple[str, str]]:
    """The foot of a page. vggfeat : the version that made the result. processor : a GPU; default: those of the CPU."""
    software = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    return [
        ("vggfeat", vggfeat),
        *facts,
        ("Date (UTC)", datetime.now(UTC).strftime("%Y-%m-%d %H:%M")),
        ("Machine", f"{processor or f'{platform.machine()}, {os.cpu_count()} processors'}, {platform.system()}"),
        ("Software", f"Python {platform.python_version()}, {software}"),
        *([("Command", hidden(shlex.join([Path(command[0]).name, *command[1:]])))] if command else []),
    ]


def folder_of(images: Sequence[Any], names: Sequence[str]) -> Path | None:
    """The folder to which the names of the images are relative; None for images that are in no files."""
    if not len(images) or not isinstance(images[0], Path):
        return None
    parts = PurePosixPath(names[0]).parts
    same = images[0].parts[-len(parts) : -1] == parts[:-1]
    return images[0].parents[len(parts) - 1] if same else None
