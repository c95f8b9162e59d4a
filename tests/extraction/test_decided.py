"""extract with a table of decisions."""

import numpy as np
import pytest
from PIL import Image

import vggfeat
from vggfeat._util.left_out import LeftOut
from vggfeat.decisions import Decision, write_decisions
from vggfeat.errors import DataError, UsageError
from vggfeat.extraction.decided import REMOVED, UNKNOWN, decided
from vggfeat.sources.item import Item

PIXELS = np.zeros((2, 2, 3), np.uint8)


def test_removed_images_are_counted_and_relabelled_ones_have_their_new_label():
    items = [Item(f"{name}.jpg", PIXELS, "cat") for name in "abc"]
    decisions = {"a.jpg": Decision("remove"), "b.jpg": Decision("relabel", "dog"), "gone.jpg": Decision("keep")}
    left_out = LeftOut()
    assert [(item.path, item.label) for item in decided(items, decisions, left_out)] == [
        ("b.jpg", "dog"),
        ("c.jpg", "cat"),
    ]
    assert (left_out.count(REMOVED), left_out.count(UNKNOWN)) == (1, 1)


def test_extract_takes_decisions(tmp_path, capsys):
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    for name in "abc":
        Image.new("RGB", (40, 40), "red").save(tmp_path / "photos" / "cat" / f"{name}.png")
    table = tmp_path / "decisions.csv"
    write_decisions(table, {"cat/a.png": Decision("remove"), "cat/b.png": Decision("relabel", "dog")})
    settings = {"weights": "slim", "layer": "pool1", "scales": (32,)}
    store = vggfeat.extract(tmp_path / "photos", tmp_path / "s", decisions=table, **settings)
    found = vggfeat.load(store.path)
    assert dict(zip(found.paths, found.labels, strict=True)) == {"cat/b.png": "dog", "cat/c.png": "cat"}
    assert f"{REMOVED}: 1, such as cat/a.png" in capsys.readouterr().err


def test_a_damaged_table_is_refused_before_any_work(tmp_path):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "a.png")
    (tmp_path / "d.csv").write_text("path\n")
    with pytest.raises(DataError, match=r"d\.csv: cannot be read \(its columns are not path,decision,label,reason\)"):
        vggfeat.extract(tmp_path / "a.png", tmp_path / "s", decisions=tmp_path / "d.csv")
    with pytest.raises(UsageError, match="the engine ray takes no decisions"):
        vggfeat.extract(tmp_path / "a.png", tmp_path / "s", decisions=tmp_path / "d.csv", engine="ray")
