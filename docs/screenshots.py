"""Make the pictures in images/ again, in a headless Chromium: python docs/screenshots.py photos.vggfeat

The store is that of the tutorial: vggfeat extract photos --layer pool5 --scales 128
"""

import argparse
import base64
import tempfile
import time
from pathlib import Path

from tests.kit.chromium import Tab, chromium
from tests.kit.explorers import serving
from vggfeat.explore.collection import read_collection
from vggfeat.explore.desk import Desk
from vggfeat.explore.settings import ExploreSettings
from vggfeat.index import Index, write_sheet

IMAGES = Path(__file__).parent / "images"
PHOTO = "lotus/image_0012.jpg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    store = parser.parse_args().store
    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder, "profile")) as tab:
        search(tab, store, Path(folder, "near.html"))
        explorer(tab, store, Path(folder, "decisions.csv"))


def search(tab: Tab, store: Path, sheet: Path) -> None:
    """The contact sheet of a search."""
    index = Index(store)
    query = Path(index.store.meta["source"], PHOTO)
    write_sheet(sheet, index, [query], [str(query.relative_to(query.parents[2]))], index.search([query], 3))
    tab.open(sheet, 900)
    save(tab, "search.jpg", height=580)


def explorer(tab: Tab, store: Path, decisions: Path) -> None:
    """The map, with a photo and its neighbours."""
    desk = Desk(read_collection(store), ExploreSettings(decisions=decisions))
    desk.layout.start().join()
    with serving(desk) as site:
        tab.open(site.address, 1200)
        wait(tab, "performance.getEntriesByName('picture').length")
        tab.value("document.getElementById('marks').focus()")
        for key, code in (("ArrowRight", 39), ("Enter", 13)):
            text = {"text": "\r"} if key == "Enter" else {}
            tab("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
            tab("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)
        wait(tab, "document.querySelectorAll('#panel .photos img').length > 5")
        time.sleep(5)  # small pictures arrive, and are drawn
        save(tab, "map.jpg", height=900)


def wait(tab: Tab, expression: str, seconds: float = 60) -> None:
    """Until an expression is true in the page."""
    end = time.monotonic() + seconds
    while not tab.value(expression):
        assert time.monotonic() < end, f"{expression} is not true"
        time.sleep(0.1)


def save(tab: Tab, name: str, height: int) -> None:
    """The upper part of the page."""
    width = tab.value("innerWidth")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    taken = tab("Page.captureScreenshot", format="jpeg", quality=60, clip=clip)
    (IMAGES / name).write_bytes(base64.b64decode(taken["data"]))


if __name__ == "__main__":
    main()
