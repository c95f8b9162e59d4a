"""Contact sheets, and the command."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import vggfeat
from tests.kit.vector_stores import named, unit_rows, write
from vggfeat.cli import app
from vggfeat.errors import StoreError, UsageError
from vggfeat.index import Index, write_sheet


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder and the store of four photos, of which one is gone."""
    folder = tmp_path_factory.mktemp("made") / "photos"
    folder.mkdir()
    for n in range(4):
        colours = np.random.default_rng(n).integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(colours).resize((80, 60)).save(folder / f"{n}.png")
    store = folder.parent / "photos.vggfeat"
    vggfeat.extract(folder, store, weights="slim", layer="pool5", scales=(64,))
    (folder / "3.png").unlink()
    return folder, store


def run(*arguments):
    return CliRunner().invoke(app, ["index", *map(str, arguments)], catch_exceptions=False)


def test_the_command_prints_writes_and_counts(made, tmp_path):
    folder, store = made
    assert "4 photos indexed; each search is exact" in run("build", store).stdout
    printed = run("search", store, folder / "1.png", "-k", 2).stdout.splitlines()
    assert printed[0] == str(folder / "1.png")
    similarity, path = printed[1].split("\t")
    assert (round(float(similarity), 3), path) == (1, "1.png")
    files = {name: tmp_path / f"found.{name}" for name in ("csv", "json", "html")}
    run(
        "search", store, folder / "1.png", folder / "0.png", "-k", 3,
        "--csv", files["csv"], "--json", files["json"], "--sheet", files["html"],
    )  # fmt: skip
    with files["csv"].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["rank"], row["path"]) for row in rows][::3] == [("1", "1.png"), ("1", "0.png")]
    content = json.loads(files["json"].read_text())
    assert [len(one["matches"]) for one in content["queries"]] == [3, 3]
    assert content["queries"][0]["matches"][0]["path"] == "1.png"
    assert content["recall"] is None


def test_a_page_shows_all_photos_and_says_which_one_is_gone(made, tmp_path):
    _, store = made
    index = Index(store)
    lines = write_sheet(tmp_path / "s.html", index, index.store, index.store.paths, index.search(index.store, 3))
    page = (tmp_path / "s.html").read_text()
    assert len(re.findall(r"data:image/jpeg", page)) == 3 + 9  # three queries; three places of each of three photos
    gone = f"{store}: photos that are not found, or cannot be read any more: 1, such as 3.png"
    assert lines == [f"{gone}", f"{store}: photos that are not found, or cannot be read any more: 3, such as 3.png"]


def test_a_picture_has_a_line_of_photos_for_each_query(made, tmp_path):
    folder, store = made
    index = Index(store)
    queries = [folder / "0.png", folder / "1.png"]
    write_sheet(tmp_path / "s.jpg", index, queries, ["0", "1"], index.search(queries, 2))
    sheet = Image.open(tmp_path / "s.jpg")
    assert sheet.size == (3 * 168 + 8, 2 * 184 + 8)
    shown, found = (np.asarray(sheet)[60:110, 20 + 168 * n : 140 + 168 * n].astype(int) for n in (0, 1))
    assert np.abs(shown - found).mean() < 5  # the photo finds itself


@pytest.mark.parametrize("name", ["s.png", "s", "nowhere/s.html", "nowhere/s.jpg"])
def test_a_sheet_that_cannot_be_written_is_refused_before_the_search(made, tmp_path, name):
    with pytest.raises(UsageError, match=r"name a file that ends with|no such folder"):
        run("search", made[1], made[0] / "0.png", "--sheet", tmp_path / name)


def test_queries_that_are_folders_or_stores_beside_others(made):
    folder, store = made
    with pytest.raises(UsageError, match=r"is a folder; name images, or a store"):
        run("search", store, folder)
    with pytest.raises(UsageError, match="is a store, and other queries stand beside it"):
        run("search", store, store, folder / "0.png")


def test_a_name_that_leads_out_of_the_source_is_not_read(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    store = write(tmp_path / "s", unit_rows(2), ["../secret.png", str(tmp_path / "secret.png")])
    meta = json.loads((store / "meta.json").read_text())
    (store / "meta.json").write_text(json.dumps(meta | {"source": str(tmp_path / "photos")}))
    index = Index(store)
    lines = write_sheet(tmp_path / "s.html", index, ["nothing.png"], ["q"], index.search(unit_rows(1)))
    assert "not found, or cannot be read any more: 2" in lines[0]
    assert "data:image" not in (tmp_path / "s.html").read_text()


def test_duplicates_of_the_command(tmp_path):
    X = np.concatenate([unit_rows(20), unit_rows(1)])
    store = write(tmp_path / "s", X, named(21))
    ran = run("duplicates", store, "--csv", tmp_path / "d.csv")
    assert "groups of photos: 1; photos besides those to keep: 1 (1 as near twin)" in ran.stdout
    assert (tmp_path / "d.csv").read_text().count("\n") == 3
    assert "keep\t1.0000\t0000.jpg" in run("duplicates", store).stdout
    with pytest.raises(StoreError, match="no such store"):
        run("duplicates", tmp_path / "nothing")
