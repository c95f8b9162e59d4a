"""From photos to errors, with nets whose boxes are known; runs are continued, and damaged photos count nowhere."""

import json
from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.kit.box_nets import constant_net, make_photos
from vggfeat.cli import app
from vggfeat.errors import DataError, UsageError
from vggfeat.localization import evaluate
from vggfeat.store import Store

Make = Callable[..., Path]

QUARTER, WINDOW = (-0.25, -0.25, 0.5, 0.5), (0, 0, 1, 1)
NAMES = ("cat", "dog")
PHOTOS = {  # name -> class, (height, width), boxes
    "train.png": ("cat", (100, 200), [(0, 0, 100, 50)]),
    "train2.png": ("dog", (100, 100), [(0, 0, 100, 100)]),
    "a.png": ("cat", (224, 224), [(0, 0, 112, 112)]),  # QUARTER
    "b.png": ("dog", (56, 56), [(10, 10, 20, 20), (0, 0, 56, 56)]),  # WINDOW
    "c.png": ("dog", (112, 112), [(90, 90, 112, 112)]),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos", PHOTOS)


@pytest.fixture
def pcr(tiny_weights: Make, tmp_path: Path) -> Path:
    return constant_net(tiny_weights, tmp_path / "pcr.safetensors", [QUARTER, WINDOW], NAMES, "pcr").path


@pytest.fixture
def cats(tiny_weights: Make, tmp_path: Path) -> Path:
    return constant_net(tiny_weights, tmp_path / "cats.safetensors", [0, log(4)], ("dog", "cat")).path


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["localize", "evaluate", *map(str, arguments)])


def test_both_protocols_and_the_command(data: Path, pcr: Path, cats: Path, tmp_path: Path) -> None:
    options = ["--classifier", cats, "--scales", "224", "--device", "cpu", "--workers", "1"]
    report = ["--json", tmp_path / "result.json", "--report", tmp_path / "page.html"]
    ran = run(data, "--model", pcr, "--out", tmp_path / "runs", *options, *report)
    assert ran.exit_code == 0, (ran.output, ran.exception)
    result = json.loads((tmp_path / "result.json").read_text())
    one, two = result["rows"]
    third = pytest.approx(100 / 3)
    # c.png is wrong: 22 * 22 of 112 * 112 pixels
    assert (one["protocol"], one["score"]["error"], one["score"]["top1"]) == (1, third, None)
    assert one["score"]["mean_iou"] == pytest.approx((1 + 1 + 22**2 / 112**2) / 3)
    # cat is the first guess for all
    assert (two["protocol"], two["score"]["error"], two["score"]["top1"]) == (2, third, pytest.approx(200 / 3))
    assert two["classes"] == [pytest.approx(200 / 3), 0]
    # the mean training box is 0, 0, 3/4, 3/4: IoU 4/9 with a.png, 9/16 with b.png
    assert [row["constant"]["error"] for row in (one, two)] == [pytest.approx(200 / 3)] * 2
    assert result["per_class"]["dog"] == {"images": 2, "error": 50, "mean_iou": pytest.approx((1 + 22**2 / 112**2) / 2)}
    assert (tmp_path / "page.html").stat().st_size > 1000
    again = run("--runs", tmp_path / "runs", "--json", tmp_path / "again.json")
    assert again.exit_code == 0, (again.output, again.exception)
    stored = json.loads((tmp_path / "again.json").read_text())
    assert stored == result
    table = run("--runs", tmp_path / "runs", "--table", "8")
    assert "A ×0.0625" in table.output


def test_a_run_is_continued_and_a_broken_photo_counts_nowhere(data: Path, pcr: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"scales": (224,), "device": "cpu", "protocol": "1", "workers": 1}
    whole = (data.parent / "c.png").read_bytes()
    (data.parent / "c.png").write_bytes(whole[:2000])
    first = evaluate(data, pcr, out=tmp_path / "runs", **options)
    assert list(first.failures) == ["c.png"]
    assert (first.rows[0].images, first.rows[0].score.error) == (2, 0)
    (store,) = map(Store, first.stores)
    before = {part: part.stat().st_mtime_ns for part in store.parts}
    (data.parent / "c.png").write_bytes(whole)
    again = evaluate(data, pcr, out=tmp_path / "runs", **options)
    assert not again.failures
    assert (again.rows[0].images, again.rows[0].score.error) == (3, pytest.approx(100 / 3))
    assert again.stores == first.stores
    assert all(part.stat().st_mtime_ns == time for part, time in before.items())


def test_boxes_are_those_of_the_stored_photo_if_exif_would_turn_it(data: Path, pcr: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    turned = make_photos(tmp_path / "turned", {"a.png": ("dog", (112, 224), [(56, 0, 168, 112)])})
    with Image.open(turned.parent / "a.png") as stored:
        stored.save(turned.parent / "a.png", exif=exif)
    found = evaluate(turned, pcr, train_data=data, scales=(224,), device="cpu", protocol="1", workers=1)
    assert found.rows[0].score.mean_iou == 1  # WINDOW, in the middle of the stored photo


def test_what_an_evaluation_refuses(data: Path, pcr: Path, tiny_weights: Make, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"protocol 2 needs a net that classifies, .* give --classifier, or --protocol 1"
    ):
        evaluate(data, pcr, device="cpu")
    with pytest.raises(UsageError, match=r"true boxes are in pixels of the stored photos, .*; leave exif out"):
        evaluate(data, pcr, protocol="1", device="cpu", exif=True)
    other = constant_net(tiny_weights, tmp_path / "x.safetensors", [QUARTER] * 2, ("cat", "cow"), "pcr").path
    scr = constant_net(tiny_weights, tmp_path / "scr.safetensors", QUARTER, NAMES, "scr").path
    for models in (other, [scr, other]):  # boxes of scr are of any class
        with pytest.raises(DataError, match=r"its class 'dog' is none of the 2 classes of .*x\.safetensors"):
            evaluate(data, models, protocol="1", device="cpu")
    cats = make_photos(tmp_path / "cats", {name: PHOTOS[name] for name in ("train.png", "a.png")})
    with pytest.raises(UsageError, match=r"because cats/boxes\.csv val or the box nets have several classes"):
        evaluate(cats, scr, protocol="2", device="cpu")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["boxes.csv"], "give DATA and --model MODEL, or stored predictions as --runs RUN"),
        (["--runs", ".", "--keep", "9"], "--runs runs no net, so --keep has no effect"),
        (["--runs", ".", "--table", "8", "--report", "x.html"], "a table has no report"),
    ],
)
def test_options_that_contradict_each_other(arguments: list[str], said: str) -> None:
    assert said in str(run(*arguments).exception)
