"""A set of names that stays small."""

from hashlib import blake2b

import numpy as np


class Names:
    """Which names were added before, in 16 bytes for each: ten million names take 160 MB, not more than one GB.

    The set holds the 128-bit BLAKE2b digests of the names. The probability that two of ten million names have the same
    digest is 1.5e-25, and no way is known to make two such names: no image is taken for another one.

    unpacked : names that are held as Python objects before they are packed.
    """

    def __init__(self, unpacked: int = 2**18) -> None:
        self._most = unpacked
        self._unpacked: set[bytes] = set()
        self._packed: list[np.ndarray] = []  # sorted, each at least twice as long as the next

    def __len__(self) -> int:
        return len(self._unpacked) + sum(map(len, self._packed))

    def __contains__(self, name: str) -> bool:
        return self._has(_digest(name))

    def add(self, name: str) -> bool:
        """Add a name, and return whether it is new."""
        digest = _digest(name)
        if self._has(digest):
            return False
        self._unpacked.add(digest)
        if len(self._unpacked) >= self._most:
            self._pack()
        return True

    def _has(self, digest: bytes) -> bool:
        if digest in self._unpacked:
            return True
        for packed in self._packed:
            place = packed.searchsorted(digest)
            if place < len(packed) and packed[place] == digest:
                return True
        return False

    def _pack(self) -> None:
        run = np.array(list(self._unpacked), "S16")
        self._unpacked = set()
        while self._packed and len(self._packed[-1]) < 2 * len(run):
            run = np.concatenate([self._packed.pop(), run])
        run.sort()
        self._packed.append(run)


def _digest(name: str) -> bytes:
    # numpy's byte strings lose the zeros at their end, so these are removed here as well
    return blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest().rstrip(b"\0")
