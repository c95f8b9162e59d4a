"""Whatever one image is, it costs one row: its time, its memory and its decoder are its own."""

import io
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.kit.image_sources import photo, png, put, tar
from tests.kit.warm_commands import commands
from vggfeat import images
from vggfeat.descriptors import Describer
from vggfeat.errors import ImageError, UsageError, VggfeatError
from vggfeat.extraction import ExtractionSettings, Item, extract
from vggfeat.extraction.children import START
from vggfeat.extraction.decoder_process import receive, send
from vggfeat.extraction.decoding import Decoded, Decoder, Failure
from vggfeat.store import Store


@pytest.fixture(scope="module")
def weights(tiny_weights):
    return tiny_weights("A", width=1 / 16, top="pool5")


@pytest.fixture(scope="module")
def describer(weights):
    return Describer(weights=weights, layer="pool5", scales=(64,))


def decode(describer, items, memory=None, **settings) -> list[Decoded]:
    with Decoder(describer, ExtractionSettings(**settings), memory) as decoder:
        return list(decoder.decode(enumerate(items)))


def reasons(decoded) -> dict[str, str]:
    return {one.path: one.image.reason for one in decoded if isinstance(one.image, Failure)}


def slow_jpeg(scans: int = 20_000, side: int = 1500) -> bytes:
    """A small progressive JPEG that takes minutes: its last scan is there again and again."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), "grey").save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"


def test_an_image_that_takes_too_long_is_a_failure_and_the_others_are_read(tmp_path, describer):
    slow = put(tmp_path / "slow.jpg", slow_jpeg())
    items = [Item("a", png(1)), Item("file", slow), Item("bytes", slow_jpeg()), Item("b", photo(tmp_path / "b.png"))]
    said = "was not decoded within 0.5 s; if the file is not damaged, give a larger --image-seconds"
    assert reasons(decode(describer, items, image_seconds=0.5, workers=1)) == {"file": said, "bytes": said}


def processes_of(pid: int) -> list[int]:
    """The processes that a process has started, which have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rsplit(")", 1)[1].split()[:2]
        except OSError:  # it has ended
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class Ending(Describer):
    """After the first image it ends the process that decodes, by a signal and after some seconds."""

    def __init__(self, describer, number, after):
        super().__init__(spec=describer.spec, engine=describer.engine)
        self.number, self.after, self.before = number, after, set(processes_of(os.getpid()))

    def prepared(self, pixels, image):
        if self.number:
            (child,) = set(processes_of(os.getpid())) - self.before
            threading.Timer(self.after, os.kill, (child, self.number)).start()
            self.number = None
        return super().prepared(pixels, image)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_decoder_that_crashes_costs_the_image_that_it_decodes(describer, number):
    items = [Item("1", png(1)), Item("2", slow_jpeg()), Item("3", png(3)), Item("4", png(4))]
    how = f"was ended by signal {number.value} ({signal.strsignal(number)})"
    failed = reasons(decode(Ending(describer, number, after=0.3), items, workers=1))
    assert failed == {"2": f"the process that decoded it {how}; if the file is damaged, replace it"}


def test_a_decoder_that_is_ended_while_it_waits_costs_nothing(describer):
    ending = Ending(describer, signal.SIGKILL, after=0)

    def items():
        yield 0, Item("1", png(1))
        until(lambda: ending.number is None and not set(processes_of(os.getpid())) - ending.before)
        yield 1, Item("2", png(2))

    with Decoder(ending, ExtractionSettings(workers=1)) as decoder:
        assert reasons(decoder.decode(items())) == {}


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("/nowhere/python", r"^/nowhere/python: cannot be started .*\(No such file or directory\)"),
        (None, r"^None: cannot be started to decode images \(.*NoneType"),
        ("/bin/false", r"^/bin/false: cannot be started to decode images \(ended with status 1\)"),
    ],
)
def test_a_decoder_that_cannot_be_started_is_one_line(tmp_path, describer, monkeypatch, python, said):
    photo(tmp_path / "photos" / "a.png")
    monkeypatch.setattr(sys, "executable", python)
    with pytest.raises(VggfeatError, match=said):
        extract(tmp_path / "photos", tmp_path / "s", describer=describer)
    assert not Store(tmp_path / "s").failures


def test_modules_in_the_folder_of_the_command_are_not_imported(tmp_path, describer, monkeypatch):
    for name in ("json", "numpy", "PIL", "sitecustomize", "vggfeat"):
        put(tmp_path / f"{name}.py", b"raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert reasons(decode(describer, [Item("a", png())])) == {}


def test_what_libraries_print_is_not_seen(tmp_path, describer, capfd):
    """libtiff writes of each unknown tag."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(file, "TIFF", compression="tiff_lzw", tiffinfo={65000: "odd"})
    damaged = file.getvalue().replace(b"\x00\x01\x03\x00", b"\x00\x01\x0d\x00", 1)
    decode(describer, [Item("a", file.getvalue()), Item("b", damaged)])
    assert capfd.readouterr() == ("", "")


def test_pixels_are_those_that_the_library_reads(tmp_path, describer):
    files = [
        photo(tmp_path / f"1.{suffix}", (90, 70)) for suffix in ("png", "jpg", "webp", "tiff", "gif", "bmp", "ppm")
    ]
    sources = [*files, *(file.read_bytes() for file in files), str(files[0]), bytearray(files[0].read_bytes())]
    sources += [Image.open(files[0]), io.BytesIO(files[1].read_bytes()), np.zeros((70, 80, 3), np.uint8)]
    decoded = decode(describer, [Item(f"{i}", source) for i, source in enumerate(sources)])
    for one, source in zip(decoded, sources, strict=True):
        assert np.array_equal(one.image.permute(1, 2, 0).numpy(), images.read(source))


# Memory


def test_an_image_that_needs_more_memory_than_the_budget_says_how_much(tmp_path, describer):
    large = photo(tmp_path / "large.png", (1200, 1000))
    decoded = decode(describer, [Item("a", png()), Item("large", large), Item("b", png(2))], memory=12 * 2**20)
    (failed,) = reasons(decoded).items()
    assert failed[0] == "large"
    said = r"needs (\d+) MB of memory, and 24 MB are free for an image; reduce it first, or free some memory"
    needs = re.fullmatch(said, failed[1])
    assert int(needs[1]) >= 1200 * 1000 * 7 / 2**20  # Pillow's pixels and those of the result


def test_a_budget_for_one_image_at_a_time_is_enough(tmp_path, describer):
    """Also if later images come first, wait decoded, and fill it."""

    class Late:
        far = True

        def __init__(self, n):
            self.n = n

        def fetch(self):
            time.sleep(0.2 * (self.n % 8 == 0))
            return png(self.n, (300, 200))

    sources = [Late(n) if n % 3 else photo(tmp_path / f"{n}.png", (300, 200), seed=n) for n in range(48)]
    decoded = decode(describer, [Item(f"{n}", source) for n, source in enumerate(sources)], 20 * 2**20, workers=3)
    assert reasons(decoded) == {}
    assert [one.path for one in decoded] == [f"{n}" for n in range(48)]


@pytest.mark.parametrize("kind", ["near", "far", "bytes"])
def test_failed_images_free_their_bytes_at_once(describer, kind):
    """60 images of 1 MB with a budget of 4: of what they take, no more than twice the budget is held.

    bytes : the source has read them when it lists them, as those of a compressed archive.
    """

    class Member:
        far = kind == "far"

        def fetch(self):
            return bytes(2**20)

        def stamp(self):
            return 2**20, None

    items = (Item(f"{i}", bytes(2**20) if kind == "bytes" else Member()) for i in range(60))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        decoded = decode(describer, items, memory=2**22)
        after, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(reasons(decoded)) == 60
    assert after - before < 2**20
    assert most - before < 9 * 2**20


@pytest.mark.parametrize("kind", ["file", "bytes", "fetched", "archive"])
def test_a_file_with_too_many_bytes_is_refused(tmp_path, describer, kind):
    data = png(0, (100, 100))

    class Fetched:
        def fetch(self):
            return data

    source = {"file": put(tmp_path / "a.png", data), "bytes": data, "fetched": Fetched()}.get(kind)
    items = [Item("a.png", source)] if source else tar(tmp_path / "t.tar", [("a.png", data)])
    said = f"has {len(data):,} bytes, more than 9,999; reduce it first, or see --max-bytes"
    with pytest.raises(VggfeatError, match="none of its 1 files"):
        extract(items, tmp_path / "s", describer=describer, max_bytes=9999)
    assert [*Store(tmp_path / "s").failures.values()] == [said]


def test_a_header_that_promises_less_than_the_pixels_take_meets_the_limit(tmp_path):
    """A process is granted one byte for 144 million."""
    file = put(tmp_path / "a.png", b"")
    Image.new("L", (12_000, 12_000)).save(file)
    path = str([str(part) for part in sys.path if part]).replace("'", '"')
    with subprocess.Popen([sys.executable, "-c", START, path], stdin=-1, stdout=-1) as child:
        assert receive(child.stdout) == {}
        limits = {"max_pixels": 2**30, "max_bytes": 2**20, "seconds": 60, "options": {}}
        send(child.stdin, {"path": str(file), **limits})
        assert receive(child.stdout)["memory"] > 144e6
        send(child.stdin, {"granted": 1})
        said = "not enough memory to decode it; reduce it first, or decode fewer at once"
        assert receive(child.stdout) == {"error": f"{file}: {said}"}
        child.stdin.close()


@pytest.mark.parametrize("settings", [{"max_bytes": 0}, {"max_bytes": 2**40}, {"image_seconds": 0.0}])
def test_bounds_are_checked(settings):
    with pytest.raises(UsageError, match=next(iter(settings))):
        ExtractionSettings(**settings)


# Defects


class Odd:
    """An image whose bytes cannot be had, because of a defect."""

    def fetch(self):
        raise KeyError("size")


def test_a_defect_is_a_failure_and_ends_the_run_when_all_else_is_done(tmp_path, describer):
    cut = png(5)

    class Defective(Describer):
        def prepared(self, pixels, image):
            if image is cut:
                raise AttributeError("no box")
            return super().prepared(pixels, image)

    items = [Item("1", png(1)), Item("2", Odd()), Item("3", np.zeros((70, 70, 3), np.uint8)), Item("4", b"no image")]
    said = r"s: images that met a defect: 2, such as 2: a defect of vggfeat \(KeyError: 'size'\), please report it; all"
    with pytest.raises(VggfeatError, match=said):
        defective = Defective(spec=describer.spec, engine=describer.engine)
        extract([*items, Item("5", cut)], tmp_path / "s", describer=defective)
    store = Store(tmp_path / "s")
    assert store.paths == ["1", "3"]
    assert store.failures["2"] == "a defect of vggfeat (KeyError: 'size'), please report it"
    assert store.failures["4"].startswith("not an image")
    assert store.failures["5"] == "a defect of vggfeat (AttributeError: no box), please report it"
    assert extract([items[0], Item("5", cut)], tmp_path / "s", describer=describer).paths == ["1", "3", "5"]


def test_on_error_fail_ends_with_the_defect(tmp_path, describer):
    with pytest.raises(ImageError, match=r"^2: a defect of vggfeat \(KeyError"):
        extract([Item("2", Odd())], tmp_path / "s", describer=describer, on_error="fail")


# What is left behind


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    with commands(tmp_path_factory.mktemp("logs")) as started:
        yield started


@pytest.mark.parametrize(
    ("busy", "number"),
    [
        (False, signal.SIGINT),
        (True, signal.SIGKILL),
        pytest.param(False, signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param(False, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(True, signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(True, signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_no_process_is_left(tmp_path, command, weights, busy, number):
    """busy : each decodes something that takes minutes when the command ends."""
    for i in range(40):
        photo(tmp_path / "photos" / f"{i:02}.png", (400, 300), seed=i)
    if busy:
        for i in range(8):
            put(tmp_path / "photos" / f"0{i}.jpg", slow_jpeg())
    options = ("--weights", weights, "--layer", "pool5", "--scales", 64, "--image-seconds", 1.5, "--workers", 2)
    run = command.start("extract", tmp_path / "photos", "--out", tmp_path / "s", "--part-size", 2, *options)
    until(lambda: len(processes_of(run.pid)) == 2 or not run.is_running())
    children = processes_of(run.pid)
    assert len(children) == 2
    run.signal(number)
    run.wait(30)
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), 10)


def test_an_error_leaves_no_process(tmp_path, describer):
    class Defective(Describer):
        def stream(self, prepared, layers=None):
            next(iter(prepared))
            raise RuntimeError("of the net")
            yield

    before = set(processes_of(os.getpid()))
    items = [Item("1", png(1)), *(Item(f"{i}", slow_jpeg()) for i in range(2, 9))]
    with pytest.raises(RuntimeError, match="of the net"):
        extract(items, tmp_path / "s", describer=Defective(spec=describer.spec, engine=describer.engine))
    until(lambda: set(processes_of(os.getpid())) <= before, 10)


# Fuzz


@pytest.mark.parametrize("tries", [150, pytest.param(20_000, marks=pytest.mark.slow)])
def test_damaged_images_are_read_or_listed(tmp_path, describer, tries):
    rng = random.Random(tries)
    whole = []
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "AVIF", "JPEG2000"):
        file = io.BytesIO()
        Image.open(photo(tmp_path / "a.png", (60, 44))).save(file, kind)
        whole.append(file.getvalue())

    def damaged() -> bytes:
        data = bytearray(rng.choice(whole))
        for _ in range(rng.choice((1, 1, 3, 10))):
            start = rng.randrange(min(len(data), rng.choice((40, 400, 10**6))))
            data[start : start + rng.choice((1, 1, 4))] = rng.randbytes(rng.choice((1, 4)))
        return bytes(data[: rng.choice((len(data), rng.randrange(len(data))))])

    items = (Item(f"{i}", damaged()) for i in range(tries))
    decoded = decode(describer, items, image_seconds=20)
    assert [one.path for one in decoded] == [f"{i}" for i in range(tries)]
    failed = reasons(decoded)
    assert tries / 10 < len(failed) < tries
    assert not {reason for reason in failed.values() if "a defect of" in reason or "the process that" in reason}
