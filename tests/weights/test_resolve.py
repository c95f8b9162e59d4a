"""From a name, a file or nothing to a native file, with a local server in place of the published addresses."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from tests.kit.foreign_files import WIDTH, keras_layers, torchvision_net, without_top, write_keras
from vggfeat import cli
from vggfeat.errors import UsageError, WeightsError
from vggfeat.nets import VGG, parameter_count
from vggfeat.weights import OXFORD, TORCHVISION, Weights, available, load, read, resolve, save
from vggfeat.weights.published import REGISTRY
from vggfeat.weights.registry import Check, PublishedFile, Registry

FACTS: dict[str, Any] = {"width": WIDTH, "preprocessing": OXFORD, "source": "", "licence": "", "lineage": "x"}
NOTOP = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
OXFORD_D = "vgg16_weights_tf_dim_ordering_tf_kernels.h5"
NOBODY = "http://127.0.0.1:9"


def at(published: PublishedFile, address: str, check: Check | None = None) -> PublishedFile:
    """A published file at another address, and with another checksum if it is given."""
    urls = tuple(f"{address}/{published.file}" for _ in published.urls)
    return replace(published, urls=urls, check=published.check if check is None else check)


DEAD = replace(
    REGISTRY,
    named={
        key: replace(at(known, NOBODY), conv=known.conv and at(known.conv, NOBODY))
        for key, known in REGISTRY.named.items()
    },
)  # addresses at which nobody answers


@dataclass
class Server:
    """A server's folder, its address, the names of the files that were requested, and the registry of its files."""

    folder: Path
    address: str
    seen: list[str]
    registry: Registry

    def resolve(self, *arguments: Any) -> Weights:
        return resolve(*arguments, registry=self.registry)


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no way to the network."""
    for name in ("VGGFEAT_WEIGHTS", "VGGFEAT_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, NOBODY)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("VGGFEAT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Files of the registry, made narrow: Oxford's D (with and without the top), torchvision's D and A."""
    folder, seen = tmp_path / "published", []
    folder.mkdir()
    layers = keras_layers("D")
    write_keras(folder / OXFORD_D, layers)
    write_keras(folder / NOTOP, without_top(layers))
    for net in ("D", "A"):
        torch.save(torchvision_net(net).state_dict(), folder / REGISTRY.named["torchvision", net].file)

    class Counting(Handler):
        def do_GET(self) -> None:
            seen.append(Path(self.path).name)
            super().do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=str(folder))) as serving:
        threading.Thread(target=serving.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{serving.server_address[1]}"
        yield Server(folder, address, seen, registry_of(folder, address))
        serving.shutdown()


def registry_of(folder: Path, address: str) -> Registry:
    def served(known: PublishedFile) -> PublishedFile:
        check = Check(sha256=hashlib.sha256((folder / known.file).read_bytes()).hexdigest())
        return replace(at(known, address, check), conv=known.conv and served(known.conv))

    keys = [("oxford", "D"), ("torchvision", "D"), ("torchvision", "A")]
    return replace(DEAD, named={**DEAD.named, **{key: served(DEAD.named[key]) for key in keys}})


def native_file(path: Path, net: str = "A", top: str = "fc8") -> Path:
    vgg = VGG(net, width=WIDTH, top=top, classes=5)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, vgg.state_dict(), net=net, **FACTS)
    return path


def fails(words: list[str], *arguments: Any, registry: Registry = DEAD) -> None:
    """Resolving raises one line that contains the words."""
    with pytest.raises(WeightsError, match=r"\A.+\Z") as caught:  # no line break
        resolve(*arguments, registry=registry)
    for word in words:
        assert word in str(caught.value)


# The registry itself


def test_the_published_files() -> None:
    assert REGISTRY.names == ("oxford", "torchvision", "oxford-int8", "slim")
    assert sorted(REGISTRY.named) == sorted(
        [
            ("oxford", "D"),
            ("oxford", "E"),
            *(("torchvision", net) for net in "ABDE"),
            ("oxford-int8", "E"),
            ("slim", "A"),
        ]
    )
    assert REGISTRY.named["torchvision", "E"].check == {"sha256_prefix": "dcbb9e9d"}
    assert REGISTRY.named["torchvision", "A"].check == {"sha256_prefix": "8a719046"}
    conv = REGISTRY.named["oxford", "E"].conv
    assert conv is not None
    assert (conv.file, conv.check) == (
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        {"md5": "253f8cb515780f3b799900260a226db6"},
    )


def test_available(cache: Path) -> None:
    rows = {(row.name, row.net): row for row in available()}
    assert rows.keys() == REGISTRY.named.keys()
    row = rows["oxford", "D"]
    assert (row.path, row.licence, row.top1, row.top5) == (None, "CC-BY-4.0", 70.97, 89.88)
    assert row.size == 4 * parameter_count("D")
    (cache / OXFORD_D).write_bytes(b"1234")
    row = {(row.name, row.net): row for row in available()}["oxford", "D"]
    assert (row.path, row.size) == (cache / OXFORD_D, 4)
    assert row.cached == row.layers == ("pool5", "fc6", "fc7", "fc8")


def test_available_tells_the_smaller_file_from_the_full_one(server: Server) -> None:
    assert {row.cached for row in available(server.registry) if row.name not in ("slim", "oxford-int8")} == {()}
    small = server.resolve("oxford", "D", "pool5")
    row = next(row for row in available(server.registry) if (row.name, row.net) == ("oxford", "D"))
    assert (row.path, row.cached) == (small.path, ("pool5",))


# Names and auto


def test_a_name_is_fetched_once_and_converted(server: Server, cache: Path) -> None:
    weights = server.resolve("oxford", "D")
    assert (weights.name, weights.net, weights.lineage, weights.licence) == (
        "oxford",
        "D",
        "oxford",
        "CC-BY-4.0",
    )
    assert weights.source == f"{server.address}/{OXFORD_D}"
    assert weights.preprocessing == OXFORD
    assert load(weights).classes == 10
    assert not (cache / OXFORD_D).exists()
    assert server.resolve("oxford") == weights
    assert server.seen == [OXFORD_D]


def test_auto_takes_oxford_of_net_d(server: Server) -> None:
    assert server.resolve().name == "oxford"
    assert server.seen == [OXFORD_D]


def test_auto_takes_torchvision_if_oxford_has_none(server: Server) -> None:
    weights = server.resolve("auto", "A")
    assert (weights.name, weights.net, weights.preprocessing) == ("torchvision", "A", TORCHVISION)


def test_auto_prefers_what_the_cache_holds(server: Server) -> None:
    server.resolve("torchvision", "D")
    assert server.resolve("auto", "D").name == "torchvision"
    server.resolve("oxford", "D")
    assert server.resolve("auto", "D").name == "oxford"


def test_pool5_needs_the_small_file_only(server: Server) -> None:
    small = server.resolve("oxford", "D", "pool5")
    assert (small.top, server.seen) == ("pool5", [NOTOP])
    full = server.resolve("oxford", "D", "fc7")
    assert full.top == "fc8"
    assert server.resolve("oxford", "D", "pool5") == small  # so that a store can be continued


def test_pool5_takes_the_full_file_that_is_there(server: Server) -> None:
    full = server.resolve("oxford", "D")
    assert server.resolve("oxford", "D", "pool5") == full
    assert server.seen == [OXFORD_D]


def test_two_at_once_fetch_once(server: Server) -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(server.resolve("oxford"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 3
    assert found[0] == found[1] == found[2]
    assert server.seen == [OXFORD_D]


@pytest.mark.parametrize("spec", ["oxford", "auto"])
def test_a_published_file_put_there_by_hand(server: Server, cache: Path, spec: str) -> None:
    (server.folder / OXFORD_D).rename(cache / OXFORD_D)
    assert server.resolve(spec, "D").name == "oxford"
    assert (cache / OXFORD_D).exists()
    assert server.seen == []


def test_a_damaged_file_put_there_by_hand(cache: Path) -> None:
    (cache / OXFORD_D).write_bytes(b"\x89HDF\r\n\x1a\n")
    fails([str(cache / OXFORD_D), "64373286793e3c8b2b4e3219cbf3544b", "md5"], "oxford", "D")
    assert [file.name for file in cache.glob("*.safetensors")] == []


def test_a_wrong_checksum_is_named_and_the_file_kept(server: Server, cache: Path) -> None:
    (server.folder / OXFORD_D).write_bytes(b"another file")
    found = hashlib.sha256(b"another file").hexdigest()
    fails(
        [found, "not", f"kept as {cache / OXFORD_D}.bad", f"put it at {cache}"], "oxford", "D", registry=server.registry
    )
    assert (cache / f"{OXFORD_D}.bad").read_bytes() == b"another file"
    assert list(cache.glob("*.safetensors")) == []


def test_a_file_that_is_gone(server: Server, cache: Path) -> None:
    (server.folder / OXFORD_D).unlink()
    fails(["404", OXFORD_D, f"put it at {cache / OXFORD_D}"], "auto", "D", registry=server.registry)


def test_a_partial_download_is_resumed(server: Server, cache: Path) -> None:
    """This server knows no ranges: the download starts again, and the file is whole."""
    content = (server.folder / OXFORD_D).read_bytes()
    (cache / f"{OXFORD_D}.part").write_bytes(content[: len(content) // 2])
    assert server.resolve("oxford", "D").net == "D"


def test_a_cache_that_is_full_of_weights_need_not_be_written(server: Server, cache: Path) -> None:
    """Here no lock can be taken: folders have the names of the lock files."""
    foreign = server.folder / REGISTRY.named["torchvision", "A"].file
    mine = native_file(server.folder / "mine.safetensors")
    found = [server.resolve(spec, net) for spec, net in (("oxford", "D"), (mine, "A"), (foreign, "A"))]
    locks = list(cache.glob("*.lock"))
    assert len(locks) == 3  # two of the first: for the native file and for the download
    for lock in locks:
        lock.unlink()
        lock.mkdir()
    assert [server.resolve(spec, net) for spec, net in (("auto", "D"), (mine, "A"), (foreign, "A"))] == found
    found[0].path.unlink()
    fails(["cannot be written (Is a directory)"], "oxford", "D", registry=server.registry)


def test_a_mirror_serves(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    served = server.registry.named["oxford", "D"]
    registry = replace(DEAD, named={("oxford", "D"): at(served, NOBODY)})
    monkeypatch.setenv("VGGFEAT_MIRROR", server.address)
    assert resolve("oxford", "D", registry=registry).net == "D"
    assert server.seen == [OXFORD_D]


@pytest.mark.parametrize(("net", "lineage"), [(None, None), ("E", None), ("E", "oxford")])
def test_auto_takes_the_net_inside_the_package_up_to_pool5(net: str | None, lineage: Any, capfd: Any) -> None:
    found = resolve("auto", net, "pool5", lineage)
    assert (found.name, found.net, found.lineage, found.top) == ("oxford-int8", "E", "oxford", "pool5")
    said = capfd.readouterr().err
    assert said == "" or said.startswith("using oxford-int8, the convolutional layers of net E inside this package; ")


@pytest.mark.parametrize(
    ("net", "top", "lineage"), [("D", "pool5", None), ("E", "fc7", None), ("E", "pool5", "torchvision")]
)
def test_auto_takes_it_for_nothing_else(net: str, top: Any, lineage: Any) -> None:
    fails(["cannot be fetched"], "auto", net, top, lineage)


def test_auto_takes_the_lineage_that_was_asked_for(server: Server) -> None:
    remedy = "without a network leave out --lineage, and use --net E (the convolutional layers"
    fails(["vgg16-397923af.pth", remedy], "auto", "D", "pool5", "torchvision")
    server.resolve("oxford", "D")  # is here now, and of another lineage
    assert server.resolve("auto", None, "pool5", "torchvision").name == "torchvision"


def test_a_lineage_that_never_published_a_net_is_refused(capfd: Any) -> None:
    wrong = (
        "no published weights of net A of the lineage oxford are known; give a file with --weights, leave out --lineage"
    )
    fails([wrong], "auto", "A", "pool5", "oxford")
    assert "downloading" not in capfd.readouterr().err


def test_a_full_file_is_preferred_to_the_net_inside_the_package(server: Server) -> None:
    assert server.resolve("auto", None, "pool5").net == "E"
    server.resolve("oxford", "D")
    assert server.resolve("auto", None, "pool5").net == "D"


def test_when_nothing_can_be_reached(cache: Path) -> None:
    address = f"{NOBODY}/{OXFORD_D}"
    fails([address, "refused", f"put it at {cache / OXFORD_D}", "use --layer pool5", "--weights slim"], "auto", None)


@pytest.mark.parametrize(
    ("spec", "net", "top", "remedy"),
    [
        ("auto", "E", "fc7", "without a network use --layer pool5 (the convolutional layers of net E are inside"),
        ("auto", "D", "fc7", "without a network use --net E --layer pool5 ("),
        ("auto", "D", "pool5", "without a network use --net E ("),
        ("oxford", "E", "pool5", "without a network use --weights oxford-int8 ("),
        ("oxford", None, "fc7", "without a network use --layer pool5 --weights oxford-int8 ("),
        ("auto", "A", "fc6", "inside this package), or --weights slim, for tests only"),
        ("auto", None, "fc8", "and classes with --weights slim, for tests only"),
    ],
)
def test_what_works_without_a_network_fits_what_was_asked(
    spec: str, net: str | None, top: Any, remedy: str, capfd: Any
) -> None:
    fails(["put it at", remedy], spec, net, top)
    assert re.search(r"downloading vgg\S+, about \d+ MB, once\n", capfd.readouterr().err)


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VGGFEAT_CACHE", str(tmp_path / "file"))
    fails([str(tmp_path / "file"), "VGGFEAT_CACHE"], "oxford", "D")


def test_the_command_checks_what_it_fetches(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the published checksums, which the narrow files of the server do not have."""
    monkeypatch.setenv("VGGFEAT_MIRROR", server.address)
    ran = CliRunner().invoke(cli.app, ["weights", "fetch", "torchvision", "--net", "D,A"])
    assert isinstance(ran.exception, WeightsError)
    assert "its sha256 is " in str(ran.exception) and "not 397923af" in str(ran.exception)
    assert server.seen == ["vgg16-397923af.pth"]


def test_the_command_fetches_several_nets(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The narrow files get the checksums of the published ones, whose first digits are in their names."""
    digest, new = hashlib.file_digest, hashlib.new

    def promised(name: str) -> Any:
        found = re.search(r"vgg\d\d-([0-9a-f]{8})", name)
        return found and SimpleNamespace(hexdigest=lambda: found[1].ljust(64, "0"))

    def of_content(algorithm: str, data: bytes = b"", **options: Any) -> Any:
        return promised(server.seen[-1]) if data else new(algorithm, data, **options)

    monkeypatch.setattr(hashlib, "file_digest", lambda file, kind: promised(str(file.name)) or digest(file, kind))
    monkeypatch.setattr(hashlib, "new", of_content)
    monkeypatch.setenv("VGGFEAT_MIRROR", server.address)
    command = ["weights", "fetch", "torchvision", "--net", "D,A"]
    for _ in range(2):  # the second time they are in the cache
        ran = CliRunner().invoke(cli.app, command, catch_exceptions=False)
        assert ran.stdout.split() == [str(cache / f"torchvision-{net}.safetensors") for net in "DA"]
        assert server.seen == ["vgg16-397923af.pth", "vgg11-8a719046.pth"]


def test_the_command_refuses_a_name_without_files() -> None:
    ran = CliRunner().invoke(cli.app, ["weights", "fetch", "oxfort"])
    assert isinstance(ran.exception, UsageError)
    assert "no weights 'oxfort' to fetch; take oxford, or one of torchvision, oxford-int8, slim" in str(ran.exception)


@pytest.mark.parametrize("net", ["C", "A-LRN", "B-5x5"])
def test_nets_that_nobody_publishes(net: str) -> None:
    fails([f"no published weights of net {net} are known"], "auto", net)
    fails([f"none of net {net}", "A, B, D, E"], "torchvision", net)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no net 'F'; the nets are A, "):
        resolve("oxford", "F")
    fails(["oxfrod", "oxford, torchvision, oxford-int8, slim"], "oxfrod")
    fails(["are of net D, E", "none of net A"], "oxford", "A")


def test_slim_comes_with_the_package(tmp_path: Path) -> None:
    assert (resolve("slim").name, resolve("slim").net) == ("slim", "A")
    registry = replace(DEAD, assets=tmp_path)
    fails(
        [str(tmp_path / "slim.safetensors"), "install vggfeat again with its slim weights"], "slim", registry=registry
    )
    path = native_file(tmp_path / "slim.safetensors")
    assert resolve("slim", registry=registry) == replace(read(path), name="slim")


# Files and folders


def test_a_native_file(tmp_path: Path) -> None:
    path = native_file(tmp_path / "mine.safetensors", "C")
    weights = resolve(path)
    assert weights == read(path) == resolve(str(path), "C")
    assert weights.name == "mine.safetensors"


def test_a_net_that_contradicts_its_weights(tmp_path: Path) -> None:
    fails(["mine.safetensors: holds net A, not D"], native_file(tmp_path / "mine.safetensors"), "D")


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
def test_files_that_are_not_weights(content: bytes, tmp_path: Path, cache: Path) -> None:
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
    with pytest.raises(WeightsError, match=r"nets B, C; choose one with --net"):
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


def test_a_damaged_file_in_a_folder_is_named_if_no_other_fits(resolve_by: Callable[..., Any], tmp_path: Path) -> None:
    native_file(tmp_path / "w" / "good.safetensors", "B")
    (tmp_path / "w" / "bad.safetensors").write_bytes(b"bad")
    assert resolve_by(tmp_path / "w", "B").net == "B"
    with pytest.raises(WeightsError, match=r"bad\.safetensors"):
        resolve_by(tmp_path / "w", "D")


def test_a_folder_without_the_net(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native_file(tmp_path / "w" / "b.safetensors", "B")
    fails([str(tmp_path / "w"), "of net D"], tmp_path / "w", "D", registry=server.registry)
    monkeypatch.setenv("VGGFEAT_WEIGHTS", str(tmp_path / "w"))
    assert server.resolve("auto", "D").name == "oxford"  # auto goes on to the cache and the network


def test_the_environment_does_not_change_a_name(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGGFEAT_WEIGHTS", "/none")
    assert server.resolve("oxford").name == "oxford"
