"""The documentation: every block of code runs, in the order of its page, on a few photos; or the page says why not."""

import contextlib
import io
import itertools
import os
import re
import shlex
import shutil
import textwrap
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tests.kit.image_sources import photo
from vggfeat import cli

ALL_PHOTOS = "a slow test runs the tutorial on all photos"  # the end of a reason
DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- not run: (?P<reason>[^>]+) -->\n *)?```(?P<language>[a-z]+)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
BAR = re.compile(r"\[\d+:\d\d<")  # of progress
SAMPLE = files("vggfeat") / "assets" / "sample"
PHOTOS = {
    "flamingo": ("0002", "0010"),
    "llama": ("0001", "0006", "0042_of_kangaroo"),
    "lotus": ("0001", "0012"),
    "hawksbill": ("0001", "0011", "0011_smaller"),
    "kangaroo": ("0001", "0002"),
}


class Block(NamedTuple):
    """A block of code. reason : why it is not run; None if it is."""

    language: str
    text: str
    reason: str | None


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(one["language"], textwrap.dedent(one["text"]), one["reason"]) for one in found]


def tutorial() -> list[Path]:
    """The pages of the tutorial in their order."""
    order = re.search(r"toctree}\n(.*?)```", (DOCS / "tutorial" / "index.md").read_text(), re.DOTALL)
    return [DOCS / "tutorial" / f"{name}.md" for name in order[1].split()]


def runs(page: Path) -> bool:
    return any(block.language != "text" and not block.reason for block in blocks(page))


FIRST, *NEXT = tutorial()
ALONE = [page for page in PAGES if runs(page) and page not in NEXT]


@pytest.fixture(params=["narrow", pytest.param("bundled", marks=pytest.mark.slow)])
def folder(request, tmp_path, monkeypatch, tiny_weights):
    """A folder with photo.jpg, photos/ and vgg19.safetensors; net E is a narrow one, or the one inside the package."""
    for name, numbers in PHOTOS.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in numbers:
            shutil.copy(SAMPLE / name / f"image_{number}.jpg", tmp_path / "photos" / name)
    shutil.copy(SAMPLE / "ketch" / "image_0001.jpg", tmp_path / "photo.jpg")
    boxes = ["path,label,x0,y0,x1,y1,subset"]
    for i in range(10):
        name, label = f"{i}.jpg", ("jay", "wren")[i % 2]
        photo(tmp_path / "birds" / "images" / name, (80, 64), seed=i)
        boxes.append(f"{name},{label},{2 * i},8,{40 + 2 * i},56,{'test' if i > 7 else 'train'}")
    (tmp_path / "birds" / "boxes.csv").write_text("\n".join(boxes))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VGGFEAT_WEIGHTS", raising=False)
    net = (
        tiny_weights("E", top="pool5") if request.param == "narrow" else SAMPLE.parent / "vgg19-oxford-int8.safetensors"
    )
    shutil.copy(net, tmp_path / "vgg19.safetensors")
    if request.param == "narrow":
        monkeypatch.setenv("VGGFEAT_WEIGHTS", str(net))
    monkeypatch.setenv("VGGFEAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VGGFEAT_MIRROR", "http://localhost:1")
    return tmp_path


def run(page: Path) -> dict:
    """Run the blocks of a page; returns the variables of its Python blocks."""
    names: dict = {}
    for block in blocks(page):
        if block.language != "text" and not block.reason:
            run_block(block, page, names)
    return names


def run_block(block: Block, page: Path, names: dict) -> str:
    """Run a block; returns what it prints, without bars of progress."""
    if block.language == "python":
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(block.text, page.name, "exec"), names)
        return printed.getvalue()
    assert block.language == "sh", f"{page.name}: a block of {block.language} that is not run, without a reason"
    output = ""
    for line in block.text.splitlines():
        command, *arguments = shlex.split(line, comments=True)
        assert command == "vggfeat"
        ran = CliRunner().invoke(cli.app, arguments)
        assert ran.exit_code == 0, f"{line}: {ran.output}"
        output += ran.output
    return "".join(line for line in output.splitlines(keepends=True) if not BAR.search(line))


def test_each_kind_of_block_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "1. a\n   <!-- not run: slow -->\n   ```sh\n   vggfeat a\n   ```\n```python\nx = 1\n```\n```{toctree}\nb\n```\n"
    )
    assert blocks(page) == [("sh", "vggfeat a\n", "slow"), ("python", "x = 1\n", None)]


def test_the_blocks_of_all_pages_are_found():
    for page in PAGES:
        fences = re.findall(r"^ *```[a-z]+$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(blocks(page)) == len(fences), page.name


def test_there_are_pages_that_run():
    assert {"feature-maps.md", "first-descriptors.md"} <= {page.name for page in ALONE}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("page", ALONE, ids=lambda page: page.name)
def test_every_block_runs(page, folder):
    if page.name == "localisation.md" and "VGGFEAT_WEIGHTS" not in os.environ:
        pytest.skip("it trains the fully connected layers of two nets of full width: minutes, and gigabytes of disk")
    names = run(page)
    if page.name == "feature-maps.md":
        check_feature_maps(names)
    if page.name == "localisation.md":
        check_localisation(names, folder)


@pytest.mark.slow
def test_the_tutorial_prints_what_it_shows(tmp_path, monkeypatch):
    """On all photos of the package, from page to page. Another processor may give other last digits."""
    monkeypatch.chdir(tmp_path)
    wrong = []
    for page in (FIRST, *NEXT):
        assert runs(page)
        wrong += [f"{page.name}: {shown!r}, not {found!r}" for shown, found in shown_and_found(page)]
    assert not wrong, "\n".join(wrong)


def shown_and_found(page: Path) -> list[tuple[str, str]]:
    """The lines of text blocks that are not what the block of code above printed, or not in the file named there."""
    text, printed, differ = page.read_text(encoding="utf-8"), "", []
    names: dict = {}
    for match in BLOCK.finditer(text):
        block = Block(match["language"], textwrap.dedent(match["text"]), match["reason"])
        if block.language != "text":
            printed = run_block(block, page, names) if block.reason is None or block.reason.endswith(ALL_PHOTOS) else ""
            continue
        above = text[: match.start()].rstrip().rpartition("\n\n")[2]
        named = [Path(name) for name in re.findall(r"`([^`\n]+\.csv)`", above)]
        found = named[-1].read_text() if named else printed
        pairs = itertools.zip_longest(block.text.splitlines(), found.splitlines(), fillvalue="")
        differ += [(shown, line) for shown, line in pairs if not alike(shown, line)]
    return differ


def alike(shown: str, found: str) -> bool:
    """Whether two lines have the same words, and numbers that differ in the last digits only."""
    number = re.compile(r"[-+]?\d+(?:\.\d+)?")
    pairs = zip(number.findall(shown), number.findall(found), strict=False)
    near = all(float(a) == pytest.approx(float(b), rel=0.02, abs=0.003) for a, b in pairs)
    return near and number.sub("#", shown) == number.sub("#", found)


def check_feature_maps(names: dict) -> None:
    """What the page promises of its functions, and by hand."""
    maps = torch.tensor([[[[1.0, 2.0]], [[0.0, 4.0]]]])  # two channels, two places
    assert names["gram"](maps).tolist() == [[[2.5, 4.0], [4.0, 8.0]]]
    first, second = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(names["distance"](first, first), torch.zeros(2))
        there, back = names["distance"](first, second), names["distance"](second, first)
    assert (there > 0).all()
    torch.testing.assert_close(there, back)
    channels = names["tuned"].conv5_4.out_channels
    assert names["vector"].shape == (channels,)
    assert names["X"].shape == (sum(map(len, PHOTOS.values())), channels)
    assert not torch.equal(names["tuned"].conv5_4.weight.cpu(), names["net"].conv5_4.weight.cpu())
    assert torch.equal(names["tuned"].conv5_3.weight.cpu(), names["net"].conv5_3.weight.cpu())
    assert np.isfinite(names["X"]).all()


def check_localisation(names: dict, folder: Path) -> None:
    """A page, a drawing of each photo, two classes of the photo with boxes inside it."""
    assert "top-5 localisation error" in (folder / "birds.html").read_text(encoding="utf-8")
    assert len(list((folder / "drawn").rglob("*.boxes.jpg"))) == 10
    assert sorted(one.label for one in names["found"]) == ["jay", "wren"]
    with Image.open(folder / "photo.jpg") as shown:
        width, height = shown.size
    for one in names["found"]:
        x0, y0, x1, y1 = one.box
        assert 0 <= x0 <= x1 <= width
        assert 0 <= y0 <= y1 <= height
