"""The documentation: every block of code in docs/how-to runs, in the order of its page, on small photos."""

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.kit.image_sources import photo
from vggfeat import cli

PAGES = sorted((Path(__file__).parents[1] / "docs" / "how-to").glob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(params=["narrow", pytest.param("bundled", marks=pytest.mark.slow)])
def folder(request, tmp_path, monkeypatch, tiny_weights):
    """A folder with photo.jpg and photos/; net E is a narrow one, or the one inside the package, without a network."""
    photo(tmp_path / "photo.jpg", (100, 80))
    for i in range(2):
        photo(tmp_path / "photos" / "ab"[i] / f"{i}.jpg", (80, 64), seed=i)
    boxes = ["path,label,x0,y0,x1,y1,subset"]
    for i in range(10):
        name, label = f"{i}.jpg", ("jay", "wren")[i % 2]
        photo(tmp_path / "birds" / "images" / name, (80, 64), seed=i)
        boxes.append(f"{name},{label},{2 * i},8,{40 + 2 * i},56,{'test' if i > 7 else 'train'}")
    (tmp_path / "birds" / "boxes.csv").write_text("\n".join(boxes))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VGGFEAT_WEIGHTS", raising=False)
    if request.param == "narrow":
        monkeypatch.setenv("VGGFEAT_WEIGHTS", str(tiny_weights("E", top="pool5")))
    monkeypatch.setenv("VGGFEAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VGGFEAT_MIRROR", "http://localhost:1")
    return tmp_path


def run(page: Path) -> dict:
    """Run the blocks of a page; returns the variables of its Python blocks."""
    names: dict = {}
    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(text, page.name, "exec"), names)
        else:
            assert language == "sh", f"{page.name}: a block of {language or 'no language'}"
            for line in text.splitlines():
                command, *arguments = shlex.split(line, comments=True)
                assert command == "vggfeat"
                ran = CliRunner().invoke(cli.app, arguments)
                assert ran.exit_code == 0, f"{line}: {ran.output}"
    return names


def test_there_are_pages():
    assert "feature-maps.md" in [page.name for page in PAGES]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_runs(page, folder):
    if page.name == "localisation.md" and "VGGFEAT_WEIGHTS" not in os.environ:
        pytest.skip("it trains the fully connected layers of two nets of full width: minutes, and gigabytes of disk")
    names = run(page)
    if page.name == "feature-maps.md":
        check_feature_maps(names)
    if page.name == "localisation.md":
        check_localisation(names, folder)


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
    assert names["X"].shape == (2, channels)
    assert not torch.equal(names["tuned"].conv5_4.weight.cpu(), names["net"].conv5_4.weight.cpu())
    assert torch.equal(names["tuned"].conv5_3.weight.cpu(), names["net"].conv5_3.weight.cpu())
    assert np.isfinite(names["X"]).all()


def check_localisation(names: dict, folder: Path) -> None:
    """A page, a drawing of each photo, two classes of the photo with boxes inside it."""
    assert "top-5 localisation error" in (folder / "birds.html").read_text(encoding="utf-8")
    assert len(list((folder / "drawn").rglob("*.boxes.jpg"))) == 10
    assert sorted(one.label for one in names["found"]) == ["jay", "wren"]
    for one in names["found"]:
        x0, y0, x1, y1 = one.box
        assert 0 <= x0 <= x1 <= 100
        assert 0 <= y0 <= y1 <= 80
