"""Tables 3 to 7 from stored posteriors: ours beside the paper's."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from vggfeat._util.printable import printable
from vggfeat.data.imagenet import synset_names
from vggfeat.errors import UsageError
from vggfeat.evaluate import paper
from vggfeat.evaluate.averages import Choice
from vggfeat.evaluate.paper import BOTH, CROPS, DENSE, PaperRow
from vggfeat.evaluate.result import aligned, commas, judged
from vggfeat.evaluate.runs import StoredNet
from vggfeat.evaluate.scores import TOP
from vggfeat.weights.demonstration import DEMONSTRATION, demonstration_sha256

Errors = tuple[float | None, ...]
Body = tuple[tuple[str, ...], list["TableLine"]]
CLOSE = 32  # pixels between the test scales of a net that was trained at one scale (Sect. 4.2)


@dataclass(frozen=True)
class TableLine:
    """What a line is about, and top-1 and top-5 error in per cent; the paper's may have a third, on the test set."""

    words: tuple[str, ...]
    paper: Errors | None
    ours: Errors | None


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper, with our errors beside the paper's.

    Attributes
    ----------
    number : int
        3 to 7.
    title : str
        What the table shows.
    data : str
        Name of the data set of our errors.
    header : tuple of str
        Titles of the `words` of the lines.
    lines : list of TableLine
        `words`, and the errors `paper` and `ours`: in per cent, or None.
    notes : list of str
        Remarks for people.
    errors : str
        What the errors are.
    """

    number: int
    title: str
    data: str
    header: tuple[str, ...]
    lines: list[TableLine]
    notes: list[str]
    errors: str = "top-1 / top-5 error"

    def json(self) -> str:
        """Return the table for machines, as JSON text."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def text(self) -> str:
        """Return the table for people, as text."""
        body = [(*line.words, _shown(line.paper), _shown(line.ours)) for line in self.lines]
        rows = [f"  {row}" for row in [*aligned([(*self.header, "paper", "ours"), *body]), *self.notes]]
        title = f"{self.title}; {self.errors} in per cent on {self.data}"
        return "\n".join(printable(row.rstrip()) for row in (title, *rows))


def table(number: int, nets: Sequence[StoredNet]) -> PaperTable:
    """Make Table 3, 4, 5, 6 or 7 of stored posteriors.

    A net of the paper, of full width and trained at the paper's scale S, is put beside the paper's errors; other nets
    follow. The test scales are the paper's (Sect. 4.1, 4.2): for one scale, S or the middle of its range; for several,
    S-32, S and S+32, or the ends and the middle of the range. If S is unknown, they are the middle one of the stored
    scales, or all.

    Parameters
    ----------
    number : int
        3 to 7.
    nets : sequence of StoredNet
        Stored posteriors, from `open_runs`.

    Returns
    -------
    PaperTable

    Raises
    ------
    UsageError
        If there is no such table, if the nets have different data, or if the data are a test set.
    StoreError
        If a run is damaged.
    """
    if number not in paper.TITLES:
        raise UsageError(f"no table {number}; take one of {', '.join(map(str, paper.TITLES))}")
    if len({net.facts.data for net in nets}) > 1:
        names = " and ".join(sorted({net.facts.data for net in nets}))
        raise UsageError(f"runs of different data, {names}; give runs of one data set")
    facts = nets[0].facts
    if not facts.labelled:
        raise UsageError(f"{facts.data}: has no labels, so there are no errors; give runs of val")
    notes: list[str] = []
    made = {3: _table_3, 4: _table_4, 5: _table_5, 6: _table_6, 7: _table_7}
    header, lines = made[number](nets, notes)
    if tuple(sorted(facts.places)) != tuple(synset_names()):
        notes.append(
            f"the paper's errors are on ILSVRC-2012's validation set: {facts.data} cannot be compared with them"
        )
    if any(net.sha256 == demonstration_sha256() for net in nets):
        notes.append(f"{DEMONSTRATION} is far smaller than the paper's nets: its errors cannot be compared with theirs")
    if any(line.paper is not None and len(line.paper) > 2 for line in lines):
        notes.append("the paper's third figure is its top-5 error on the test set")
    unknown = [net.title for net in nets if net.train_scale is None]
    if unknown:
        notes.append(
            f"training scale S of {', '.join(unknown)} is unknown: the stored Q is taken; give S as --train-scale"
        )
    return PaperTable(number, paper.TITLES[number], facts.data, header, lines, notes)


def _table_3(nets: Sequence[StoredNet], notes: list[str]) -> Body:
    choices = [Choice(net, DENSE, _single(net)) for net in nets]
    return _body(paper.TABLE_3, lambda S: (_middle(S),), choices, notes)


def _table_4(nets: Sequence[StoredNet], notes: list[str]) -> Body:
    return _body(paper.TABLE_4, several, [Choice(net, DENSE, _multiple(net, DENSE)) for net in nets], notes)


def _table_5(nets: Sequence[StoredNet], notes: list[str]) -> Body:
    choices = [Choice(net, methods, _multiple(net, methods)) for net in nets for methods in (DENSE, CROPS, BOTH)]
    return _body(paper.TABLE_5, several, choices, notes)


def _table_6(nets: Sequence[StoredNet], notes: list[str]) -> Body:
    lines = [TableLine((row.title, _method(row.methods)), row.errors, None) for row in paper.TABLE_6]
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
            lines.append(TableLine((" & ".join(net.title for net in nets), _method(methods)), None, errors))
    return ("nets", "method"), lines


def _table_7(nets: Sequence[StoredNet], notes: list[str]) -> Body:
    """Ours are the best single net, as in the paper, and all nets together, by the most methods that all have."""
    methods = next((m for m in (BOTH, CROPS, DENSE) if all(_multiple(net, m) for net in nets)), DENSE)
    choices = [Choice(net, methods, _multiple(net, methods)) for net in nets]
    lines = []
    if len(nets) > 1 and (together := _errors(choices, notes)) is not None:
        lines.append(TableLine((f"vggfeat ({len(nets)} nets, {_method(methods)})",), None, together))
    alone = [(errors, choice.net.title) for choice in choices if (errors := _errors([choice], notes)) is not None]
    if alone:
        errors, name = min(alone, key=lambda one: (one[0][1], one[0][0]))
        lines.append(TableLine((f"vggfeat (1 net, {name}, {_method(methods)})",), None, errors))
    return ("method",), lines + [TableLine((name,), errors, None) for name, errors in paper.TABLE_7.items()]


def _body(
    rows: Sequence[PaperRow],
    scales: Callable[[tuple[int, ...]], tuple[int, ...]],
    choices: Sequence[Choice],
    notes: list[str],
) -> Body:
    """The paper's rows with ours beside, then the rest of ours."""
    found = [(choice, errors) for choice in choices if (errors := _errors([choice], notes)) is not None]
    with_method = len({row.methods for row in rows}) > 1
    lines = []
    for row in rows:
        same = next((one for one in found if _same_net(one[0], row)), None)
        words = _words(row.net, row.train_scale, scales(row.train_scale), row.methods, with_method)
        lines.append(TableLine(words, row.errors, same[1] if same else None))
        found = [one for one in found if one is not same]
    for choice, errors in found:
        words = _words(choice.net.title, choice.net.train_scale, choice.scales, choice.methods, with_method)
        lines.append(TableLine(words, None, errors))
    header = ("net", "train S", "test Q", "method")
    return header if with_method else header[:3], lines


def _same_net(choice: Choice, row: PaperRow) -> bool:
    net = choice.net
    return net.width == 1 and (net.name, net.train_scale, choice.methods) == (row.net, row.train_scale, row.methods)


def _errors(choices: Sequence[Choice], notes: list[str]) -> tuple[float, float] | None:
    """Top-1 and top-5 error; None, and a note, if a scale is not stored."""
    for choice in choices:
        stored = choice.net.scales(*choice.methods)
        lacking = [q for q in choice.scales if q not in stored]
        if lacking or not choice.scales:
            at = f" at Q={commas(lacking)}" if lacking else ""
            note = f"not stored: {choice.net.title}, {_method(choice.methods)}{at}"
            notes += [note] if note not in notes else []
            return None
    scores = judged(choices).scores
    if len(scores) < choices[0].net.facts.images:
        note = f"{len(scores):,} of {choices[0].net.facts.images:,} images count: the others could not be read"
        notes += [note] if note not in notes else []
    return scores.error(1), scores.error(TOP)


def several(S: tuple[int, ...]) -> tuple[int, ...]:
    """The test scales of Sect. 4.2: close to a fixed S, or over the range of a jittered S.

    >>> several((384,)), several((256, 512))
    ((352, 384, 416), (256, 384, 512))
    """
    return (S[0] - CLOSE, S[0], S[0] + CLOSE) if len(S) == 1 else (S[0], _middle(S), S[1])


def _middle(S: tuple[int, ...]) -> int:
    return sum(S) // len(S)


def _single(net: StoredNet) -> tuple[int, ...]:
    stored = net.scales("dense")
    if net.train_scale is None:
        return stored[len(stored) // 2 : len(stored) // 2 + 1]
    return (_middle(net.train_scale),)


def _multiple(net: StoredNet, methods: tuple[str, ...]) -> tuple[int, ...]:
    """The test scales of Table 4 and later; none if no scale is stored for all of the methods."""
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
