"""From a name, a file or nothing to weights here, with a server in place of the published addresses."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.kit.foreign_files import WIDTH, keras_layers, torchvision_net, without_top, write_keras
from typer.testing import CliRunner

from vggfeat import cli
from vggfeat.errors import UsageError, WeightsError
from vggfeat.nets import VGG, parameter_count
from vggfeat.weights import OXFORD, REGISTRY, TORCHVISION, available, load, native, read, registry, resolve
from vggfeat.weights.published import Check

FACTS: dict[str, Any] = {"width": WIDTH, "preprocessing": OXFORD, "source": "", "licence": "", "lineage": "x"}
NOTOP = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
OXFORD_D = "vgg16_weights_tf_dim_ordering_tf_kernels.h5"


class Published:
    """A server's folder; `seen` are the files that were asked for."""

    def __init__(self, folder: Path, address: str, seen: list[str]) -> None:
        self.folder, self.address, self.seen = folder, address, seen


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and addresses that nobody answers at."""
    for name in ("VGGFEAT_WEIGHTS", "VGGFEAT_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("VGGFEAT_CACHE", str(tmp_path / "cache"))
    for key, entry in REGISTRY.items():
        conv = replace(entry.conv, urls=("http://127.0.0.1:9/notop.h5",)) if entry.conv else None
        urls = tuple(f"http://127.0.0.1:9/{entry.file}" for _ in entry.urls)
        monkeypatch.setitem(REGISTRY, key, replace(entry, urls=urls, conv=conv))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Published]:
    """Files of the registry, made narrow, behind a server: oxford D (full, without top), torchvision D, A."""
    folder, seen = tmp_path / "published", []
    folder.mkdir()
    layers = keras_layers("D")
    write_keras(folder / OXFORD_D, layers)
    write_keras(folder / NOTOP, without_top(layers))
    for net in ("D", "A"):
        torch.save(torchvision_net(net).state_dict(), folder / REGISTRY["torchvision", net].file)

    class Counting(Handler):
        def do_GET(self) -> None:
            seen.append(Path(self.path).name)
            super().do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        register(folder, address, monkeypatch)
        yield Published(folder, address, seen)
        server.shutdown()


def register(folder: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def entry(old: Any) -> Any:
        digest = hashlib.sha256((folder / old.file).read_bytes()).hexdigest()
        return replace(old, urls=(f"{address}/{old.file}",), check=Check(sha256=digest))

    for key in (("oxford", "D"), ("torchvision", "D"), ("torchvision", "A")):
        changed = entry(REGISTRY[key])
        monkeypatch.setitem(REGISTRY, key, replace(changed, conv=entry(changed.conv)) if changed.conv else changed)


def native_file(path: Path, net: str = "A", top: str = "fc8") -> Path:
    vgg = VGG(net, width=WIDTH, top=top, classes=5)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    native.save(path, vgg.state_dict(), net=net, **FACTS)
    return path


def fails(words: list[str], *arguments: Any) -> None:
    with pytest.raises(WeightsError) as caught:
        resolve(*arguments)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


# The registry itself


def test_the_published_files() -> None:
    assert sorted(REGISTRY) == sorted(
        [("oxford", "D"), ("oxford", "E"), *(("torchvision", net) for net in "ABDE"), ("slim", "A")]
    )
    assert REGISTRY["torchvision", "E"].check == {"sha256_prefix": "dcbb9e9d"}
    assert REGISTRY["torchvision", "A"].check == {"sha256_prefix": "8a719046"}
    conv = REGISTRY["oxford", "E"].conv
    assert conv is not None
    assert (conv.file, conv.check) == (
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        {"md5": "253f8cb515780f3b799900260a226db6"},
    )


def test_available(cache: Path) -> None:
    rows = {(row.name, row.net): row for row in available()}
    assert rows.keys() == REGISTRY.keys()
    row = rows["oxford", "D"]
    assert (row.path, row.licence, row.top1, row.top5) == (None, "CC-BY-4.0", 70.97, 89.88)
    assert row.size == 4 * parameter_count("D")
    (cache / OXFORD_D).write_bytes(b"1234")
    row = {(row.name, row.net): row for row in available()}["oxford", "D"]
    assert (row.path, row.size) == (cache / OXFORD_D, 4)
    assert row.cached == row.layers == ("pool5", "fc6", "fc7", "fc8")


def test_available_tells_the_smaller_file_from_the_full_one(published: Published) -> None:
    assert {row.cached for row in available() if row.name != "slim"} == {()}
    small = resolve("oxford", "D", "pool5")
    row = next(row for row in available() if (row.name, row.net) == ("oxford", "D"))
    assert (row.path, row.cached) == (small.path, ("pool5",))


# Names and auto


def test_a_name_is_fetched_once_and_converted(published: Published, cache: Path) -> None:
    weights = resolve("oxford", "D")
    assert (weights.name, weights.net, weights.lineage, weights.licence) == (
        "oxford",
        "D",
        "oxford",
        "CC-BY-4.0",
    )
    assert weights.source == f"{published.address}/{OXFORD_D}"
    assert weights.preprocessing == OXFORD
    assert load(weights).classes == 10
    assert not (cache / OXFORD_D).exists()
    assert resolve("oxford") == weights
    assert published.seen == [OXFORD_D]


def test_auto_takes_oxford_of_net_d(published: Published) -> None:
    assert resolve().name == "oxford"
    assert published.seen == [OXFORD_D]


def test_auto_takes_torchvision_where_oxford_has_none(published: Published) -> None:
    weights = resolve("auto", "A")
    assert (weights.name, weights.net, weights.preprocessing) == ("torchvision", "A", TORCHVISION)


def test_auto_prefers_what_the_cache_holds(published: Published) -> None:
    resolve("torchvision", "D")
    assert resolve("auto", "D").name == "torchvision"
    resolve("oxford", "D")
    assert resolve("auto", "D").name == "oxford"


def test_pool5_needs_the_small_file_only(published: Published) -> None:
    small = resolve("oxford", "D", "pool5")
    assert (small.top, published.seen) == ("pool5", [NOTOP])
    full = resolve("oxford", "D", "fc7")
    assert full.top == "fc8"
    assert resolve("oxford", "D", "pool5") == small  # so that a store can be continued


def test_pool5_takes_the_full_file_that_is_there(published: Published) -> None:
    full = resolve("oxford", "D")
    assert resolve("oxford", "D", "pool5") == full
    assert published.seen == [OXFORD_D]


def test_two_at_once_fetch_once(published: Published) -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(resolve("oxford"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 3
    assert found[0] == found[1] == found[2]
    assert published.seen == [OXFORD_D]


@pytest.mark.parametrize("spec", ["oxford", "auto"])
def test_a_published_file_put_there_by_hand(published: Published, cache: Path, spec: str) -> None:
    (published.folder / OXFORD_D).rename(cache / OXFORD_D)
    assert resolve(spec, "D").name == "oxford"
    assert (cache / OXFORD_D).exists()
    assert published.seen == []


def test_a_damaged_file_put_there_by_hand(cache: Path) -> None:
    (cache / OXFORD_D).write_bytes(b"\x89HDF\r\n\x1a\n")
    fails([str(cache / OXFORD_D), "64373286793e3c8b2b4e3219cbf3544b", "md5"], "oxford", "D")
    assert [file.name for file in cache.glob("*.safetensors")] == []


def test_a_wrong_checksum_is_named_and_the_file_kept(published: Published, cache: Path) -> None:
    (published.folder / OXFORD_D).write_bytes(b"another file")
    found = hashlib.sha256(b"another file").hexdigest()
    fails([found, "not", f"kept as {cache / OXFORD_D}.bad", f"put it at {cache}"], "oxford", "D")
    assert (cache / f"{OXFORD_D}.bad").read_bytes() == b"another file"
    assert list(cache.glob("*.safetensors")) == []


def test_a_file_that_is_gone(published: Published, cache: Path) -> None:
    (published.folder / OXFORD_D).unlink()
    fails(["404", OXFORD_D, f"put it at {cache / OXFORD_D}"], "auto", "D")


def test_a_partial_download_is_taken_up(published: Published, cache: Path) -> None:
    """The server here knows no ranges: it begins anew, and the file is whole."""
    content = (published.folder / OXFORD_D).read_bytes()
    (cache / f"{OXFORD_D}.part").write_bytes(content[: len(content) // 2])
    assert resolve("oxford", "D").net == "D"


def test_a_cache_that_is_full_of_weights_need_not_be_written(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [resolve("oxford", "D"), resolve(native_file(published.folder / "mine.safetensors"))]

    def read_only(path: Path) -> None:
        raise AssertionError(f"{path} is locked, for which it must be written")

    monkeypatch.setattr(registry, "locked", read_only)
    assert [resolve("auto", "D"), resolve(found[1].path)] == found


def test_a_mirror_serves(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = REGISTRY["oxford", "D"]
    monkeypatch.setitem(REGISTRY, ("oxford", "D"), replace(entry, urls=(f"http://127.0.0.1:9/{entry.file}",)))
    monkeypatch.setenv("VGGFEAT_MIRROR", published.address)
    assert resolve("oxford", "D").net == "D"


def test_when_nothing_can_be_reached(cache: Path) -> None:
    address = f"http://127.0.0.1:9/{OXFORD_D}"
    fails([address, "refused", f"put it at {cache / OXFORD_D}", "--weights slim"], "auto", None)


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VGGFEAT_CACHE", str(tmp_path / "file"))
    fails([str(tmp_path / "file"), "VGGFEAT_CACHE"], "oxford", "D")


def test_the_command_fetches_several_nets(published: Published, cache: Path) -> None:
    ran = CliRunner().invoke(cli.app, ["weights", "fetch", "torchvision", "--net", "D,A"], catch_exceptions=False)
    assert ran.stdout.split() == [str(cache / f"torchvision-{net}.safetensors") for net in "DA"]
    assert len(published.seen) == 2
    ran = CliRunner().invoke(cli.app, ["weights", "fetch", "oxfort"])
    assert isinstance(ran.exception, UsageError)
    assert "no weights 'oxfort' to fetch; take one of oxford, torchvision, slim" in str(ran.exception)


@pytest.mark.parametrize("net", ["C", "A-LRN", "B-5x5"])
def test_nets_that_nobody_publishes(net: str) -> None:
    fails([f"nobody publishes weights of net {net}"], "auto", net)
    fails([f"none of net {net}", "A, B, D, E"], "torchvision", net)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no net 'F'; the nets are A, "):
        resolve("oxford", "F")
    fails(["oxfrod", "oxford, torchvision, slim"], "oxfrod")
    fails(["are of net D, E", "none of net A"], "oxford", "A")


def test_slim_comes_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ASSETS", tmp_path)
    fails([str(tmp_path / "slim.safetensors"), "installed without"], "slim")
    native_file(tmp_path / "slim.safetensors")
    assert (resolve("slim").name, resolve("slim").net) == ("slim", "A")


# Files and folders


def test_a_native_file(tmp_path: Path) -> None:
    path = native_file(tmp_path / "mine.safetensors", "C")
    weights = resolve(path)
    assert weights == read(path) == resolve(str(path), "C")
    assert weights.name == "mine.safetensors"


def test_a_net_that_contradicts_its_weights(tmp_path: Path) -> None:
    fails(["mine.safetensors holds net A, not D"], native_file(tmp_path / "mine.safetensors"), "D")


def test_a_file_that_ends_too_early(tmp_path: Path) -> None:
    path = native_file(tmp_path / "conv.safetensors", top="pool5")
    assert resolve(path, None, "pool5").top == "pool5"
    fails(["conv.safetensors", "use --layer pool5"], path)


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    native_file(tmp_path / "mine.safetensors")
    assert resolve("~/mine.safetensors").net == "A"


def test_a_foreign_file_is_converted_once(tmp_path: Path, cache: Path) -> None:
    src = tmp_path / "trained.pth"
    torch.save(torchvision_net("B").state_dict(), src)
    weights = resolve(src)
    assert (weights.name, weights.net, weights.licence) == ("trained.pth", "B", "unknown")
    assert weights.path.parent == cache
    written = weights.path.stat()
    assert resolve(src) == weights
    assert weights.path.stat() == written
    torch.save(torchvision_net("B", seed=1).state_dict(), src)
    assert resolve(src).sha256 != weights.sha256
    fails(["trained.pth (", "holds net B, not D"], src, "D")


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"PK\x03\x04", b"\x80\x02", b"\x89HDF\r\n\x1a\n"])
def test_files_that_are_no_weights(content: bytes, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    fails([str(tmp_path / "x")], tmp_path / "x")
    assert not list(cache.glob("*.safetensors"))


@pytest.fixture(params=["spec", "environment"])
def resolve_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """resolve(PLACE, ...), or resolve("auto", ...) with $VGGFEAT_WEIGHTS set to PLACE."""

    def by(place: Path, net: str | None = None, top: Any = "fc7") -> Any:
        monkeypatch.setenv("VGGFEAT_WEIGHTS", str(place))
        return resolve(place if request.param == "spec" else "auto", net, top)

    return by


def test_a_place(resolve_by: Callable[..., Any], tmp_path: Path) -> None:
    file = native_file(tmp_path / "w" / "a.safetensors", "A")
    assert resolve_by(file).path == file
    assert resolve_by(tmp_path / "w").path == file  # the folder's only net
    with pytest.raises(WeightsError, match="holds net A, not B"):
        resolve_by(file, "B")
    with pytest.raises(WeightsError, match=r"none\.safetensors"):
        resolve_by(tmp_path / "none.safetensors")


def test_a_folder_with_several_nets(resolve_by: Callable[..., Any], tmp_path: Path) -> None:
    for name, net in (("1", "B"), ("2", "C")):
        native_file(tmp_path / "w" / f"{name}.safetensors", net)
    with pytest.raises(WeightsError, match=r"nets B, C: say which with --net"):
        resolve_by(tmp_path / "w")
    assert resolve_by(tmp_path / "w", "C").path.name == "2.safetensors"
    native_file(tmp_path / "w" / "3.safetensors", "D")
    assert resolve_by(tmp_path / "w").net == "D"


def test_a_folder_gives_the_file_that_reaches_far_enough(resolve_by: Callable[..., Any], tmp_path: Path) -> None:
    native_file(tmp_path / "w" / "1.safetensors", "D", "pool5")
    with pytest.raises(WeightsError, match="use --layer pool5"):
        resolve_by(tmp_path / "w", "D")
    native_file(tmp_path / "w" / "2.safetensors", "D", "fc7")
    assert resolve_by(tmp_path / "w", "D", "fc7").path.name == "2.safetensors"
    assert resolve_by(tmp_path / "w", "D", "pool5").path.name == "1.safetensors"


def test_a_damaged_file_in_a_folder_is_named_where_nothing_else_fits(
    resolve_by: Callable[..., Any], tmp_path: Path
) -> None:
    native_file(tmp_path / "w" / "good.safetensors", "B")
    (tmp_path / "w" / "bad.safetensors").write_bytes(b"bad")
    assert resolve_by(tmp_path / "w", "B").net == "B"
    with pytest.raises(WeightsError, match=r"bad\.safetensors"):
        resolve_by(tmp_path / "w", "D")


def test_a_folder_without_the_net(published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native_file(tmp_path / "w" / "b.safetensors", "B")
    fails([str(tmp_path / "w"), "of net D"], tmp_path / "w", "D")
    monkeypatch.setenv("VGGFEAT_WEIGHTS", str(tmp_path / "w"))
    assert resolve("auto", "D").name == "oxford"  # auto goes on to the cache and the network


def test_a_name_is_not_the_environments_affair(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGGFEAT_WEIGHTS", "/none")
    assert resolve("oxford").name == "oxford"
