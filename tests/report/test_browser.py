"""Pages of benchmarks in a real browser: complete, within the screen, legible, and without loading anything."""

import pytest

from tests.kit.chromium import chromium
from tests.kit.located import boxed_of, protocol_2
from tests.kit.reports import LADDER, deciding, ranking
from vggfeat.bench.page import page
from vggfeat.localization.page import page as page_of_boxes


def long_names(count):
    return [f"{k:03}.a_rather_long_name_of_a_class" for k in range(count)]


def boxes():
    result = protocol_2()
    return page_of_boxes(result, images=boxed_of(result.evidence))


PAGES = {
    "recall": lambda: page(deciding(ablation=LADDER)),
    "mAP": lambda: page(ranking()),
    "twenty": lambda: page(deciding(long_names(20), per_class=2)),  # the largest matrix that is drawn with names
    "many": lambda: page(deciding(long_names(60), per_class=2)),
    "boxes": boxes,
}
PHONE, DESK = 400, 1200


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    return {name: make().write(folder / f"{name}.html") for name, make in PAGES.items()}


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
    drawings = "[...document.querySelectorAll('svg, .matrix')].map(s => Math.min(s.clientWidth, s.clientHeight))"
    assert min(tab.value(drawings)) > 90
    assert tab.value("document.querySelectorAll('script, [onerror]').length") == 0


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_nothing_is_wider_than_the_screen_or_hidden_behind_its_edge(tab, pages, name, width):
    """Not even in a frame that scrolls sideways: no column of a table is out of sight."""
    tab.open(pages[name], width)
    tab.value("document.querySelectorAll('details').forEach(one => one.open = true)")
    inner, outer = tab.value("[document.documentElement.clientWidth, document.documentElement.scrollWidth]")
    assert outer <= inner <= width
    wide = """[...document.querySelectorAll('body *')].filter(e => !e.closest('svg')
              && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
    assert tab.value(wide) == []
    cells = "[...document.querySelectorAll('tbody th, td')].filter(e => e.closest('.data') && e.textContent.trim())"
    assert min(tab.value(f"{cells}.map(e => e.getBoundingClientRect().width)")) > 5


@pytest.mark.parametrize("name", ["recall", "twenty"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_text_of_a_matrix_is_large_enough_and_inside_its_cell(tab, pages, name, width):
    tab.open(pages[name], width)
    cells = "[...document.querySelectorAll('.matrix th, .matrix td')].filter(e => e.textContent.trim())"
    assert min(tab.value(f"{cells}.map(e => parseFloat(getComputedStyle(e).fontSize))")) >= 11
    spans = "[...document.querySelectorAll('.matrix span')]"
    room = tab.value(f"{spans}.map(e => [e, e.parentNode].map(one => one.getBoundingClientRect().width))")
    assert [(text, cell) for text, cell in room if text > cell] == []
    numbers = tab.value(f"{spans}.filter(e => e.closest('td')).map(e => e.getBoundingClientRect().width)")
    assert bool(max(numbers)) == (name == "recall" or width == DESK)  # on a phone 20 columns have colours only


LEGIBLE = """(() => {
  const numbers = c => c.match(/[\\d.]+/g).map((v, i) => c.startsWith('color') || i > 2 ? +v : v / 255);
  const light = c => c.slice(0, 3).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const page = numbers(getComputedStyle(document.body).backgroundColor);
  const ground = e => {
    const [r, g, b, alpha = 1] = numbers(getComputedStyle(e.closest('td') ?? document.body).backgroundColor);
    return [r, g, b].map((v, i) => alpha * v + (1 - alpha) * page[i]);
  };
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const text = [...document.querySelectorAll('p, li, dt, a, th, td, caption, .title, .file, .num, h1, h2, svg text')]
    .filter(e => e.getBoundingClientRect().width && e.textContent.trim());
  return Math.min(...text.map(e => ratio(
    light(numbers(getComputedStyle(e)[e.closest('svg') ? 'fill' : 'color'])), light(ground(e)))));
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["mAP", "twenty", "boxes"])
def test_text_is_legible_in_light_and_dark(tab, pages, name, dark):
    """The contrast of all text with what is behind it, as WCAG 2 defines it, is at least 4.5 : 1."""
    tab.open(pages[name], DESK, dark=dark)
    ground = tab.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(ground) < 60) == dark
    assert tab.value(LEGIBLE) >= 4.5


def test_each_shade_of_a_matrix_is_legible(tab, pages):
    """Also those that the results of this test do not have."""
    for dark in (False, True):
        tab.open(pages["recall"], DESK, dark=dark)
        for depth in range(0, 101, 10):
            shade = f"document.querySelectorAll('.matrix td').forEach(e => e.style.setProperty('--depth', '{depth}%'))"
            tab.value(shade)
            assert tab.value(LEGIBLE) >= 4.5


def test_the_result_comes_first_and_the_settings_are_folded(tab, pages):
    tab.open(pages["recall"], DESK)
    assert tab.value("[...document.querySelectorAll('h2')].map(e => e.textContent)") == [
        *("Per class", "Confusions", "Most confident mistakes", "Best hits"),
        *("Ablation", "Ablation in numbers", "Settings", "Provenance"),
    ]
    settings = "[...document.querySelectorAll('dd')].filter(e => e.checkVisibility()).length"
    assert tab.value(settings) == 0
    tab.value("document.querySelector('summary').click()")
    assert tab.value(settings) == 6


def test_sections_stand_side_by_side_where_there_is_room(tab, pages):
    places = "[...document.querySelectorAll('section')].slice(0, 2).map(e => e.getBoundingClientRect().top)"
    tab.open(pages["recall"], DESK)
    left, right = tab.value(places)
    assert left == right
    tab.open(pages["recall"], PHONE)
    first, second = tab.value(places)
    assert first < second
    tab.open(pages["mAP"], DESK)  # the classes have nothing beside them
    assert tab.value("document.querySelector('section').clientWidth == document.querySelector('main').clientWidth")


def test_a_printed_page_is_light_and_unfolded_and_has_no_links(tab, pages):
    tab.open(pages["recall"], DESK, dark=True, media="print")
    assert tab.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert tab.value("getComputedStyle(document.querySelector('h1')).color") == "rgb(27, 34, 44)"
    assert tab.value("getComputedStyle(document.documentElement).colorScheme") == "light"
    if tab.value("CSS.supports('selector(::details-content)')"):  # browsers of 2025 and later
        assert tab.value("[...document.querySelectorAll('dd')].every(e => e.clientHeight > 10)")
