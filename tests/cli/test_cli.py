"""The command: forwards to the library with the same defaults; errors are one line and an exit status."""

import inspect
import json
import os
import resource
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from vggfeat import cli
from vggfeat.bench.settings import BenchmarkSettings
from vggfeat.classify import classify
from vggfeat.descriptors import Describer
from vggfeat.evaluate.settings import EvaluationSettings
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.spec import DescriptorSpec, PosteriorSpec
from vggfeat.store import Store
from vggfeat.store.exporting import export
from vggfeat.train.recipe import Recipe


def vggfeat(*arguments, **environment):
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "vggfeat", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def invoke(*arguments):
    """The command in this process, faster; raises what `main` would turn into a line."""
    return CliRunner().invoke(cli.app, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "my photos").mkdir()
    for i in range(3):
        pixels = np.full((40, 50, 3), 60 * i, np.uint8)
        Image.fromarray(pixels).save(tmp_path / "my photos" / f"{i}.png")
    return tmp_path / "my photos"


def test_help_in_half_a_second():
    """Of processor time, which other work on the machine doesn't lengthen."""
    assert min(_timed("--help") for _ in range(3)) < 0.5


def _timed(*arguments):
    def spent():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    began = spent()
    assert vggfeat(*arguments).returncode == 0
    return spent() - began


def test_extract_describe_export(photos, tmp_path, tiny_weights, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = ("--weights", tiny_weights("A", top="pool5"), "--layer", "pool5", "--scales", "32,64", "--agg", "stack")
    (photos / "broken.jpg").write_bytes(b"")
    result = invoke("extract", photos, *net)
    assert result.stdout.splitlines()[-1] == "my photos.vggfeat: 3 images described, 1 failed (failures.csv)"
    assert Store("my photos.vggfeat").scales == (32, 64)

    invoke("export", "my photos.vggfeat", "x.npy")
    exported = np.load("x.npy")
    assert exported.shape == (3, 2 * 32)

    lines = invoke("describe", photos / "1.png", *net).output.splitlines()
    name, *values = lines[0].split("\t")
    assert name == str(photos / "1.png")
    np.testing.assert_allclose(np.array(values, float), exported[1], rtol=1e-4, atol=1e-6)
    invoke("describe", photos / "0.png", photos / "1.png", "--out", "d.npy", *net)
    np.testing.assert_allclose(np.load("d.npy"), exported[:2], atol=1e-6)


def test_bench_prints_a_table_and_writes_json(tmp_path, tiny_weights):
    for name, value in (("dark", 0), ("light", 200)):
        (tmp_path / "p" / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(np.full((32, 40, 3), value + 10 * i, np.uint8)).save(tmp_path / "p" / name / f"{i}.png")
    result = invoke(
        "bench", "folder", "--root", tmp_path / "p", "--weights", tiny_weights("A", top="pool5"), "--layer", "pool5",
        "--scales", 32, "--seeds", 1, "--jobs", 1, "--stores", tmp_path / "s", "--json", tmp_path / "r.json",
    )  # fmt: skip
    assert "mean class recall" in result.output
    assert json.loads((tmp_path / "r.json").read_text())["benchmark"] == "folder"


def test_nets_prints_tables_1_and_2():
    output = invoke("nets", "--q", 384).output
    assert "conv1-512" in output
    assert "384x512 dense" in output
    assert "143.7" in output


def test_weights_list_and_convert(tmp_path):
    output = invoke("weights", "list").output
    header = "NAME NET LINEAGE LAYERS SIZE TOP-1 TOP-5 LICENCE CACHED FILE"
    assert output.splitlines()[0].split() == header.split()
    assert [line.split()[:2] for line in output.splitlines()[1:3]] == [["oxford", "D"], ["oxford", "E"]]
    assert "slim.safetensors" in output


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["extract", "nowhere"], 1, "nowhere: no such folder, list or image"),
        (["extract", ".", "--weights", "nothing.safetensors"], 1, "nothing.safetensors: no such file, and no name of"),
        (["describe", "a.jpg", "--weights", "slim"], 1, "a.jpg: No such file or directory"),
        (["describe", "a.jpg", "--weights", "slim", "--scales", "200"], 2, "its smallest Q is 224"),
        (["describe", "a.jpg", "--weights", "slim", "--net", "E"], 1, "none of net E"),
        (["bench", "imagenet"], 2, "no benchmark 'imagenet'"),
        (["bench", "caltech101", "--weights", "slim"], 1, "--root"),
        (["export", "nowhere.vggfeat", "x.npy"], 1, "no descriptor store"),
        (["export", "nowhere.vggfeat", "x.doc"], 2, "cannot export to .doc"),
    ],
)
def test_an_error_is_one_line(arguments, status, line, tmp_path, monkeypatch):
    (tmp_path / "a").touch()
    monkeypatch.chdir(tmp_path)
    run = main(arguments, monkeypatch)
    assert (run.status, run.lines) == (status, 1), run.text
    assert line in run.text


def main(arguments, monkeypatch):
    """cli.main in this process: its exit status, and what it says on stderr."""
    import io
    from types import SimpleNamespace

    error = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["vggfeat", *map(str, arguments)])
    monkeypatch.setattr(sys, "stderr", error)
    monkeypatch.delenv("VGGFEAT_DATA", raising=False)
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    text = error.getvalue()
    return SimpleNamespace(status=exit_.value.code, text=text, lines=len(text.strip().splitlines()))


@pytest.mark.parametrize("arguments", [["extract", "--scales", "big"], ["extract", "--colour"], ["frobnicate"]])
def test_wrong_usage_is_status_2(arguments):
    assert vggfeat(*arguments).returncode == 2


def test_no_weights_and_no_network_is_one_error(photos, tmp_path):
    """Every address is refused: 127.0.0.1:9 answers nobody."""
    run = vggfeat(
        "describe", photos / "0.png", VGGFEAT_CACHE=str(tmp_path / "cache"), VGGFEAT_WEIGHTS="",
        https_proxy="http://127.0.0.1:9", HTTPS_PROXY="http://127.0.0.1:9",
    )  # fmt: skip
    assert run.returncode == 1
    message = run.stderr.strip().splitlines()[-1]
    assert message.startswith("vggfeat: ")
    for part in ("vgg16_weights_tf_dim_ordering_tf_kernels.h5", str(tmp_path / "cache"), "--weights slim"):
        assert part in message


def options(name):
    """Option -> default of a command, as its parser has them."""
    command = typer.main.get_command(cli.app).commands[name]
    return {parameter.name: parameter.default for parameter in command.params}


@pytest.mark.parametrize(
    ("name", "settings", "own"),
    [
        ("extract", (DescriptorSpec, ExtractionSettings), {"source", "out"}),
        ("describe", (DescriptorSpec,), {"images", "out", "max_pixels"}),
        ("classify", (PosteriorSpec,), {"images", "top"}),
        ("bench", (BenchmarkSettings,), {"name", "json", "report", "download", "check", "record"}),
        ("evaluate", (EvaluationSettings,), {"data", "out", "runs", "table", "json", "report", "submission"}),
        ("train", (Recipe,), {"data", "out", "schedule"}),
    ],
)
def test_a_command_has_the_options_and_the_defaults_of_its_settings(name, settings, own):
    expected = {field.name: field.default for one in settings for field in fields(one)}
    if name == "extract":
        del expected["normalize"]  # which is chosen when a store is read
    if isinstance(expected.get("scales"), tuple):
        expected["scales"] = ",".join(map(str, expected["scales"]))
    found = options(name)
    assert {option: found[option] for option in found.keys() - own} == expected


@pytest.mark.parametrize(
    ("name", "function", "shared"),
    [
        ("describe", Describer.describe, ["max_pixels"]),
        ("classify", classify, ["top"]),
        ("export", export, ["agg", "normalize", "scales"]),
    ],
)
def test_other_options_have_the_defaults_of_the_library(name, function, shared):
    library = inspect.signature(function).parameters
    assert {option: options(name)[option] for option in shared} == {one: library[one].default for one in shared}
