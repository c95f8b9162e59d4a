"""Sources: what a folder, a list, a tar, a pattern and an address are taken to hold."""

import asyncio
import gc
import gzip
import os
import subprocess
import tarfile
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.asyn import get_loop
from fsspec.implementations.http import HTTPFileSystem

from tests.kit.image_sources import content, listed, names, png, put, tar
from vggfeat import sources
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, ImageError
from vggfeat.extraction.run import default_out, extract
from vggfeat.sources import Item, LeftOut, folders, web
from vggfeat.sources.addresses import reach
from vggfeat.store import Store, load


@pytest.fixture(scope="module")
def describer(tiny_weights):
    return Describer(weights=tiny_weights("A", width=1 / 16, top="pool5"), layer="pool5", scales=(32,))


def test_a_folder_is_sorted_files_before_folders_hidden_ones_and_stores_left_out(tmp_path):
    for name in ("b.jpg", "a/z.jpg", "a/é.jpg", "a/b/c.jpg", "B.jpg", ".h.jpg", "a/.git/x.jpg", "old.vggfeat/p.parquet",
                 "store/meta.json", "store/.lock"):  # fmt: skip
        put(tmp_path / name, b"")
    assert listed(tmp_path) == [
        ("B.jpg", None, None), ("b.jpg", None, None),
        ("a/z.jpg", "a", None), ("a/é.jpg", "a", None), ("a/b/c.jpg", "a", None),
    ]  # fmt: skip
    assert sources.count(tmp_path) == 5


def test_a_folder_of_many_files_comes_in_order_and_packed(tmp_path):
    for i in range(100):
        put(tmp_path / f"{i * 37 % 100:03}.jpg", b"")
    assert [item.path for item in folders.walk(tmp_path, LeftOut(), packed=16)] == [f"{i:03}.jpg" for i in range(100)]


def test_deep_folders(tmp_path):
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        for _ in range(1200):  # deeper than Python's stack
            Path("d").mkdir()
            os.chdir("d")
        put(Path("a.jpg"), b"")
        os.chdir(tmp_path)
        assert names(tmp_path) == ["d/" * 1200 + "a.jpg"]
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # too deep for shutil, which tidies up later


def test_lists(tmp_path):
    (tmp_path / "l.txt").write_bytes("\ufeffa.jpg\r\n\n  \n./b c.jpg\nü.jpg\n/abs.jpg\n".encode())
    assert names(tmp_path / "l.txt") == ["a.jpg", "b c.jpg", "ü.jpg", "/abs.jpg"]
    assert next(sources.items(tmp_path / "l.txt")).image == tmp_path / "a.jpg"
    (tmp_path / "l.csv").write_text('label,path\ncat,"a, ""b""\nc.jpg"\n,d.jpg\n')
    assert listed(tmp_path / "l.csv") == [('a, "b"\nc.jpg', "cat", None), ("d.jpg", None, None)]
    pd.DataFrame({"path": ["a.jpg", "b.jpg"], "label": [3, None], "x": 0}).to_parquet(tmp_path / "l.parquet")
    assert [row[0] for row in listed(tmp_path / "l.parquet")] == ["a.jpg", "b.jpg"]
    pd.DataFrame({"path": ["a.jpg"], "label": ["dog"]}).to_parquet(tmp_path / "m.parquet")
    assert listed(tmp_path / "m.parquet") == [("a.jpg", "dog", None)]
    assert [sources.count(tmp_path / name) for name in ("l.txt", "l.parquet")] == [4, 2]
    binary = pa.table({"path": pa.array([b"a.jpg", b"b.jpg"]), "label": pa.array([b"dog", b""])})
    pq.write_table(binary, tmp_path / "b.parquet")
    assert listed(tmp_path / "b.parquet") == [("a.jpg", "dog", None), ("b.jpg", None, None)]
    for wrong in (pa.array([{"x": "a"}]), pa.array([b"\xff"])):
        pq.write_table(pa.table({"path": wrong}), tmp_path / "w.parquet")
        with pytest.raises(DataError, match=r"w\.parquet: is damaged"):
            names(tmp_path / "w.parquet")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"file\nx.jpg\n", "has no column 'path'"),
        ("a.txt", b"caf\xe9.jpg\n", "is not UTF-8 text"),
        ("a.csv", b"path\n" + b"x" * 200_000, "is damaged"),
        ("a.parquet", b"PAR1 no", "is damaged"),
    ],
)
def test_what_is_no_list(tmp_path, name, data, message):
    with pytest.raises(DataError, match=message):
        names(put(tmp_path / name, data))


def test_a_list_may_name_a_folder_or_nothing(tmp_path, describer):
    put(tmp_path / "good.png", png())
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "l.csv").write_text("path\ngood.png\nfolder.jpg\ngone.jpg\ngood.png\n")
    store = extract(tmp_path / "l.csv", tmp_path / "s", describer=describer)
    assert store.paths == ["good.png"]
    assert store.failures == {"folder.jpg": "not a regular file", "gone.jpg": "No such file or directory"}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_the_images_of_a_tar(tmp_path, mode):
    """Labels: WebDataset's .cls, a line of .txt; else the first folder."""
    long = "l" * 300 + ".jpg"
    file = tar(
        tmp_path / f"shard.tar{mode[1:].replace(':', '.')}",
        [("0.cls", b"7"), ("0.jpg", b"zero"), ("0.json", b"{}"), ("1.jpg", b"one"), ("1.txt", b"a dog\n"),
         ("2.jpg", b"two"), ("2.txt", b"two\nlines"), ("cats/3.png", b"three"), ("./4.seg.png", b"four"),
         (".hidden.jpg", b""), ("__/._5.jpg", b""), ("README", b"read me"), (long, b"long")],
        mode,
    )  # fmt: skip
    shard = file.name
    assert listed(file) == [
        (f"{shard}/0.jpg", "7", None), (f"{shard}/1.jpg", "a dog", None), (f"{shard}/2.jpg", None, None),
        (f"{shard}/cats/3.png", "cats", None), (f"{shard}/4.seg.png", None, None), (f"{shard}/README", None, None),
        (f"{shard}/{long}", None, None),
    ]  # fmt: skip
    fetched = [i.image if isinstance(i.image, bytes) else i.image.fetch() for i in sources.items(file)]
    assert fetched == [b"zero", b"one", b"two", b"three", b"four", b"read me", b"long"]


def test_what_webdataset_writes_is_read(tmp_path):
    import webdataset

    with webdataset.TarWriter(str(tmp_path / "w.tar")) as shard:
        for i in range(3):
            shard.write({"__key__": f"sample{i}", "png": png(i), "cls": i})
    assert listed(tmp_path / "w.tar") == [(f"w.tar/sample{i}.png", str(i), None) for i in range(3)]
    assert [item.image.fetch() for item in sources.items(tmp_path / "w.tar")] == [png(i) for i in range(3)]


def special(name, kind, target="") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_hostile_members_are_listed_and_none_is_followed(tmp_path, mode):
    file = tar(
        tmp_path / f"s.tar{'.gz' if mode == 'w:gz' else ''}",
        [("a.jpg", b"a"), ("../out.jpg", b"b"), ("/etc/passwd.jpg", b"c"), ("x/../../y.jpg", b"d"),
         special("link.jpg", tarfile.SYMTYPE, "/etc/passwd"), special("hard.jpg", tarfile.LNKTYPE, "a.jpg"),
         special("dev.jpg", tarfile.CHRTYPE), special("fifo.jpg", tarfile.FIFOTYPE), special("d", tarfile.DIRTYPE),
         ("a.jpg", b"another"), ("new\nline.jpg", b"e"), (os.fsdecode(b"\xff.jpg"), b"f")],
        mode,
    )  # fmt: skip
    found = {name.removeprefix(f"{file.name}/"): reason for name, _, reason in listed(file)}
    assert found == {
        "a.jpg": None,
        "../out.jpg": "its name leads out of the archive",
        "etc/passwd.jpg": "its name leads out of the archive",
        "x/../../y.jpg": "its name leads out of the archive",
        "link.jpg": "is a link, which is not followed",
        "hard.jpg": "is a link, which is not followed",
        "dev.jpg": "not a regular file",
        "fifo.jpg": "not a regular file",
        "a.jpg#8": "the archive has an earlier member of the same name",
        "new\nline.jpg": None,
        r"\xff.jpg": None,
    }


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("cut", [600, 1024, 1536, 1600, 2048, -1024])
def test_a_tar_that_ends_too_soon_is_a_failure_and_its_images_are_had(tmp_path, packed, cut):
    data = tar(tmp_path / "t.tar", [("a.jpg", b"a"), ("b.jpg", b"b"), ("c.jpg", b"c" * 600)]).read_bytes()
    whole = data[: 512 * 7]
    assert len(whole) > abs(cut) and not any(data[512 * 7 :])
    cut_off = whole[:cut]
    put(tmp_path / "t.tar", gzip.compress(cut_off) if packed else cut_off)
    found = listed(tmp_path / "t.tar")
    assert found[-1][0] == "t.tar"
    assert "cannot be read to its end" in found[-1][2]
    had = []
    for item in list(sources.items(tmp_path / "t.tar"))[:-1]:
        try:
            had.append((item.path, item.image if isinstance(item.image, bytes) else item.image.fetch()))
        except ImageError as error:
            assert "ends within this image" in str(error)
    assert had == [("t.tar/a.jpg", b"a"), ("t.tar/b.jpg", b"b")][: len(had)]
    assert len(had) >= (cut >= 1024 or cut < 0) + (cut >= 2048 or cut < 0)


def test_damaged_tars_neither_hang_nor_fill_the_memory(tmp_path):
    good = bytearray(tar(tmp_path / "t.tar", [(f"{i}.jpg", b"x" * 700) for i in range(6)]).read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(100):
        data = bytearray(good)
        for at in rng.integers(0, 512 * 12, rng.integers(1, 6)):
            data[at] = rng.integers(256)
        put(tmp_path / "t.tar", bytes(data))
        assert len(listed(tmp_path / "t.tar")) <= 8
        put(tmp_path / "t.tar", gzip.compress(bytes(data), 0))
        assert len(listed(tmp_path / "t.tar")) <= 8

    def header(kind: bytes, size: int) -> bytes:
        info = tarfile.TarInfo("x.jpg")
        info.type, info.size = kind, size
        return info.tobuf(tarfile.GNU_FORMAT)

    put(tmp_path / "t.tar", gzip.compress(header(tarfile.XHDTYPE, 2**33) + bytes(2**25)))
    assert "a header is damaged" in listed(tmp_path / "t.tar")[-1][2]
    put(tmp_path / "t.tar", gzip.compress(header(tarfile.REGTYPE, 2**33)))
    assert "bytes, more than" in listed(tmp_path / "t.tar")[0][2]


def test_a_name_that_no_system_takes_is_a_failure(tmp_path):
    put(tmp_path / "l.txt", b"a\0.jpg\nx\0y.tar\n")
    found = listed(tmp_path / "l.txt")
    assert [row[0] for row in found] == ["a\0.jpg", "x\0y.tar"]
    assert "null byte" in found[1][2]


def test_a_store_and_nothing_are_no_sources(tmp_path):
    put(tmp_path / "s" / "meta.json", b"{}")
    put(tmp_path / "s" / ".lock", b"")
    with pytest.raises(DataError, match="is a store of descriptors, not a folder of images"):
        names(tmp_path / "s")
    with pytest.raises(DataError, match="the name of the source is empty"):
        names("")


def test_files_of_this_machine_may_have_an_address(tmp_path):
    put(tmp_path / "a" / "0.png", png())
    os.mkfifo(tmp_path / "a" / "fifo.png")  # which is not waited for
    assert names(f"file://{tmp_path}") == ["a/0.png", "a/fifo.png"]
    (tmp_path / "l.txt").write_text(f"file://{tmp_path}/a/0.png\n")
    (found,) = sources.items(tmp_path / "l.txt")
    assert content(found) == png()


def test_an_archive_that_changes_gives_no_image_of_another(tmp_path):
    file = tar(tmp_path / "t.tar", [("a.jpg", b"a" * 100), ("b.jpg", b"b" * 100)])
    found = list(sources.items(file))
    assert found[0].image.fetch() == b"a" * 100
    tar(tmp_path / "new.tar", [("z.jpg", b"z" * 100), ("a.jpg", b"a" * 100)]).rename(file)
    with pytest.raises(ImageError, match="changed while it was read"):
        found[1].image.fetch()
    file.unlink()
    with pytest.raises(ImageError, match="No such file"):
        found[1].image.fetch()


def test_tars_in_a_folder_in_a_list_and_by_pattern(tmp_path):
    for i in range(3):
        tar(tmp_path / "shards" / f"s-{i:02}.tar", [(f"{i}/x.jpg", b"x"), (f"{i}/y.jpg", b"y")])
    put(tmp_path / "shards" / "z.jpg", b"z")
    inside = [f"s-{i:02}.tar/{i}/{n}.jpg" for i in range(3) for n in "xy"]
    assert names(tmp_path / "shards") == [*inside, "z.jpg"]
    assert [item.label for item in sources.items(tmp_path / "shards")] == ["0", "0", "1", "1", "2", "2", None]
    assert names(f"{tmp_path}/shards/*.tar") == inside
    assert names(f"{tmp_path}/shards/s-{{00..02}}.tar") == inside
    assert names(f"{tmp_path}/sh*/{{z,s-01}}.*") == ["shards/z.jpg", *(f"shards/{name}" for name in inside[2:4])]
    put(tmp_path / "deep" / "0.jpg", b"0")
    put(tmp_path / "deep" / "a" / "b" / "1.jpg", b"1")
    assert names(f"{tmp_path}/deep/**/*.jpg") == ["0.jpg", "a/b/1.jpg"]
    (tmp_path / "l.txt").write_text("shards/s-01.tar\nshards/z.jpg\n")
    assert names(tmp_path / "l.txt") == ["shards/s-01.tar/1/x.jpg", "shards/s-01.tar/1/y.jpg", "shards/z.jpg"]
    missing = listed(f"{tmp_path}/shards/s-{{02..03}}.tar")[-1]
    assert missing == ("s-03.tar", None, "No such file or directory")
    assert sources.count(tmp_path / "shards") is None
    os.mkfifo(tmp_path / "shards" / "f.tar")
    assert ("f.tar", None, "not a regular file") in listed(tmp_path / "shards")
    with pytest.raises(DataError, match="matches no file"):
        names(f"{tmp_path}/shards/*.zip")


def test_the_store_is_named_after_the_source(tmp_path):
    (tmp_path / "my photos.2024").mkdir()
    assert default_out(f"{tmp_path}/my photos.2024/") == Path("my photos.2024.vggfeat")
    for source, name in {
        "cat.jpg": "cat", "a/shard-0.tar.gz": "shard-0", "shards/{000..099}.tar": "shards", "s3://b/photos/": "photos",
        "s3://b/shards/*.tar": "shards", "https://x.org/list.txt?key=secret": "list", "memory://": "images",
    }.items():  # fmt: skip
        assert default_out(source) == Path(f"{name}.vggfeat")


@pytest.fixture
def memory(tmp_path):
    system = fsspec.filesystem("memory")
    for i in range(6):
        system.pipe(f"/bucket/photos/{'ab'[i % 2]}/{i}.png", png(i))
    system.pipe("/bucket/photos/broken.png", b"no")
    system.pipe("/bucket/photos/.hidden/x.png", png())
    system.pipe("/bucket/photos/z.tar", tar(tmp_path / "z.tar", [("m/6.png", png(6))]).read_bytes())
    yield system
    system.rm("/bucket", recursive=True)


def without_times(store):
    """The rows of a store, but for the times at which the files were changed: a copy has its own."""
    return store.read().drop(["changed_ns"])


def test_a_prefix_of_an_object_store_is_the_folder_it_looks_like(tmp_path, memory, describer):
    store = extract("memory://bucket/photos", tmp_path / "remote", describer=describer)
    memory.get("/bucket/photos/", str(tmp_path / "photos"), recursive=True)
    local = extract(tmp_path / "photos", tmp_path / "local", describer=describer)
    assert without_times(store).equals(without_times(local))
    assert len(store) == 7
    assert store.failures == local.failures
    assert load(store.path).labels.count("a") == 3


def test_lists_patterns_tars_and_images_at_addresses(tmp_path, memory):
    memory.pipe(
        "/bucket/list.csv", b"path,label\nphotos/a/0.png,one\nmemory://bucket/photos/b/1.png,two\nphotos/z.tar,\n"
    )
    found = list(sources.items("memory://bucket/list.csv"))
    inside = "photos/z.tar/m/6.png"
    assert [(i.path, i.label) for i in found] == [
        ("photos/a/0.png", "one"), ("memory://bucket/photos/b/1.png", "two"), (inside, "m")
    ]  # fmt: skip
    assert [i.image if isinstance(i.image, bytes) else content(i) for i in found] == [png(0), png(1), png(6)]
    (tmp_path / "here.txt").write_text("memory://bucket/photos/b/3.png\n")
    assert content(next(sources.items(tmp_path / "here.txt"))) == png(3)
    assert names("memory://bucket/photos/a/*.png") == ["0.png", "2.png", "4.png"]
    assert names("memory://bucket/photos/{a,b}/{0..1}.png") == ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]
    assert names("memory://bucket/photos/z.tar") == ["z.tar/m/6.png"]
    assert content(next(sources.items("memory://bucket/photos/a/2.png"))) == png(2)
    assert sources.count("memory://bucket/photos") is None


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://nowhere/photos", "no such folder, list or image"),
        ("memory://nowhere/list.txt", "cannot be read"),
        ("nonsense://a/b", "nonsense"),
        ("memory://nowhere/*.jpg", "matches no file"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_line(address, message):
    with pytest.raises(DataError, match=message) as error:
        names(address)
    assert address in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("address", "said", "need"),
    [
        ("S3://b/x.jpg", "Install s3fs to access S3", r"needs s3fs: pip install s3fs"),
        ("https://h/x.jpg", 'requires "requests" and "aiohttp"', r"needs aiohttp: pip install aiohttp"),
        ("webhdfs://b/x.jpg", "Install requests", r"Install requests"),
    ],
)
def test_a_file_system_that_is_not_installed_says_what_it_needs(tmp_path, monkeypatch, address, said, need):
    def absent(protocol):
        assert protocol in ("s3", "https", "webhdfs")
        raise ImportError(said)

    monkeypatch.setattr(fsspec, "get_filesystem_class", absent)
    with pytest.raises(DataError, match=rf"(?i)^{address}: {need}$"):
        names(address)
    (tmp_path / "l.txt").write_text(address)
    assert listed(tmp_path / "l.txt")[0][2].endswith(need)


def take_down(monkeypatch, answers: int) -> None:
    """memory:// that refuses every file of `many` except the first ones."""
    system = type(fsspec.filesystem("memory"))
    opened = system.open

    def open_(self, path, *args, **options):
        if int(Path(path).stem) >= answers:
            raise ConnectionRefusedError(111, "Connect call failed")
        return opened(self, path, *args, **options)

    monkeypatch.setattr(system, "open", open_)


@pytest.fixture
def many():
    system = fsspec.filesystem("memory")
    for i in range(50):
        system.pipe(f"/many/{i:02}.png", png(i))
    yield [f"{i:02}.png" for i in range(50)]
    system.rm("/many", recursive=True)


def test_a_source_that_goes_down_ends_the_run_which_can_be_continued(tmp_path, many, describer, monkeypatch):
    whole = extract("memory://many", tmp_path / "whole", describer=describer)
    with monkeypatch.context() as patch:
        take_down(patch, answers=10)
        with pytest.raises(DataError, match=r"41\.png: .*the 31 files before it could not .*again to continue$"):
            extract("memory://many", tmp_path / "s", describer=describer, workers=1)
    began = Store(tmp_path / "s")
    assert began.paths == many[:10]
    assert began.failures.keys() <= set(many[10:])
    again = extract("memory://many", tmp_path / "s", describer=describer)
    assert again.read().equals(whole.read())
    assert not again.failures


def test_of_a_list_each_file_is_tried_however_many_cannot_be_read(tmp_path, many, describer, monkeypatch):
    (tmp_path / "l.txt").write_text("".join(f"memory://many/{name}\n" for name in many))
    take_down(monkeypatch, answers=0)
    for source in (tmp_path / "l.txt", "memory://many/{00..49}.png"):  # braces count, and list nothing
        with pytest.raises(DataError, match="none of its 50 files could be read"):
            extract(source, tmp_path / f"{Path(source).suffix}s", describer=describer)


def test_many_are_fetched_at_once_and_few_decoded(tmp_path, describer):
    """With one worker: eight images arrive together, and are decoded one by one."""
    together, decoding_now, most = threading.Barrier(8), [], []

    class Far:
        far = True

        def fetch(self):
            together.wait(60)
            return png()

    class Counting(Describer):
        def prepared(self, *arguments):
            decoding_now.append(1)
            most.append(len(decoding_now))
            try:
                return super().prepared(*arguments)
            finally:
                decoding_now.pop()

    counting = Counting(spec=describer.spec, engine=describer.engine)
    items = [Item(f"{i}", Far()) for i in range(16)]
    store = extract(items, tmp_path / "s", describer=counting, workers=1)
    assert len(store) == 16
    assert max(most) == 1


@pytest.fixture
def asked():
    """The requests so far, each as its first line."""
    return []


@pytest.fixture
def server(tmp_path, asked):
    """A web server of tmp_path/www; /cut/... breaks off in the middle of what it promised."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            if not self.path.startswith("/cut/"):
                super().do_GET()
                return
            data = Path(self.directory, self.path[5:]).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True

        def do_HEAD(self):
            if not self.path.startswith("/cut/"):
                super().do_HEAD()
                return
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            asked.append(self.requestline)

    (tmp_path / "www").mkdir()
    assert issubclass(Handler, BaseHTTPRequestHandler)
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path / "www")))
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_a_web_server(tmp_path, server, describer):
    www = tmp_path / "www"
    for name, seed in (("a/0.png", 0), ("a/1.png", 1), ("b/c/2.png", 2), ("3.png", 3)):
        put(www / name, png(seed, (60, 50)))
    tar(www / "t.tar", [("m/4.png", png(4)), ("m/5.png", png(5))])
    put(www / "broken.png", b"no")
    store = extract(server, tmp_path / "s", describer=describer)
    assert store.paths == ["3.png", "t.tar/m/4.png", "t.tar/m/5.png", "a/0.png", "a/1.png", "b/c/2.png"]
    assert store.failures.keys() == {"broken.png"}
    local = extract(www, tmp_path / "local", describer=describer)
    assert without_times(store).equals(without_times(local))
    lines = ["3.png", "gone.png", f"{server}/cut/a/0.png", "http://127.0.0.1:9/x.png"]
    put(www / "list.txt", "\n".join(lines).encode())
    store = extract(f"{server}/list.txt", tmp_path / "l", describer=describer)
    assert store.paths == ["3.png"]
    assert store.failures.keys() == set(lines[1:])
    assert "Not enough data" in store.failures[lines[2]] or "payload" in store.failures[lines[2]]


def test_a_query_is_no_part_of_a_name(tmp_path, server):
    put(tmp_path / "www" / "d" / "a.png", png(1))
    put(tmp_path / "www" / "d" / "list.txt", b"a.png\n")
    (found,) = sources.items(f"{server}/d/list.txt?key=b/c")
    assert (found.path, content(found)) == ("a.png", png(1))
    assert names(f"{server}/d/a.png?key=b/c") == ["a.png"]


def test_tars_and_lists_of_any_length_from_a_server_that_gives_no_pieces(tmp_path, server):
    """Beyond the 5 MiB that fsspec takes at once."""
    tar(tmp_path / "www" / "t.tar", [(f"{i:02}.png", bytes(10**6)) for i in range(12)])
    assert listed(f"{server}/t.tar") == [(f"t.tar/{i:02}.png", None, None) for i in range(12)]
    lines = [f"photos of a folder with a long name/{i:06}.png" for i in range(150_000)]
    put(tmp_path / "www" / "list.txt", "\n".join(lines).encode())
    assert (tmp_path / "www" / "list.txt").stat().st_size > 6 * 2**20
    assert names(f"{server}/list.txt") == lines


def test_what_the_user_has_configured_holds_for_tars_too(tmp_path, server, monkeypatch):
    """Such as the header that lets one in: fsspec reads it from its configuration."""
    asked = []
    opened = HTTPFileSystem.open

    def open_(self, *arguments, **options):
        asked.append(self.client_kwargs.get("headers"))
        return opened(self, *arguments, **options)

    monkeypatch.setattr(HTTPFileSystem, "open", open_)
    monkeypatch.setitem(fsspec.config.conf, "http", {"client_kwargs": {"headers": {"Authorization": "Bearer x"}}})
    tar(tmp_path / "www" / "t.tar", [("a.png", png())])
    put(tmp_path / "www" / "list.txt", b"t.tar\n")
    assert names(f"{server}/t.tar") == ["t.tar/a.png"]
    assert names(f"{server}/list.txt") == ["t.tar/a.png"]
    assert asked == [{"Authorization": "Bearer x"}] * 3


def test_names_from_the_web_are_those_of_the_folder(tmp_path, server):
    put(tmp_path / "www" / "my class" / "a b%.png", png())
    put(tmp_path / "www" / "my class" / "t u.tar", tar(tmp_path / "t.tar", [("x.png", png())]).read_bytes())
    assert listed(server) == listed(tmp_path / "www")
    assert names(f"{server}/my%20class/a%20b%25.png") == ["a b%.png"]


def test_a_tar_that_breaks_off_on_its_way(tmp_path, server):
    tar(tmp_path / "www" / "t.tar", [(f"{i}.jpg", b"x" * 5000) for i in range(4)])
    found = listed(f"{server}/cut/t.tar")
    assert found[-1][0] == "t.tar"
    assert "cannot be read" in found[-1][2] or "payload" in found[-1][2]
    assert all(name.startswith("t.tar/") for name, _, _ in found[:-1])


def test_no_connection_is_left_to_the_garbage_collector(tmp_path, server):
    """aiohttp would warn of it, which pytest makes a failure."""
    tar(tmp_path / "www" / "t.tar", [(f"{i}.jpg", b"x" * 5000) for i in range(4)])
    for _ in range(10):
        listed(f"{server}/cut/t.tar")
        with pytest.raises(ImageError, match="No such file"):
            content(next(sources.items(f"{server}/gone.png")))
        gc.collect()


def test_a_program_with_a_loop_of_its_own_may_stop_reading(tmp_path, server):
    """Such as a notebook. A loop that is debugged refuses to be used from another thread."""
    put(tmp_path / "www" / "large.tar", bytes(2**24))
    loop = get_loop()

    async def notebook():
        web.front_to_back(*reach(f"{server}/large.tar")).close()

    loop.set_debug(True)
    try:
        asyncio.run(notebook())
    finally:
        loop.set_debug(False)


def test_an_image_on_the_web_costs_one_request(tmp_path, server, asked):
    put(tmp_path / "www" / "a.png", png())
    assert content(next(sources.items(f"{server}/a.png"))) == png()
    assert asked == ["GET /a.png HTTP/1.1"]
