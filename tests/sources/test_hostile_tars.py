"""Tars that lie about sizes, or hold far more than their size. Each gives its images and one failure, and ends."""

import bz2
import gzip
import io
import lzma
import random
import struct
import tarfile
import zlib

import pytest

from tests.kit.image_sources import listed, put, tar
from vggfeat import sources
from vggfeat.errors import ImageError
from vggfeat.sources import tar as tars
from vggfeat.spec import MAX_BYTES


def member(name="x.jpg", data=b"", kind=tarfile.REGTYPE, size=None) -> bytes:
    """A header, with any size, and its data."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data) if size is None else size
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def pax(kind=tarfile.XHDTYPE, **fields) -> bytes:
    """A PAX header."""
    records = b""
    for key, value in fields.items():
        rest = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(rest) + 1
        while length != len(rest) + len(str(length)):
            length += 1
        records += str(length).encode() + rest
    return member("pax", records, kind)


END = bytes(1024)
GOOD = member("a.jpg", b"a")
DIGITS = member("pax", b"1" * 2**14, tarfile.XHDTYPE)

# what comes after a good member -> what the failure says
HOSTILE = {
    "a negative size": (pax(size=-5) + member(), "a header is damaged"),
    "a negative size in the header itself": (member(size=-5), "a header is damaged"),
    "a size of 10^17 bytes": (pax(size=10**17) + member(), "unexpected end of data"),
    "a size of 300 digits": (pax(size=10**299) + member(), "a header is damaged"),
    "a size below the bound": (member(size=MAX_BYTES - 1), "unexpected end of data"),
    "an endless name": (member("", b"", tarfile.GNUTYPE_LONGNAME, 2**40), "a header is damaged: it has more than"),
    "a long name": (member("", b"n" * 2**20, tarfile.GNUTYPE_LONGNAME), "a header is damaged: it has more than"),
    "headers of headers": (member("pax", b"", tarfile.XHDTYPE) * 5000, "a header is damaged|recursion"),
    "global headers of headers": (member("pax", b"", tarfile.XGLTYPE) * 5000, "a header is damaged|recursion"),
    "digits in a header": (DIGITS + member("y.jpg"), "a header is damaged"),
    "many global fields": (
        pax(tarfile.XGLTYPE, **{f"k{i}": 1 for i in range(1200)}) + member(),
        "a header is damaged",
    ),
    "a map of a sparse file": (
        pax(GNU__sparse__major=1, GNU__sparse__minor=0, GNU__sparse__realsize=10)
        + member(data=b"9000000\n" + b"0\n1\n" * 2**18),
        "a header is damaged: it has more than",
    ),
}


@pytest.mark.parametrize("packed", [None, gzip.compress, bz2.compress, lzma.compress], ids=["", "gz", "bz2", "xz"])
@pytest.mark.parametrize("case", HOSTILE)
def test_the_images_before_a_lie_are_kept_and_the_archive_fails_once(tmp_path, case, packed):
    data, said = HOSTILE[case]
    data = GOOD + data + END * (case != "a size of 10^17 bytes")
    found = listed(put(tmp_path / "t.tar", packed(data) if packed else data))
    assert found[0] == ("t.tar/a.jpg", None, None)
    assert found[-1][0] == "t.tar"
    assert any(word in found[-1][2] for word in said.split("|")), found[-1]
    assert len(found) <= 3


def test_an_archive_of_153_bytes_with_a_member_of_10_to_17_bytes(tmp_path):
    """It was read for ever: Python's tarfile skips a member of a stream by reading, also after the end."""
    data = gzip.compress(pax(size=10**17) + member("big.jpg"))
    assert len(data) < 300
    (big, end) = listed(put(tmp_path / "t.tar.gz", data))
    assert "has 100,000,000,000,000,000 bytes, more than" in big[2]
    assert "unexpected end of data" in end[2]


def test_a_member_whose_bytes_are_not_there_takes_no_memory_for_them(tmp_path):
    put(tmp_path / "t.tar", member(size=MAX_BYTES))
    image = next(sources.items(tmp_path / "t.tar")).image
    with pytest.raises(ImageError, match="ends within this image"):
        image.fetch()
    asked = []

    class Watched(io.BytesIO):
        def read(self, size=-1):
            asked.append(size)
            return super().read(size)

    with pytest.raises(tarfile.ReadError, match="unexpected end of data"):
        for entry in tars.entries(Watched(member(size=MAX_BYTES)), stream=False):
            entry.read()
    assert max(asked) <= 2**20


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize(
    "members", [member("a.mp4", bytes(2**22)), b"".join(member(f"{i}.mp4", bytes(2**16)) for i in range(64))]
)
def test_an_archive_that_unpacks_to_far_more_than_its_size_ends(compress, members):
    file = io.BytesIO(compress(members + END))
    assert len(file.getvalue()) < 2**14
    with pytest.raises(tarfile.ReadError, match="unpacks to more than 200 times its size"):
        list(tars.entries(file, stream=True, unpacked=2**20))
    file.seek(0)
    assert list(tars.entries(file, stream=True, unpacked=2**23))
    noise = io.BytesIO(compress(member("a.jpg", random.Random(0).randbytes(2**21)) + END))
    assert len(list(tars.entries(noise, stream=True, unpacked=2**20))) == 1


def test_compressed_archives_of_several_streams_are_read_whole(tmp_path):
    """As pigz, pbzip2 and xz with threads write them; the streams end in the middle of members."""
    data = tar(tmp_path / "t.tar", [(f"{i}.jpg", bytes([i]) * 3000) for i in range(6)]).read_bytes()
    for compress in (gzip.compress, bz2.compress, lzma.compress):
        put(tmp_path / "t.tar", b"".join(compress(data[at : at + 1000]) for at in range(0, len(data), 1000)))
        assert [item.image for item in sources.items(tmp_path / "t.tar")] == [bytes([i]) * 3000 for i in range(6)]


def test_xz_that_asks_for_gigabytes_of_memory_is_refused(tmp_path):
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**20}]
    data = bytearray(lzma.compress(GOOD + END, filters=filters))
    header = data[12 : 12 + (data[12] + 1) * 4]
    at = header.index(b"\x21\x01") + 2  # the size of the dictionary: 40 is 4 GiB
    header[at] = 40
    header[-4:] = struct.pack("<I", zlib.crc32(header[:-4]))
    data[12 : 12 + len(header)] = header
    assert "emory usage limit" in listed(put(tmp_path / "t.tar.xz", bytes(data)))[-1][2]


def test_a_sparse_file_of_gnu_tar_is_read(tmp_path):
    sparse = b"2\n2\n3\n9\n1\n".ljust(512, b"\0") + b"abcd"  # 3 bytes at 2, 1 byte at 9
    header = pax(GNU__sparse__major=1, GNU__sparse__minor=0, GNU__sparse__name="s.jpg", GNU__sparse__realsize=12)
    data = header + member("GNUSparseFile.0/s.jpg", sparse) + GOOD + END
    for one in (data, gzip.compress(data)):
        first, second = sources.items(put(tmp_path / "t.tar", one))
        assert (first.path, first.image) == ("t.tar/s.jpg", b"\0\0abc\0\0\0\0d\0\0")
        assert (second.image if isinstance(second.image, bytes) else second.image.fetch()) == b"a"


def test_an_error_of_an_unexpected_type_is_the_failure_of_its_archive(tmp_path, monkeypatch):
    tar(tmp_path / "a.tar", [("0.jpg", b"0"), ("1.jpg", b"1")])
    tar(tmp_path / "b.tar", [("2.jpg", b"2")])
    found = tarfile.TarFile.next
    for error, said in ((KeyError("k"), "KeyError: 'k'"), (MemoryError(), "not enough memory")):

        def next_(self, error=error):
            if self.offset >= 2048:
                raise error
            return found(self)

        monkeypatch.setattr(tarfile.TarFile, "next", next_)
        rows = listed(tmp_path)
        assert [row[0] for row in rows] == ["a.tar/0.jpg", "a.tar/1.jpg", "a.tar", "b.tar/2.jpg"]
        assert said in rows[2][2]
        monkeypatch.setattr(tarfile.TarFile, "next", found)


def damaged(seed: int) -> bytes:
    """A tar with PAX records and a sparse file of which some bytes, sizes and checksums are changed, and it is cut."""
    draw = random.Random(seed)
    parts = [GOOD, pax(size=draw.choice([-1, 0, 3, 2**31, 2**70])), member("b.jpg", b"b" * 700),
             pax(GNU__sparse__map="0,3,600,5", GNU__sparse__size=700), member("c.jpg", b"c" * 8), pax(path="d" * 200),
             member("x", b"long/" * 60, tarfile.GNUTYPE_LONGNAME), member("e.jpg", b"e" * 600),
             member("l", kind=tarfile.LNKTYPE), member("s", b"s" * 512, tarfile.GNUTYPE_SPARSE)]  # fmt: skip
    data = bytearray(b"".join(draw.choices(parts, k=draw.randint(1, 12))) + END)
    for _ in range(draw.randint(0, 8)):
        data[draw.randrange(len(data))] = draw.choice(b"\0\xff-019 =\n" + bytes([draw.randrange(256)]))
    for at in range(0, len(data) - 512, 512):  # checksums that hold, so that the damage is read
        if draw.random() < 0.8 and data[at + 257 : at + 262] == b"ustar":
            block = data[at : at + 148] + b" " * 8 + data[at + 156 : at + 512]
            data[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    data = bytes(data[: draw.randint(0, len(data))]) if draw.random() < 0.3 else bytes(data)
    packed = draw.choice([bytes, gzip.compress, bz2.compress, lzma.compress])(data)
    return packed[: draw.randint(0, len(packed))] if draw.random() < 0.2 else packed


def fuzz(folder, seeds):
    for seed in seeds:
        found = list(sources.items(put(folder / "t.tar", damaged(seed))))
        assert len(found) <= 26, seed
        for item in found:
            assert item.path == "t.tar" or item.path.startswith("t.tar/"), seed
            if isinstance(item.image, ImageError):
                assert len(str(item.image).splitlines()) == 1, seed
            elif not isinstance(item.image, bytes):
                try:
                    assert len(item.image.fetch()) <= MAX_BYTES, seed
                except ImageError as error:
                    assert "ends within this image" in str(error)


def test_damaged_tars_are_images_and_failures(tmp_path):
    fuzz(tmp_path, range(300))


@pytest.mark.slow
def test_many_damaged_tars_are_images_and_failures(tmp_path):
    fuzz(tmp_path, range(300, 30_000))
