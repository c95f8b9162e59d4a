"""Listing images: what is left out is counted, with the reason; links are followed, but never in a circle."""

import os
import sys
from pathlib import Path

import pytest

from tests.kit.data_sets import fill
from vggfeat.data.listing import Folder, LeftOut, class_images, contents
from vggfeat.errors import DataError


def listed(top: Path, *, nested: bool = True) -> tuple[list[str], list[str]]:
    """The images below a folder, sorted, and the notes."""
    left = LeftOut()
    return sorted(class_images(Folder.root(top), left, nested=nested)), left.lines()


def test_what_is_left_out_is_counted_with_an_example(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "b.JFIF", "a.json", "a.txt", "x/b.TXT", "x/c.xcf", "README", "x/old.tar.gz", "old.zip")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "x" / "lost.jpg").symlink_to("nothing")
    assert listed(tmp_path) == (
        ["a.jpg", "b.JFIF"],
        [
            "archives left out until they are unpacked: 2, such as old.zip",
            "devices and pipes left out: 1, such as pipe.jpg",
            "files left out, because their suffix is not that of an image: 5 (.txt, .json, .xcf, "
            "no suffix), "
            "such as README",
            "links left out, because they lead to no file or folder: 1, such as x/lost.jpg",
        ],
    )


def test_hidden_and_system_files_and_stores_are_left_out_without_a_word(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", ".a.jpg", "Thumbs.db", "desktop.ini", ".cache/b.jpg", "__MACOSX/a.jpg", "a.vggfeat/b.jpg")
    assert listed(tmp_path) == (["a.jpg"], [])


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", "blob", "more/b.jpg")
    top = fill(tmp_path / "top", "a.jpg")
    (top / "c.jpg").symlink_to("../elsewhere/blob")
    (top / "linked").symlink_to(tmp_path / "elsewhere" / "more")
    (top / "twice").symlink_to("linked")
    assert listed(top) == (["a.jpg", "c.jpg", "linked/b.jpg", "twice/b.jpg"], [])


def test_no_folder_is_entered_twice_on_one_way(tmp_path: Path) -> None:
    top = fill(tmp_path / "top", "x/y/a.jpg")
    (top / "x" / "y" / "up").symlink_to("..")
    (top / "x" / "above").symlink_to(tmp_path)  # above the root, and from there the root again
    images, notes = listed(top)
    assert images == ["x/y/a.jpg"]
    assert notes == ["links left out, because they lead to a folder above them: 2, such as x/above/top"]


def test_a_class_without_images_says_what_it_has(tmp_path: Path) -> None:
    fill(tmp_path, "x/1.xcf", "x/y/2.xcf")
    says = r"x: no image in this class folder \(files left out, .*: 2 \(\.xcf\), such as 1.xcf\); fill it or remove it"
    with pytest.raises(DataError, match=says):
        listed(tmp_path / "x")
    with pytest.raises(DataError, match=r"1 \(\.xcf\), such as 1.xcf; folders left out, .*: 1, such as y\); fill it"):
        listed(tmp_path / "x", nested=False)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: cannot be listed \(No such file or directory\); check its permissions"):
        contents(Folder.root(tmp_path / "gone"), LeftOut())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such a name")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """A file that is left out is shown, a folder is refused."""
    Path(os.fsdecode(os.fsencode(fill(tmp_path, "a.jpg")) + b"/\xff.txt")).touch()
    assert listed(tmp_path)[1][0].endswith(r"1 (.txt), such as \xff.txt")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe")).mkdir()
    with pytest.raises(DataError, match=r"\\udcfe': the name is not UTF-8; rename it"):
        listed(tmp_path)
