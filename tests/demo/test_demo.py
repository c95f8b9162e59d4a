"""The demonstration, once with a small net at a tiny scale, and as it ships: it finds what was planted, and says it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from vggfeat import cli
from vggfeat.bench import BENCHMARKS, read_record, record_of
from vggfeat.demo import demonstrate
from vggfeat.errors import StoreError, UsageError

BROKEN = "water_lilly/image_0031_broken.jpg"
TWINS = [
    {"hawksbill/image_0011.jpg", "hawksbill/image_0011_smaller.jpg"},
    {"elephant/image_0008.jpg", "elephant/image_0008_cropped.jpg"},
]
TINY = {"scales": (32,), "weights": "slim"}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    return demonstrate(tmp_path_factory.mktemp("new") / "made" / "demo", **TINY)


def test_it_measures_by_the_protocol_of_the_benchmark_sample(shown):
    config, sample = shown.result.config, BENCHMARKS["sample"]
    assert (config["net"], config["layer"], config["scales"]) == ("A", sample.layer, [32])
    assert (config["train_per_class"], len(config["seeds"])) == (sample.train_per_class, sample.seeds)
    assert 20 < shown.result.value < 100  # ten classes: chance is 10


def test_it_finds_the_broken_file_and_a_twin(shown):
    assert shown.found.described == 249
    assert list(shown.found.failures) == [BROKEN]
    assert TWINS[0] in [{pair.first, pair.second} for pair in shown.found.twins.pairs]


def test_text_and_page_say_what_was_found(shown):
    text, page = shown.text(), shown.page.read_text(encoding="utf-8")
    for said in (text, page):
        assert f"{shown.result.value:.2f}" in said
        assert BROKEN in said and all(name in said for name in TWINS[0])
        assert "vggfeat bench folder --root my_photos/" in said
        for one in shown.found.near:
            assert all(f"{cosine:.3f}" in said and name in said for name, cosine in one.others)
    assert page.count("<img") > 20


def test_a_second_run_describes_nothing_again(shown):
    parts = {part: part.stat().st_mtime_ns for part in shown.store.glob("part-*")}
    assert parts
    again = demonstrate(shown.page.parent, **TINY)
    assert again.result.value == shown.result.value
    assert {part: part.stat().st_mtime_ns for part in shown.store.glob("part-*")} == parts


def test_a_store_of_another_scale_is_refused(shown):
    with pytest.raises(StoreError, match=r"sample\.vggfeat: .*scales"):
        demonstrate(shown.page.parent, scales=(64,), weights="slim")


def test_a_folder_that_cannot_be_written_costs_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "demo" / "demo.html").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"demo\.html"):
        demonstrate(tmp_path / "demo")
    ran = CliRunner().invoke(cli.app, ["demo", "--out", str(tmp_path / "file")])
    assert isinstance(ran.exception, UsageError)
    assert str(ran.exception) == f"{tmp_path / 'file'}: is a file, not a folder; name another folder"


@pytest.mark.slow
def test_as_it_ships_it_finds_all_and_gives_the_recorded_score(tmp_path):
    shown = demonstrate(tmp_path)
    (recorded,) = read_record(Path(__file__).parents[2] / record_of("sample"))
    assert shown.result.value == pytest.approx(recorded["value"], abs=0.2)
    assert [{pair.first, pair.second} for pair in shown.found.twins.pairs] == TWINS
    assert "llama/image_0042_of_kangaroo.jpg" in [doubt.name for doubt in shown.found.doubts[:5]]
