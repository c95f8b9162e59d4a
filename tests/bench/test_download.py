"""Archives of data sets, from a local server: fetched, verified, unpacked, and never out of the folder."""

import gzip
import hashlib
import io
import tarfile
import threading
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from vggfeat import cli
from vggfeat.bench import download
from vggfeat.bench.archives import unpack
from vggfeat.data.base import Archive
from vggfeat.data.readers import ORIGINS, READERS
from vggfeat.errors import DataError, FetchError, UsageError

pytestmark = pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="unpacking needs Python 3.11.4 or later")


def tar(members, mode="w"):
    """The bytes of a tar of (name or TarInfo, content) pairs."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def server(tmp_path, monkeypatch):
    """serve(benchmark, {file name: bytes}, signs, inner) -> (the paths that are asked for, `origins` for download).

    serve.address : of the server. The files lie in tmp_path/server.
    """
    folder = tmp_path / "server"
    folder.mkdir()
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *words):
            asked.append(self.path)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()

    def serve(name, files, signs, inner=None):
        facts = []
        for (file, content), sign in zip(files.items(), signs, strict=True):
            (folder / file).write_bytes(content)
            url = f"{serve.address}/{file}"
            facts.append(Archive(url, hashlib.md5(content).hexdigest(), sign, inner))
        return asked, {name: replace(ORIGINS[name], archives=tuple(facts))}

    serve.address = f"http://127.0.0.1:{httpd.server_port}"
    monkeypatch.delenv("VGGFEAT_MIRROR", raising=False)
    monkeypatch.setenv("no_proxy", "*")  # urllib keeps the proxies of its first call
    yield serve
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def caltech256(*more):
    names = ["256_ObjectCategories/001.ak47/001_0001.jpg", "256_ObjectCategories/002.flag/002_0001.jpg"]
    return tar([*((name, b"a photo") for name in names), *more])


def test_an_archive_is_fetched_once_and_can_be_read(server, tmp_path):
    asked, origins = server("caltech256", {"c.tar": caltech256()}, ["001.ak47"])
    for _ in range(2):
        assert download("caltech256", tmp_path / "data", origins=origins) == tmp_path / "data"
    assert asked == ["/c.tar"]
    images = READERS["caltech256"](tmp_path / "data")
    assert images.paths == ("001.ak47/001_0001.jpg", "002.flag/002_0001.jpg")
    assert [image.read_bytes() for image in images.images] == [b"a photo"] * 2


def test_the_tar_inside_a_zip(server, tmp_path):
    inside = tar([("101_ObjectCategories/Faces_easy/1.jpg", b"x")], "w:gz")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as outer:
        outer.writestr("caltech-101/101.tar.gz", inside)
        outer.writestr("../elsewhere", b"never looked at")
    _, origins = server("caltech101", {"c.zip": out.getvalue()}, ["Faces_easy"], inner="caltech-101/101.tar.gz")
    download("caltech101", tmp_path / "data", origins=origins)
    assert (tmp_path / "data/101_ObjectCategories/Faces_easy/1.jpg").read_bytes() == b"x"
    assert not (tmp_path / "elsewhere").exists()


def test_only_what_is_missing_is_fetched(server, tmp_path):
    trainval = tar([("VOCdevkit/VOC2007/ImageSets/Main/train.txt", b"")])
    test = tar([("VOCdevkit/VOC2007/ImageSets/Main/test.txt", b"")])
    signs = ["ImageSets/Main/train.txt", "ImageSets/Main/test.txt"]
    asked, origins = server("voc2007", {"trainval.tar": trainval, "test.tar": test}, signs)
    mine = tmp_path / "data/VOCdevkit/VOC2007/ImageSets/Main/train.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    download("voc2007", tmp_path / "data", origins=origins)
    assert asked == ["/test.tar"]
    assert mine.read_text() == "mine" and mine.with_name("test.txt").exists()


def test_an_unpacking_that_was_killed_is_done_again(server, tmp_path, monkeypatch):
    asked, origins = server("caltech256", {"c.tar": caltech256()}, ["001.ak47"])

    def killed(archive, member, folder, **options):
        (folder / "001.ak47").mkdir()  # the sign of a whole copy exists, and little else
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extract", killed)
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            download("caltech256", tmp_path / "data", origins=origins)
    download("caltech256", tmp_path / "data", origins=origins)
    assert len(READERS["caltech256"](tmp_path / "data" / "256_ObjectCategories")) == 2
    assert asked == ["/c.tar"]


@pytest.mark.parametrize("name", ["../out.jpg", "a/../../out.jpg", "/tmp/vggfeat-out.jpg", "..\\out.jpg"])
def test_a_member_that_leads_out_is_refused(name, tmp_path):
    (tmp_path / "a.tar").write_bytes(caltech256((name, b"x")))
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="leads out of the folder"):
        unpack(tmp_path / "a.tar", tmp_path / "data")
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar", "data"}


def test_links_and_devices_are_passed_over(tmp_path):
    """And what would be written through a link of the archive lands in a folder of that name."""
    (tmp_path / "data").mkdir()
    members = [
        (special("out", tarfile.SYMTYPE, ".."), b""),
        ("out/escaped.jpg", b"x"),
        (special("hard", tarfile.LNKTYPE, "../a.tar"), b""),
        (special("pipe", tarfile.FIFOTYPE), b""),
    ]
    (tmp_path / "a.tar").write_bytes(tar(members))
    unpack(tmp_path / "a.tar", tmp_path / "data")
    found = sorted(str(path.relative_to(tmp_path / "data")) for path in (tmp_path / "data").rglob("*"))
    assert found == ["out", "out/escaped.jpg"]
    assert not (tmp_path / "escaped.jpg").exists()


def test_a_link_that_was_there_before_leads_nobody_out(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data/256_ObjectCategories").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a.tar").write_bytes(caltech256())
    with pytest.raises(DataError, match="leads out of the folder"):
        unpack(tmp_path / "a.tar", tmp_path / "data")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_decompression_bomb_is_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(gzip.compress(tar([("a.jpg", bytes(3 * 2**20))])))
    with pytest.raises(DataError, match="unpacks to more than"):
        unpack(tmp_path / "a.tar", tmp_path / "data")
    (tmp_path / "b.tar").write_bytes(tar([(f"{n}.jpg", b"") for n in range(6)]))
    with pytest.raises(DataError, match="more than 5 files"):
        unpack(tmp_path / "b.tar", tmp_path / "data", members=5)


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive at all" * 100, caltech256()[:700], gzip.compress(b"x" * 999, mtime=0)[:9]],
    ids=["empty", "text", "tar", "gzip"],
)
@pytest.mark.parametrize("inner", [None, "a.tar"])
def test_a_damaged_archive_is_one_line(content, inner, tmp_path):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match="cannot be unpacked") as caught:
        unpack(tmp_path / "a.tar", tmp_path / "data", inner)
    assert "\n" not in str(caught.value)


def test_wrong_checksums(server, tmp_path):
    _, origins = server("caltech256", {"c.tar": caltech256()}, ["001.ak47"])
    (tmp_path / "server/c.tar").write_bytes(b"something else")
    with pytest.raises(FetchError, match="md5"):
        download("caltech256", tmp_path / "data", origins=origins)
    (tmp_path / "data/c.tar").write_bytes(b"put there by hand, in part")
    with pytest.raises(DataError, match=r"c\.tar: its md5 is .*delete it"):
        download("caltech256", tmp_path / "data", origins=origins)
    assert not (tmp_path / "data/256_ObjectCategories").exists()


def test_the_command_fetches_and_goes_on(server, tmp_path, monkeypatch):
    """From a mirror, since the command knows the official addresses only; the checksum is made to fit."""
    [official] = ORIGINS["caltech256"].archives
    name = official.url.rpartition("/")[2]
    asked, _ = server("caltech256", {name: caltech256()}, [official.sign])

    class Digest:
        def hexdigest(self):
            return official.md5

    digest = hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda file, kind: Digest() if name in str(file.name) else digest(file, kind)
    )
    monkeypatch.setenv("VGGFEAT_MIRROR", server.address)
    monkeypatch.setenv("VGGFEAT_DATA", str(tmp_path))
    words = ["bench", "caltech256", "--download", "--weights", "slim"]
    result = CliRunner().invoke(cli.app, words)
    assert isinstance(result.exception, DataError) and "a split needs at least two" in str(result.exception)
    assert asked == [f"/{name}"]
    assert (tmp_path / "caltech256/256_ObjectCategories/002.flag/002_0001.jpg").exists()


def test_a_data_set_without_archives(tmp_path):
    with pytest.raises(UsageError, match="digits has nothing to download"):
        download("digits", tmp_path)


@pytest.mark.parametrize("name", ORIGINS)
def test_facts_of_the_official_archives(name):
    """Each address is in the words of the error about missing data, by its file name or its record."""
    for archive in ORIGINS[name].archives:
        record = archive.url.removesuffix("/files/" + archive.url.rpartition("/")[2])
        assert record in ORIGINS[name].get or archive.url.rpartition("/")[2] in ORIGINS[name].get
        assert len(archive.md5) == 32


def pax(records, size=0):
    """A header of a tar that says something of the next member."""
    content = b"".join(b"%d %s\n" % (len(record) + 4, record) for record in records)
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, size or len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content.ljust(-len(content) % 512 + len(content), b"\0")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pax([b"size=-5"]) + caltech256(), "cannot be unpacked"),
        (pax([b"size=99999999999999"]) + caltech256(), "unpacks to more than"),
        (pax([b"path=a"]) * 3000 + caltech256(), "cannot be unpacked"),
        (pax([], size=8 * 10**9) + caltech256(), "cannot be unpacked"),
    ],
    ids=["a negative size", "a huge size", "headers of headers", "a huge header"],
)
def test_a_header_that_lies_is_one_line(content, reason, tmp_path):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        unpack(tmp_path / "a.tar", tmp_path / "data")
    assert "\n" not in str(caught.value)
