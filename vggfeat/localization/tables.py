"""Tables 8 to 10 from stored predictions: ours beside the paper's."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from vggfeat.data.imagenet import synset_names
from vggfeat.errors import UsageError
from vggfeat.evaluate.result import commas
from vggfeat.evaluate.tables import PaperTable, TableLine
from vggfeat.localization import paper
from vggfeat.localization.judging import Judged
from vggfeat.localization.posteriors import Predictions
from vggfeat.localization.predictions import StoredBoxNet
from vggfeat.localization.result import Score
from vggfeat.localization.rules import MergeRule
from vggfeat.localization.spec import LocalizationSettings
from vggfeat.localization.summary import Combination, combinations_of, judge

Ours = list[tuple[Combination, Judged]]
Body = tuple[tuple[str, ...], list[TableLine]]
CONSTANT, WHOLE = "the mean training box for all images", "the whole image"


def table(
    number: int,
    predictions: Predictions,
    *,
    settings: LocalizationSettings | None = None,
    merging: MergeRule | None = None,
) -> PaperTable:
    """Make Table 8, 9 or 10 of stored predictions.

    A net of the paper, D of full width that was trained at the paper's scale S, is put beside the paper's error; other
    nets follow, and then both baselines on the same photos.

    Parameters
    ----------
    number : int
        8, 9 or 10.
    predictions : Predictions
        From `open_runs`.
    settings : LocalizationSettings, optional
        Its `iou` and `reading` say when a box is right.
    merging : MergeRule, optional
        When candidates are merged.

    Returns
    -------
    PaperTable

    Raises
    ------
    UsageError
        If there is no such table, or no run of its protocol.
    StoreError
        If a run is damaged.
    """
    if number not in paper.TITLES:
        raise UsageError(f"no table {number}; take one of {', '.join(map(str, paper.TITLES))}")
    protocol = 1 if number == 8 else 2
    wanted = [one for one in combinations_of(predictions.nets) if one.protocol == protocol]
    if number == 8:
        wanted = [one for one in wanted if one.scales[0] == _crop_scale(one.parts[0][0])]
    if not wanted:
        raise UsageError(f"Table {number} needs runs of protocol {protocol}; evaluate with --protocol {protocol}")
    wanted = wanted[-1:] if number == 10 else wanted
    judged = judge(predictions, wanted, settings or LocalizationSettings(), merging or MergeRule())
    made: dict[int, Callable[[Ours], Body]] = {8: _table_8, 9: _table_9, 10: _table_10}
    header, lines = made[number](list(zip(wanted, judged, strict=True)))
    lines += _baselines(judged[-1], len(header))
    facts = predictions.nets[0].facts
    classes = {name for net in predictions.nets for name in net.facts.places}  # none from nets without classes
    notes = _notes(predictions.nets, tuple(sorted(classes)) == tuple(synset_names()))
    if any(line.paper is not None and len(line.paper) > 1 for line in lines):
        notes.append("the paper's second figure is its error on the test set")
    errors = "error" if number == 8 else "top-5 error"
    return PaperTable(number, paper.TITLES[number], facts.data, header, lines, notes, errors)


def _table_8(ours: Ours) -> Body:
    lines = [TableLine(("D", str(paper.S), row.tuned, row.regression), (row.error,), None) for row in paper.TABLE_8]
    for combination, judged in ours:
        (net, _), error = combination.parts[0], judged.row().score.error
        known = next(
            (i for i, row in enumerate(paper.TABLE_8) if _is_papers(net, paper.S, row.tuned, row.regression)), -1
        )
        _put(lines, known, (net.title, _trained(net), net.facts.tuned or "?", net.regression), error)
    return ("net", "train S", "fine-tuned", "regression"), lines


def _table_9(ours: Ours) -> Body:
    lines = [
        TableLine((_fused("D", row), " & ".join(f"{S}/{commas(qs)}" for S, qs in row.nets)), _errors(row), None)
        for row in paper.TABLE_9
    ]
    for combination, judged in ours:
        parts = sorted(combination.parts, key=lambda part: part[0].facts.train_scale or [])
        known = -1
        for i, row in enumerate(paper.TABLE_9):
            pairs = zip(parts, row.nets, strict=False)
            same = all(_is_papers(net, S, "all", "pcr") and qs == scales for (net, scales), (S, qs) in pairs)
            known = i if same and len(parts) == len(row.nets) else known
        words = " & ".join(f"{_trained(net)}/{commas(scales)}" for net, scales in combination.parts)
        _put(lines, known, (combination.title, words), judged.row().score.error)
    return ("nets", "S/Q"), lines


def _table_10(ours: Ours) -> Body:
    ((combination, judged),) = ours
    lines = [TableLine((f"vggfeat ({combination.title})",), None, (judged.row().score.error,))]
    return ("method",), lines + [TableLine((name,), errors, None) for name, errors in paper.TABLE_10.items()]


def _put(lines: list[TableLine], known: int, words: tuple[str, ...], error: float) -> None:
    """Ours beside the paper's row of this number, or as a line of its own."""
    if known >= 0 and lines[known].ours is None:
        lines[known] = replace(lines[known], ours=(error,))
    else:
        lines.append(TableLine(words, None, (error,)))


def _baselines(last: Judged, columns: int) -> list[TableLine]:
    row = last.row()
    scores: list[tuple[str, Score | None]] = [(CONSTANT, row.constant), (WHOLE, row.whole)]
    return [
        TableLine((name, *[""] * (columns - 1)), None, (score.error,)) for name, score in scores if score is not None
    ]


def _notes(nets: Sequence[StoredBoxNet], is_ilsvrc: bool) -> list[str]:
    notes = []
    if not is_ilsvrc:
        data = nets[0].facts.data
        notes.append(f"the paper's errors are on ILSVRC-2012's validation set: {data} cannot be compared with them")
    unknown = [net.title for net in nets if net.facts.train_scale is None]
    if unknown:
        notes.append(f"the training scale S of {', '.join(unknown)} is unknown")
    return notes


def _is_papers(net: StoredBoxNet, S: int, tuned: str, regression: str) -> bool:
    facts = net.facts
    same = (net.name, net.width, facts.train_scale) == (paper.NET, 1, [S])
    return same and (facts.tuned, net.regression) == (tuned, regression)


def _crop_scale(net: StoredBoxNet) -> int:
    """The scale of the centre crop: S if it is stored, else the smallest."""
    stored = net.scales(1)
    S = net.facts.train_scale
    return S[0] if S and S[0] in stored else stored[0]


def _trained(net: StoredBoxNet) -> str:
    return "-".join(map(str, net.facts.train_scale)) if net.facts.train_scale else "?"


def _fused(name: str, row: paper.PaperDense) -> str:
    return " & ".join([name] * len(row.nets))


def _errors(row: paper.PaperDense) -> tuple[float, ...]:
    return (row.error,) if row.test is None else (row.error, row.test)
