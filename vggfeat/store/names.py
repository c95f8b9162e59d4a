"""Names in little memory: a set of them, or a map from them to a few bytes."""

from collections.abc import Callable
from hashlib import blake2b

import numpy as np


class Names:
    """Which names were added before, each with a value: 16 bytes for each name, and its value (at least 1 byte).

    The 128-bit BLAKE2b digests of the names are held. The probability that two of ten million names have the same
    digest is 1.5e-25, and no way is known to make two such names: no image is taken for another one.

    width : bytes of a value at most; bytes at its end that are zero are lost. unpacked : names that are held as Python
    objects before they are packed.
    """

    def __init__(self, width: int = 0, unpacked: int = 2**18) -> None:
        self._most, self._value = unpacked, f"S{max(1, width)}"
        self._unpacked: dict[bytes, bytes] = {}
        self._packed: list[tuple[np.ndarray, np.ndarray]] = []  # sorted, each at least twice as long as the next

    def __len__(self) -> int:
        return len(self._unpacked) + sum(len(digests) for digests, _ in self._packed)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def add(self, name: str, value: bytes = b"") -> bool:
        """Add a name, unless it is there already, and return whether it is new."""
        return self.replace(name, lambda old: value if old is None else old) is None

    def get(self, name: str) -> bytes | None:
        """The value of a name; None if the name was not added."""
        digest = _digest(name)
        known = self._unpacked.get(digest)  # before the packed ones: another thread may be packing
        if known is not None:
            return known
        values, place = self._find(digest)
        return None if values is None else bytes(values[place])

    def replace(self, name: str, change: Callable[[bytes | None], bytes]) -> bytes | None:
        """Set the value of a name to `change` of the old one, which is None for a new name. Returns the old one."""
        digest = _digest(name)
        values, place = self._find(digest)
        if values is not None:
            old = bytes(values[place])
            values[place] = change(old)
            return old
        known = self._unpacked.get(digest)
        self._unpacked[digest] = change(known)
        if len(self._unpacked) >= self._most:
            self._pack()
        return known

    def _find(self, digest: bytes) -> tuple[np.ndarray | None, int]:
        """The packed values with that of a digest, and its place in them; None if it is not packed."""
        for digests, values in self._packed:
            place = int(digests.searchsorted(digest))
            if place < len(digests) and digests[place] == digest:
                return values, place
        return None, 0

    def _pack(self) -> None:
        digests, values = np.array(list(self._unpacked), "S16"), np.array(list(self._unpacked.values()), self._value)
        packed = list(self._packed)
        while packed and len(packed[-1][0]) < 2 * len(digests):
            more_digests, more_values = packed.pop()
            digests, values = np.concatenate([more_digests, digests]), np.concatenate([more_values, values])
        order = digests.argsort()
        self._packed = [*packed, (digests[order], values[order])]  # first: whoever reads meanwhile must find each name
        self._unpacked = {}


def _digest(name: str) -> bytes:
    # numpy's byte strings lose the zeros at their end, so these are removed here as well
    return blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest().rstrip(b"\0")
