"""The fuzzes of the test suite, at any length: what came of each try. `attacks.py` starts one after the other.

    python benchmarks/reliability/fuzzes.py NAME TRIES      # from the root of the repository; one JSON line

The makers of damage, and the checks of what comes of it, are those of the tests: an outcome that they do not allow ends
the fuzz with an AssertionError, which names it. Values are always compared with the right ones.
"""

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

Outcomes = dict[str, int]
LINE, RIGHT = "one line", "right values"


def refused(function: Callable[[Path, int], int], folder: Path, tries: int) -> Outcomes:
    """Of a fuzz that counts refused files; the others were read, and their values are right or of the right type."""
    lines = function(folder / "file", tries)
    return {LINE: lines, RIGHT: tries - lines}


def checkpoints(folder: Path, tries: int) -> Outcomes:
    from tests.train.test_damage import ABOUT, STATE, checkpoint, flips, tensors

    checkpoint.save(folder / "file", tensors(), STATE, ABOUT)
    return refused(flips, folder, tries)


def files_of_runs(folder: Path, tries: int) -> Outcomes:
    from tests.evaluate.test_damage import damaged, damaged_classes
    from tests.train.test_damage import FILES, damaged_json, damaged_tables

    lines, each = 0, tries // (len(FILES) + 3)
    for function in (damaged_json, damaged_tables, damaged):
        (folder / function.__name__).mkdir()
        lines += function(folder / function.__name__, each)
    lines += damaged_classes(folder / "classes.csv", each)
    return {LINE: lines, RIGHT: (len(FILES) + 3) * each - lines}


def records(folder: Path, tries: int) -> Outcomes:
    from tests.bench.test_damage import records as damaged_records
    from tests.bench.test_damage import splits

    lines = damaged_records(folder / "r.json", tries // 2) + splits(folder / "s.json", tries // 2)
    return {LINE: lines, RIGHT: tries // 2 * 2 - lines}


def data_sets(folder: Path, tries: int) -> Outcomes:
    from tests.data.test_damage import LAYOUTS, damaged

    each = tries // len(LAYOUTS)
    lines = sum(damaged(folder / layout.__name__, layout, each) for layout in LAYOUTS)
    return {LINE: lines, RIGHT: each * len(LAYOUTS) - lines}


def matlab(folder: Path, tries: int) -> Outcomes:
    from tests._util.test_mat_files import fuzz

    return refused(lambda _, count: fuzz(folder, count), folder, tries)


def tables(folder: Path, tries: int) -> Outcomes:
    from tests._util.test_csv_files import fuzz

    return refused(lambda _, count: fuzz(folder, count), folder, tries)


def stores(_: Path, tries: int) -> Outcomes:
    from tests.kit.damaged_stores import outcomes

    found = Counter[str]()
    for what, times in outcomes(tries, seed=15).items():
        found[what.partition(": ")[2]] += times
    return dict(found)


def tars(folder: Path, tries: int) -> Outcomes:
    from tests.sources.test_hostile_tars import fuzz

    fuzz(folder, range(tries))
    return {"images, and one line for each failure": tries}


def lists(folder: Path, tries: int) -> Outcomes:
    from tests.sources.test_hostile_lists import fuzz

    fuzz(folder, range(tries))
    return {"rows, or one line": tries}


def addresses(folder: Path, _: int) -> Outcomes:
    """Always 400, as the test."""
    import fsspec

    from tests.sources.test_addresses import test_addresses_of_all_kinds_lead_to_this_machine_from_no_remote_list

    test_addresses_of_all_kinds_lead_to_this_machine_from_no_remote_list(folder, fsspec.filesystem("memory"))
    return {"refused, or not of this machine": 400}


def images(_: Path, tries: int) -> Outcomes:
    from tests.test_reading import read_damaged

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff writes to it
    lines = read_damaged(tries, seed=15)
    return {LINE: lines, "pixels of the right size": tries - lines}


def images_in_processes(folder: Path, tries: int) -> Outcomes:
    from tests.extraction.test_bounds import test_damaged_images_are_read_or_listed
    from vggfeat.descriptors import Describer

    describer = Describer(weights="slim", layer="pool5", scales=(64,))
    test_damaged_images_are_read_or_listed(folder, describer, tries)
    return {"pixels, or one line": tries}


def weights(folder: Path, tries: int) -> Outcomes:
    from tests.weights.test_hostile import damage

    found = damage(folder, tries // 9, seed=15)  # of each of nine formats
    return {LINE: found["refused"], "read": found["read"]}


def weights_that_ask_for_memory(folder: Path, _: int) -> Outcomes:
    """Always the same files; each in 600 MB."""
    from tests.kit.hostile_weights import HOSTILE
    from tests.weights.test_hostile import verified

    return dict(Counter(verified([file for make in HOSTILE.values() for file in make(folder)]).values()))


def exports(folder: Path, tries: int) -> Outcomes:
    from tests.store.test_export import READERS, fill_the_disk

    each = tries // len(READERS)
    lines = sum(fill_the_disk(folder / f"x{suffix}", each, seed=15) for suffix in READERS)
    return {"one line, and the file of before": lines, "the whole file": each * len(READERS) - lines}


def servers(folder: Path, tries: int) -> Outcomes:
    from tests._util.test_hostile_servers import Server, test_random_servers

    os.environ["no_proxy"] = "*"
    started: list[Server] = []

    def serve(answer: Any) -> Server:
        started.append(Server(answer))
        return started[-1]

    try:
        test_random_servers(tries, serve, folder)
    finally:
        for server in started:
            server.close()
    return {"the right file, or one line": tries}


# what is attacked -> the fuzz, and the share of the tries that it takes
FUZZES: dict[str, tuple[Callable[[Path, int], Outcomes], float]] = {
    "image files": (images, 1),
    "image files, in the processes of extract": (images_in_processes, 1),
    "tars": (tars, 1),
    "lists, CSV and Parquet": (lists, 1),
    "addresses in a remote list": (addresses, 1),
    "stores: parts, meta.json, failures.csv": (stores, 1),
    "exports to a disk that fills up": (exports, 0.2),
    "weights, nine formats": (weights, 0.3),
    "small weights that ask for 3 GB": (weights_that_ask_for_memory, 1),
    "checkpoints: one bit flipped": (checkpoints, 1),
    "files of runs: config, result, statistics, log, run.json, classes": (files_of_runs, 1),
    "records and splits of benchmarks": (records, 1),
    "lists and annotations of data sets": (data_sets, 0.5),
    "MATLAB files": (matlab, 1),
    "CSV tables": (tables, 1),
    "servers": (servers, 0.2),
}


def main() -> None:
    name, tries = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        found = FUZZES[name][0](Path(folder), int(tries))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
