"""Pages of benchmarks in a real browser: complete, within the screen, and without loading anything."""

import pytest

from tests.kit.chromium import chromium
from tests.kit.reports import LADDER, deciding, ranking
from vggfeat.bench.page import write_report

PAGES = {
    "recall": lambda: deciding(ablation=LADDER),
    "mAP": ranking,
    "many": lambda: deciding([f"{k:03}.a_rather_long_name_of_a_class" for k in range(60)], per_class=2),
}
PHONE, DESK = 400, 1200


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    return {name: write_report(make(), folder / f"{name}.html") for name, make in PAGES.items()}


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_complete_and_loads_nothing(tab, pages, name):
    tab.open(pages[name], DESK)
    assert tab.value("document.querySelectorAll('h2').length") > 4
    assert not tab.events_of("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    asked = [event["request"]["url"] for event in tab.events_of("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [pages[name].as_uri()]
    assert tab.value("document.images.length") > 5
    assert tab.value("[...document.images].filter(i => !i.complete || !i.naturalWidth).length") == 0
    drawings = "[...document.querySelectorAll('svg')].map(s => Math.min(s.clientWidth, s.clientHeight))"
    assert min(tab.value(drawings)) > 90
    assert tab.value("document.querySelectorAll('script, [onerror]').length") == 0


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_nothing_is_wider_than_the_screen(tab, pages, name, width):
    tab.open(pages[name], width)
    inner, outer = tab.value("[document.documentElement.clientWidth, document.documentElement.scrollWidth]")
    assert outer <= inner <= width
    # only what scrolls in its own frame may be wider than the screen
    wide = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, .wide .plot, svg')
              && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
    assert tab.value(wide) == []


CONTRAST = """(() => {
  const light = c => c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = light(getComputedStyle(document.body).backgroundColor);
  const ratio = v => (Math.max(v, ground) + 0.05) / (Math.min(v, ground) + 0.05);
  const text = [...document.querySelectorAll('p, dt, dd, a, th, td, .title, .file, .num, h1, svg text')]
    .filter(e => e.getBoundingClientRect().width);
  return Math.min(...text.map(e => ratio(light(getComputedStyle(e)[e.closest('svg') ? 'fill' : 'color']))));
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_is_legible_in_light_and_dark(tab, pages, dark):
    """The contrast between all text and the background, as WCAG 2 defines it, is at least 4.5 : 1."""
    tab.open(pages["mAP"], DESK, dark=dark)
    ground = tab.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(ground) < 60) == dark
    assert tab.value(CONTRAST) >= 4.5


def test_a_printed_page_is_light_and_has_no_links(tab, pages):
    tab.open(pages["recall"], DESK, dark=True, media="print")
    assert tab.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert tab.value("getComputedStyle(document.querySelector('h1')).color") == "rgb(27, 34, 44)"
