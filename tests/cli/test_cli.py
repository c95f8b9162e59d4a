"""The command: forwards to the library with the same defaults; errors are one line and an exit status."""

import inspect
import json
import os
import resource
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pandas
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from vggfeat import cli
from vggfeat.bench.settings import BenchmarkSettings
from vggfeat.classify import classify
from vggfeat.descriptors import Describer
from vggfeat.errors import VggfeatError
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


def test_help_in_half_a_second(tmp_path):
    """Of processor time, which other work lengthens less; compiled once, as after an installation."""
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    assert min(_timed("--help", **compiled) for _ in range(4)) < 0.5


def _timed(*arguments, **environment):
    def spent():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    began = spent()
    assert vggfeat(*arguments, **environment).returncode == 0
    return spent() - began


def test_extract_describe_export(photos, tmp_path, tiny_weights, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = ("--weights", tiny_weights("A", top="pool5"), "--layer", "pool5", "--scales", "32,64", "--agg", "stack")
    (photos / "broken.jpg").write_bytes(b"")
    result = invoke("extract", photos, *net)
    assert result.stdout.splitlines()[-1] == "my photos.vggfeat: 3 images described, 1 failed (failures.csv)"
    assert Store("my photos.vggfeat").scales == (32, 64)

    said = invoke("export", "my photos.vggfeat", "x.npy").output
    assert said.startswith("x.npy: 3 images with 64 numbers each; the names are in x.npy.paths.txt")
    exported = np.load("x.npy")
    assert exported.shape == (3, 2 * 32)

    lines = invoke("describe", photos / "1.png", *net).output.splitlines()
    name, *values = lines[0].split("\t")
    assert name == str(photos / "1.png")
    np.testing.assert_allclose(np.array(values, float), exported[1], rtol=1e-4, atol=1e-6)
    invoke("describe", photos / "0.png", photos / "1.png", "--out", "d.npy", *net)
    np.testing.assert_allclose(np.load("d.npy"), exported[:2], atol=1e-6)


def test_extract_makes_a_store_for_each_layer(photos, tmp_path, tiny_weights, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = ("--weights", tiny_weights("A", top="pool5"), "--scales", 32)
    made = invoke("extract", photos, "--layer", "conv2_1, pool5", *net)
    count = len(list(photos.iterdir()))
    names = [f"{photos.name}.{layer}.vggfeat" for layer in ("conv2_1", "pool5")]
    assert [line for line in made.output.splitlines() if "described" in line] == [
        f"{name}: {count} images described" for name in names
    ]
    again = invoke("extract", photos, "--layer", "pool5", "--out", names[1], *net)
    line = f"{names[1]}: {count} images described; the store had {count} rows before this run: no image is new"
    assert line in again.output


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
        (["describe", "a", "--weights", "slim", "--net", "E"], 1, "none of net E"),
        (["bench", "imagenet"], 2, "no benchmark 'imagenet'"),
        (["bench", "caltech101", "--weights", "slim"], 1, "--root"),
        (["export", "nowhere.vggfeat", "x.npy"], 1, "nowhere.vggfeat: no such store; make one with vggfeat extract"),
        (["export", "nowhere.vggfeat", "x.doc"], 2, "x.doc: cannot write .doc; take .npy, .npz, .h5, .csv, .mat"),
        (["export", "folder", "x.npy"], 1, "folder: is no descriptor store, for it has no meta.json; make one with"),
        (["export", "folder", "none/x.npy"], 2, "none: no such folder for x.npy; make it, or name another file"),
        (["describe", "folder"], 2, "folder: is a folder; name image files, or describe it with vggfeat extract"),
        (["classify", "folder"], 2, "folder: is a folder; name image files, or describe it with vggfeat extract"),
        (["describe", "a.jpg", "--out", "x.txt"], 2, "x.txt: cannot write .txt; take .npy, .npz, .h5, .csv, .mat"),
        (["describe", "a.jpg", "--out", "none/x.npy"], 2, "none: no such folder for x.npy"),
        (["nets", "--q", "223"], 2, "Q=223 is too small for the fully connected layers: their smallest Q is 224"),
        (["weights", "fetch", "oxfrd"], 2, "no weights 'oxfrd' to fetch; take oxford, or one of torchvision, "),
        (["weights", "fetch", "x"], 2, "no weights 'x' to fetch; take one of oxford, torchvision, oxford-int8, slim"),
        (["extract", ".", "--layer", "pool5,pool5"], 2, "a layer is given twice: pool5,pool5"),
        (["extract", ".", "--layer", "pool5,conv9_9"], 2, "no layer 'conv9_9'; take one of fc7, fc6, pool5"),
        (
            ["extract", ".", "--layer", "pool1,pool5", "--scales", "31"],
            2,
            "Q=31 is too small for pool5: its smallest Q",
        ),
        (["extract", ".", "--net", "D", "--layer", "conv3_4,pool5"], 2, "net D has no layer 'conv3_4'; its layers are"),
        (["extract", ".", "--layer", "pool1,pool5", "--engine", "ray"], 2, "ray describes one layer at a time"),
        (["extract", "--out", "a/store"], 2, "a: is a file, not a folder; name another folder"),
        (["train", "--data", ".", "--out", "a/run"], 2, "a: is a file, not a folder; name another folder"),
        (["evaluate", "--data", ".", "--out", "a"], 2, "a: is a file, not a folder; name another folder"),
        (["evaluate", "--report", "x.pdf"], 2, "x.pdf: a report is an HTML page; name a file that ends with .html"),
    ],
)
def test_an_error_is_one_line(arguments, status, line, tmp_path, monkeypatch):
    (tmp_path / "a").touch()
    (tmp_path / "folder").mkdir()
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


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        ("extract", "extract [OPTIONS] [SOURCE]"),
        ("export", "export [OPTIONS] STORE... FILE"),
        ("predict", "predict [OPTIONS] MODEL IMAGE|FOLDER|STORE..."),
        ("index search", "index search [OPTIONS] STORE QUERY..."),
        ("weights publish", "weights publish [OPTIONS] RUN OUT"),
    ],
)
def test_the_line_of_usage_has_plain_names(words, usage):
    assert invoke(*words.split(), "--help").output.splitlines()[0].endswith(f" {usage}")


@pytest.mark.parametrize("arguments", [["extract", "--scales", "big"], ["extract", "--colour"], ["frobnicate"]])
def test_wrong_usage_is_status_2(arguments):
    assert vggfeat(*arguments).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["extract", "p/1.jpg", "p/2.jpg", "p/3.jpg"], "quote a pattern, 'p/*.jpg', or name the folder"),
        (
            ["extract", "p", "q"],
            "p: other names follow it, but extract takes one source; quote a pattern, 'photos/*.jpg', or",
        ),
        (["bench", "digits", "more"], "unexpected extra argument"),
        (["extract", "p", "--agg", "foo"], "'--agg': 'foo' is not one of 'mean', 'max', 'stack'."),
        (["weights", "verify"], "Missing argument"),
    ],
)
def test_wrong_usage_in_plain_words(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").mkdir()
    (tmp_path / "p/1.jpg").touch()
    run = main(arguments, monkeypatch)
    assert run.status == 2
    assert said in run.text.splitlines()[-1]


@pytest.mark.parametrize("words", [[], ["weights"]])
def test_a_command_alone_prints_its_help_in_lines(words):
    assert invoke(*words).output.strip() == invoke(*words, "--help").output.strip()


def test_descriptors_in_a_file_have_their_names(photos, tmp_path, monkeypatch):
    """... as export writes them."""
    monkeypatch.chdir(tmp_path)
    net = ("--weights", "slim", "--layer", "pool5", "--scales", 32)
    names = [str(photos / f"{i}.png") for i in (2, 0)]
    printed = [line.split("\t") for line in invoke("describe", *names, *net).output.splitlines()]
    X = np.array([values for _, *values in printed], np.float32)
    for suffix in (".csv", ".npz", ".npy"):
        invoke("describe", *names, "--out", f"x{suffix}", *net)
    table = pandas.read_csv("x.csv")
    assert list(table["path"]) == names and table["label"].isna().all()
    np.testing.assert_allclose(table.drop(columns=["path", "label"]), X, rtol=1e-4, atol=1e-6)
    with np.load("x.npz") as found:
        assert list(found["paths"]) == names
        np.testing.assert_array_equal(found["X"], np.load("x.npy"))
    assert (tmp_path / "x.npy.paths.txt").read_text(encoding="utf-8").splitlines() == names


def test_export_says_that_npy_has_no_labels(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    invoke("extract", photos, "--weights", "slim", "--layer", "pool5", "--scales", 32, "--out", "s")
    said = invoke("export", "s", "x.npy").output
    assert "x.npy.paths.txt" in said and "the labels in neither: .npz, .h5, .csv and .mat hold them" in said
    assert "paths.txt" not in invoke("export", "s", "x.npz").output


@pytest.mark.parametrize(("encoding", "shown"), [("cp1252", "\\u03a9.png"), ("ascii", "Ω.png")])  # click makes it UTF-8
def test_any_name_is_printed_on_any_terminal(encoding, shown, photos):
    name = (photos / "0.png").rename(photos / "Ω.png")
    net = ("--weights", "slim", "--layer", "pool5", "--scales", "32")
    run = vggfeat("describe", name, *net, PYTHONIOENCODING=encoding)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split("\t")[0].endswith(shown)
    missing = vggfeat("describe", photos / "Ж.png", *net, PYTHONIOENCODING=encoding)
    assert missing.returncode == 1
    assert missing.stderr.strip() == f"vggfeat: {photos}/\\u0416.png: No such file or directory"


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


@pytest.mark.parametrize(
    "command",
    [
        ("describe", "nothing.jpg"),
        ("classify", "nothing.jpg"),
        ("extract", "nothing.jpg"),
        ("bench", "caltech101", "--root", "nothing.jpg"),
    ],
)
def test_missing_input_is_said_before_weights_are_downloaded(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VGGFEAT_CACHE", "cache")
    monkeypatch.delenv("VGGFEAT_WEIGHTS", raising=False)
    monkeypatch.setenv("VGGFEAT_MIRROR", "http://127.0.0.1:9")  # which answers nobody
    with pytest.raises((OSError, VggfeatError), match=r"nothing\.jpg"):
        invoke(*command)


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
