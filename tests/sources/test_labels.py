"""The labels of images: those of lists, of the .cls of a tar, and of archives that are classes."""

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.kit.image_sources import content, listed, names, png, put, tar
from vggfeat import sources
from vggfeat.errors import DataError
from vggfeat.sources import LeftOut
from vggfeat.sources.labels import Apart


def labels(source, left_out=None):
    """The label of each image, by its name."""
    return {item.path: item.label for item in sources.items(source, left_out)}


CAT_AND_NONE = {"a.jpg": "cat", "b.jpg": None}


@pytest.mark.parametrize(
    "text",
    [
        "path, label\na.jpg, cat\nb.jpg, \n",
        "\ufeffpath,label\r\na.jpg,cat\r\nb.jpg,\r\n",
        " Label ; PATH\n cat ;a.jpg\n;b.jpg\n",
        "path\tlabel\na.jpg\tcat\nb.jpg\t\n",
        '\n"path", "label"\n"a.jpg", "cat"\nb.jpg\n',
        "id,path,label\n1,a.jpg,cat\n2,b.jpg,nan\n",
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_separators_blanks_and_case_of_a_table(tmp_path, text, suffix):
    assert labels(put(tmp_path / f"l{suffix}", text.encode())) == CAT_AND_NONE


def test_a_field_in_quotes_holds_its_separator_and_its_blanks(tmp_path):
    put(tmp_path / "l.csv", b'path, label\n"a, b;c.jpg", "big, cat"\n" d.jpg",3.0\n')
    assert labels(tmp_path / "l.csv") == {"a, b;c.jpg": "big, cat", " d.jpg": "3"}


def test_a_table_without_a_path_says_which_columns_it_has(tmp_path):
    with pytest.raises(DataError, match=r"l\.csv: has no column 'path', only 'filename', 'class'; rename .* to label$"):
        labels(put(tmp_path / "l.csv", b"filename;class\na.jpg;cat\n"))
    pd.DataFrame({"image": ["a.jpg"]}).to_parquet(tmp_path / "l.parquet")
    with pytest.raises(DataError, match=r"l\.parquet: has no column 'path', only 'image'; rename"):
        labels(tmp_path / "l.parquet")


def test_a_column_that_is_not_taken_as_the_label_is_said(tmp_path):
    left_out = LeftOut()
    assert labels(put(tmp_path / "l.csv", b"path,class\na.jpg,cat\n"), left_out) == {"a.jpg": None}
    assert any("columns of the list that are not read" in line and "such as class" in line for line in left_out.lines())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([3.0, None, float("nan"), 3.5]), ["3", None, None, "3.5"]),
        (pa.array([3, None, 0, -1]), ["3", None, "0", "-1"]),
        (pa.array(["cat", None, "", "nan"]), ["cat", None, None, None]),
        (pa.array(["cat", "dog", None, "cat"]).dictionary_encode(), ["cat", "dog", None, "cat"]),
        (pa.array([3.0, float("nan"), None, 3.0]).dictionary_encode(), ["3", None, None, "3"]),
        (pa.nulls(4), [None] * 4),
    ],
)
def test_labels_of_every_type_of_column(tmp_path, values, expected):
    paths = [f"{i}.jpg" for i in range(4)]
    pq.write_table(pa.table({"path": pa.array(paths).dictionary_encode(), "Label": values}), tmp_path / "l.parquet")
    assert labels(tmp_path / "l.parquet") == dict(zip(paths, expected, strict=True))


def test_pandas_writes_a_gap_as_a_missing_label(tmp_path):
    table = pd.DataFrame({"path": ["a.jpg", "b.jpg", "c.jpg"], "label": [1, np.nan, 2]})
    table.to_csv(tmp_path / "l.csv")
    table.to_parquet(tmp_path / "l.parquet")
    for name in ("l.csv", "l.parquet"):
        assert labels(tmp_path / name) == {"a.jpg": "1", "b.jpg": None, "c.jpg": "2"}


def test_a_list_of_caffe(tmp_path):
    """A number at the end is a label only after the name of an image, and never a part of a name."""
    for name in ("a.jpg", "my photo.jpg", "photo 12", "photo", "scan", "b.jpg 7"):
        put(tmp_path / name, png())
    lines = ["a.jpg 0", "my photo.jpg\t12", "my photo 1.jpg", "photo 12", "scan 3", "b.jpg 7", "gone.jpg -1", "gone 5"]
    lines += ["long" * 2000 + " 6", "nul\0 7"]  # which no system takes
    put(tmp_path / "train.txt", "\n".join(lines).encode())
    assert labels(tmp_path / "train.txt") == {
        "a.jpg": "0", "my photo.jpg": "12", "my photo 1.jpg": None, "photo 12": None, "scan": "3", "b.jpg 7": None,
        "gone.jpg": "-1", "gone 5": None, lines[-2]: None, lines[-1]: None,
    }  # fmt: skip
    assert sources.count(tmp_path / "train.txt") == len(lines)


def test_a_list_of_caffe_at_an_address_is_known_by_its_form():
    system = fsspec.filesystem("memory")
    system.pipe("/caffe/a.jpg", png())
    system.pipe("/caffe/l.txt", b"a.jpg 0\nphoto 12\nmemory://caffe/a.jpg 3\n")
    assert labels("memory://caffe/l.txt") == {"a.jpg": "0", "photo 12": None, "memory://caffe/a.jpg": "3"}
    assert content(next(sources.items("memory://caffe/l.txt"))) == png()
    system.rm("/caffe", recursive=True)


IMAGES = [(f"d/{i}.jpg", b"x") for i in range(4)]
CLS = [(f"d/{i}.cls", f"class {i}".encode()) for i in range(3)]
TEXTS = [(f"d/{i}.txt", b"text") for i in (2, 3)]
JOINED = ["class 0", "class 1", "class 2", "text"]


@pytest.mark.parametrize(
    "members",
    [
        [*IMAGES, *CLS, *TEXTS],
        [*TEXTS, *CLS, *IMAGES],
        [*CLS, *IMAGES, *TEXTS],
        sorted([*IMAGES, *CLS, *TEXTS]),
    ],
)
def test_the_files_of_a_tar_on_this_machine_have_any_order(tmp_path, members):
    left_out = LeftOut()
    assert list(labels(tar(tmp_path / "t.tar", members), left_out).values()) == JOINED
    assert not [line for line in left_out.lines() if "labels" in line]


def test_of_a_compressed_tar_labels_after_their_images_are_counted(tmp_path):
    left_out = LeftOut()
    after = tar(tmp_path / "after.tar.gz", [*IMAGES, *CLS], "w:gz")
    assert set(labels(after, left_out).values()) == {"d"}
    (line,) = left_out.lines()
    assert line.startswith("labels in .cls files with no image of their name beside them (sort the archive by name): 3")
    assert line.endswith("such as after.tar.gz/d/0.cls")
    left_out = LeftOut()
    before = tar(tmp_path / "before.tar.gz", [*CLS, *TEXTS, *IMAGES], "w:gz")
    assert list(labels(before, left_out).values()) == JOINED
    assert left_out.lines() == [f"files that are not images, by their suffix: 1 (.txt), such as {before.name}/d/2.txt"]


def test_images_of_the_same_name_share_a_label_that_is_not_beside_them(tmp_path):
    left_out = LeftOut()
    members = [("0.jpg", b""), ("1.jpg", b""), ("0.png", b""), ("0.cls", b"7"), ("lost.cls", b"8")]
    assert list(labels(tar(tmp_path / "t.tar", members), left_out).values()) == ["7", None, "7"]
    assert [line.endswith("1, such as t.tar/lost.cls") for line in left_out.lines()] == [True]


def test_only_so_many_labels_are_held():
    apart = Apart(lambda: ((f"{i}.cls", f"{i}") for i in range(10)), most=4)
    for i in range(5, 10):
        apart.meet(f"{i}.cls", f"{i}")
    assert [apart.join(f"{i}") for i in (3, 4, 5, 9)] == ["3", None, "5", None]
    assert (list(apart.not_joined()), apart.beyond) == (["6.cls", "7.cls", "8.cls"], 1)


def test_a_tar_that_is_a_class(tmp_path):
    """Its name is the label if it is a WordNet id, and neither a .cls nor a folder says another."""
    left_out = LeftOut()
    members = [("0.JPEG", b""), ("1.JPEG", b""), ("1.cls", b"one"), ("f/2.JPEG", b"")]
    for name in ("n01440764.tar", "shard-000123.tar", "train-0001.tar"):
        tar(tmp_path / "c" / name, members)
    assert list(labels(tmp_path / "c", left_out).values()) == ["n01440764", "one", "f", *[None, "one", "f"] * 2]
    assert [line for line in left_out.lines() if "name of their archive" in line] == [
        "images whose label is the name of their archive, a WordNet id: 1, such as n01440764.tar/0.JPEG"
    ]
    (tmp_path / "l.csv").write_text("path,label\nc/shard-000123.tar,mine\nc/n01440764.tar,\n")
    assert list(labels(tmp_path / "l.csv").values()) == ["mine", "one", "mine", "n01440764", "one", "f"]


def test_a_tar_of_tars_is_told_to_be_unpacked(tmp_path):
    inner = tar(tmp_path / "n01440764.tar", [("0.jpg", b"")]).read_bytes()
    outer = tar(tmp_path / "train.tar", [("n01440764.tar", inner), ("n01440764.zip", b"")])
    reason = "is an archive in an archive, which is not read; unpack the outer one"
    assert [row[2] for row in listed(outer)] == [reason, reason]
    assert len(names(outer)) == 2
