"""Decoded images kept on disk: the same pixels, written once, and not used if they are damaged or out of date."""

import csv
import errno
import fcntl
import os
import pickle
import shutil
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.kit.training_photos import TINY, photo, photo_set
from vggfeat import images
from vggfeat.errors import ImageError, VggfeatError
from vggfeat.train import cache, train
from vggfeat.train.cache import FORMAT, HEAD, CachedImages, CacheFile
from vggfeat.train.folder import EPOCHS
from vggfeat.train.ranks import Ranks, placed
from vggfeat.train.shards import Member

ALONE = Ranks(torch.device("cpu"))
COUNT = 4  # of `files`, the last of which is not an image


@pytest.fixture
def files(tmp_path):
    sizes = ((5, 4), (1, 1), (30, 7))
    found = [photo(tmp_path / "photos" / f"{i}.png", (50, 60, 70), i, size) for i, size in enumerate(sizes)]
    broken = tmp_path / "photos" / "broken.png"
    broken.write_bytes(b"no image")
    return [*found, broken]


def decoded(files):
    for file in files:
        try:
            yield images.read(file)
        except ImageError as error:
            yield error


def keep(target, files, size=0.0, ranks=ALONE):
    return cache.cached_images(target, lambda: decoded(files), size, ranks)


def same(kept, files):
    """Whether the rows are those of decoding; failures have the same text."""
    pairs = list(zip((kept[row] for row in range(len(kept))), decoded(files), strict=True))
    return all(
        str(a) == str(b) if isinstance(b, ImageError) else a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs
    )


# ---- what is kept


def test_it_holds_the_pixels_and_the_reasons(files, tmp_path):
    target = CacheFile.of(tmp_path / "new" / "cache", files)
    kept = keep(target, files)
    assert len(kept) == COUNT and same(kept, files) and kept[2].shape == (7, 30, 3)
    assert isinstance(kept[3], ImageError) and "not an image" in str(kept[3])
    pixels = 3 * (5 * 4 + 1 * 1 + 30 * 7)
    assert target.path.stat().st_size == len(FORMAT) + 32 + 8 * COUNT + pixels + len(str(kept[3]))
    with pytest.raises(ValueError, match="read-only"):
        kept[0][0] = 0


def test_it_is_read_and_not_made_again(files, tmp_path):
    target = CacheFile.of(tmp_path, files)
    keep(target, files)
    before = target.path.stat()
    again = cache.cached_images(CacheFile.of(tmp_path, files), lambda: pytest.fail("decoded again"), 0.0, ALONE)
    assert same(again, files) and target.path.stat() == before


def test_a_process_that_is_not_forked_maps_the_file(files, tmp_path):
    big = photo(tmp_path / "big.png", (1, 2, 3), 0, (400, 300))
    kept = keep(CacheFile.of(tmp_path, [*files, big]), [*files, big])
    sent = pickle.dumps(kept)
    assert len(sent) < 2000 and same(pickle.loads(sent), [*files, big])


def test_images_within_shards_have_their_own_files(files, tmp_path):
    def target(*members):
        return CacheFile.of(tmp_path, [Member(files[0], *member) for member in members])

    assert target((0, 10)) == target((0, 10))
    assert len({target(*members).path for members in ([(0, 10)], [(1, 10)], [(0, 9)], [(0, 10), (1, 10)])}) == 4
    before = target((0, 10))
    os.utime(files[0], ns=(0, 0))
    assert target((0, 10)).path == before.path and target((0, 10)).made_of != before.made_of


# ---- what is not used


@pytest.mark.parametrize("change", ["time", "size", "gone", "decoder"])
def test_it_is_written_again_if_a_source_has_changed(files, tmp_path, monkeypatch, change):
    target = CacheFile.of(tmp_path, files)
    old = keep(target, files)
    first = old[0].copy()
    if change == "decoder":
        monkeypatch.setattr("PIL.__version__", "0")
    elif change == "gone":
        files[0].unlink()
    else:
        stat = files[0].stat()
        photo(files[0], (250, 250, 250), 9, (5, 4))
        if change == "size":
            files[0].write_bytes(files[0].read_bytes() + b"\0")
            os.utime(files[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
        else:
            os.utime(files[0], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    now = CacheFile.of(tmp_path, files)
    assert now.path == target.path and now.open() is None
    assert same(keep(now, files), files)
    assert np.array_equal(old[0], first)  # a run that reads the old file continues with it


@pytest.mark.parametrize("length", [0, 10, HEAD, HEAD + 8 * COUNT - 1, HEAD + 8 * COUNT, -1, 1])
def test_it_is_written_again_if_it_is_cut_or_lengthened(files, tmp_path, length):
    target = CacheFile.of(tmp_path, files)
    keep(target, files)
    size = target.path.stat().st_size
    os.truncate(target.path, length if length > 1 else size + length if length else 0)
    assert target.open() is None
    assert same(keep(target, files), files)


@pytest.mark.parametrize("at", [0, len(FORMAT), HEAD, HEAD + 4, HEAD + 8 * COUNT - 1])
def test_a_damaged_head_is_not_used(files, tmp_path, at):
    target = CacheFile.of(tmp_path, files)
    keep(target, files)
    with target.path.open("rb+") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
    assert target.open() is None


# Three times the product of the first two is 2^64 - 1, which is -1 in 64 bits: the sum would be right.
OVERFLOW = [(6700417 * 257, 5 * 17 * 641 * 65537), (0, 61)]


@pytest.mark.parametrize("sizes", [[(4, 5), (0, 0)], [(4, 5), (0, 1)], [(4, 6), (0, 0)], OVERFLOW, []], ids=str)
def test_sizes_must_add_up_to_the_files_length(files, tmp_path, sizes):
    target = CacheFile.of(tmp_path, files[:2])
    stated = np.array(sizes, "<u4")
    target.path.write_bytes(target.head(stated) + stated.tobytes() + bytes(60 if sizes else 0))
    assert (target.open() is not None) == (sizes == [(4, 5), (0, 0)])


# ---- if it cannot be written


def test_without_room_training_continues_without(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**9))
    target = CacheFile.of(tmp_path / "cache", files)
    assert keep(target, files, size=1.5e9) is None and not target.path.exists()
    line = (
        f"{tmp_path / 'cache'}: the decoded images take 1,500 MB, and 1,000 MB are free; training continues without it"
    )
    said = capsys.readouterr().err
    assert said.startswith(line) and said.count("\n") == 1


def test_a_disk_that_becomes_full_keeps_nothing(files, tmp_path, monkeypatch, capsys):
    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    target = CacheFile.of(tmp_path / "cache", files)
    assert keep(target, files) is None
    assert f"{target.path}: cannot be written (No space left on device)" in capsys.readouterr().err
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".lock"]


def test_an_interrupt_leaves_nothing_behind(files, tmp_path):
    def interrupted():
        yield images.read(files[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.cached_images(CacheFile.of(tmp_path / "cache", files), interrupted, 0.0, ALONE)
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".lock"]
    assert same(keep(CacheFile.of(tmp_path / "cache", files), files), files)


def test_a_folder_that_cannot_be_made_is_named(files, tmp_path):
    with pytest.raises(VggfeatError, match=r"photos/0.png: cannot be written \(.*\); name another --cache-dir"):
        keep(CacheFile.of(files[0], files), files)


# ---- several processes


@dataclass(frozen=True)
class Together(Ranks):
    """One of two processes of a machine, as a thread."""

    barrier: Any = None

    def gather(self, values):
        self.barrier.wait(timeout=20)
        return values


@contextmanager
def two_processes(target, files):
    """Both ask for the same images; yields the processes that decode, and at the end the images of each."""
    barrier, made, found = threading.Barrier(2), [], {}

    def take(local):
        def decode():
            made.append(local)
            return decoded(files)

        ranks = Together(torch.device("cpu"), rank=local, world=2, on_machine=2, local=local, barrier=barrier)
        found[local] = cache.cached_images(target, decode, 1.0, ranks)

    threads = [threading.Thread(target=take, args=(local,)) for local in (1, 0)]
    threads[0].start()
    while threads[0].is_alive() and not barrier.n_waiting:  # the process that does not write comes first
        time.sleep(0.001)
    threads[1].start()
    yield made, found
    for thread in threads:
        thread.join(timeout=30)


def test_one_process_of_a_machine_writes_and_the_others_wait(files, tmp_path):
    with two_processes(CacheFile.of(tmp_path, files), files) as (made, found):
        pass
    assert made == [0]
    assert isinstance(found[0], CachedImages) and isinstance(found[1], CachedImages) and same(found[1], files)


def test_what_another_run_writes_is_waited_for(files, tmp_path, capsys):
    target = CacheFile.of(tmp_path, files)
    with target.path.with_suffix(".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with two_processes(target, files) as (made, found):
            ends, said = time.monotonic() + 30, ""
            while not said.endswith("\n") and time.monotonic() < ends:
                time.sleep(0.01)
                said += capsys.readouterr().err
            target.write(decoded(files))
            lock.close()
    assert said == f"waiting for another run that decodes into {target.path}\n"
    assert made == [] and same(found[0], files) and same(found[1], files)


def test_what_one_process_cannot_write_the_others_do_not_try(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
    with two_processes(CacheFile.of(tmp_path, files), files) as (made, found):
        pass
    assert made == [] and found == {0: None, 1: None}
    assert capsys.readouterr().err.count("\n") == 1


def test_torchrun_numbers_the_processes_of_a_machine(monkeypatch):
    for name, value in {"WORLD_SIZE": 8, "RANK": 5, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 4}.items():
        monkeypatch.setenv(name, str(value))
    found = placed("cpu")
    assert (found.rank, found.local, found.on_machine, found.world) == (5, 1, 4, 8)


# ---- a run


@pytest.mark.slow
def test_no_kept_pixel_decides_a_number(tmp_path, monkeypatch, one_thread):
    data = photo_set(tmp_path / "data")
    (data / "train" / "blue" / "1.png").write_bytes(b"")
    ways = {
        "anew": {"cache": 0.0},
        "memory": {"cache": 1.0},
        "disk": {"cache": 0.0, "cache_dir": str(tmp_path / "kept")},
        "again": {"cache": 1e-9, "cache_dir": str(tmp_path / "kept")},
    }
    times, logs = [], {}
    for way, settings in ways.items():
        if way == "again":
            monkeypatch.setattr(CacheFile, "write", lambda self, images: pytest.fail("written again"))
        train(data, tmp_path / way, **TINY, **settings)
        losses = (tmp_path / way / "steps.csv").read_text()
        with (tmp_path / way / "log.csv").open() as lines:
            epochs = [{name: row[name] for name in list(EPOCHS)[:-2]} for row in csv.DictReader(lines)]  # but for times
        failures = (tmp_path / way / "failures.csv").read_text()
        logs[way] = losses, epochs, failures, (tmp_path / way / "last.safetensors").read_bytes()
        times.append(len(list(tmp_path.glob("kept/*.pixels"))))
    assert times == [0, 0, 2, 2]  # train and val
    assert all(log == logs["anew"] for log in logs.values())
    assert "train/blue/1.png,is empty" in logs["disk"][2]
