"""The bytes of a file, read once: what is hashed is what is read."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vggfeat._util.memory import free_memory
from vggfeat._util.printable import reason_of
from vggfeat._util.regular_files import open_regular
from vggfeat.errors import WeightsError


class Content:
    """All bytes of a file. Raises WeightsError, also for a file that is larger than the free memory."""

    def __init__(self, path: Path) -> None:
        try:
            with open_regular(path) as file:
                size, free = os.fstat(file.fileno()).st_size, free_memory()
                if size > free:
                    raise WeightsError(
                        f"{path}: has {size:,} bytes, and {free:,} bytes of memory are free; "
                        "convert it on a machine with more memory"
                    )
                self.data = file.read(size)
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({reason_of(error)})") from None
        self._sums: dict[str, str] = {}

    def sum(self, algorithm: str) -> str:
        """The checksum, hexadecimal; the algorithm is sha256, sha256_prefix or md5."""
        algorithm = algorithm.removesuffix("_prefix")
        if algorithm not in self._sums:
            self._sums[algorithm] = hashlib.new(algorithm, self.data, usedforsecurity=False).hexdigest()
        return self._sums[algorithm]

    def complaint(self, check: Mapping[str, Any]) -> str:
        """The first checksum that is not that of `check`, in words; empty if all are."""
        for kind, wanted in check.items():
            if not (found := self.sum(kind)).startswith(wanted):
                return f"its {kind.removesuffix('_prefix')} is {found[: max(len(wanted), 32)]}, not {wanted}"
        return ""
