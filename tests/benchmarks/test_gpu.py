"""benchmarks/gpu/run.py: what fails or runs out of time keeps its figures and its reason; a rehearsal on a CPU."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).parents[2] / "benchmarks/gpu"
if not HERE.is_dir():
    pytest.skip("the benchmarks are not beside the tests", allow_module_level=True)


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"benchmarks_gpu_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


run, data = loaded("run"), loaded("data")

WRITE = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('{\"found\": 1}'); "


def step(name, code, seconds=30.0):
    return run.Step(name, seconds, ("-c", code, "{json}"))


def test_each_step_leaves_its_figures_and_how_it_ended(tmp_path):
    steps = [
        step("good", WRITE + "print('hello')"),
        step("failing", WRITE + "raise SystemExit(3)"),
        step("slow", WRITE + "import time; time.sleep(60)", seconds=2.0),
        step("silent", "pass"),
    ]
    began = time.monotonic()
    report = run.run_all(steps, tmp_path / "out.json", {})
    assert time.monotonic() - began < 50
    assert report == json.loads((tmp_path / "out.json").read_text())
    found = report["steps"]
    assert [one["ended"] for one in found.values()] == [
        "done", "failed with status 3", "out of time after 2 s", "done",
    ]  # fmt: skip
    assert [one.get("figures") for one in found.values()] == [{"found": 1}, {"found": 1}, {"found": 1}, None]
    assert found["good"]["output"] == "hello\n"


def test_steps_without_time_are_not_begun_and_the_last_one_gets_what_is_left(tmp_path):
    times = iter([0.0, 0.0, 99.0, 100.0])  # the start, then before each step
    steps = [step("first", "pass"), step("second", "import time; time.sleep(60)"), step("third", "pass")]
    report = run.run_all(steps, tmp_path / "out.json", {}, seconds=100.0, clock=lambda: next(times))
    ended = [one["ended"] for one in report["steps"].values()]
    assert ended == ["done", "out of time after 1 s", "not begun: no time was left"]


def test_what_a_step_started_ends_with_it(tmp_path):
    """A process of the step's own would otherwise go on, and take the device from the next step."""
    mark = tmp_path / "mark"
    child = f"import time, pathlib; time.sleep(4); pathlib.Path({str(mark)!r}).touch()"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    run.run_all([step("parent", code, seconds=1.5)], tmp_path / "out.json", {})
    time.sleep(4)
    assert not mark.exists()


def test_all_scripts_of_the_table_exist():
    scripts = [word for one in run.STEPS for word in one.command if word.endswith(".py")]
    assert all((run.ROOT / script).is_file() for script in scripts)
    assert len({one.name for one in run.STEPS}) == len(run.STEPS)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i, size in enumerate([(60, 40), (40, 60), (60, 40), (50, 50), (60, 40)]):
        pixels = np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)
        (folder / f"class {i % 2}").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"class {i % 2}" / f"{i}.jpg", quality=95)
    return folder


def test_data_has_photos_at_equal_distances_and_a_bound(photos, tmp_path):
    copied, size = data.copy(photos, tmp_path / "three", 3, megabytes=1)
    files = sorted((tmp_path / "three").rglob("*.jpg"))
    chosen = [sorted(photos.rglob("*.jpg"))[i] for i in (0, 1, 3)]
    assert [file.read_bytes() for file in files] == [file.read_bytes() for file in chosen]
    assert (copied, size) == (3, sum(file.stat().st_size for file in files))
    one = min(file.stat().st_size for file in photos.rglob("*.jpg"))
    assert data.copy(photos, tmp_path / "none", 5, megabytes=(one - 1) / 2**20) == (0, 0)
    with pytest.raises(SystemExit, match="has no photos"):
        data.copy(tmp_path / "none", tmp_path / "other", 1, 1)


def rehearsed(photos, tmp_path, *more):
    command = [sys.executable, HERE / "run.py", "--data", photos, "--out", tmp_path / "out.json", "--rehearse", *more]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads((tmp_path / "out.json").read_text())["steps"]
    assert {name: one["ended"] for name, one in report.items()} == dict.fromkeys(report, "done"), report
    assert ended.returncode == 0
    return {name: one["figures"] for name, one in report.items()}


def test_a_step_is_rehearsed(photos, tmp_path):
    found = rehearsed(photos, tmp_path, "--only", "svm")
    assert found["weights"]["photos"] == 4
    assert found["svm"]["not_converged"] == 0


@pytest.mark.slow
def test_all_steps_are_rehearsed(photos, tmp_path):
    found = rehearsed(photos, tmp_path, "--seconds", "3000")
    assert list(found) == ["weights", "extract", "sweep", "precision", "training", "svm", "localise"]
    for net in "DE":
        rows = found["extract"][net]
        assert max(row["largest_difference"] for row in rows.values()) < 0.01
        assert all(row["images"] == 4 and row["of_the_product"] > 0 for row in rows.values())
    assert found["sweep"]["with_the_best"] >= found["sweep"]["images_per_s"]["defaults"]["all"]
    for case in ("E to fc7", "torchvision to fc7"):
        rows = found["precision"][case]
        assert set(rows) == {"float32", "bfloat16", "float16", "mixed"}
        assert rows["mixed"] == rows["float16"]
        assert rows["float32"]["1 - cosine, largest"] < rows["mixed"]["1 - cosine, largest"] < 1e-4
    assert found["svm"]["not_converged"] == 0
    assert found["localise"]["crops_per_s"] > 0 and found["localise"]["train_loss"][0] > 0
    assert set(found["training"]["of_the_product"]) == {"ours", "reference"}
