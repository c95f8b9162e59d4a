"""Nothing that was computed is lost, no row is ever wrong: kills, full disks, changed files, several processes."""

import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from shutil import copytree

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.kit.image_sources import photo
from tests.kit.warm_commands import commands
from vggfeat import images
from vggfeat.descriptors import Describer
from vggfeat.errors import ImageError, StoreError
from vggfeat.extraction import Item, extract
from vggfeat.store import Store, load

SCALES = "64,96"
N = 80


def same(one: Path, two: Path) -> bool:
    """The same rows to the bit, in the same order, and the same failures; parts may be cut differently."""
    first, second = Store(one), Store(two)
    return first.read().equals(second.read()) and first.failures == second.failures


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    with commands(tmp_path_factory.mktemp("logs")) as started:
        yield started


@pytest.fixture(scope="module")
def weights(tiny_weights):
    return tiny_weights("A", width=1 / 16, top="pool5")


@pytest.fixture(scope="module")
def describer(weights):
    return Describer(weights=weights, layer="pool5", scales=tuple(map(int, SCALES.split(","))))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """80 photos of two sizes, and two that are none."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(N):
        photo(folder / f"{i // 20}" / f"{i:03}.png", [(200, 150), (150, 200)][i % 2], seed=i)
    (folder / "1" / "broken.jpg").write_bytes(b"\xff\xd8\xff not a photo")
    (folder / "3" / "empty.jpg").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def arguments(photos, weights):
    """The command that describes the photos, but for --out."""
    options = ("--weights", weights, "--layer", "pool5", "--scales", SCALES, "--part-size", 8, "--workers", 1)
    return ("extract", photos, *options)


@pytest.fixture(scope="module")
def unbroken(command, arguments, tmp_path_factory):
    store = tmp_path_factory.mktemp("stores") / "unbroken"
    run = command.run(*arguments, "--out", store)
    assert run.output.endswith(f"{store}: {N} images described, 2 failed (failures.csv)\n")
    return store


def parts(store: Path) -> int:
    return len(list(store.glob("part-*.parquet")))


@pytest.mark.parametrize(("kills", "size"), [(5, 8), pytest.param(30, 2, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_as_an_unbroken_run(command, arguments, tmp_path, kills, size):
    arguments = (*arguments, "--part-size", size)
    command.run(*arguments, "--out", tmp_path / "unbroken")
    rng, hits = random.Random(kills), 0
    for kill in range(kills):
        run = command.start(*arguments, "--out", tmp_path / "s")
        before = parts(tmp_path / "s")
        while kill % 4 and parts(tmp_path / "s") == before and run.is_running():
            time.sleep(0.002)  # three of four fall into the work of the run, one into its start
        time.sleep(rng.uniform(0, 0.15))
        hits += run.is_running()
        run.signal(signal.SIGKILL)
        run.wait()
    assert hits >= min(kills, 10) - 2, "the runs ended before they could be killed: give them more images"
    command.run(*arguments, "--out", tmp_path / "s")
    assert same(tmp_path / "s", tmp_path / "unbroken")
    assert not list((tmp_path / "s").glob("*.tmp"))


def test_ctrl_c_ends_the_run_within_two_seconds_and_keeps_what_is_done(command, tmp_path, tiny_weights):
    """A pass of this net takes a second or more; the run doesn't wait for it."""
    for i in range(40):
        photo(tmp_path / "photos" / f"{i:02}.png", (400, 300), seed=i)
    options = ("--weights", tiny_weights("E", width=1 / 2, top="pool5"), "--layer", "pool5", "--scales", 288)
    extracting = ("extract", tmp_path / "photos", "--out", tmp_path / "s", "--part-size", 2, *options)
    run = command.start(*extracting)
    while parts(tmp_path / "s") < 2 and run.is_running():
        time.sleep(0.01)
    time.sleep(0.3)
    began = time.monotonic()
    run.signal(signal.SIGINT)
    run.wait(30)
    assert time.monotonic() - began < 2
    said = f"interrupted; finished descriptors are in {tmp_path / 's'}, run the same command again to continue"
    assert said in run.output
    assert "Traceback" not in run.output
    assert len(Store(tmp_path / "s")) >= 4


def test_a_request_to_end_is_as_good_as_ctrl_c(command, arguments, tmp_path):
    run = command.start(*arguments, "--out", tmp_path / "s")
    while parts(tmp_path / "s") < 2 and run.is_running():
        time.sleep(0.002)
    run.signal(signal.SIGTERM)
    run.wait(30)
    assert "interrupted; finished descriptors are in" in run.output
    done = len(Store(tmp_path / "s"))
    again = command.run(*arguments, "--out", tmp_path / "s")
    described = f"{N} images described, 2 failed (failures.csv)"
    assert again.output.endswith(f"{described}; the store had {done} rows before this run\n")


class Interrupted(Describer):
    """Raises KeyboardInterrupt instead of the eleventh result of a group."""

    def stream(self, prepared, layers=None):
        for n, pair in enumerate(super().stream(prepared, layers)):
            if n == 10:
                raise KeyboardInterrupt
            yield pair


def test_an_interrupt_stores_what_was_described_after_the_last_part(photos, tmp_path, describer):
    interrupted = Interrupted(spec=describer.spec, engine=describer.engine)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        extract(photos, tmp_path / "kept", describer=interrupted)
    assert len(Store(tmp_path / "kept")) == 10
    with pytest.raises(KeyboardInterrupt, match=r"^$"):  # ... but nothing of an unfinished group, if bits matter
        extract(photos, tmp_path / "dropped", describer=interrupted, deterministic=True)
    assert len(Store(tmp_path / "dropped")) == 0
    extract(photos, tmp_path / "whole", describer=describer)
    extract(photos, tmp_path / "kept", describer=describer)
    whole, kept = load(tmp_path / "whole"), load(tmp_path / "kept")
    order = [kept.paths.index(path) for path in whole.paths]
    np.testing.assert_allclose(kept.X[order], whole.X, atol=1e-6)


def test_an_interrupt_while_a_part_is_written_comes_after_it(photos, tmp_path, describer, monkeypatch):
    write_table = pq.write_table

    def interrupted(*part, **options):
        signal.raise_signal(signal.SIGINT)
        write_table(*part, **options)

    monkeypatch.setattr(pq, "write_table", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        extract(photos, tmp_path / "s", describer=describer, part_size=8)
    names = Store(tmp_path / "s").paths
    assert len(names) >= 7
    assert len(set(names)) == len(names)
    assert not list((tmp_path / "s").glob("*.tmp"))


def test_deterministic_runs_have_the_same_bits_and_leave_torch_as_it_was(photos, tmp_path, describer):
    import torch

    for name in "ab":
        extract(photos, tmp_path / name, describer=describer, deterministic=True)
        assert not torch.are_deterministic_algorithms_enabled()
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    assert same(tmp_path / "a", tmp_path / "b")


def test_a_full_disk_is_one_line_and_room_for_more_is_all_that_was_missing(command, arguments, unbroken, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    try:
        run = command.run(*arguments, "--out", small / "s")
        assert "cannot be written (No space left on device)" in run.output
        assert "run the same command again to continue" in run.output
        assert "Traceback" not in run.output
        assert 0 < len(Store(small / "s")) < N
        subprocess.run(["mount", "-o", "remount,size=10m", small], check=True)
        command.run(*arguments, "--out", small / "s")
        assert same(small / "s", unbroken)
    finally:
        subprocess.run(["umount", small], check=True)


def test_two_runs_on_one_store_at_once(command, arguments, unbroken, tmp_path):
    first = command.start(*arguments, "--out", tmp_path / "s")
    while parts(tmp_path / "s") < 1:
        time.sleep(0.005)
    first.signal(signal.SIGSTOP)  # so that it isn't through before the others come
    for environment in ({}, {"RANK": "0", "WORLD_SIZE": "2"}):
        other = command.run(*arguments, "--out", tmp_path / "s", **environment)
        assert "another process is writing to this store; wait for it to end" in other.output
    first.signal(signal.SIGCONT)
    first.wait()
    assert same(tmp_path / "s", unbroken)


def test_on_a_file_system_without_locks_no_image_gets_two_rows(photos, tmp_path, describer, monkeypatch):
    import fcntl

    def no_locks(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert len(extract(photos, tmp_path / "a", describer=describer, part_size=50)) == N
    second = extract(photos, tmp_path / "b", describer=describer, part_size=30)  # as if it had written to the same
    for part in second.parts:
        (tmp_path / "a" / part.name.replace(".parquet", "-9.parquet")).write_bytes(part.read_bytes())
    assert len(Store(tmp_path / "a")) == 2 * N
    healed = extract(photos, tmp_path / "a", describer=describer)
    assert sorted(healed.paths) == sorted(second.paths)
    assert len(healed) == N


def test_a_damaged_part_is_named_and_deleting_it_repairs_the_store(photos, tmp_path, describer):
    whole = extract(photos, tmp_path / "whole", describer=describer, part_size=64)
    broken = Path(copytree(whole.path, tmp_path / "broken"))
    part = broken / "part-00064.parquet"
    good = part.read_bytes()
    damaged = r"part-00064\.parquet: is damaged .* delete it and run"
    part.write_bytes(good[: len(good) // 2])
    with pytest.raises(StoreError, match=damaged):
        extract(photos, broken, describer=describer, part_size=64)
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 4  # within the vectors
    for data in (good[: len(good) // 2], bytes(flipped)):
        part.write_bytes(data)
        with pytest.raises(StoreError, match=damaged):
            load(broken)
    part.unlink()
    extract(photos, broken, describer=describer, part_size=64)
    assert same(broken, whole.path)


def test_a_file_that_vanishes_or_changes_meanwhile_is_a_failure_until_the_next_run(tmp_path, describer):
    for i in range(20):
        photo(tmp_path / "photos" / f"{i:02}.png", seed=i)
    (tmp_path / "list.txt").write_text("".join(f"photos/{i:02}.png\n" for i in range(20)))
    gone, changed = tmp_path / "photos" / "15.png", tmp_path / "photos" / "07.png"

    class Meanwhile(Describer):
        def prepared(self, pixels, image):
            gone.unlink(missing_ok=True)
            pixels = super().prepared(pixels, image)
            if image == changed:
                photo(changed, (90, 70), seed=99)
            return pixels

    meanwhile = Meanwhile(spec=describer.spec, engine=describer.engine)
    store = extract(tmp_path / "list.txt", tmp_path / "s", describer=meanwhile, workers=1)
    assert len(store) == 18
    assert store.failures["photos/15.png"] == "No such file or directory"
    assert "changed while it was read" in store.failures["photos/07.png"]
    store = extract(tmp_path / "list.txt", tmp_path / "s", describer=describer)
    assert store.failures.keys() == {"photos/15.png"}
    row = load(store.path).paths.index("photos/07.png")
    np.testing.assert_allclose(load(store.path).X[row], describer.describe(changed), atol=1e-6)


@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_several_processes_make_the_store_of_one(command, arguments, unbroken, tmp_path, world):
    runs = [
        command.start(*arguments, "--out", tmp_path / "s", RANK=str(rank), WORLD_SIZE=str(world))
        for rank in range(world)
    ]
    for run in runs:
        run.wait()
        assert "has ended" in run.output, run.output
    assert same(tmp_path / "s", unbroken)
    assert Store(tmp_path / "s").meta == Store(unbroken).meta
    assert [p.name for p in Store(tmp_path / "s").parts] == [p.name for p in Store(unbroken).parts]
    assert sum(f"{N} images described, 2 failed" in run.output for run in runs) >= 1
    assert not list((tmp_path / "s").glob("*of*"))
    again = command.run(*arguments, "--out", tmp_path / "s")  # one process finds everything done
    assert f"{N} images described, 2 failed" in again.output
    assert [p.name for p in Store(tmp_path / "s").parts] == [p.name for p in Store(unbroken).parts]


@pytest.mark.parametrize("then", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3))])
def test_when_one_of_several_is_killed_any_number_can_go_on(command, arguments, unbroken, tmp_path, then):
    store = tmp_path / "s"
    first, second = (command.start(*arguments, "--out", store, RANK=str(r), WORLD_SIZE="2") for r in range(2))
    while parts(store) < 3:
        time.sleep(0.005)
    second.signal(signal.SIGKILL)
    second.wait()
    first.wait()
    assert not Store(store).settled
    assert len(Store(store)) < N
    going_on = [command.start(*arguments, "--out", store, RANK=str(r), WORLD_SIZE=str(then)) for r in range(then)]
    for run in going_on:
        run.wait()
    assert same(store, unbroken)
    assert Store(store).settled or then == 2


@pytest.mark.slow
def test_torchrun_shares_the_work(arguments, unbroken, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "vggfeat", *arguments, "--out", tmp_path / "s"]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert f"{N} images described, 2 failed" in run.stdout
    assert same(tmp_path / "s", unbroken)


@pytest.mark.parametrize("broken", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_many_broken_images_among_ten(tmp_path, command, weights, broken):
    folder = tmp_path / "photos"
    for i in range(10):
        photo(folder / f"good {i}.jpg", seed=i)
    for i in range(broken):
        (folder / f"{i:05}.jpg").write_bytes(b"\xff\xd8\xff" + i.to_bytes(4, "little") * (i % 7))
    run = command.run(
        "extract", folder, "--out", tmp_path / "s", "--weights", weights, "--layer", "pool5", "--scales", 64
    )
    assert run.output.endswith(f"10 images described, {broken} failed (failures.csv)\n")
    assert len(Store(tmp_path / "s").failures) == broken


NAMES = [
    b"new\nline.png", b"return\r.png", b'"quoted", with comma.png', b"'; drop.png", b"caf\xe9.png", b"caf\\xe9.png",
    b"back\\slash.png", b"\xff\xfe.png", "\u202eright to left.png".encode(), b" .png", b"-rf.png", b"a" * 251 + b".png",
]  # fmt: skip


def test_hostile_names_keep_their_rows_apart(tmp_path, describer):
    folder = tmp_path / "photos"
    for n, name in enumerate(NAMES):
        os.rename(os.fsencode(photo(folder / "x.png", seed=n)), os.fsencode(folder) + b"/" + name)  # noqa: PTH104
        (folder / os.fsdecode(b"broken " + name[:200])).write_bytes(b"no image")
    store = extract(folder, tmp_path / "s", describer=describer)
    assert len(set(store.paths)) == len(store) == len(NAMES)
    assert len(store.failures) == len(NAMES)
    assert {"new\nline.png", "return\r.png", '"quoted", with comma.png'} <= set(store.paths)
    vectors = load(store.path)
    for n, name in enumerate(NAMES):
        shown = {b"caf\xe9.png": r"caf\xe9.png", b"caf\\xe9.png": r"caf\\xe9.png", b"\xff\xfe.png": r"\xff\xfe.png"}
        row = vectors.paths.index(shown.get(name) or name.decode())
        expected = describer.describe(folder / os.fsdecode(name))
        np.testing.assert_allclose(vectors.X[row], expected, atol=1e-6, err_msg=f"{n}")
    again = extract(folder, tmp_path / "s", describer=describer)
    assert (len(again), again.failures) == (len(NAMES), store.failures)


def test_links_pipes_and_locked_files_of_a_folder_are_listed(tmp_path, describer, monkeypatch):
    photo(tmp_path / "outside" / "secret.png")
    folder = tmp_path / "photos"
    photo(folder / "good.png")
    photo(folder / "locked.png").chmod(0)
    (folder / "unreadable.png").symlink_to("/proc/self/mem")  # a regular file, also to root
    photo(folder / "a folder.jpg" / "inside.png")
    (folder / "link out.png").symlink_to(tmp_path / "outside" / "secret.png")
    (folder / "link up").symlink_to(tmp_path)
    (folder / "link within.png").symlink_to("good.png")
    (folder / "link to folder").symlink_to("a folder.jpg")
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "fifo.png")
    with socket.socket(socket.AF_UNIX) as sock:
        monkeypatch.chdir(folder)
        sock.bind("socket.png")
        store = extract(folder, tmp_path / "s", describer=describer)
    root = os.geteuid() == 0  # who may read everything
    assert store.paths == [
        "good.png", "link out.png", "link within.png", *["locked.png"] * root, "a folder.jpg/inside.png",
        "link to folder/inside.png", "link up/outside/secret.png",
    ]  # fmt: skip
    reasons = {name: reason.split(",")[0] for name, reason in store.failures.items()}
    assert reasons == {
        **({} if root else {"locked.png": "Permission denied"}),
        "unreadable.png": "Input/output error",
        "loop.png": "is a link that leads to no file (Too many levels of symbolic links)",
        "fifo.png": "not a regular file",
        "socket.png": "not a regular file",
    }


def test_a_folder_that_may_not_be_listed_is_a_failure(tmp_path, describer, monkeypatch):
    photo(tmp_path / "photos" / "a.png")
    photo(tmp_path / "photos" / "locked" / "b.png")
    scandir = os.scandir

    def no_permission(folder):
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", no_permission)
    store = extract(tmp_path / "photos", tmp_path / "s", describer=describer)
    assert (store.paths, store.failures) == (["a.png"], {"locked": "Permission denied"})


def test_bombs_are_not_unpacked(tmp_path, describer):
    """Small files that claim to be large: by their header, and truly."""
    folder = tmp_path / "photos"
    photo(folder / "good.png")
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 9) + b"IDAT" + bytes(13))
    Image.new("1", (9_000, 9_000)).save(folder / "large.tif", compression="group4")
    photo(folder / "medium.png", (1000, 1000))
    store = extract(folder, tmp_path / "s", describer=describer, max_pixels=500_000)
    assert store.paths == ["good.png"]
    assert "more than 500,000 pixels" in store.failures["bomb.png"]
    assert store.failures["large.tif"] == "9000x9000 is more than 500,000 pixels; reduce it first"
    assert store.failures["medium.png"] == "1000x1000 is more than 500,000 pixels; reduce it first"


def test_the_pixel_limit_is_an_option_of_the_command(tmp_path, command, weights):
    photo(tmp_path / "photos" / "large.png", (300, 200))
    photo(tmp_path / "photos" / "small.png", (100, 100))
    options = ("--weights", weights, "--layer", "pool5", "--scales", 64, "--max-pixels")
    run = command.run("extract", tmp_path / "photos", "--out", tmp_path / "s", *options, 50_000)
    assert run.output.endswith("1 images described, 1 failed (failures.csv)\n")
    describe = ("describe", tmp_path / "photos" / "large.png", *options)
    assert "large.png: 300x200 is more than 50,000 pixels" in command.run(*describe, 50_000).output
    assert "large.png\t" in command.run(*describe, 60_000).output
    assert "max_pixels must be" in command.run("extract", tmp_path / "photos", *options, 0).output


def test_names_no_disk_could_hold_are_shortened(tmp_path, describer):
    pixels = np.zeros((70, 70, 3), np.uint8)
    items = [Item("good", pixels), Item("x" * 100_000, pixels), Item("nul\0.png", pixels), Item("lone \ud800", pixels)]
    store = extract(items, tmp_path / "s", describer=describer)
    assert store.paths == ["good", r"nul\0.png", r"lone \ud800"]
    assert list(store.failures.values()) == ["its name has 100,000 characters, more than 4,096; shorten it"]


def test_labels_that_are_not_unicode_are_stored_and_no_news(tmp_path, describer, capsys):
    items = [
        Item("a", np.zeros((70, 70, 3), np.uint8), "lone \ud800"),
        Item("b", np.zeros((70, 70, 3), np.uint8), "x" * 10**6),
    ]
    for _ in range(2):
        store = extract(items, tmp_path / "s", describer=describer)
    assert load(store.path).labels == [r"lone \ud800"]
    assert store.failures == {"b": "its label has 1,000,000 characters, more than 16,384; shorten it"}
    assert "new label" not in capsys.readouterr().err


def test_a_store_that_is_replaced_between_two_parts(photos, tmp_path, describer, unbroken):
    """The run ends with one line; both folders are as they were, but for the parts before."""

    class Meanwhile(Describer):
        moved = False

        def stream(self, prepared, layers=None):
            yield from super().stream(prepared, layers)
            if parts(tmp_path / "s") and not self.moved:
                Meanwhile.moved = True
                (tmp_path / "s").rename(tmp_path / "before")
                copytree(unbroken, tmp_path / "s")

    meanwhile = Meanwhile(spec=describer.spec, engine=describer.engine)
    with pytest.raises(StoreError, match=r"s: the folder or its \.lock was replaced or removed during this run"):
        extract(photos, tmp_path / "s", describer=meanwhile, part_size=16)
    assert same(tmp_path / "s", unbroken)
    assert 0 < len(Store(tmp_path / "before")) < N
    extract(photos, tmp_path / "before", describer=describer)
    assert set(Store(tmp_path / "before").paths) == set(Store(unbroken).paths)


def originals() -> list[bytes]:
    """A small image in each format, and in rare variants of it."""
    import io

    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 31, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = [
        ("JPEG", rgb, {"exif": exif}), ("JPEG", rgb.convert("CMYK"), {}), ("JPEG", rgb, {"progressive": True}),
        ("PNG", rgb, {}), ("PNG", rgb.convert("P"), {}), ("PNG", rgb.convert("LA"), {"exif": exif}),
        ("GIF", rgb, {"save_all": True, "append_images": [rgb.rotate(90)]}), ("BMP", rgb, {}), ("PPM", rgb, {}),
        ("WEBP", rgb, {"exif": exif}), ("WEBP", rgb, {"lossless": True}), ("TIFF", rgb, {}),
        ("TIFF", rgb, {"compression": "tiff_lzw"}), ("TIFF", rgb, {"compression": "tiff_adobe_deflate"}),
        ("TIFF", rgb.convert("1"), {"compression": "group4"}), ("TIFF", rgb, {"compression": "jpeg"}),
    ]  # fmt: skip
    found = []
    for kind, image, options in kinds:
        file = io.BytesIO()
        image.save(file, kind, **options)
        found.append(file.getvalue())
    return found


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bits flipped, bytes set to extremes, pieces cut out or doubled; most often near the start, in the headers."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = min(int(rng.random() ** 2 * len(out)), len(out) - 1)
        size = rng.randrange(1, 9)
        match rng.randrange(5):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at : at + size] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * size
            case 2:
                del out[at : at + size]
            case 3:
                out[at:at] = out[max(0, at - size) : at + size]
            case 4:
                del out[at + 1 :]
        if not out:
            return b""
    return bytes(out)


@pytest.mark.parametrize("count", [3000, pytest.param(20_000, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")
def test_mutated_images_are_read_or_refused(count, capfd):
    """No crash, no hang, no other exception: what comes back is an image, or an ImageError of one line."""
    rng, known = random.Random(count), originals()
    refused, slowest = 0, 0.0
    for n in range(count):
        data = mutated(known[n % len(known)], rng)
        began = time.process_time()
        try:
            pixels = images.read(data, max_pixels=10**6)
            assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
        except ImageError as error:
            refused += 1
            assert str(error)
        slowest = max(slowest, time.process_time() - began)
    assert count // 10 < refused < count
    assert slowest < 2
