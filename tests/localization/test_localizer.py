"""What is in images and where: the function, the class, and the command, with nets whose boxes are known."""

import csv
import json
from collections.abc import Callable
from hashlib import sha256
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import vggfeat
from tests.kit.box_nets import constant_net
from vggfeat.cli import app
from vggfeat.errors import ImageError, UsageError, WeightsError
from vggfeat.localization import Localizer, LocalizerSpec, Located, LocatedPhoto
from vggfeat.localization.answers import lines
from vggfeat.localization.drawing import TRUE

Make = Callable[..., Path]

NAMES = ("cat", "dog")
WINDOW, QUARTER = (0, 0, 1, 1), (-0.25, -0.25, 0.5, 0.5)
PHOTO = np.zeros((448, 600, 3), np.uint8)  # at Q=224 three windows, whose quarters are 0..112, 32..144 and 64..176


@pytest.fixture(scope="module")
def nets(tiny_weights: Make, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("nets")

    def make(name: str, outputs: Any, classes: Any, boxes: Any = None) -> Path:
        return constant_net(tiny_weights, folder / f"{name}.safetensors", outputs, classes, boxes).path

    return {
        "pcr": make("pcr", [WINDOW, QUARTER], NAMES, "pcr"),
        "scr": make("scr", QUARTER, NAMES, "scr"),
        "face": make("face", [QUARTER], ("face",), "pcr"),
        "dogs": make("dogs", [0, log(3)], NAMES),
        "birds": make("birds", [0, 0], ("cat", "bird")),
    }


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["localize", *map(str, arguments)])


def test_the_likeliest_class_comes_first_with_its_merged_box(nets: dict[str, Path]) -> None:
    # the quarters overlap by 5/9 or less: with apart 0.5 the first two merge, and the third stays
    found = vggfeat.localize(PHOTO, nets["pcr"], classifier=nets["dogs"], scales=(224,), device="cpu")
    assert [(one.label, round(one.probability, 5)) for one in found] == [("dog", 0.75), ("cat", 0.25)]
    assert found[0].candidates < 3
    kept = vggfeat.localize(PHOTO, nets["pcr"], classifier=nets["dogs"], scales=(224,), device="cpu", rule="none")
    assert kept[0].box == (0, 0, 224, 224)
    assert (kept[0].candidates, kept[0].confidence) == (1, pytest.approx(0.75))


def test_wide_limits_merge_all_places(nets: dict[str, Path]) -> None:
    rule = {"vertical": 2, "horizontal": 2, "apart": 0.9}
    localizer = Localizer([nets["scr"], nets["pcr"]], nets["dogs"], scales=(224,), device="cpu", **rule)
    ((dog, cat),) = localizer.localize([PHOTO])
    assert dog.box == pytest.approx((64, 0, 288, 224), abs=0.01)  # the mean of three places, twice
    assert (dog.candidates, dog.confidence) == (6, pytest.approx(4.5))
    assert cat.candidates == 6


def test_boxes_without_classes_and_of_one_class(nets: dict[str, Path]) -> None:
    (found,) = vggfeat.localize(PHOTO[:448, :448], nets["scr"], scales=(224,), device="cpu")
    assert (found.label, found.probability, found.box) == ("", 1, (0, 0, 224, 224))
    ((face,),) = vggfeat.localize([PHOTO[:448, :448]], nets["face"], scales=(224,), device="cpu")
    assert (face.label, face.box) == ("face", (0, 0, 224, 224))


def test_boxes_are_cut_at_the_edges(nets: dict[str, Path], tiny_weights: Make, tmp_path: Path) -> None:
    large = constant_net(tiny_weights, tmp_path / "large.safetensors", (0.5, 0, 1, 3), ("a",), "scr").path
    (found,) = vggfeat.localize(PHOTO[:448, :448], large, scales=(224,), device="cpu")
    assert found.box == (224, 0, 448, 448)


@pytest.mark.parametrize(
    ("model", "classifier", "error", "said"),
    [
        ("pcr", None, UsageError, "pcr.safetensors: has a box for each of 2 classes, so a net must say which class"),
        ("dogs", None, WeightsError, "dogs.safetensors: predicts classes, not boxes; give it as the classifier"),
        ("pcr", "scr", WeightsError, "scr.safetensors: predicts boxes, and no classes"),
        (
            "pcr",
            "birds",
            WeightsError,
            "pcr.safetensors: has other classes than .*birds.safetensors .'bird' is a class",
        ),
    ],
)
def test_nets_that_do_not_fit(nets: dict[str, Path], model: str, classifier: str, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        Localizer(nets[model], nets.get(classifier or ""), device="cpu")


def test_what_cannot_be_asked(nets: dict[str, Path]) -> None:
    localizer = Localizer(nets["scr"], device="cpu")
    with pytest.raises(UsageError, match="top must be from 1 to 10"):
        localizer.localize([PHOTO], top=11)
    with pytest.raises(UsageError, match=r"takes a list of images; give \[image\]"):
        localizer.localize("photo.jpg")
    with pytest.raises(ImageError, match=r"nothing.jpg"):
        localizer.localize(["nothing.jpg"])
    with pytest.raises(UsageError, match=r"scr\.safetensors: is given twice"):
        Localizer([nets["scr"], nets["scr"]])
    with pytest.raises(UsageError, match="Q=200 is too small"):
        Localizer(nets["scr"], scales=(200,))


def test_a_run_without_an_epoch_has_no_net_yet(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"this run has no best\.safetensors yet, because no epoch is done"):
        Localizer(tmp_path, device="cpu")


def test_the_command_writes_tables_and_drawings_and_lists_failures(nets: dict[str, Path], tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(PHOTO[:448, :448]).save(photos / "a.png")
    (photos / "broken.jpg").write_bytes(b"no image")
    files = {name: tmp_path / f"found.{name}" for name in ("csv", "json")}
    options = ["--csv", files["csv"], "--json", files["json"], "--draw", tmp_path / "drawn", "--device", "cpu"]
    ran = run("predict", nets["pcr"], photos, "--classifier", nets["dogs"], "--scales", "224", *options)
    assert "1 of 2 photos failed; the lines above say why" in str(ran.exception)
    with files["csv"].open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "rank", "label", "probability", "x0", "y0", "x1", "y1", "error"]
    assert rows[1] == [f"{photos}/a.png", "1", "dog", "0.75", "0.0", "0.0", "224.0", "224.0", ""]
    assert rows[2] == [f"{photos}/a.png", "2", "cat", "0.25", "0.0", "0.0", "448.0", "448.0", ""]
    assert rows[3][0] == f"{photos}/broken.jpg"
    assert rows[3][-1]
    one, other = json.loads(files["json"].read_text())
    assert (one["width"], one["height"], len(one["objects"])) == (448, 448, 2)
    assert one["objects"][0]["box"] == [0, 0, 224, 224]
    assert (one["sha256"], one["exif"]) == (sha256((photos / "a.png").read_bytes()).hexdigest(), False)
    assert other["error"] == rows[3][-1]
    assert [file.name for file in (tmp_path / "drawn").rglob("*.jpg")] == ["a.boxes.jpg"]


def test_boxes_that_are_not_finite_are_a_failure_of_their_photo(tiny_weights: Make, tmp_path: Path) -> None:
    net = constant_net(tiny_weights, tmp_path / "huge.safetensors", (3e38, 0, 1, 1), ("a",), "scr").path
    Image.fromarray(PHOTO[:448, :448]).save(tmp_path / "a.png")
    options = ["--csv", tmp_path / "found.csv", "--draw", tmp_path / "drawn", "--scales", "224", "--device", "cpu"]
    ran = run("predict", net, tmp_path / "a.png", *options)
    assert "1 of 1 photos failed" in str(ran.exception)
    said = "its boxes have values that are not finite; take another --precision or another net"
    assert f"{tmp_path}/a.png: {said}" in ran.stderr
    assert (tmp_path / "found.csv").read_text().splitlines()[1] == f"{tmp_path}/a.png,,,,,,,,{said}"
    with pytest.raises(ImageError, match=rf"image 0 of the list \(from 0\): {said}"):
        vggfeat.localize(PHOTO, net, scales=(224,), device="cpu")


def test_drawings_show_true_boxes_where_the_data_have_them(nets: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "photos" / "images").mkdir(parents=True)
    for name in ("known", "new"):
        Image.fromarray(PHOTO[:448, :448]).save(tmp_path / "photos" / "images" / f"{name}.png")
    table = tmp_path / "photos" / "boxes.csv"
    table.write_text("path,label,x0,y0,x1,y1,subset\nknown.png,cat,50,60,400,390,test\n")
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    options = ["--draw", tmp_path / "drawn", "--truth", table, "--scales", "224", "--device", "cpu"]
    ran = run("predict", nets["scr"], tmp_path / "link" / "images", *options)
    assert ran.exit_code == 0, (ran.output, ran.exception)
    assert f"photos drawn without true boxes, which {table} does not have: 1, such as" in ran.stderr
    yellow = {
        file.name: np.abs(np.asarray(Image.open(file), float)[:896, :896] - TRUE.colour).max(axis=2) < 60
        for file in (tmp_path / "drawn" / "images").iterdir()
    }
    assert not yellow["new.boxes.jpg"].any()
    ys, xs = np.nonzero(yellow["known.boxes.jpg"])  # 448 becomes 2 * 448
    edges = xs.min(), ys.min(), xs.max(), ys.max()
    assert np.abs(np.array(edges) - 2 * np.array([50, 60, 400, 390])).max() < 4
    for wrong in (options[2:], [*options, "--exif"]):
        assert "--truth is for --draw" in str(run("predict", nets["scr"], tmp_path, *wrong).exception)


def test_what_people_read() -> None:
    photo = LocatedPhoto("a.png", [Located("face\n", 1.0, (0, 0, 224, 99.96), 3.0, 2)])
    assert list(lines(photo)) == ["  100.00 %      0.0     0.0   224.0   100.0  face\\n"]
    assert not list(lines(LocatedPhoto("b.png", None, "no image")))


def test_a_precision_that_does_not_mend_maps_is_refused():
    with pytest.raises(UsageError, match="no precision of boxes 'mixed'; take one of auto, float32"):
        LocalizerSpec(precision="mixed")
