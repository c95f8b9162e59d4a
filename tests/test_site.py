"""The site: it is built without a warning, its links lead somewhere, and its pages ask for nothing from elsewhere."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pyarrow.parquet
import pytest
from typer.main import get_command

import vggfeat
from tests.kit.explorers import photo_store
from tests.test_docstrings import PUBLIC
from vggfeat import cli

DOCS = Path(__file__).parents[1] / "docs"
ASKING = {"src", "srcset", "data", "poster", "action"}  # attributes by which a page asks for a file


class Links(HTMLParser):
    """ids : of a page. links : of its <a>. asked : what the page itself asks for, with scripts and styles in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.asked: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.add(value or "")
            elif name == "href" and tag == "a":
                self.links.append(value or "")
            elif (name == "href" and tag == "link") or name in ASKING:
                self.asked.append(value or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built by the command of docs/README.md."""
    pytest.importorskip("furo", reason="needs the packages of the extra docs")
    command = re.search(r"^python (-m sphinx .+) docs docs/_build$", (DOCS / "README.md").read_text(), re.MULTILINE)
    out = tmp_path_factory.mktemp("site")
    words = [sys.executable, *command[1].split(), "-q", "-d", str(out / "doctrees"), str(DOCS), str(out / "html")]
    built = subprocess.run(words, capture_output=True, text=True, cwd=DOCS.parent)
    assert built.returncode == 0, built.stderr
    return out / "html"


@pytest.fixture(scope="module")
def pages(site):
    return {page: Links(page) for page in site.rglob("*.html")}


def test_links_and_anchors_lead_somewhere(pages):
    wrong = []
    for page, found in pages.items():
        for link in found.links:
            address, anchor = urldefrag(link)
            if re.match(r"[a-z]+:", address):
                continue
            target = (page.parent / unquote(address)).resolve() if address else page
            if not target.is_file() or (anchor and target in pages and unquote(anchor) not in pages[target].ids):
                wrong.append(f"{page.name}: {link}")
    assert not wrong
    assert sum(len(found.links) for found in pages.values()) > 100


def test_pages_ask_for_nothing_from_elsewhere(site, pages):
    asked = {link for found in pages.values() for link in found.asked}
    assert "_static/searchtools.js" in {urldefrag(link)[0].split("?")[0] for link in asked}  # the search is offline
    assert not [link for link in asked if re.match(r"([a-z]+:)?//", link)]
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", style.read_text(encoding="utf-8")), style


def test_the_reference_has_every_command():
    def names(group, before=""):
        for name, command in group.commands.items():
            yield from names(command, f"{name} ") if hasattr(command, "commands") else [before + name]

    pages = "".join(page.read_text() for page in (DOCS / "reference" / "commands").glob("*.md"))
    assert sorted(re.findall(r"\{command\} (.+)", pages)) == sorted(names(get_command(cli.app)))


def test_the_reference_has_every_package():
    pages = "".join(page.read_text() for page in (DOCS / "reference" / "api").glob("*.md"))
    assert set(PUBLIC) - set(re.findall(r"automodule:: (.+)", pages)) == {"vggfeat.cli", "vggfeat.descriptors"}


def test_the_reference_has_every_variable_of_the_environment():
    sources = "".join(file.read_text(encoding="utf-8") for file in Path(vggfeat.__file__).parent.rglob("*.py"))
    page = (DOCS / "reference" / "environment.md").read_text()
    assert set(re.findall(r"VGGFEAT_[A-Z]+", sources)) <= set(re.findall(r"VGGFEAT_[A-Z]+", page))


def test_the_reference_has_all_that_a_store_holds(tmp_path):
    store = photo_store(tmp_path, each=1)
    meta = json.loads((store / "meta.json").read_text())
    columns = set(pyarrow.parquet.read_schema(next(store.glob("part-*"))).names) - {"q64"}
    settings = vggfeat.Describer(weights="slim", layer="pool5", exif=False, allow_truncated=True).fingerprint()[0]
    told = set(re.findall(r"`(\w+)`", (DOCS / "reference" / "files.md").read_text()))
    assert columns | set(meta) | set(settings) | set(settings["preprocessing"]) <= told
