"""An object store as a source: s3fs against moto's S3 server on this machine."""

import fsspec
import pytest

from tests.kit.image_sources import content, names, png, put, tar
from vggfeat import sources
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, ImageError
from vggfeat.extraction.run import extract

pytest.importorskip("s3fs")
moto = pytest.importorskip("moto.server")

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs

ODD = ["a b", "100%25", "a+b", "ü日", "[1]", "{1}", "st*r", "hash#1", "wh?t", "a\\b", "a;b:c", "'q\""]


@pytest.fixture(scope="module")
def s3():
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        system = fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)
        system.mkdir("bucket")
        yield system
    server.stop()


def test_a_prefix_is_the_folder_it_looks_like(tmp_path, s3, tiny_weights):
    photos = tmp_path / "photos"
    for i, name in enumerate(["0.png", *(f"odd names/{odd}.png" for odd in ODD), "c/d/1.png"]):
        put(photos / name, png(i))
    put(photos / "empty.png", b"")
    put(photos / ".hidden" / "x.png", b"")
    tar(photos / "t.tar", [("7.png", png(7)), ("7.cls", b"seven")])
    for file in filter(lambda file: file.is_file(), photos.rglob("*")):
        s3.pipe_file(f"bucket/{file.relative_to(tmp_path)}", file.read_bytes())
    describer = Describer(weights=tiny_weights("A", width=1 / 16, top="pool5"), layer="pool5", scales=(32,))
    store = extract("s3://bucket/photos", tmp_path / "far", describer=describer)
    local = extract(photos, tmp_path / "near", describer=describer)
    assert len(store) == 3 + len(ODD)
    assert store.read().drop(["changed_ns"]).equals(local.read().drop(["changed_ns"]))
    times = dict(zip(store.paths, store.read(["changed_ns"])["changed_ns"].to_pylist(), strict=True))
    assert [name for name, time in times.items() if time is None] == ["t.tar/7.png"]  # of a stream
    assert store.failures == local.failures
    for pattern in ("*", "*/*.png", "{t,u}.tar", "odd names/*", ".hidden/*"):
        assert names(f"S3://bucket/photos/{pattern}") == names(f"{photos}/{pattern}")
    assert names("s3://bucket/photos/odd names/wh?t.png") == ["wh?t.png"]


def test_markers_of_folders_and_an_object_that_has_the_name_of_one(s3):
    for key in ("m/", "m/a/", "m/a/1.png", "m/empty/", "m/b", "m/b/2.png"):
        s3.pipe_file(f"bucket/{key}", b"" if key.endswith("/") else png())
    assert names("s3://bucket/m") == ["b", "a/1.png", "b/2.png"]


def test_what_a_list_names_and_what_is_not_there(s3):
    s3.pipe_file("bucket/n/1.png", png(1))
    s3.pipe_file("bucket/n/list.txt", b"1.png\ns3://bucket/n/1.png\ngone.png\n")
    *there, gone = sources.items("s3://bucket/n/list.txt")
    assert [content(item) for item in there] == [png(1), png(1)]
    with pytest.raises(ImageError, match=r"^s3://bucket/n/gone\.png: No such file"):
        content(gone)
    for address in ("s3://bucket/nothing", "s3://nowhere/photos", "s3://nowhere/*.png"):
        with pytest.raises(DataError, match=r"no such folder|matches no file"):
            names(address)
