"""What a source holds and does not give as images is counted; links are followed."""

import os
import re
from pathlib import Path

import fsspec
import pytest

from tests.kit.image_sources import content, listed, names, png, put, tar
from vggfeat import sources
from vggfeat.errors import DataError
from vggfeat.sources import LeftOut

SIDECARS = ["1.txt", "1.json", "a/2.JSON", "a/2.xmp", "a/list.csv", "a/film.mov", "a/photos.zip", "a/b.tar.zst"]
SYSTEMS = [".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/x.jpg", "a/._2.jpg"]


def left_out_of(source) -> list[str]:
    left_out = LeftOut()
    list(sources.items(source, left_out))
    return left_out.lines()


@pytest.fixture
def photos(tmp_path):
    for name in ("1.jpg", "a/2.jpg", "a/no suffix", "a/3.odd", *SIDECARS, *SYSTEMS):
        put(tmp_path / "photos" / name, b"x")
    return tmp_path / "photos"


IMAGES = ["1.jpg", "a/2.jpg", "a/3.odd", "a/b.tar.zst", "a/no suffix", "a/photos.zip"]
COUNTED = [
    "files that are not images, by their suffix: 5 (.json, .csv, .txt, .xmp), such as 1.json",
    "videos, which are not read: 1 (.mov), such as a/film.mov",
]


def test_sidecars_are_counted_and_archives_are_failures(photos):
    assert names(photos) == IMAGES
    assert left_out_of(photos) == COUNTED
    assert sources.count(photos) == len(IMAGES)
    assert [name for name, _, reason in listed(photos) if reason] == ["a/b.tar.zst", "a/photos.zip"]
    assert "unpack it" in {name: reason for name, _, reason in listed(photos)}["a/photos.zip"]


def test_an_address_and_a_pattern_leave_out_the_same(photos):
    system = fsspec.filesystem("memory")
    system.put(str(photos), "/left/photos", recursive=True)
    assert sorted(names("memory://left/photos")) == IMAGES
    assert left_out_of("memory://left/photos") == COUNTED
    system.rm("/left", recursive=True)
    assert names(f"{photos}/a/*") == ["2.jpg", "3.odd", "b.tar.zst", "no suffix", "photos.zip"]
    assert left_out_of(f"{photos}/a/*.mov") == ["videos, which are not read: 1 (.mov), such as film.mov"]
    assert "folders that match the pattern" in left_out_of(f"{photos}/*")[-1]
    assert "such as a" in left_out_of(f"{photos}/*")[-1]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_the_other_files_of_a_tar_are_counted(tmp_path, mode):
    members = [("0.boxes", b""), ("0.cls", b"7"), ("0.jpg", b""), ("0.json", b"{}"), ("1.json", b"{}"),
               ("1.txt", b"two\nlines"), ("2.mov", b""), ("3.odd", b"")]  # fmt: skip
    file = tar(tmp_path / f"t.tar{'.gz' * (mode == 'w:gz')}", members, mode)
    assert names(file) == [f"{file.name}/0.jpg", f"{file.name}/3.odd"]
    assert left_out_of(file) == [
        f"files that are not images, by their suffix: 4 (.json, .boxes, .txt), such as {file.name}/0.boxes",
        f"videos, which are not read: 1 (.mov), such as {file.name}/2.mov",
    ]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("l.jsonl", r"convert it to \.csv with the columns path and label"),
        ("l.lst", r"convert it to \.csv"),
        ("l.XLSX", r"\.xlsx cannot be read as a source of images; convert it"),
        ("x.zip", "unpack it and name its folder"),
        ("x.7z", "unpack it"),
        ("x.h5", r"name an image, a folder, a list"),
        ("x.mp4", r"name an image, a folder"),
    ],
)
def test_a_file_that_is_no_source_says_what_to_do(tmp_path, name, remedy):
    with pytest.raises(DataError, match=remedy):
        names(put(tmp_path / name, b"x"))
    system = fsspec.filesystem("memory")
    system.pipe(f"/refused/{name}", b"x")
    with pytest.raises(DataError, match=remedy):
        names(f"memory://refused/{name}")
    system.rm("/refused", recursive=True)


def test_a_list_of_files_that_do_not_exist_says_where_they_were_looked_for(tmp_path):
    put(tmp_path / "photos" / "1.jpg", png())
    file = put(tmp_path / "lists" / "l.txt", b"photos/1.jpg\nphotos/2.jpg\n")
    (line,) = left_out_of(file)
    place = os.path.realpath(tmp_path / "lists")
    assert line == f"entries of the list, none of which exists (they are relative to {place}): 2, such as photos/1.jpg"
    assert not left_out_of(put(tmp_path / "l.txt", b"photos/2.jpg\nphotos/1.jpg\nphotos/3.jpg\n"))
    assert not left_out_of(put(tmp_path / "a.txt", b"photos/2.jpg\nmemory://nowhere/1.jpg\n"))


def link(path: Path, target) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def test_links_are_followed_to_files_and_to_folders(tmp_path):
    """As in the snapshot of a hub, where every file is a link; two links to one photo are two images."""
    put(tmp_path / "blobs" / "1", png(1))
    tar(tmp_path / "blobs" / "2", [("x.jpg", b"x")])
    link(tmp_path / "data" / "cats" / "1.jpg", "../../blobs/1")
    link(tmp_path / "data" / "dogs" / "1.jpg", tmp_path / "blobs" / "1")
    link(tmp_path / "data" / "shard.tar", "../blobs/2")
    link(tmp_path / "data" / "more", tmp_path / "data" / "cats")
    found = {item.path: (item.label, item) for item in sources.items(tmp_path / "data")}
    assert {name: label for name, (label, _) in found.items()} == {
        "shard.tar/x.jpg": None, "cats/1.jpg": "cats", "dogs/1.jpg": "dogs", "more/1.jpg": "more"
    }  # fmt: skip
    assert content(found["cats/1.jpg"][1]) == content(found["more/1.jpg"][1]) == png(1)
    (tmp_path / "data" / "shard.tar").unlink()
    assert sources.count(tmp_path / "data") == 3


def test_links_never_lead_round_in_a_circle(tmp_path):
    put(tmp_path / "root" / "a" / "1.jpg", b"")
    link(tmp_path / "root" / "a" / "up", "..")
    link(tmp_path / "root" / "a" / "self", ".")
    link(tmp_path / "root" / "b" / "to a", "../a")
    link(tmp_path / "root" / "c", tmp_path)  # which holds the root
    assert names(tmp_path / "root") == ["a/1.jpg", "b/to a/1.jpg"]
    assert sources.count(tmp_path / "root") == 2
    (line,) = left_out_of(tmp_path / "root")
    assert line == "links left out, because they lead to a folder above them: 5, such as a/self"


def test_links_that_lead_to_no_file_are_failures(tmp_path):
    link(tmp_path / "broken.jpg", "nowhere.jpg")
    link(tmp_path / "loop.jpg", "loop.jpg")
    link(tmp_path / "notes.txt", "nowhere.txt")
    os.mkfifo(tmp_path / "fifo")
    link(tmp_path / "pipe.tar", "fifo")
    assert listed(tmp_path) == [
        ("broken.jpg", None, "is a link that leads to no file (No such file or directory)"),
        ("fifo", None, None),
        ("loop.jpg", None, "is a link that leads to no file (Too many levels of symbolic links)"),
        ("pipe.tar", None, "not a regular file"),
    ]
    assert listed(f"{tmp_path}/b*.jpg") == [listed(tmp_path)[0]]


def test_cells_and_rows_that_are_not_read_are_counted(tmp_path):
    file = put(tmp_path / "l.csv", b"path,label\na.jpg,cat, big\n,dog\nb.jpg,dog\n,\n")
    assert [(item.path, item.label) for item in sources.items(file)] == [("a.jpg", "cat"), ("b.jpg", "dog")]
    lines = left_out_of(file)
    assert any(re.match("rows with more cells than the first line.*: 1, such as a.jpg", line) for line in lines)
    assert any(re.match("rows without a path: 1, such as ,dog", line) for line in lines)


def test_blanks_around_a_name_in_a_text_are_not_part_of_it(tmp_path):
    put(tmp_path / "a.jpg", b"x")
    assert names(put(tmp_path / "l.txt", b"  a.jpg  \n")) == ["a.jpg"]


def test_the_line_that_is_not_utf8_is_named(tmp_path):
    file = put(tmp_path / "l.csv", b"path,label\na.jpg,cat\nb.jpg,n\xe9\n")
    with pytest.raises(DataError, match=r"l\.csv: line 3 is not UTF-8 text; save the list as UTF-8"):
        names(file)


def test_labels_that_name_a_subset_are_said(tmp_path):
    for name in ("Train/cat/1.jpg", "validation/dog/2.jpg", "more/3.jpg"):
        put(tmp_path / name, b"x")
    assert left_out_of(tmp_path) == [
        "labels that are the name of a subset (name that folder as the source to get classes as labels): 2, "
        "such as Train"
    ]
    assert left_out_of(tmp_path / "Train") == []
