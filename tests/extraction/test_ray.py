"""The engine ray: two processes of a cluster make the store of one, and it survives the loss of them."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, ImageError, StoreError, UsageError, VggfeatError
from vggfeat.extraction.run import extract
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.sources import Item
from vggfeat.spec import DescriptorSpec
from vggfeat.store import Store
from vggfeat.store.writing import Writer

pytest.importorskip("ray.data")

import ray

from vggfeat._util.progress import progress
from vggfeat.extraction.cluster import deal, fill_on_cluster

# Ray 2.60 warns of settings that it makes itself, when its first context is made
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")

N, PART = 60, 24  # images; of a range, which is a group of 16 and one of 8
WAIT = 120


@pytest.fixture(scope="module", autouse=True)
def _two_processors(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # workers import this module for its images
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")  # it would end workers where others fill the memory
        small = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
        ray.init("local", num_cpus=2, log_to_driver=False, logging_level="ERROR", **small)
        # the workers do not know this module: its classes travel whole
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        yield
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
        ray.shutdown()


@pytest.fixture(scope="module")
def options(tiny_weights):
    return {"weights": tiny_weights("A", width=1 / 16, top="pool5"), "layer": "pool5", "scales": (64, 96)}


def pixels(n: int) -> np.ndarray:
    size = [(60, 80), (80, 60)][n % 2]
    return np.random.default_rng(n).integers(0, 256, (*size, 3), np.uint8)


def encoded(n: int) -> bytes:
    from io import BytesIO

    from PIL import Image

    Image.fromarray(pixels(n)).save(file := BytesIO(), "png")
    return file.getvalue()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """60 photos of two sizes, and two that are none."""
    folder = tmp_path_factory.mktemp("photos")
    for n in range(N):
        (folder / f"{n // 20}").mkdir(exist_ok=True)
        (folder / f"{n // 20}" / f"{n:02}.png").write_bytes(encoded(n))
    (folder / "0" / "10 broken.png").write_bytes(encoded(10)[:200])
    (folder / "2" / "50 empty.png").write_bytes(b"")
    return folder


def described(source, store: Path, options, **more) -> Store:
    return extract(source, store, part_size=PART, workers=1, **options, **more)


@pytest.fixture(scope="module")
def whole(photos, options, tmp_path_factory):
    """The store that the local engine makes."""
    return described(photos, tmp_path_factory.mktemp("stores") / "local", options)


def assert_same(one: Store, two: Store) -> None:
    """Equal to the bit, in files of the same names, and nothing else is left in the folder."""
    assert one.read().equals(two.read())
    assert (one.meta, one.failures) == (two.meta, two.failures)
    assert sorted(file.name for file in one.path.iterdir()) == sorted(file.name for file in two.path.iterdir())


def test_it_makes_the_store_of_the_local_engine(photos, options, whole, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(photos.parent)  # workers know what relative names refer to
    relative = options | {"weights": os.path.relpath(options["weights"])}
    store = described(photos.name, os.path.relpath(tmp_path / "s"), relative, engine="ray")
    assert_same(store, whole)
    assert store.failures.keys() == {"0/10 broken.png", "2/50 empty.png"}
    assert f"describing: {N + 2}/{N + 2} [" in capfd.readouterr().err


@dataclass(frozen=True)
class Met:
    """An image that is read when two processes have come to read one of its kind."""

    n: int
    folder: Path

    def fetch(self) -> bytes:
        (self.folder / f"{os.getpid()}").touch()
        until(lambda: len(list(self.folder.iterdir())) == 2)
        return encoded(self.n)


def until(condition) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > end:
            raise ImageError(f"waited for {WAIT} s")
        time.sleep(0.01)


@pytest.mark.slow
def test_two_processes_work_at_once(options, tmp_path):
    (tmp_path / "processes").mkdir()
    items = [Item(f"{n}", Met(n, tmp_path / "processes")) for n in range(2)]
    store = extract(items, tmp_path / "s", part_size=1, workers=1, engine="ray", **options)
    assert (store.paths, store.failures) == (["0", "1"], {})
    assert f"{os.getpid()}" not in {file.name for file in (tmp_path / "processes").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [("ray", "local"), ("local", "ray")])
def test_each_engine_continues_what_the_other_began(photos, options, whole, tmp_path, first, then):
    with pytest.raises(ImageError, match=r"10 broken\.png: "):
        described(photos, tmp_path / "s", options, engine=first, on_error="fail")
    began = Store(tmp_path / "s")
    assert "0/10 broken.png" in began.failures
    assert len(began) < N
    for part in began.parts:
        part.unlink()  # how far each came before the end is chance
    half = described([*_items(photos)][:PART], tmp_path / "s", options, engine=first)
    assert len(half) == PART - 1
    assert_same(described(photos, tmp_path / "s", options, engine=then), whole)


def _items(folder: Path):
    from vggfeat import sources

    return sources.items(folder)


def described_by_workers(items, store: Path, options, **tuning) -> Store:
    """As `described` with the engine ray, with the arguments that `fill_on_cluster` has besides."""
    spec, settings = DescriptorSpec(**options), ExtractionSettings(part_size=PART, workers=1)
    fingerprint = Describer(spec=spec).fingerprint()[0]
    with Writer(store, fingerprint) as writer, progress(len(items), "describing") as bar:
        fill_on_cluster(writer, items, spec, settings, bar, **tuning)
    return Store(store)


@pytest.mark.slow
def test_workers_say_that_images_changed(options, tmp_path):
    items = [Item(f"{n}", encoded(n)) for n in range(4)]
    described(items[:3], tmp_path / "s", options)
    items[1] = Item("1", encoded(9))
    with pytest.raises(StoreError, match="images that changed since they were described: 1, such as 1; all other"):
        extract(items, tmp_path / "s", engine="ray", workers=1, **options)
    assert Store(tmp_path / "s").paths == ["0", "1", "2", "3"]


@dataclass(frozen=True)
class Deadly:
    """An image that kills who reads it, once a part of its range is written; the second time it is harmless."""

    n: int
    store: Path
    always: bool = False

    def fetch(self) -> bytes:
        killed = self.store.parent / "killed"
        if self.always or not killed.exists():
            until(lambda: self.always or (self.store / "part-00000.parquet").exists())
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return encoded(self.n)


@pytest.mark.slow  # the local engine's kills are always tested
def test_a_worker_that_is_killed_loses_nothing(options, tmp_path):
    """Its range had a part already, which stays: 16 rows, a group; the others are described by the next worker."""
    items = [Item(f"{n}", pixels(n)) for n in range(N)]
    items[3], items[22] = Item("3", b"broken"), Item("22", encoded(22))
    expected = described(items, tmp_path / "local", options)
    items[22] = Item("22", Deadly(22, tmp_path / "s"))
    store = described_by_workers(items, tmp_path / "s", options, part_seconds=0)
    assert (tmp_path / "killed").exists()
    assert store.read().equals(expected.read())
    assert (store.failures.keys(), store.settled) == ({"3"}, True)
    assert [file.name for file in store.parts][:3] == [f"part-{n:05}.parquet" for n in (0, 16, 24)]
    assert {file.name for file in store.path.iterdir() if file.name.startswith(".")} == {".lock"}


@pytest.mark.slow
def test_an_image_that_kills_each_worker_ends_the_run(options, tmp_path):
    items = [Item(f"{n}", pixels(n)) for n in range(N)]
    items[30] = Item("30", Deadly(30, tmp_path / "s", always=True))
    with pytest.raises(VggfeatError, match=r"^1 workers were lost over the images from 24 to 47: .* to continue$"):
        described_by_workers(items, tmp_path / "s", options, tries=1)
    items[30] = Item("30", pixels(30))
    assert len(described(items, tmp_path / "s", options)) == N


@pytest.mark.slow
def test_a_list_that_breaks_off_ends_the_run_with_its_error(photos, options, tmp_path):
    names = "".join(f"{photos}/{n // 20}/{n:02}.png\n" for n in range(PART))
    (tmp_path / "list.csv").write_bytes(b"path\n" + names.encode() + b"\xff\n")
    with pytest.raises(DataError, match=r"list\.csv: line \d+ is not UTF-8 text"):
        described(tmp_path / "list.csv", tmp_path / "s", options, engine="ray")


@pytest.mark.slow
def test_a_finished_store_is_left_as_it_is(options, tmp_path):
    items = [Item("one", pixels(1))]
    store = described(items, tmp_path / "s", options)
    before = [(part.name, part.stat().st_ino, part.stat().st_mtime_ns) for part in store.parts]
    again = described(items, tmp_path / "s", options, engine="ray")
    assert [(part.name, part.stat().st_ino, part.stat().st_mtime_ns) for part in again.parts] == before


class Stranger:
    """An image of a class that workers can't import."""

    def __reduce__(self):
        return __import__, ("no_such_module",)


@pytest.mark.slow
def test_an_image_that_workers_can_not_read_ends_the_run(options, tmp_path):
    with pytest.raises(VggfeatError, match=r"^the list of images cannot be read by other processes \(.*no_such_module"):
        described([Item("one", Stranger())], tmp_path / "s", options, engine="ray")


@pytest.mark.parametrize(
    ("nodes", "device", "workers", "dealt"),
    [
        ([{"CPU": 2}], "auto", None, (1, 2, 0)),
        ([{"CPU": 2}], "auto", 1, (2, 1, 0)),
        ([{"CPU": 16}, {"CPU": 6}, {"memory": 1}], "cpu", None, (5, 4, 0)),  # 4 and 1
        ([{"CPU": 16}, {"CPU": 64, "GPU": 8}, {"CPU": 12, "GPU": 2}], "auto", None, (10, 6, 1)),  # 8 and 2
        ([{"CPU": 64, "GPU": 8}, {"CPU": 12, "GPU": 2}], "cuda", 8, (9, 8, 1)),  # 8 and 1
        ([{"CPU": 1, "GPU": 4}], "auto", None, (4, 0, 1)),
    ],
)
def test_how_actors_are_dealt_to_nodes(nodes, device, workers, dealt):
    assert deal(nodes, device, workers) == dealt


@pytest.mark.parametrize(
    ("device", "workers", "said"),
    [("cuda", None, "a GPU"), ("cpu", 3, "3 CPUs: take other --workers"), ("cuda:1", None, "is auto, cpu or cuda")],
)
def test_a_cluster_without_room_says_so(photos, options, tmp_path, device, workers, said):
    with pytest.raises(UsageError, match=said):
        extract(photos, tmp_path / "s", workers=workers, device=device, engine="ray", **options)


def test_invalid_arguments(photos, options, tmp_path, monkeypatch):
    for wrong, said in (
        ({"engine": "spark"}, "no engine 'spark'; take one of local, ray"),
        ({"engine": "ray", "share": (0, 2)}, "leave out torchrun"),
        ({"engine": "ray", "describer": Describer(**options)}, "its settings instead"),
    ):
        with pytest.raises(UsageError, match=said):
            extract(photos, tmp_path / "s", **wrong)
    with (photos / "0" / "00.png").open("rb") as file, pytest.raises(UsageError, match="cannot be sent"):
        extract([Item("open", file)], tmp_path / "s", engine="ray", **options)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(UsageError, match=r"needs Ray: pip install 'vggfeat\[ray\]'"):
        extract(photos, tmp_path / "s", engine="ray", **options)
