"""A set of names that stays small."""

from hashlib import blake2b

import numpy as np

FRESH = 2**18  # names that are held as Python objects before they are packed


class Names:
    """Which names have been seen, in 16 bytes each: ten million take 160 MB, not more than one GB.

    The 128-bit BLAKE2b digests stand for the names. That two names of a list of ten million share one has the
    probability 1.5e-25, and nobody knows how to make two that do: no image is taken for another.
    """

    def __init__(self) -> None:
        self._fresh: set[bytes] = set()
        self._packed: list[np.ndarray] = []  # sorted, each at least twice as long as the next

    def __len__(self) -> int:
        return len(self._fresh) + sum(map(len, self._packed))

    def __contains__(self, name: str) -> bool:
        return self._has(_digest(name))

    def add(self, name: str) -> bool:
        """Whether the name is a new one; it is in the set afterwards."""
        digest = _digest(name)
        if self._has(digest):
            return False
        self._fresh.add(digest)
        if len(self._fresh) >= FRESH:
            self._pack()
        return True

    def _has(self, digest: bytes) -> bool:
        if digest in self._fresh:
            return True
        for packed in self._packed:
            place = packed.searchsorted(digest)
            if place < len(packed) and packed[place] == digest:
                return True
        return False

    def _pack(self) -> None:
        run = np.array(list(self._fresh), "S16")
        self._fresh = set()
        while self._packed and len(self._packed[-1]) < 2 * len(run):
            run = np.concatenate([self._packed.pop(), run])
        run.sort()
        self._packed.append(run)


def _digest(name: str) -> bytes:
    # numpy's byte strings lose the zeros at their end: here too, then, so that both are equal
    return blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest().rstrip(b"\0")
