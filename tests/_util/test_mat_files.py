"""MATLAB's files: what scipy would trust is checked before."""

import random
import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from vggfeat._util.mat_files import read_mat

CELL, STRUCT, OBJECT, CHARACTERS = 1, 2, 3, 4
NAME = "x"


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(kind: int, sides: tuple[int, ...], content: bytes, name: str = NAME) -> bytes:
    head = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(sides)}i", *sides))
    return element(14, head + element(1, name.encode()) + content)


def written(file: Path, *elements: bytes) -> Path:
    file.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"".join(elements))
    return file


def fields(*names: str) -> bytes:
    """The names of a struct's fields, of 8 bytes each; the length is in the head of its element."""
    return struct.pack("<HHi", 5, 4, 8) + element(1, b"".join(name.encode().ljust(8, b"\0") for name in names))


def value(found):
    return found[NAME]


def test_what_scipy_writes_is_read(tmp_path):
    cells = np.empty((2, 3), object)
    cells[:] = [["a", "b", "c"], [1.5, np.zeros(0), "äö"]]
    for packed in (False, True):
        savemat(tmp_path / "x.mat", {"x": {"names": cells, "text": "hello", "none": ""}}, do_compression=packed)
        read = read_mat(tmp_path / "x.mat", ["x"], value)
        assert read["text"].item().item() == "hello" and read["names"].item()[1, 0].item() == 1.5


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (CELL, b""),
        (STRUCT, fields("one")),
        (OBJECT, element(1, b"class") + fields("one")),
        (CHARACTERS, element(16, b"")),  # scipy fills it with spaces
    ],
)
@pytest.mark.parametrize("sides", [(1, 2**29), (2**30, 2**30), (2**31 - 1, 1), (2**20, 2**10)])
def test_room_for_values_that_are_not_there_is_not_made(tmp_path, kind, content, sides):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="unpacks to over"):
        read_mat(written(tmp_path / "x.mat", matrix(kind, sides, content)), [NAME], value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_nor_for_fields_of_many_structs(tmp_path):
    many = fields(*(f"f{i}" for i in range(1000)))
    with pytest.raises(ValueError, match="unpacks to over"):
        read_mat(written(tmp_path / "x.mat", matrix(STRUCT, (1, 11), many)), [NAME], value, max_arrays=10_000)


def test_variables_that_are_not_asked_for_are_passed_over(tmp_path):
    bomb, large = matrix(CELL, (1, 2**29), b"", "y"), matrix(6, (1, 2**14), element(9, bytes(2**17)), "y")
    good = matrix(6, (1, 1), element(9, struct.pack("<d", 2.5)))
    assert read_mat(written(tmp_path / "x.mat", bomb, large, good), [NAME], value).item() == 2.5
    with pytest.raises(ValueError, match="unpacks to over"):
        read_mat(written(tmp_path / "x.mat", bomb, large, good), [NAME, "y"], value)


@pytest.mark.parametrize("sides", [(), (1,), (-5, 2), (3, -1)])
@pytest.mark.parametrize("kind", [CELL, CHARACTERS, 6])
def test_sides_that_no_matrix_has_are_refused(tmp_path, kind, sides):
    """scipy ends the process if there are none."""
    content = matrix(kind, sides, element(9, bytes(8)))
    with pytest.raises(ValueError, match="a matrix with the sides"):
        read_mat(written(tmp_path / "x.mat", content), [NAME], value)


@pytest.mark.parametrize(
    "content",
    [
        matrix(CHARACTERS, (1, 2), element(80, b"ab")),  # scipy takes the 80th entry of a table of 20
        matrix(6, (1, 1), element(11, bytes(8))),
        matrix(6, (1, 1), element(200, bytes(8))),
        matrix(6, (1, 1), struct.pack("<HHi", 90, 4, 1)),
        matrix(0, (1, 1), element(9, bytes(8))),
        matrix(99, (1, 1), element(9, bytes(8))),
        matrix(STRUCT, (1, 1), struct.pack("<HHi", 5, 4, 8) + element(77, b"one".ljust(8, b"\0"))),
        matrix(CELL, (1, 1), element(9, bytes(8))),
    ],
)
def test_kinds_that_do_not_exist_are_refused(tmp_path, content):
    """scipy would end the process."""
    with pytest.raises(ValueError, match=r"kind \d+"):
        read_mat(written(tmp_path / "x.mat", content), [NAME], value)


def test_a_tower_of_cells_does_not_overflow_the_stack(tmp_path):
    floors, size = [], 0
    for name in [""] * 20_000 + [NAME]:
        head = matrix(CELL, (1, 1), b"", name)[8:]
        floors.append(struct.pack("<II", 14, len(head) + size) + head)
        size += len(floors[-1])
    written(tmp_path / "x.mat", *reversed(floors))
    code = (
        "import sys; from pathlib import Path; from vggfeat._util.mat_files import read_mat\n"
        "try: read_mat(Path(sys.argv[1]), ['x'], len)\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "x.mat"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Flips of bits, numbers that grow, cuts, and repeated stretches, behind the header."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(128, len(changed) - 8)
        match draw.randrange(4):
            case 0:
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                changed[at : at + 4] = struct.pack("<I", draw.choice([0, 1, 14, 2**20, 2**31 - 1, 2**32 - 1]))
            case 2:
                changed[at:at] = changed[at : at + draw.randrange(200)]
            case 3:
                del changed[max(200, at) :]
    return bytes(changed)


def fuzz(folder: Path, tries: int) -> int:
    """How many damaged files were refused; the others are read."""
    rows = np.array([("n1", 1.0), ("n2", 2.0)], dtype=[("WNID", object), ("id", object)])
    savemat(folder / "whole.mat", {"x": rows})
    data, refused, draw = (folder / "whole.mat").read_bytes(), 0, random.Random(15)
    for _ in range(tries):
        (folder / "x.mat").write_bytes(damaged(data, draw))
        try:
            read_mat(folder / "x.mat", ["x"], len)
        except ValueError as error:
            assert "\n" not in str(error)
            refused += 1
    return refused


def test_damaged_files_are_refused_in_one_line(tmp_path):
    assert fuzz(tmp_path, 150) > 50


@pytest.mark.slow
def test_many_damaged_files_are_refused_in_one_line(tmp_path):
    assert fuzz(tmp_path, 10_000) > 3000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4_000_000  # kB
