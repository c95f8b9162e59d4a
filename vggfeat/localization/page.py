"""The page of an evaluation of boxes: errors beside the baselines, by class, and photos with their boxes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vggfeat.data.boxed import Boxed
from vggfeat.data.imagenet import synset_names
from vggfeat.errors import ImageError
from vggfeat.images import read
from vggfeat.localization import paper
from vggfeat.localization.drawing import drawn
from vggfeat.localization.guesses import Located
from vggfeat.localization.result import LocalizationResult, LocatedImage, Score, ScoreRow
from vggfeat.report import (
    Bars,
    Block,
    Facts,
    Figure,
    Gallery,
    Headline,
    Page,
    Picture,
    Section,
    Table,
    Text,
    plots,
    thumbnail,
)
from vggfeat.report.confusions import READABLE
from vggfeat.report.provenance import folder_of, provenance
from vggfeat.report.text import Cell, number

BARS = 100  # classes with a bar each, at most: the worst
MOST = 12  # photos of a section, at most
_SIDE = 320  # pixels of the longer side of a photo, which is shown at half this size

_MEANING = {
    1: "The share of photos whose box of the true class is wrong. The net sees one central crop and is told the class.",
    2: "The share of photos for which none of five guesses is right in class and box. The net sees the whole photo.",
}
_BASELINES = (
    "The constant box is the mean of the training boxes, in units of the photo's sides, and is the same for every "
    "photo. The whole image is the other guess that needs no net. Both have the classes of this run. A net is worth "
    "its cost if it is better than both."
)
_CLASSES = "The class errors are those of the classifier alone. If the class is wrong, no box is right."
_LINES = "Solid yellow line: a true box. Dashed blue line: the box that was found."


def write_report(
    result: LocalizationResult, file: str | Path, *, images: Boxed | None = None, command: Sequence[str] | None = None
) -> Path:
    """Write the result of an evaluation of boxes as one HTML page.

    Parameters
    ----------
    result : LocalizationResult
        From `evaluate` or `summarise`.
    file : str or path
        The file to write, whole or not at all.
    images : Boxed, optional
        The images that were evaluated, to show the best and the worst with their boxes. They are read again.
    command : sequence of str, optional
        The words of the command line, to show them.

    Returns
    -------
    Path
        `file`.

    Raises
    ------
    UsageError
        If `file` is a folder, or its folder is missing or not writable.
    OSError
        If the disk fails.
    """
    return page(result, images=images, command=command).write(file)


def page(result: LocalizationResult, *, images: Boxed | None = None, command: Sequence[str] | None = None) -> Page:
    """The page of a result; without `evidence` and `images` it has no photos."""
    last = result.rows[-1]
    folder = folder_of(images.images, images.paths) if images is not None else None
    return Page(
        title=result.data,
        kicker="vggfeat localisation",
        subtitle=f"Images of {folder}" if folder else "",
        headline=Headline(last.score.error, _error_of(last), None, f"{_what(last)} · {last.images:,} images"),
        notes=result.notes,
        lead=[_beside_baselines(last), Text(f"{_MEANING[last.protocol]} {_BASELINES}"), _of_the_paper(last.protocol)],
        sections=[
            *_all_rows(result),
            *_classes(result),
            *_photos(result.evidence or [], images),
            *_left_out(result),
            Section("Settings", _settings(result), folded=True),
        ],
        foot=_foot(result, command),
    )


def _error_of(row: ScoreRow) -> str:
    what = "error of the true class's box" if row.protocol == 1 else "top-5 localisation error"
    return f"{what}, per cent"


def _what(row: ScoreRow) -> str:
    return f"{row.net}, {row.regression.upper()}, protocol {row.protocol}, Q={','.join(map(str, row.scales))}"


def _beside_baselines(last: ScoreRow) -> Table:
    named = [("this run", last.score), ("constant box", last.constant), ("whole image", last.whole)]
    rows = [[name, *_cells(score, last.protocol)] for name, score in named if score]
    top1 = ["Top-1 error"] if last.protocol == 2 else []
    header = ["Box", "Error", *top1, "Mean IoU"]
    return Table("Beside boxes that need no net; errors in per cent", header, rows, bar=1, strong=0)


def _of_the_paper(protocol: int) -> Table:
    """Table 8 or 9."""
    rows: list[Sequence[Cell]]
    if protocol == 1:
        layers = {"fc": "fully connected layers", "all": "all layers"}
        rows = [[f"{one.regression.upper()}, {layers[one.tuned]} fine-tuned", one.error] for one in paper.TABLE_8]
    else:
        rows = [[_trained_and_tested(one), one.error] for one in paper.TABLE_9]
    caption = "The paper's, of net D on ILSVRC-2012 val: errors on other photos cannot be compared with them"
    return Table(caption, ["The paper", "Error"], rows, decimals=1)


def _trained_and_tested(row: paper.PaperDense) -> str:
    return " and ".join(f"S={trained}, Q={','.join(map(str, tested))}" for trained, tested in row.nets)


def _cells(score: Score, protocol: int) -> list[Cell]:
    return [score.error, *([score.top1] if protocol == 2 else []), score.mean_iou]


def _all_rows(result: LocalizationResult) -> list[Section]:
    """Every row of the result; nothing if there is only the one of the headline, without classes."""
    rows = result.rows
    if len(rows) == 1 and rows[0].classes is None:
        return []
    columns: dict[str, list[Cell]] = {
        "Boxes": [_what(row) for row in rows],
        "Error": [row.score.error for row in rows],
        "Top-1 error": [row.score.top1 for row in rows],
        "Mean IoU": [row.score.mean_iou for row in rows],
        "Constant box": [row.constant.error if row.constant else None for row in rows],
        "Whole image": [row.whole.error for row in rows],
        "Class top-1": [row.classes[0] if row.classes else None for row in rows],
        "Class top-5": [row.classes[1] if row.classes else None for row in rows],
    }
    filled = {name: cells for name, cells in columns.items() if set(cells) - {None}}
    caption = "Errors, per cent; the details below are of the last row"
    blocks: list[Block] = [Table(caption, list(filled), list(zip(*filled.values(), strict=True)), strong=len(rows) - 1)]
    if "Class top-1" in filled:
        blocks.append(
            Text("The class errors are those of the classifier alone. Where the class is wrong, no box is right.")
        )
    return [Section("By net, protocol and scale", blocks)]


def _classes(result: LocalizationResult) -> list[Section]:
    """Errors by class, and how many images reach an overlap."""
    worst = sorted(result.per_class.items(), key=lambda item: (-item[1]["error"], item[1]["mean_iou"], item[0]))
    if not worst:
        return []
    shown, names = worst[:BARS], synset_names()
    what = f"the {BARS} worst of {len(worst)} classes" if len(worst) > BARS else "worst first"
    mean = float(np.mean([values["error"] for _, values in worst]))
    bars = Bars([(names.get(name, name), values["error"]) for name, values in shown], mean)
    rows: list[list[Cell]] = [
        [names.get(name, name), int(values["images"]), values["error"], values["mean_iou"]] for name, values in shown
    ]
    table = Table(f"By class, {what}", ["Class", "Images", "Error, %", "Mean IoU"], rows)
    text = Text(f"Error in per cent, {what}; the line is the mean over the classes.")
    side_by_side = len(worst) <= READABLE
    sections = [Section("Errors by class", [text, bars], half=side_by_side)]
    if result.evidence:
        sections.append(Section("Overlap with the true box", _overlap(result), half=side_by_side))
    return [*sections, Section("Classes in numbers", [table], folded=True)]


def _overlap(result: LocalizationResult) -> list[Block]:
    overlaps, limits = np.sort([one.iou for one in result.evidence or []]), np.linspace(0, 1, 201)
    reached = 1 - np.searchsorted(overlaps, limits) / len(overlaps)
    alt = f"Share of images over the overlap that they reach; the median is {np.median(overlaps):.2f}"
    limit = plots.Line([result.iou, result.iou], [0, 1], soft=True)
    figure = plots.lines(
        [plots.Line(limits, reached, filled=True), limit],
        alt=alt,
        xlabel="IoU of at least",
        ylabel="share of images",
        size=(400, 330),
    )
    text = (
        "IoU is the area that two boxes share over the area that they cover: 1 is equal. The curve says which share of "
        f"the images reaches an IoU; right of the dotted line, at {result.iou:g}, a box counts as right."
    )
    return [Text(text), Figure(figure)]


def _photos(evidence: Sequence[LocatedImage], images: Boxed | None) -> list[Section]:
    """The worst boxes, the surest wrong classes, and the best boxes."""
    if images is None:
        return []
    boxes = sorted((one for one in evidence if _own(one)), key=lambda one: (one.iou, one.path))
    missed = sorted((one for one in evidence if not _own(one)), key=lambda one: (-_surest(one), one.path))
    chosen = [
        ("Worst boxes", [one for one in boxes if not one.right], "wrong"),
        ("Class not among the guesses", missed, "wrong"),
        ("Best boxes", [one for one in reversed(boxes) if one.right], "right"),
    ]
    place = {path: i for i, path in enumerate(images.paths)}
    return [
        Section(title, [Text(_LINES), Gallery([_picture(one, images, place) for one in some[:MOST]], mood)])
        for title, some, mood in chosen
        if some
    ]


def _own(one: LocatedImage) -> Located | None:
    """The guess of the true class; boxes without classes are of every class."""
    return next((guess for guess in one.guesses if guess.label in (one.label, "")), None)


def _surest(one: LocatedImage) -> float:
    return one.guesses[0].probability if one.guesses else 0.0


def _picture(one: LocatedImage, images: Boxed, place: dict[str, int]) -> Picture:
    names = synset_names()
    label = names.get(one.label, one.label)
    guess = _own(one)
    title = f"IoU {number(one.iou, 2)}" if guess else "no box was found"
    if guess is None and one.guesses:
        guess = one.guesses[0]
        title = f"taken for {names.get(guess.label, guess.label)}, {100 * guess.probability:.0f} %"
    try:
        pixels = read(images.images[place[one.path]], exif=False) if one.path in place else None
    except ImageError:
        pixels = None
    uri = None
    if pixels is not None and pixels.shape[:2] == one.size:  # else it is another photo now
        merged = [guess] if guess and guess.candidates else []
        picture = drawn(pixels, _SIDE / max(pixels.shape[:2]), one.truth, merged=merged)
        uri = thumbnail(np.asarray(picture), _SIDE)
    return Picture(uri, f"Photo of {label} with its boxes", title, [f"is {label}"], one.path)


def _left_out(result: LocalizationResult) -> list[Section]:
    rows = sorted(result.failures.items())
    table = Table("They count neither as right nor as wrong", ["Image", "Why"], rows)
    return [Section(f"Images that could not be read: {len(rows):,}", [table], folded=True)] if rows else []


def _settings(result: LocalizationResult) -> list[Block]:
    facts = [("A box is right", f"{'from' if result.reading == 'kit' else 'above'} IoU {result.iou:g}")]
    facts += [(f"Merging: {name.replace('_', ' ')}", str(value)) for name, value in result.rule.items()]
    return [Facts(facts)]


def _foot(result: LocalizationResult, command: Sequence[str] | None) -> list[tuple[str, str]]:
    weights = [(f"Weights of net {one['net']}", f"{one['name']}, sha256 {one['sha256']}") for one in result.weights]
    return provenance(result.version, [*weights, ("Predictions", ", ".join(result.stores))], command)
