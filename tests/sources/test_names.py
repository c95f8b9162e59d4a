"""Every name that a file system allows, links in circles, and sources that go away."""

import os
import random
import shutil
from contextlib import contextmanager

import pytest

from tests.kit.image_sources import names, png, put, tar
from vggfeat import sources
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, ImageError
from vggfeat.extraction.run import extract
from vggfeat.sources import LeftOut, folders
from vggfeat.sources.item import Item, Unanswered, utf8

ODD = [
    "new\nline", "tab\tbed", "-dash", "--out", " lead", "trail ", "hash#1", "100%25", "wh?t", "st*r", "[1]", "{a,b}",
    "{0..3}", "back\\slash", "a::b", "s3:", "file:", "~", "~root", "$HOME", "'q\"", "a,b", "a;b", "ü日", "\x7f\x1b[31m",
    "photos.txt", "photos.tar.d", "x.csv", "n" * 251, os.fsdecode(b"caf\xe9"), os.fsdecode(b"\xff\xfe"), "a\\xe9",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_a_source_a_folder_and_a_file_of_any_name(tmp_path, name, monkeypatch):
    root = tmp_path / name
    file = put(root / name / f"{name[:250]}.jpg", b"x")
    for source in (root, str(root), f"file://{root}"):
        (item,) = sources.items(source)
        assert item.image == file
        assert item.path == f"{utf8(name)}/{utf8(file.name)}"
        assert item.label == utf8(name)
    monkeypatch.chdir(tmp_path)  # and relative, where a name might be an option, a home or an address
    assert [item.image.read_bytes() for item in sources.items(name)] == [b"x"]
    assert sources.count(name) == 1
    assert sources.address_of(name) == os.path.realpath(root)
    assert sources.name_of(name) == name
    (alone,) = sources.items(file)
    assert (alone.path, alone.image) == (utf8(file.name), file)
    tar(root / f"{name[:250]}.tar", [("a.jpg", b"a")])
    assert names(root) == [f"{utf8(name[:250])}.tar/a.jpg", item.path]


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_a_row_of_any_name(tmp_path, name):
    file = put(tmp_path / f"{name[:250]}.jpg", b"x")
    rows = {"l.txt": os.fsencode(file.name)}
    if utf8(name) == name or "\\" in name:
        rows["l.csv"] = b'path\n"' + os.fsencode(file.name).replace(b'"', b'""') + b'"\n'
    if "\n" in name:
        del rows["l.txt"]  # its lines are the names
    for kind, data in rows.items():
        (item,) = sources.items(put(tmp_path / kind, data))
        assert item.image == file
        item.path.encode()


def test_random_names_are_walked(tmp_path):
    draw = random.Random(0)
    made = set()
    for _ in range(200):
        raw = bytes(draw.choice(b"ab.-~ \t\n\\*?[]{}%#:;,'\"\xc3\xa9\xff\x80\x01x") for _ in range(draw.randint(1, 12)))
        if not raw.startswith(b"."):
            made.add(put(tmp_path / os.fsdecode(raw + b".jpg"), b""))
    found = list(sources.items(tmp_path))
    assert {item.image for item in found} == made
    assert len({item.path for item in found}) == len(made)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("n" * 256, "cannot be read (File name too long)"), ("a\0b", "cannot be read (embedded null byte)"),
        ("/dev/null/x", "no such folder"), ("x/" * 3000, "cannot be read (File name too long)"),
    ],
)  # fmt: skip
def test_a_name_that_no_file_can_have_is_refused_in_one_line(name, said):
    with pytest.raises(DataError, match=r"no such folder|cannot be read") as error:
        sources.items(name)
    assert said in str(error.value)


def test_pipes_and_devices_are_not_waited_for(tmp_path):
    for name in ("p.txt", "p.csv", "p.parquet", "p.tar"):
        os.mkfifo(tmp_path / name)
        if name == "p.tar":
            assert [str(item.image) for item in sources.items(tmp_path / name)] == ["not a regular file"]
        else:
            with pytest.raises(DataError, match=r"cannot be read \(not a regular file\)"):
                names(tmp_path / name)
            with pytest.raises(OSError, match="not a regular file"):
                sources.count(f"{tmp_path}/{name}") or sources.rows.count(tmp_path / name)


def test_stars_follow_links_as_the_walk_of_a_folder_does(tmp_path):
    put(tmp_path / "a" / "1.jpg", b"")
    put(tmp_path / "b" / "c" / "2.jpg", b"")
    put(tmp_path / ".h" / "3.jpg", b"")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(".")
    (tmp_path / "a" / "other").symlink_to(tmp_path / "b")
    left_out = LeftOut()
    walked = sorted(names(tmp_path))
    assert walked == ["a/1.jpg", "a/other/c/2.jpg", "b/c/2.jpg"]
    assert [item.path for item in sources.items(f"{tmp_path}/**/*.jpg", left_out)] == walked
    assert left_out.count(folders.CIRCLE) == 2
    for pattern in ("**", "**/**", "**/**/**/*.jpg", "**/*"):
        assert names(f"{tmp_path}/{pattern}") == walked
    assert names(f"{tmp_path}/**/c/*.jpg") == walked[1:]
    below = [name for name in names(tmp_path / "a") if name.endswith("2.jpg")]
    assert names(f"{tmp_path}/a/**/2.jpg") == below == ["other/c/2.jpg", "up/b/c/2.jpg"]


def test_folders_with_links_to_each_other_are_walked_in_bounded_time(tmp_path):
    """Eight folders have 109,600 ways without a circle, and twenty more than a machine can count."""
    for i in range(6):
        put(tmp_path / str(i) / f"{i}.jpg", b"")
    for i in range(6):
        for j in range(6):
            if i != j:
                (tmp_path / str(i) / f"to{j}").symlink_to(tmp_path / str(j))
    left_out = LeftOut()
    found = [item.path for item in folders.walk(tmp_path, left_out, most_links=2)]
    assert len(found) == 6 * (1 + 5 + 5 * 4)
    assert left_out.count(folders.WINDING) == 6 * 5 * 4 * 3


@pytest.fixture(scope="module")
def describer(tiny_weights):
    return Describer(weights=tiny_weights("A", width=1 / 16, top="pool5"), layer="pool5", scales=(32,))


def take_away(folder, keep: int, monkeypatch):
    """Remove the files of a folder, except the first ones, as soon as it was listed."""
    scandir = os.scandir

    @contextmanager
    def listing():
        with scandir(folder) as entries:
            yield list(entries)
        for file in sorted(folder.iterdir())[keep:]:
            file.unlink()

    monkeypatch.setattr(os, "scandir", lambda path=".": listing() if path == folder else scandir(path))


def test_a_folder_whose_files_vanish_ends_the_run_which_can_be_continued(tmp_path, describer, monkeypatch):
    for i in range(60):
        put(tmp_path / "photos" / f"{i:02}.png", png(i))
    shutil.copytree(tmp_path / "photos", tmp_path / "copy")
    with monkeypatch.context() as patch:
        take_away(tmp_path / "photos", 10, patch)
        with pytest.raises(DataError, match=r"the 31 files before it could not be read either.*again to continue"):
            extract(tmp_path / "photos", tmp_path / "s", describer=describer, workers=1)
    shutil.copytree(tmp_path / "copy", tmp_path / "photos", dirs_exist_ok=True)
    assert len(extract(tmp_path / "photos", tmp_path / "s", describer=describer)) == 60


@pytest.mark.parametrize("back", [False, True], ids=["removed", "an empty mount point in its place"])
def test_a_source_folder_that_goes_away_ends_the_walk(tmp_path, back):
    for i in range(4):
        put(tmp_path / "photos" / f"{i}" / "a.png", b"")
    walk = sources.items(tmp_path / "photos")
    assert next(walk).path == "0/a.png"
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    if back:
        (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"photos: was removed or replaced while it was read; .* run the same command"):
        list(walk)


def test_single_files_that_vanish_and_the_rows_of_a_list_are_failures(tmp_path):
    gone = ImageError("No such file or directory")
    here = put(tmp_path / "here.png", b"no")
    assert Item("x", tmp_path / "x", listed=True).is_unanswered(gone)
    assert not Item("x", tmp_path / "x").is_unanswered(gone)
    assert not Item("x", here, listed=True).is_unanswered(ImageError("not an image"))
    assert Item("x", b"").is_unanswered(Unanswered("x"))
    assert [item.listed for item in sources.items(tmp_path)] == [True]
    (tmp_path / "l.txt").write_text("here.png\ngone.png\n")
    assert [item.listed for item in sources.items(tmp_path / "l.txt")] == [False, False]
    assert [item.listed for item in sources.items(f"{tmp_path}/{{here,gone}}.png")] == [False, False]
    assert [item.listed for item in sources.items(f"{tmp_path}/*.png")] == [True]
    folder = put(tmp_path / "closed" / "a.png", png()).parent
    (found,) = sources.items(folder)
    if os.geteuid():
        folder.chmod(0o400)
        assert not found.is_unanswered(ImageError("Permission denied"))
        folder.chmod(0o700)


def test_the_members_of_an_archive_that_is_gone_are_unanswered(tmp_path):
    file = tar(tmp_path / "t.tar", [("a.jpg", b"a")])
    (item,) = sources.items(file)
    file.unlink()
    with pytest.raises(Unanswered, match="No such file"):
        item.image.fetch()
