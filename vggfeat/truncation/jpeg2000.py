"""JPEG 2000 files that lack tiles: OpenJPEG leaves these black."""

from typing import BinaryIO

__all__ = ["lacking"]

_START = b"\xff\x4f\xff\x51"  # of the codes: SOC, and SIZ with the sizes
_TILE = b"\xff\x90"  # SOT


def lacking(file: BinaryIO) -> str | None:
    """What the file lacks of its image; None if nothing."""
    file.seek(0)
    data = file.read()
    start = data.find(_START)
    sizes = [int.from_bytes(data[place : place + 4]) for place in range(start + 8, start + 40, 4)]
    right, bottom, _, _, width, height, left, top = sizes
    tiles = -(-(right - left) // width) * -(-(bottom - top) // height)
    place, found = start + 2, set[bytes]()
    while len(marker := data[place : place + 2]) == 2:
        if marker != _TILE:
            if found:  # the end, or after it
                break
            place += 2 + int.from_bytes(data[place + 2 : place + 4])
            continue
        found.add(data[place + 4 : place + 6])
        size = int.from_bytes(data[place + 6 : place + 10])
        if size == 0:  # up to the end
            break
        place += max(size, 12)
    return f"{tiles - len(found)} of {tiles} tiles are missing" if len(found) < tiles else None
