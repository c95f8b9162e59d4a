"""Photos that a store has twice: which ones, why, and which one to keep."""

import csv
import shutil

import numpy as np
import pytest
from PIL import Image, ImageFilter

import vggfeat
from tests.kit.vector_stores import named, unit_rows, write
from vggfeat.errors import UsageError
from vggfeat.index import Index
from vggfeat.index.duplicates import cliques, sharpness


def at(degrees):
    """Vectors in the plane, whose cosines are those of the differences of their angles."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def near(X, threshold):
    """All pairs that reach the threshold."""
    cosines = X @ X.T
    return [(float(cosines[i, j]), i, j) for i, j in np.argwhere(np.triu(cosines >= threshold, k=1)).tolist()]


@pytest.mark.parametrize(
    ("degrees", "groups"),
    [
        ([0, 8, 17, 90], [[0, 1]]),  # 1 and 2 are near, but 0 and 2 are not: no chain
        ([0, 9, 17, 90], [[1, 2]]),
        ([0, 1, 2, 3, 50, 51], [[0, 1, 2, 3], [4, 5]]),
        ([0, 20, 40], []),
    ],
)
def test_groups_are_not_chains(degrees, groups):
    X, threshold = at(degrees), float(np.cos(np.radians(10)))
    assert cliques([], near(X, threshold), lambda rows: X[rows], threshold) == groups


def test_each_pair_of_a_group_reaches_the_threshold():
    X = unit_rows(300, 3)
    groups = cliques([], near(X, 0.98), lambda rows: X[rows], 0.98)
    members = [row for group in groups for row in group]
    assert len(members) > 200
    assert len(set(members)) == len(members)
    assert min((X[group] @ X[group].T).min() for group in groups) >= 0.98


def test_equal_files_are_a_group_that_others_may_join():
    X, threshold = at([0, 0, 5, 90]), 0.99
    assert cliques([[0, 1]], near(X, threshold), lambda rows: X[rows], threshold) == [[0, 1, 2]]


def test_more_copies_than_neighbours_in_the_graph_are_one_group(tmp_path):
    X = np.concatenate([unit_rows(30), np.repeat(unit_rows(1, seed=1), 25, axis=0)])
    found = Index(write(tmp_path / "s", X, named(55))).duplicates(0.999)
    assert sorted(row.path for row in found.rows) == named(25, 30)
    assert {row.group for row in found.rows} == {1}


def test_a_threshold_that_is_no_cosine_is_refused(tmp_path):
    with pytest.raises(UsageError, match="threshold must be above 0 and at most 1, not 2"):
        Index(write(tmp_path / "s", unit_rows(3), named(3))).duplicates(2)


def test_a_blurred_photo_is_less_sharp():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    blurred = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1)))
    assert sharpness(blurred) < 0.5 * sharpness(pixels)
    assert sharpness(np.full((40, 50, 3), 7, np.uint8)) == 0
    assert sharpness(pixels[:1]) == 0


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder and the store of twelve photos; of one there are four more versions."""
    folder = tmp_path_factory.mktemp("made") / "photos"
    folder.mkdir()
    for n in range(12):
        colours = np.random.default_rng(n).integers(0, 256, (2 + n, 3 + n, 3), np.uint8)
        way = Image.Resampling.BICUBIC if n % 2 else Image.Resampling.NEAREST
        Image.fromarray(colours).resize((160, 120), way).save(folder / f"{n:02}.png")
    first = Image.open(folder / "05.png")
    shutil.copy(folder / "05.png", folder / "z-copy.png")
    first.save(folder / "z-pixels.bmp")
    first.resize((80, 60)).save(folder / "z-small.png")
    first.filter(ImageFilter.GaussianBlur(1)).save(folder / "z-soft.png")
    store = folder.parent / "photos.vggfeat"
    vggfeat.extract(folder, store, weights="slim", layer="pool5", scales=(64,))
    return folder, store


def test_each_version_has_its_reason(made):
    _, store = made
    found = Index(store).duplicates(0.99)
    assert {row.path: (row.keep, row.reason) for row in found.rows} == {
        "z-pixels.bmp": (True, "the most bytes of the sharpest, 160x120"),
        "05.png": (False, "equal pixels"),
        "z-copy.png": (False, "equal file"),
        "z-small.png": (False, "near twin"),
        "z-soft.png": (False, "near twin"),
    }
    assert found.counts == {"equal file": 1, "equal pixels": 1, "near twin": 2}
    assert found.rows[0].keep
    assert all(row.similarity >= 0.99 for row in found.rows)
    assert found.remarks == []


def test_the_table_has_a_row_for_each_photo_of_a_group(made, tmp_path):
    _, store = made
    found = Index(store).duplicates(0.99)
    with found.write_csv(tmp_path / "d.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["group", "path", "keep", "similarity", "reason"]
    assert [row["path"] for row in rows] == [row.path for row in found.rows]
    assert [row["keep"] for row in rows] == ["yes", "no", "no", "no", "no"]


def test_photos_that_are_gone_or_have_changed_are_counted_and_no_longer_compared(made, tmp_path):
    folder, _ = made
    photos = shutil.copytree(folder, tmp_path / "photos")
    store = tmp_path / "s.vggfeat"
    vggfeat.extract(photos, store, weights="slim", layer="pool5", scales=(64,))
    (photos / "z-pixels.bmp").unlink()
    Image.open(photos / "03.png").save(photos / "z-soft.png")
    found = Index(store).duplicates(0.99)
    reasons = {row.path: row.reason for row in found.rows}
    assert reasons["z-pixels.bmp"] == "near twin"
    assert reasons["z-soft.png"] == "near twin"
    assert found.remarks == [
        "photos that are not found, or cannot be read any more: 1, such as z-pixels.bmp",
        "photos that have changed since they were described: 1, such as z-soft.png",
    ]


def test_a_collection_without_twins_has_no_groups(tmp_path):
    found = Index(write(tmp_path / "s", unit_rows(40), named(40))).duplicates()
    assert found.rows == []
    assert "median distance" in found.threshold.reason or "at most" in found.threshold.reason
