"""Damaged and swapped files of a run: the right values or one line, never a traceback and never other weights."""

import json
import os
import random
import signal
import struct
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.kit.damage import changed_json, flipped, mangled
from vggfeat.errors import VggfeatError, WeightsError
from vggfeat.train import Recipe, checkpoint
from vggfeat.train.checkpoint import About
from vggfeat.train.folder import STEPS, CsvTable, RunFolder, held
from vggfeat.train.loading import Crops, micro_batches
from vggfeat.train.pixel_statistics import ILSVRC, PixelStatistics
from vggfeat.train.plateau import Plateau
from vggfeat.train.state import Start, TrainState
from vggfeat.weights.header import OXFORD
from vggfeat.weights.run_files import EPOCHS, LOG, RunConfig, RunResult

ABOUT = About(Recipe(net="A").fixed(), ILSVRC, Start(OXFORD, 0.01, ("conv1_1",), "a.safetensors", "ab" * 32), "cd" * 32)
STATE = TrainState(3, 2, (9.0, 5.0, 1.0, 12.0), 60.5, Plateau(41.5, 2, 1, 1, False, 41.5), 12.0, best_sha256="ef" * 32)


def tensors(seed=0):
    draw = torch.Generator().manual_seed(seed)
    names = ("net/conv1_1.weight", "net/conv1_1.bias", "momentum/conv1_1.bias")
    return {name: torch.randn(shape, generator=draw) for name, shape in zip(names, ((4, 3, 3, 3), 4, 4), strict=True)}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.save(path, tensors(), STATE, ABOUT)
    return path


def is_whole(found):
    loaded, state, about = found
    return all(torch.equal(loaded[name], value) for name, value in tensors().items()) and (state, about) == (
        STATE,
        ABOUT,
    )


def rewritten(path, change):
    """The same tensors with changed metadata."""
    with safe_open(path, "pt") as opened:
        metadata = change(dict(opened.metadata()))
        save_file({name: opened.get_tensor(name) for name in opened.keys()}, path, metadata)  # noqa: SIM118


def without_checksum(metadata):
    return {key: value for key, value in metadata.items() if key != "sha256"}


# ---- checkpoints


def test_what_was_saved_is_loaded(file, capsys):
    assert is_whole(checkpoint.load(file))
    assert capsys.readouterr().err == ""


def flips(path, tries):
    """How many damaged checkpoints are refused, of `tries`; the others must be whole all the same."""
    data, draw, refused = path.read_bytes(), random.Random(15), 0
    for _ in range(tries):
        path.write_bytes(flipped(data, draw))
        try:
            assert is_whole(checkpoint.load(path))
        except WeightsError as error:
            assert str(path) in str(error) and "remove it to start again" in str(error) and "\n" not in str(error)
            refused += 1
    return refused


def test_each_flipped_bit_is_noticed(file):
    assert flips(file, 300) == 300


@pytest.mark.slow
def test_each_of_many_flipped_bits_is_noticed(file):
    assert flips(file, 30_000) >= 29_990  # a changed blank between keys changes nothing


def test_a_damaged_one_names_the_weights_to_go_on_from(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(WeightsError, match=r"is damaged \(its content does not fit its checksum\); remove it to"):
        checkpoint.load(file)
    (file.parent / "last.safetensors").touch()
    with pytest.raises(WeightsError, match=r"or train from .*last\.safetensors in another folder with --init from:"):
        checkpoint.load(file)


def test_tensors_and_names_that_change_places_are_noticed(file):
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    swapped = tensors() | {
        "net/conv1_1.bias": tensors()["momentum/conv1_1.bias"],
        "momentum/conv1_1.bias": tensors()["net/conv1_1.bias"],
    }
    save_file(swapped, file, metadata)
    with pytest.raises(WeightsError, match="is damaged"):
        checkpoint.load(file)


def test_one_of_an_earlier_version_is_read_and_said_to_be_without(file, capsys):
    rewritten(file, without_checksum)
    assert is_whole(checkpoint.load(file))
    said = capsys.readouterr().err
    assert said == f"{file}: has no checksum, because an earlier version wrote it; the next checkpoint has one\n"


def test_a_lost_checksum_is_no_earlier_version(file):
    rewritten(file, lambda metadata: {"sha257" if key == "sha256" else key: v for key, v in metadata.items()})
    with pytest.raises(WeightsError, match="is damaged"):
        checkpoint.load(file)


def text(data):
    return data.decode(errors="replace")


def old_metadata(path, tries):
    """Change the metadata of a checkpoint without a checksum; how many are refused."""
    data, draw, refused = path.read_bytes(), random.Random(15), 0
    for _ in range(tries):
        path.write_bytes(data)
        key = draw.choice(sorted(checkpoint.KINDS))
        damage = mangled if key == "data" else changed_json
        rewritten(
            path, lambda m, key=key, damage=damage: without_checksum(m) | {key: text(damage(m[key].encode(), draw))}
        )
        try:
            checkpoint.load(path)
        except WeightsError as error:
            assert "\n" not in str(error) and str(path) in str(error)
            refused += 1
    return refused


def test_changed_metadata_of_an_earlier_version_are_refused_or_of_the_right_types(file):
    assert old_metadata(file, 100) > 40


@pytest.mark.slow
def test_many_changed_metadata_of_an_earlier_version(file):
    assert old_metadata(file, 10_000) > 4000


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"sums": [1, 2, 3]}, "sums, gradients or seconds are not finite"),
        ({"seconds": float("nan")}, "sums, gradients or seconds are not finite"),
        ({"step": 2, "sums": [0, 0, 0, 0]}, "2 steps of no image"),
        ({"step": -1}, r"Expected 'int' >= 0"),
        ({"plateau": {"drops": 10**6}}, "a learning rate that was divided 1000000 times"),
    ],
)
def test_a_state_that_cannot_be(file, state, says):
    changed = {"epoch": 1, "step": 0, "plateau": {}, **state}
    rewritten(file, lambda metadata: without_checksum(metadata) | {"progress": json.dumps(changed)})
    with pytest.raises(WeightsError, match=f"its metadata are invalid .*{says}"):
        checkpoint.load(file)


@pytest.mark.parametrize("length", [0, 7, 2**20, 2**63])
def test_headers_of_any_length(file, length):
    file.write_bytes(struct.pack("<Q", length) + file.read_bytes()[8:])
    with pytest.raises(WeightsError, match="is damaged; remove it to start again"):
        checkpoint.load(file)


# ---- tables and settings


def test_a_line_that_a_crash_cut_is_removed_and_said(tmp_path, capsys):
    table = CsvTable(tmp_path / "steps.csv", STEPS)
    table.add([(0, 0, 0.1, 2.75), (0, 1, 0.1, 2.5)])
    whole = table.path.read_bytes()
    table.add([(0, 2, 0.1, 2.25)])
    for end in range(len(whole) + 1, table.path.stat().st_size):
        table.path.write_bytes(whole + b"0,2,0.1,2.25\r\n"[: end - len(whole)])
        table.keep(lambda row: True)
        assert table.path.read_bytes() == whole  # "2.2" would be a loss as well
        assert capsys.readouterr().err == f"{table.path}: its last line was not complete and is left out\n"
    table.path.write_bytes(whole + bytes(5000))  # what a crash of the system leaves
    table.keep(lambda row: row["step"] < 1)
    assert [row["loss"] for row in table.rows()] == [2.75]
    table.path.write_bytes(b"epoch,st")
    table.keep(lambda row: True)
    assert table.path.read_bytes() == b"epoch,step,lr,loss\r\n"


def test_a_line_that_is_damaged_elsewhere_is_named(tmp_path):
    table = CsvTable(tmp_path / "steps.csv", STEPS)
    table.path.write_text("epoch,step,lr,loss\n0,0,0.1,2\n0,1,0.1\n0,2,0.1,2\n")
    with pytest.raises(
        VggfeatError, match=r"steps\.csv: cannot be read \(row 2 has 3 values for 4 columns\); remove it"
    ):
        table.keep(lambda row: True)


def test_reasons_of_any_length_and_kind_are_listed(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.add_failures([("a.jpg", "x" * 200_000), ("b.jpg", "\udce9\0\r\n,\"'")]) == 2
    assert folder.add_failures([("c.jpg", "short")]) == 3
    assert [len(row["reason"]) for row in folder.failures.rows()] == [500, 12, 5]


FILES = {
    "config.json": (RunConfig, {"recipe": {"net": "A"}, "data": {"sha256": "ab", "train": 9, "val": 3}, "start": {}}),
    "result.json": (RunResult, {"epochs": 2, "unreadable": 1, "dense": {"top1": 9.5, "top5": 1.0}, "sha256": "ab"}),
    "statistics.json": (PixelStatistics, asdict(ILSVRC)),
}


def damaged_json(folder, tries):
    draw, refused = random.Random(15), 0
    for name, (kind, value) in FILES.items():
        for _ in range(tries):
            (folder / name).write_bytes(changed_json(json.dumps(value).encode(), draw))
            try:
                assert isinstance(RunFolder(folder).read_json(name, kind), kind)
            except VggfeatError as error:
                assert "\n" not in str(error) and f"{name}: cannot be read" in str(error)
                refused += 1
    return refused


def test_damaged_settings_and_results_are_refused_in_one_line(tmp_path):
    assert damaged_json(tmp_path, 60) > 60


@pytest.mark.slow
def test_many_damaged_settings_and_results_are_refused_in_one_line(tmp_path):
    assert damaged_json(tmp_path, 10_000) > 10_000


def damaged_tables(folder, tries):
    draw, refused = random.Random(15), 0
    table = CsvTable(folder / LOG, EPOCHS)
    table.add([(i, 0.01, 2.5, 50, 10, 2.25, 40, 9, 100.5, 60.25 * i) for i in range(4)])
    data = table.path.read_bytes()
    for _ in range(tries):
        table.path.write_bytes(mangled(data, draw))
        try:
            table.keep(lambda row: row["epoch"] < 3)
            assert all(0 <= row["val_top1"] <= 100 and row["epoch"] < 3 for row in table.rows())
        except VggfeatError as error:
            assert "\n" not in str(error) and "log.csv: cannot be read" in str(error)
            refused += 1
    return refused


def test_damaged_logs_are_mended_or_refused_in_one_line(tmp_path):
    assert damaged_tables(tmp_path, 100) > 20


@pytest.mark.slow
def test_many_damaged_logs_are_mended_or_refused_in_one_line(tmp_path):
    assert damaged_tables(tmp_path, 10_000) > 2000


def test_a_folder_that_is_swapped_is_noticed(tmp_path):
    with held(tmp_path / "run", main=True) as folder:
        folder.check_in_place()
        (tmp_path / "run").rename(tmp_path / "mine")
        with pytest.raises(VggfeatError, match="is not the folder in which this run began; move that folder back"):
            folder.check_in_place()
        (tmp_path / "run").mkdir()
        with pytest.raises(VggfeatError, match="is not the folder in which this run began"):
            folder.check_in_place()


# ---- images that break the process that decodes them


class Hostile:
    """Photos whose second image runs out of memory, and whose third kills the process."""

    paths = ("good.jpg", "large.jpg", "deadly.jpg")
    labels = np.array([0, 1, 1])
    boxes = None

    def pixels(self, row):
        if row == 1:
            raise MemoryError
        if row == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros((300, 300, 3), np.uint8)


def crops():
    return Crops(Hostile(), Recipe(net="A"), ILSVRC)


def test_an_image_that_takes_all_memory_is_one_failure():
    (batch,) = micro_batches(crops(), iter([(-1, (0, 1))]), 0, pin=False)
    said = "not enough memory to decode it; reduce it first, or decode fewer at once"
    assert [tuple(failure) for failure in batch.failures] == [("large.jpg", said)]
    assert batch.labels.tolist() == [0]


def test_a_decoding_process_that_is_killed_is_one_line():
    batches = micro_batches(crops(), iter([(-1, (2,))]), 1, pin=False)
    with pytest.raises(VggfeatError, match=r"a process that decodes images was killed: .* to continue") as error:
        list(batches)
    assert "\n" not in str(error.value)


def test_a_state_is_compared_by_value():
    """`is_whole` would not see a difference otherwise."""
    assert replace(STATE, step=1) != STATE and replace(ABOUT, data="") != ABOUT
