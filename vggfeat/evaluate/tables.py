"""Tables 3 to 7 from stored posteriors: ours beside the paper's."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from vggfeat.data.imagenet import synset_names
from vggfeat.errors import UsageError
from vggfeat.evaluate import paper
from vggfeat.evaluate.paper import BOTH, CROPS, DENSE, Measured
from vggfeat.evaluate.result import commas
from vggfeat.evaluate.runs import Choice, Net, average
from vggfeat.evaluate.scores import TOP, judge

Errors = tuple[float | None, ...]
Body = tuple[tuple[str, ...], list["Line"]]
CLOSE = 32  # pixels between the test scales of a net that was trained at one (Sect. 4.2)


@dataclass(frozen=True)
class Line:
    """A row: what it is of, and errors in per cent, top-1 and top-5; the paper's may have a third, on the test set."""

    words: tuple[str, ...]
    paper: Errors | None
    ours: Errors | None


@dataclass(frozen=True)
class Table:
    """One of the paper's tables. header : of the words of the lines."""

    number: int
    title: str
    data: str
    header: tuple[str, ...]
    lines: list[Line]
    notes: list[str]

    def json(self) -> str:
        """The table for machines."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def text(self) -> str:
        """The table for people."""
        head = (*self.header, "paper", "ours")
        body = [(*line.words, _shown(line.paper), _shown(line.ours)) for line in self.lines]
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        rows = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *body)]
        title = f"{self.title}; top-1 / top-5 error in per cent on {self.data}"
        return "\n".join(
            row.rstrip() for row in (title, *("  " + row for row in rows), *("  " + n for n in self.notes))
        )


def table(number: int, nets: Sequence[Net]) -> Table:
    """Table 3, 4, 5, 6 or 7 with what is stored of the nets (`open_runs`).

    A net that is one of the paper's, of full width and trained at the paper's S, stands beside it; others follow. Q is
    chosen as the paper does (Sect. 4.1, 4.2): S, or the middle of the range; S-32, S, S+32, or the range's ends and its
    middle. Of a net whose S nobody tells, the middle one of the stored scales, or all.

    Raises UsageError for another number, and for nets of different data or of a test set; StoreError for damaged runs.
    """
    if number not in paper.TITLES:
        raise UsageError(f"no table {number}; there are {', '.join(map(str, paper.TITLES))}")
    if len({net.facts.data for net in nets}) > 1:
        raise UsageError(f"runs of different data: {' and '.join(sorted({net.facts.data for net in nets}))}")
    facts = nets[0].facts
    if not facts.labelled:
        raise UsageError(f"{facts.data}: has no labels, so there are no errors")
    notes: list[str] = []
    made = {3: _table_3, 4: _table_4, 5: _table_5, 6: _table_6, 7: _table_7}
    header, lines = made[number](nets, notes)
    if tuple(sorted(facts.places)) != tuple(synset_names()):
        notes.append(
            f"the paper's errors are on ILSVRC-2012's validation set: {facts.data} can't be compared with them"
        )
    if any(line.paper is not None and len(line.paper) > 2 for line in lines):
        notes.append("the paper's third figure is its top-5 error on the test set")
    unknown = [net.title for net in nets if net.train_scale is None]
    if unknown:
        notes.append(f"S of {', '.join(unknown)} isn't known (--train-scale tells it): Q is taken from what is stored")
    return Table(number, paper.TITLES[number], facts.data, header, lines, notes)


def _table_3(nets: Sequence[Net], notes: list[str]) -> Body:
    choices = [Choice(net, DENSE, _single(net)) for net in nets]
    return _body(paper.TABLE_3, lambda S: (_middle(S),), choices, notes)


def _table_4(nets: Sequence[Net], notes: list[str]) -> Body:
    return _body(paper.TABLE_4, several, [Choice(net, DENSE, _multiple(net, DENSE)) for net in nets], notes)


def _table_5(nets: Sequence[Net], notes: list[str]) -> Body:
    choices = [Choice(net, methods, _multiple(net, methods)) for net in nets for methods in (DENSE, CROPS, BOTH)]
    return _body(paper.TABLE_5, several, choices, notes)


def _table_6(nets: Sequence[Net], notes: list[str]) -> Body:
    lines = [Line((row.title, _method(row.methods)), row.errors, None) for row in paper.TABLE_6]
    if len(nets) < 2:
        notes.append("a fusion takes the runs of two nets or more")
    for methods in (DENSE, CROPS, BOTH) if len(nets) > 1 else ():
        choices = [Choice(net, methods, _multiple(net, methods)) for net in nets]
        if (errors := _errors(choices, notes)) is None:
            continue
        known = {(net.name, net.train_scale) for net in nets if net.width == 1}
        same = [row.nets == known and row.methods == methods and len(nets) == len(known) for row in paper.TABLE_6]
        if any(same):
            lines[same.index(True)] = replace(lines[same.index(True)], ours=errors)
        else:
            lines.append(Line((" & ".join(net.title for net in nets), _method(methods)), None, errors))
    return ("nets", "method"), lines


def _table_7(nets: Sequence[Net], notes: list[str]) -> Body:
    """Ours is the best single net, as in the paper, and all nets together, each by the most that is stored."""
    methods = next((m for m in (BOTH, CROPS, DENSE) if all(_multiple(net, m) for net in nets)), DENSE)
    choices = [Choice(net, methods, _multiple(net, methods)) for net in nets]
    lines = []
    if len(nets) > 1 and (together := _errors(choices, notes)) is not None:
        lines.append(Line((f"vggfeat ({len(nets)} nets, {_method(methods)})",), None, together))
    alone = [(errors, choice.net.title) for choice in choices if (errors := _errors([choice], notes)) is not None]
    if alone:
        errors, name = min(alone, key=lambda one: (one[0][1], one[0][0]))
        lines.append(Line((f"vggfeat (1 net, {name}, {_method(methods)})",), None, errors))
    return ("method",), lines + [Line((name,), errors, None) for name, errors in paper.TABLE_7.items()]


def _body(
    rows: Sequence[Measured],
    scales: Callable[[tuple[int, ...]], tuple[int, ...]],
    choices: Sequence[Choice],
    notes: list[str],
) -> Body:
    """The paper's rows with ours beside, then ours that are none of them."""
    found = [(choice, errors) for choice in choices if (errors := _errors([choice], notes)) is not None]
    with_method = len({row.methods for row in rows}) > 1
    lines = []
    for row in rows:
        same = next((one for one in found if _is(one[0], row)), None)
        words = _words(row.net, row.train_scale, scales(row.train_scale), row.methods, with_method)
        lines.append(Line(words, row.errors, same[1] if same else None))
        found = [one for one in found if one is not same]
    for choice, errors in found:
        words = _words(choice.net.title, choice.net.train_scale, choice.scales, choice.methods, with_method)
        lines.append(Line(words, None, errors))
    header = ("net", "train S", "test Q", "method")
    return header if with_method else header[:3], lines


def _is(choice: Choice, row: Measured) -> bool:
    net = choice.net
    return net.width == 1 and (net.name, net.train_scale, choice.methods) == (row.net, row.train_scale, row.methods)


def _errors(choices: Sequence[Choice], notes: list[str]) -> tuple[float, float] | None:
    """Top-1 and top-5 error; None, and a note, where the runs don't hold what it takes."""
    for choice in choices:
        stored = choice.net.scales(*choice.methods)
        lacking = [q for q in choice.scales if q not in stored]
        if lacking or not choice.scales:
            at = f" at Q={commas(lacking)}" if lacking else ""
            note = f"not stored: {choice.net.title}, {_method(choice.methods)}{at}"
            notes += [note] if note not in notes else []
            return None
    posteriors = average(choices)
    assert posteriors.truth is not None  # `table` has seen to it
    scores = judge(posteriors.matrix, posteriors.truth)
    if len(scores) < choices[0].net.facts.images:
        note = f"{len(scores):,} of {choices[0].net.facts.images:,} images count: the others could not be read"
        notes += [note] if note not in notes else []
    return scores.error(1), scores.error(TOP)


def several(S: tuple[int, ...]) -> tuple[int, ...]:
    """The test scales of Sect. 4.2: close to a fixed S, or over the range of a jittered one.

    >>> several((384,)), several((256, 512))
    ((352, 384, 416), (256, 384, 512))
    """
    return (S[0] - CLOSE, S[0], S[0] + CLOSE) if len(S) == 1 else (S[0], _middle(S), S[1])


def _middle(S: tuple[int, ...]) -> int:
    return sum(S) // len(S)


def _single(net: Net) -> tuple[int, ...]:
    stored = net.scales("dense")
    if net.train_scale is None:
        return stored[len(stored) // 2 : len(stored) // 2 + 1]
    return (_middle(net.train_scale),)


def _multiple(net: Net, methods: tuple[str, ...]) -> tuple[int, ...]:
    """What is asked for; nothing where no scale is stored by all of the methods."""
    stored = net.scales(*methods)
    return several(net.train_scale) if net.train_scale and stored else stored


def _words(
    title: str, S: tuple[int, ...] | None, scales: tuple[int, ...], methods: tuple[str, ...], with_method: bool
) -> tuple[str, ...]:
    trained = "?" if S is None else str(S[0]) if len(S) == 1 else f"[{S[0]};{S[1]}]"
    return (title, trained, commas(scales), *([_method(methods)] if with_method else []))


def _method(methods: tuple[str, ...]) -> str:
    return " & ".join(methods)


def _shown(errors: Errors | None) -> str:
    return "–" if errors is None else " / ".join("–" if value is None else f"{value:.1f}" for value in errors)
