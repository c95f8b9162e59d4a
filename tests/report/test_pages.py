"""Reports show what was measured, and no name of a class or file can do harm."""

import base64
import doctest
import errno
import io
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import vggfeat.report.text
from tests.kit.reports import HOSTILE, LADDER, deciding, image_set, ranking, result_of
from vggfeat import metrics, report
from vggfeat.bench import page
from vggfeat.errors import UsageError
from vggfeat.report import cases, plots
from vggfeat.report.cases import Case, Confusion, Scored
from vggfeat.report.confusions import confusion_sections
from vggfeat.report.provenance import folder_of


class Parsed(HTMLParser):
    """The elements of a page as (tag, attributes), and its text without markup and style sheet."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.words, self._open = [], [], []
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if "style" not in self._open:
            self.words.append(data)

    def attributes(self, *names):
        return [attrs[name] for _, attrs in self.elements for name in names if name in attrs]


@pytest.fixture(scope="module", params=[deciding, ranking], ids=["recall", "mAP"])
def hostile(request):
    return Parsed(page.page(request.param(ablation=LADDER), command=["vggfeat", "bench", "<b>x</b>"]).html())


# worked by hand: the predicted class is wrong for rows 11, 12 and 13
VALUES = np.array([[0.9, 0.1, 0.2], [0.1, 0.8, 0.3], [0.2, 0.1, 0.95], [0.7, 0.0, 0.6], [0.0, 0.5, 0.4]])
LABELS = np.eye(3, dtype=bool)[[0, 0, 1, 2, 1]]
SCORED = Scored(np.arange(10, 15), VALUES, LABELS, np.zeros((5, 3), bool))


def ignoring(*pairs, scored=SCORED):
    ignore = scored.ignore.copy()
    for pair in pairs:
        ignore[pair] = True
    return scored._replace(ignore=ignore)


def test_the_mistakes_and_hits_of_decisions():
    decided = [cases.decided(SCORED)]
    assert cases.mistakes(decided) == [Case(12, 2, 0.95), Case(11, 1, 0.8), Case(13, 0, 0.7)]
    assert cases.mistakes(decided, 1) == [Case(12, 2, 0.95)]
    assert cases.hits(decided) == [Case(10, 0, 0.9), Case(14, 1, 0.5)]


def test_the_mistakes_and_hits_of_rankings():
    """Every pair of sample and class counts: of row 13 the score for class 2 is a hit, for class 0 a mistake."""
    assert cases.mistakes([SCORED]) == [Case(12, 2, 0.95), Case(11, 1, 0.8), Case(13, 0, 0.7), Case(14, 2, 0.4),
                                        Case(10, 2, 0.2)]  # fmt: skip
    assert cases.hits([SCORED]) == [Case(10, 0, 0.9), Case(13, 2, 0.6), Case(14, 1, 0.5)]


def test_ignored_samples_are_neither_mistakes_nor_hits():
    scored = ignoring((2, 2), (0, 0))
    for splits in ([scored], [cases.decided(scored)]):
        shown = [(case.row, case.predicted) for case in cases.mistakes(splits) + cases.hits(splits)]
        assert (12, 2) not in shown
        assert (10, 0) not in shown
    assert cases.mistakes([cases.decided(scored)])[0] == Case(11, 1, 0.8)


def test_samples_are_shown_once_and_classes_once_among_the_hits():
    again = SCORED._replace(values=VALUES + np.float64(1))
    rows = [case.row for case in cases.mistakes([SCORED, again])]
    assert rows == [12, 11, 13, 14, 10]
    assert cases.mistakes([SCORED, again])[0].score == pytest.approx(1.95)
    hits = cases.hits([SCORED._replace(values=np.where(LABELS, 1 + VALUES, VALUES))])
    assert sorted(case.predicted for case in hits) == [0, 1, 2]


def test_a_class_without_scores_is_never_predicted():
    values = VALUES.copy()
    values[:, 2] = np.nan
    assert [case.predicted for case in cases.mistakes([cases.decided(SCORED._replace(values=values))])] == [1, 0, 0]
    nothing = SCORED._replace(values=np.full((5, 3), np.nan))
    assert cases.mistakes([cases.decided(nothing)]) == []


def test_the_confusion_counts_every_split():
    once = [[1, 1, 0], [0, 1, 1], [1, 0, 0]]
    assert cases.confusion([SCORED]).tolist() == once
    assert cases.confusion([SCORED, SCORED]).tolist() == (2 * np.array(once)).tolist()
    assert cases.confusion([ignoring((2, 2), (4, 1))]).tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0]]


def test_the_worst_confusions_by_share_then_count():
    counts = np.array([[6, 2, 2], [0, 9, 1], [1, 0, 4]])
    assert cases.worst_confusions(counts) == [
        Confusion(0, 1, 2, 10),  # the same share as the next two, but more images
        Confusion(0, 2, 2, 10),
        Confusion(2, 0, 1, 5),
        Confusion(1, 2, 1, 10),
    ]
    assert len(cases.worst_confusions(counts, 2)) == 2


def test_a_curve_has_no_points_inside_vertical_drops():
    hit = np.array([1, 0, 0, 0, 1, 1, 0], bool)
    recall, precision = cases.curve(np.arange(7.0)[::-1], hit, np.zeros(7, bool))
    assert recall == pytest.approx([1 / 3, 1 / 3, 2 / 3, 1, 1])
    assert precision == pytest.approx([1, 1 / 4, 2 / 5, 1 / 2, 3 / 7])


def test_a_curve_is_the_same_line_as_that_of_the_metrics():
    rng = np.random.default_rng(3)
    scores, positive, ignore = rng.normal(size=500), rng.random(500) < 0.2, rng.random(500) < 0.1
    recall, precision = cases.curve(scores, positive, ignore)
    all_precision, all_recall = metrics.precision_recall(scores, positive, ignore)
    full = list(zip(all_recall, all_precision, strict=True))
    assert len(recall) < len(full) / 2
    corners = set(zip(recall, precision, strict=True))
    assert corners <= set(full)
    assert np.trapezoid(precision, recall) == pytest.approx(np.trapezoid(all_precision, all_recall))
    for point in set(full) - corners:  # on the drop between two corners of the same recall
        drop = precision[recall == point[0]]
        assert drop.min() <= point[1] <= drop.max()


def test_the_numbers_of_the_page_are_those_of_the_result():
    result = deciding(("ant", "bee", "cat"))
    text = Parsed(page.page(result).html()).text
    assert f"{result.value:.2f} ± {result.std:.2f}" in text
    for split in result.splits:
        assert f"{split['seed']} 4 {split['value']:.2f}" in text
    for name, value in result.per_class.items():
        assert f"{name} {value:.1f}" in text
    for row, value in result.paper.items():
        assert f"paper: {row} {value:.1f}" in text
    for part in ("9.8.7", "ab12" * 16, "oxford-E", "a note on the data", "256, 384, 512", "36 decisions over 2 splits"):
        assert part in text


def test_the_page_shows_the_right_cases():
    images = image_set(LABELS, ("ant", "bee", "cat"))
    text = Parsed(page.page(result_of("caltech101", images, {0: VALUES})).html()).text
    wrong, right = text.split("Most confident mistakes")[-1].split("Best hits")
    for shown in ("taken for cat is bee score 0.95 00002.jpg", "taken for bee is ant score 0.80 00001.jpg"):
        assert shown in wrong
    assert "ant score 0.90 00000.jpg" in right
    assert "00001.jpg" not in right


def test_differences_from_the_paper_are_noted():
    same = Parsed(page.page(deciding(("ant", "bee"))).html()).text
    assert "Not directly comparable" not in same
    result = deciding(("ant", "bee"))
    other = result.config | {"layer": "pool5", "scales": [256], "agg": "mean"}
    text = Parsed(page.page(deciding(("ant", "bee"), config=other)).html()).text
    assert "Not directly comparable: layer pool5 (paper: fc7); scales Q 256 (paper: 256, 384, 512)." in text
    other = result.config | {"background": False, "train_per_class": 5}
    table = deciding(("ant", "bee"), config=other).table()
    assert table.endswith(
        "not directly comparable: background class no (paper: yes); training images per class 5 (paper: 30)"
    )
    assert "not directly comparable" not in result.table()


def test_what_a_reader_should_know_comes_once_and_before_the_sections():
    notes = ["found 3 of 20 classes", "the paper's figures are of the server"]
    result = deciding(("ant", "bee"), notes=notes, config=deciding().config | {"layer": "pool5"})
    text = Parsed(page.page(result).html()).text
    for said in (*notes, "± standard deviation over 2 splits", "Not directly comparable: layer pool5"):
        assert text.count(said) == 1
        assert text.index(said) < text.index("Per class")


def test_the_ablation_is_drawn_and_listed():
    html = page.page(deciding(("ant", "bee"), ablation=LADDER)).html()
    text = Parsed(html).text
    assert "E, Q=384, no mirror image 4 88.25 0.75" in text
    assert "E, Q=256,384,512, stack 4, 16 92.50 0.50 92.3; <b>stacking</b> is best" in text
    assert re.search(r'<tr class="strong">\s*<th scope="row">E, Q=256,384,512, stack', html)


def test_average_precisions_and_curves():
    result = ranking(("ant", "bee", "cat"))
    parsed = Parsed(page.page(result).html())
    curves = parsed.text.split("Precision and recall")[-1]
    assert f"ant {result.per_class['ant']:.1f}" in curves
    assert sum("Precision over recall of" in alt for alt in parsed.attributes("aria-label")) == 2


def test_classes_without_a_value_are_named_once():
    text = Parsed(
        report.Page("x", [report.Section("y", [report.Bars([("ant", 1.0), ("bee", None), ("cat", None)])])]).html()
    )
    assert text.text.count("No value") == 1
    assert "No value: bee, cat" in text.text
    result = ranking(("ant", "bee", "cat"), notes=["no training or no test images, so left out of the mean: cat"])
    assert result.per_class["cat"] is None
    before_the_photos = Parsed(page.page(result).html()).text.split("Test samples")[0]
    assert before_the_photos.count("cat") == 1


def test_classes_without_images_and_decisions_have_no_place_in_the_matrix():
    counts = np.zeros((1000, 1000), int)
    counts[3, [3, 500]] = 2, 1
    (section,) = confusion_sections(counts, [f"class {k}" for k in range(1000)], "3 images")
    (matrix,) = section.blocks
    assert matrix.names == ["class 3", "class 500"]
    assert matrix.counts.tolist() == [[2, 1], [0, 0]]
    assert matrix.caption.startswith("3 images, 2 of them right.")
    assert confusion_sections(np.zeros((3, 3), int), "abc", "0 images") == []


def test_half_a_page_is_for_two_sections_side_by_side():
    sections = [report.Section(name, [], half=name.islower()) for name in "abcDefG"]
    sections.insert(2, report.Section("folded", [], folded=True))
    halves = [section.title for section, half in report.Page("x", sections).open_sections() if half]
    assert halves == ["a", "b", "e", "f"]


def test_deviations_are_explained_once():
    for seeds, beside in ((2, "± standard deviation over 2 splits"), (1, "± standard deviation over splits")):
        result = deciding(("ant", "bee"), seeds=seeds, paper_std={"E": 0.5})
        text = Parsed(page.page(result).html()).text
        assert text.count("standard deviation") == text.count(beside) == 1


def test_settings_come_last_and_folded():
    html = page.page(deciding(("ant", "bee"))).html()
    shown, *folded = html.split("<details")
    assert len(folded) == 2
    assert "Aggregation over the scales" in folded[0]
    assert "Aggregation over the scales" not in shown
    assert "Best hits" in shown
    assert "Best hits" not in "".join(folded)
    assert "ab12" * 16 in folded[1]


def test_the_folder_of_the_user_is_named(tmp_path):
    folder = tmp_path / "my photos"
    images = image_set(LABELS, ("a", "b", "c"), images=[folder / f"{i:05}.jpg" for i in range(5)])
    parsed = Parsed(page.page(result_of("folder", images, {0: VALUES})).html())
    assert "Your folder my photos Images of" in parsed.text
    assert str(folder) in parsed.text
    assert folder_of(images.images, images.paths) == folder
    assert folder_of([folder / "a/b.jpg"], ["a/b.jpg#2"]) == folder
    assert folder_of([folder / "a/b.jpg"], ["c/b.jpg"]) is None
    assert folder_of([np.zeros((2, 2, 3), np.uint8)], ["a/b.jpg"]) is None


def test_a_page_without_evidence():
    text = Parsed(page.page(deciding(("ant", "bee"), evidence=None)).html()).text
    assert "Per class" in text
    assert "Confusions" not in text


def test_a_missing_image_has_a_placeholder(tmp_path):
    there = tmp_path / "there.png"
    Image.new("RGB", (40, 30), "red").save(there)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 no more")
    images = image_set(LABELS[:3], ("a", "b", "c"), images=[there, tmp_path / "gone.jpg", broken])
    file = page.write_report(result_of("folder", images, {0: VALUES[:3]}), tmp_path / "report.html")
    parsed = Parsed(file.read_text())
    assert parsed.text.count("the image cannot be read") == 2
    assert len([1 for tag, _ in parsed.elements if tag == "img"]) == 1


def test_hostile_names_do_no_harm(hostile):
    tags = {tag for tag, _ in hostile.elements}
    assert not tags & {"script", "iframe", "object", "embed", "link", "form", "base", "b"}
    assert not [name for _, attrs in hostile.elements for name in attrs if name.startswith("on")]
    for name in HOSTILE[:3]:
        assert re.sub(r"\s+", " ", name) in hostile.text
    assert r"a\u202eb\x1b[0m\ud800" in hostile.text
    assert "<b>x</b>" in hostile.text


def test_nothing_external_is_loaded(hostile):
    sources = hostile.attributes("src", "href", "xlink:href", "srcset", "data", "action", "poster", "background")
    assert len(sources) > 10
    assert not [source for source in sources if not source.startswith(("#", "data:image/"))]


@pytest.mark.parametrize("make", [deciding, ranking])
def test_no_address_in_style_sheets(make):
    html = page.page(make(("ant", "bee"))).html()
    assert not re.findall(r"@import|url\((?!#)", html)
    assert "http" not in re.sub(r"http-equiv", "", html)
    assert "default-src 'none'" in html


def test_the_page_is_accessible(hostile):
    by_tag = [tag for tag, _ in hostile.elements]
    assert ("html", {"lang": "en"}) in hostile.elements
    assert by_tag.count("h1") == 1
    assert all(attrs.get("alt") for tag, attrs in hostile.elements if tag == "img")
    assert all(attrs.get("aria-label") for tag, attrs in hostile.elements if tag == "svg")
    assert all(attrs.get("scope") for tag, attrs in hostile.elements if tag == "th")
    assert by_tag.count("caption") == by_tag.count("table") > 0
    ids = hostile.attributes("id")
    assert len(ids) == len(set(ids))


def test_a_page_of_257_classes_stays_small(tmp_path):
    result = deciding([f"{k:03}.class-{k}" for k in range(257)], per_class=2, benchmark="caltech256")
    file = page.write_report(result, tmp_path / "report.html")
    assert file.stat().st_size < 1_000_000
    assert "257" in Parsed(file.read_text()).text


def confusion_pixels(counts):
    svg = ElementTree.fromstring(plots.confusion(np.array(counts), alt="x"))
    (image,) = svg.iter("image")
    png = base64.b64decode(image.attrib["href"].split(",")[1])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")).astype(int)


def test_the_overview_of_confusions_shows_shares():
    pixels = confusion_pixels([[3, 1], [0, 4]])  # 3/4 is right; 1/4, wrong, is drawn as its square root 1/2
    assert pixels[..., 3] == pytest.approx(np.array([[191, 128], [0, 255]]), abs=1)
    assert pixels[0, 0, 2] > 150 > pixels[0, 0, 0]  # right is blue
    assert pixels[0, 1, 0] > 150 > pixels[0, 1, 2]  # wrong is vermilion


def test_the_confusion_matrix_shows_shares():
    first, second = report.Matrix(["a", "b"], np.array([[3, 1], [0, 4]]), "x").rows()
    assert first == ("a", [(3, 75, 0.75, True), (1, 25, 0.5, False)])  # wrong: the square root of a quarter
    assert second == ("b", [(0, 0, 0, False), (4, 100, 1, True)])


def test_a_class_without_test_samples_has_an_empty_row():
    assert confusion_pixels([[0, 0], [0, 4]])[0, :, 3].tolist() == [0, 0]
    (_, cells), _ = report.Matrix(["a", "b"], np.array([[0, 0], [0, 4]]), "x").rows()
    assert [(cell.images, cell.depth) for cell in cells] == [(0, 0), (0, 0)]


@pytest.mark.parametrize(("classes", "matrices", "lists"), [(20, 1, 0), (21, 0, 1)])
def test_confusions_are_listed_only_if_the_matrix_is_too_large_to_read(classes, matrices, lists):
    names = [f"class {k}" for k in range(classes)]
    parsed = Parsed(page.page(deciding(names)).html())
    tables = [attrs["class"].split()[0] for tag, attrs in parsed.elements if tag == "table"]
    assert tables.count("matrix") == matrices
    assert parsed.text.count("Most frequent confusions") == 2 * lists  # the heading and the link to it


def test_drawings_leave_the_settings_of_matplotlib_alone():
    import matplotlib

    rows = [("a", 90.0, None), ("b", 50.0, 3.0)]
    plain = plots.dots(rows, alt="x", xlabel="recall")
    with matplotlib.rc_context({"font.size": 30, "text.usetex": True, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        assert plots.dots(rows, alt="x", xlabel="recall") == plain
        assert dict(matplotlib.rcParams) == before


def test_letters_that_no_font_has_give_no_warning():
    svg = plots.dots([("鳥 $a_b$ <i>", 50.0, None), ("y", 60.0, 1.0)], alt="<&\"'>", xlabel="x")
    words = ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter("text")]
    assert "鳥 $a_b$ <i>" in words
    assert "var(--ink)" in svg
    assert "<style" not in svg  # it would apply to the whole page


def decoded(uri):
    kind, data = uri.split(",")
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((200, 320), (100, 160)),
        ((8, 8), (160, 160)),
        ((30, 50), (90, 150)),
        ((1000, 1), (160, 1)),
        ((1, 1), (160, 160)),
    ],
)
def test_a_thumbnail_keeps_its_shape(shape, expected):
    assert decoded(report.thumbnail(np.full((*shape, 3), 90, np.uint8))).shape == (*expected, 3)


def test_the_box_is_framed_and_the_rest_dimmed():
    pixels = np.zeros((160, 160, 3), np.uint8)
    shown = decoded(report.thumbnail(pixels, box=(40, 20, 120, 400)))  # it ends below the image
    assert shown[80, 80].max() < 30  # inside: unchanged
    assert shown[80, 10].min() > 100  # outside: dimmed
    assert shown[80, 40, 0] > 150 > shown[80, 40, 2]  # the frame
    assert decoded(report.thumbnail(pixels, box=(500, 500, 600, 600))).shape == (160, 160, 3)


def test_invalid_targets_are_refused(tmp_path):
    made = report.Page("x", [])
    with pytest.raises(UsageError, match=r"nowhere: no such folder for report\.html; make it"):
        made.write(tmp_path / "nowhere" / "report.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UsageError, match=r"folder\.html: is a folder; name a file"):
        made.write(tmp_path / "folder.html")
    for file in (tmp_path / "report.pdf", tmp_path / "report", "/dev/null"):
        with pytest.raises(UsageError, match=rf"{file}: a report is an HTML page; name a file that ends with \.html"):
            report.check_target(file)


def test_a_full_disk_leaves_the_old_page_whole(tmp_path, monkeypatch):
    file = tmp_path / "report.html"
    file.write_text("old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        report.Page("x", []).write(file)
    assert raised.value.filename == str(file)
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("report.html", "old")]


def test_an_open_old_page_stays_readable(tmp_path):
    file = tmp_path / "report.html"
    file.write_text("old")
    with file.open() as reading:
        report.Page("new", []).write(file)
        assert reading.read() == "old"
    assert "<h1>new</h1>" in file.read_text()
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_is_kept_and_its_file_replaced(tmp_path):
    (tmp_path / "link.html").symlink_to(tmp_path / "real.html")
    report.Page("Ünï", []).write(tmp_path / "link.html")
    assert (tmp_path / "link.html").is_symlink()
    assert "<h1>Ünï</h1>" in (tmp_path / "real.html").read_text()


def test_numbers_and_doctests():
    assert doctest.testmod(vggfeat.report.text).failed == 0
    assert doctest.testmod(report).failed == 0
    assert "<h1>a\\x00b\\u2066c</h1>" in report.Page("a\x00b\u2066c", []).html()
    assert report.text.number(-0.001, 2) == "0.00"
    assert report.text.number(float("nan"), 1) == "–"


def test_light_and_torch_free():
    code = "import sys, vggfeat.report as r, vggfeat.report.plots;"
    code += "print({'torch', 'matplotlib', 'jinja2'} & set(sys.modules));"
    code += "drawn = r.Figure(r.plots.lines([], alt='x')); r.Page('x', [r.Section('y', [drawn])]).html();"
    code += "print({'torch', 'matplotlib.pyplot'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["set()", "set()"]
