"""Tables 11 and 12 in one run: which rows are measured, what is missing, what fails, and what is said of it."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from tests.kit.reports import CONFIG, image_set, result_of
from tests.kit.voc_kits import action_kit, classification_kit
from vggfeat import cli
from vggfeat.bench import BENCHMARKS, PaperResult, run, run_paper, write_paper_report
from vggfeat.errors import DataError, UsageError


def measured(benchmark, net, value, notes=(), **config):
    """A result of two classes; its value is what a table has to show."""
    images = image_set([[1, 0], [0, 1]], ("a", "b"))
    scores = {0: images.labels.astype(float)}
    made = result_of(benchmark, images, scores, config=CONFIG | {"net": net, "exif": False} | config)
    return replace(made, value=value, std=0.25 if benchmark == "caltech101" else None, notes=list(notes))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Real runs: a VOC-2012 kit with people, a damaged Caltech-101, nothing else; rows of A, and of E that fails."""
    top = tmp_path_factory.mktemp("paper")
    root = top / "data"
    action_kit(classification_kit(root / "voc2012", 2012))
    (root / "caltech101" / "101_ObjectCategories").mkdir(parents=True)
    words = ["bench", "paper", "--root", root, "--net", "A,E", "--weights", f"slim,{top / 'none.safetensors'}"]
    words += ["--layer", "pool5", "--scales", 64, "--jobs", 1, "--stores", top / "stores"]
    words += ["--json", top / "p.json", "--report", top / "p.html"]
    return top, CliRunner().invoke(cli.app, list(map(str, words)))


def test_what_fails_does_not_end_the_rest(found):
    top, ran = found
    assert "paper: the tables are not complete, because this failed: " in str(ran.exception)
    made = json.loads((top / "p.json").read_text())
    assert list(made["results"]) == ["voc2012"] and list(made["results"]["voc2012"]) == ["A"]
    assert set(made["missing"]) == {"voc2007", "caltech256"}
    assert set(made["failed"]) == {"caltech101", "net E"}
    assert "none.safetensors: no such file" in made["failed"]["net E"]


def test_a_row_is_the_run_of_its_benchmark(found):
    top, _ = found
    made = json.loads((top / "p.json").read_text())["results"]["voc2012"]["A"]
    alone = run(
        BENCHMARKS["voc2012"], root=top / "data/voc2012", recipe="paper", net="A", weights="slim", layer="pool5",
        scales=(64,), jobs=1, stores=top / "stores",
    )  # fmt: skip
    assert (made["value"], made["per_class"]) == (alone.value, alone.per_class)
    assert made["config"]["agg"] == "mean"
    assert f"{made['value']:.2f}" in (top / "p.html").read_text()


def test_a_missing_data_set_is_said_as_its_benchmark_says_it(found):
    top, ran = found
    for name in ("voc2007", "caltech256"):
        with pytest.raises(DataError, match="not found, no such folder") as alone:
            BENCHMARKS[name].read(top / "data" / name)
        assert ran.stderr.count(str(alone.value)) == 1
    assert "data not found: VOC-2007, Caltech-256" in ran.stdout


def test_the_people_of_voc2012_are_described_by_all_nets_together(tmp_path):
    options = {"weights": "slim", "layer": "pool5", "scales": (64,), "jobs": 1, "stores": tmp_path / "s"}
    action_kit(tmp_path / "data/voc2012")
    made = run_paper(root=tmp_path / "data", **options)
    assert made.nets == ("A",) and not made.failed
    rows = made.results["voc2012-actions"]
    assert {name: one.config["box"] for name, one in rows.items()} == {"A, image only": False, "A, image and box": True}


def test_values_stand_beside_the_papers():
    results = {
        "voc2012": {"D": measured("voc2012", "D", 88.125, ["of val"], scales=[256, 384, 512, 640, 768], agg="mean")},
        "caltech101": {
            "D": measured("caltech101", "D", 90.5, ["of both"], scales=[256]),
            "D & E": measured("caltech101", "D&E", 91.75, ["of both", "of one"], scales=[256]),
        },
    }
    made = PaperResult(("D", "E"), results, {"voc2007": "get it"}, {"net E": "no weights"}, "1")
    lines = {line[2:].partition("  ")[0]: line.split("  ")[2:] for line in made.table().splitlines()}
    rows = {name: [cell.strip() for cell in cells if cell.strip()] for name, cells in lines.items()}
    assert rows["D: ours"] == ["–", "88.12", "90.50 ± 0.25", "–"]
    assert rows["D: paper"] == ["89.3", "89.0", "91.8 ± 1.0", "85.0 ± 0.2"]
    assert rows["D & E: ours"] == ["–", "–", "91.75 ± 0.25", "–"]
    assert rows["E: paper"] == ["89.3", "89.0", "92.3 ± 0.5", "85.1 ± 0.3"]
    assert rows["D & E, image and box: paper"] == ["84.0"]
    assert rows["Hoai: paper"] == ["76.3"]
    text = made.table()
    assert text.count("not directly comparable") == 1
    assert "scales Q 256 (paper: 256, 384, 512) for Caltech-101" in text
    assert "  Caltech-101: of both\n  Caltech-101, D & E: of one\n" in text
    assert "VOC-2012: of val" in text and "failed: net E: no weights" in text
    assert json.loads(made.json())["results"]["caltech101"]["D & E"]["value"] == 91.75


def test_without_any_data_it_is_one_error(tmp_path, monkeypatch):
    monkeypatch.delenv("VGGFEAT_DATA", raising=False)
    with pytest.raises(DataError, match="paper: no folder given; pass the folder above voc2007, voc2012, caltech101"):
        run_paper()
    with pytest.raises(DataError, match="holds none of the paper's data sets"):
        run_paper(root=tmp_path)
    monkeypatch.setenv("VGGFEAT_DATA", str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"none: no such folder; name the folder above the data sets"):
        run_paper()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"seeds": 2}, "--seeds: the protocols of the paper's tables decide it"),
        ({"box": False}, "--box: the protocols"),
        ({"net": "D,D"}, "D,D has a net twice"),
        ({"net": "F"}, "no net 'F'"),
        ({"scales": (64,)}, "its smallest Q is 224"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_data_are_read(options, match, tmp_path):
    with pytest.raises(UsageError, match=match):
        run_paper(root=tmp_path, **options)


def test_the_command_refuses_what_is_for_one_data_set(tmp_path):
    ran = CliRunner().invoke(cli.app, ["bench", "paper", "--root", str(tmp_path), "--download"])
    assert isinstance(ran.exception, UsageError)
    assert "--download: is for one data set; name it, as in vggfeat bench caltech101 --download" in str(ran.exception)


def test_the_page_has_both_tables_and_how_to_get_what_is_missing(tmp_path):
    results = {"voc2012": {"D": measured("voc2012", "D", 88.125)}}
    missing = {"voc2007": "x: get <it>", "caltech101": "y: get that", "caltech256": "y: get that"}
    made = PaperResult(("D",), results, missing, {}, "1")
    html = write_paper_report(made, tmp_path / "p.html", command=["vggfeat", "bench", "paper"]).read_text()
    for text in ("Table 11", "Table 12", "88.12", "x: get &lt;it&gt;", "Caltech-101, Caltech-256", "bench paper"):
        assert text in html
