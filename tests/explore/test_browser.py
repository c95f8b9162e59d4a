"""The page of the explorer in a real browser: by keyboard alone, by mouse, on a phone, in light and dark."""

import io
import json
import time
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs starlette")

from tests.kit.chromium import chromium
from tests.kit.explorers import CLASSES, STORED, found_in, lying, record, serving, write_store
from vggfeat.decisions import Decision
from vggfeat.explore import ExploreSettings
from vggfeat.explore.collection import read_collection
from vggfeat.explore.desk import Desk
from vggfeat.explore.serving import desk_of
from vggfeat.model.file import write

PHONE, DESK = 400, 1280
KEYS = {"Tab": 9, "Enter": 13, " ": 32, "Escape": 27, "ArrowLeft": 37, "ArrowRight": 39, "ArrowDown": 40}


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


def opened(tab, site, width=DESK, dark=False):
    tab.open(site.address, width, dark=dark)
    wait(tab, "performance.getEntriesByName('picture').length")
    return tab


def wait(tab, expression, seconds=30):
    """Until an expression is true in the page."""
    end = time.monotonic() + seconds
    while not tab.value(expression):
        assert time.monotonic() < end, f"{expression} is not true"
        time.sleep(0.05)


def press(tab, *keys):
    for key in keys:
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        code = KEYS.get(key) or ord(key.upper())
        tab("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        tab("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)


def text(selector):
    return f"document.querySelector('{selector}').innerText"


COLOURS = """(() => {
  const canvas = document.getElementById("photos");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return COLOURS.map(([r, g, b]) => {
    let count = 0;
    for (let i = 0; i < data.length; i += 4)
      count += Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 30;
    return count;
  });
})()""".replace("COLOURS", str([list(colour) for colour in CLASSES.values()]))


@pytest.mark.parametrize(("width", "dark"), [(DESK, False), (PHONE, True)])
def test_the_map_shows_the_photos_and_loads_nothing_from_elsewhere(tab, site, width, dark):
    opened(tab, site, width, dark)
    ground = tab.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(ground) < 60) == dark
    assert tab.value("document.documentElement.scrollWidth") <= width
    beyond = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.tabs, dialog, datalist')
              && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
    assert tab.value(beyond) == []
    assert not tab.events_of("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    asked = [event["request"]["url"] for event in tab.events_of("Network.requestWillBeSent")]
    assert len(asked) > 8
    assert all(url.startswith(site.address) for url in asked)
    assert min(tab.value(COLOURS)) > 500  # pixels of the photos of each colour


def test_everything_can_be_done_by_keyboard(tab, site, desk):
    opened(tab, site)
    for _ in range(12):
        press(tab, "Tab")
        if tab.value("document.activeElement.id") == "marks":
            break
    press(tab, "ArrowRight")
    wait(tab, text("#now"))
    name = tab.value(text("#now")).split(",")[0]
    assert name in desk.collection.names
    press(tab, "r", "k")  # the last one counts
    wait(tab, f"{text('#now')}.includes('to keep')")
    assert desk.decisions() == {desk.collection.names.index(name): Decision("keep")}
    press(tab, "u")
    wait(tab, f"{text('#now')}.includes('without a decision')")
    assert desk.decisions() == {}
    press(tab, " ", "ArrowRight", " ")
    assert tab.value(text("#picked-count")) == "2 selected"
    press(tab, "Escape")
    assert tab.value("document.getElementById('picked').hidden")
    press(tab, "Enter")
    wait(tab, "document.querySelectorAll('#panel .photos button').length === 24")
    shown = tab.value(text("#panel .file"))
    first = tab.value("document.querySelector('#panel .photos button').ariaLabel")
    assert shown.split("/")[0] == first.split("/")[0]
    assert ", cosine 0." in first
    tab.value("document.getElementById('tab-photo').focus()")
    press(tab, "ArrowRight", "ArrowRight")
    wait(tab, f"{text('#panel')}.includes('near twins')")


def test_a_lasso_selects_photos_and_a_button_decides(tab, site, desk):
    opened(tab, site)
    box = tab.value(
        "(({x, y, width, height}) => [x, y, width, height])(document.getElementById('marks').getBoundingClientRect())"
    )
    corners = [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.02)]
    points = [(box[0] + x * box[2], box[1] + y * box[3]) for x, y in corners]
    tab.value("document.getElementById('lasso').click()")
    mouse = {"button": "left", "buttons": 1, "clickCount": 1}
    tab("Input.dispatchMouseEvent", type="mousePressed", x=points[0][0], y=points[0][1], **mouse)
    for x, y in points[1:]:
        tab("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, **mouse)
    tab("Input.dispatchMouseEvent", type="mouseReleased", x=points[-1][0], y=points[-1][1], **mouse)
    wait(tab, f"{text('#picked-count')} === '30 selected'")
    tab.value("document.querySelector('[data-decide=remove]').click()")
    wait(tab, f"{text('#now')}.includes('30 photos to remove')")
    assert set(desk.decisions().values()) == {Decision("remove")}
    assert len(desk.decisions()) == 30
    assert tab.value(text("#tab-decisions")) == "Decisions (30)"


def test_all_controls_have_names(tab, site):
    opened(tab, site)
    tab.value("document.getElementById('tab-labels').click()")
    wait(tab, "document.querySelectorAll('#panel input').length === 3")
    tree = tab("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "checkbox", "tab", "textbox", "Canvas", "application", "tablist", "toolbar"}
    controls = [node for node in tree if node.get("role", {}).get("value") in roles and not node.get("ignored")]
    assert len(controls) > 15
    assert [node["role"]["value"] for node in controls if not node.get("name", {}).get("value")] == []


def pixels_of(tab):
    """uint8 (H, W, 3) RGB of what the browser shows."""
    return np.asarray(Image.open(io.BytesIO(b64decode(tab("Page.captureScreenshot")["data"]))).convert("RGB"))


@pytest.mark.parametrize(("width", "dark", "orientation"), [(DESK, False, 1), (PHONE, True, 6)])
def test_boxes_are_drawn_where_the_object_is(tab, tmp_path, width, dark, orientation):
    file = lying(tmp_path / "photos", orientation)
    upright = STORED if orientation == 1 else STORED[::-1]
    row = record("1.png", None, np.ones(8, np.float32), file, upright)
    store = write_store(tmp_path / "s.vggfeat", [row], tmp_path / "photos")
    found = found_in(file, STORED)
    found["objects"] += [{"label": "owl", "probability": 0.1, "box": [0, 0, 0, 0]}]
    (tmp_path / "s.boxes.json").write_text(json.dumps([found]))
    with serving(Desk(read_collection(store), ExploreSettings())) as site:
        opened(tab, site, width, dark)
        tab.value("document.getElementById('marks').focus()")
        press(tab, "ArrowRight", "Enter")
        wait(tab, "document.querySelector('.whole')?.complete")
        pressed = "[...document.querySelectorAll('.boxes button')].map(e => [e.innerText, e.ariaPressed, e.disabled])"
        assert tab.value(pressed) == [["jay\\n 90 %", "true", False], ["owl 10 % no box", "false", True]]
        drawn, photo = place(tab, ".framed rect"), [round(edge) for edge in place(tab, ".whole")]
        tab.value("document.querySelector('.boxes button').click()")  # takes the box away
        left, top, right, bottom = photo
        y, x = np.nonzero((pixels_of(tab)[top:bottom, left:right] > 250).all(axis=2))
        seen = [left + x.min(), top + y.min(), left + x.max() + 1, top + y.max() + 1]
        assert drawn == pytest.approx(seen, abs=4)
        ratio = (seen[2] - seen[0]) / (seen[3] - seen[1])
        assert ratio == pytest.approx(2 / 3 if orientation == 1 else 3 / 2, rel=0.05)


def place(tab, selector):
    """Left, top, right, bottom of an element, in pixels of the window."""
    box = f"document.querySelector('{selector}').getBoundingClientRect()"
    return tab.value(f"(({{left, top, right, bottom}}) => [left, top, right, bottom])({box})")


@pytest.mark.parametrize(("width", "dark"), [(DESK, False), (PHONE, True)])
def test_the_labels_of_a_model_have_its_confusions(tab, trained, tmp_path, width, dark):
    write(trained, tmp_path / "m.vggmodel")
    with serving(desk_of(tmp_path / "m.vggmodel", ExploreSettings())) as site:
        opened(tab, site, width, dark)
        tab.value("document.getElementById('tab-labels').click()")
        wait(tab, f"{text('#panel')}.includes('Confusions of the model')")
        pairs = "[...document.querySelectorAll('#panel .pair')].map(e => e.parentElement.innerText.split(/\\s+/))"
        assert sorted(tab.value(pairs)) == [["red", "as", name, "1", "Only"] for name in ("blue", "green")]
        assert (
            tab.value("(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.getElementById('panel'))")
            == 0
        )
        assert min(tab.value(COLOURS)) > 500
        tab.value("document.querySelector('#panel [aria-label=\"Only red as green\"]').click()")
        wait(tab, f"{COLOURS}[1] === 0")  # the photos of the other labels are hidden
        red, _, blue = tab.value(COLOURS)
        assert (red > 500, blue) == (True, 0)
        tab.value("document.getElementById('tab-doubts').click()")
        wait(tab, f"{text('#panel')}.includes('2 doubtful labels')")
        assert tab.value("document.querySelector('#panel .photo').ariaLabel").startswith("red/0.jpg, red, green: ")
