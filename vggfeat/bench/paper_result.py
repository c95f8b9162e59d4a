"""Tables 11 and 12 with our values beside the paper's, as text and as JSON."""

import json
from dataclasses import dataclass
from typing import NamedTuple

from vggfeat._util.printable import printable
from vggfeat.bench.benchmark import Benchmark
from vggfeat.bench.benchmarks import BENCHMARKS
from vggfeat.bench.result import BenchmarkResult, plus_minus

NOTHING = "–"


class PaperTable(NamedTuple):
    """One table. header : the benchmarks. rows : name and one cell for each benchmark."""

    title: str
    header: list[str]
    rows: list[tuple[str, list[str]]]


@dataclass(frozen=True)
class PaperResult:
    """What was measured of the paper's Tables 11 and 12.

    Parameters
    ----------
    nets : tuple of str
        The nets.
    results : dict of str to dict of str to BenchmarkResult
        Benchmark -> row, such as "D & E" -> its result.
    missing : dict of str to str
        Benchmark -> how to get its data set.
    failed : dict of str to str
        Benchmark, row or net -> why it could not be measured.
    version : str
        Version of vggfeat.
    """

    nets: tuple[str, ...]
    results: dict[str, dict[str, BenchmarkResult]]
    missing: dict[str, str]
    failed: dict[str, str]
    version: str

    def json(self) -> str:
        """Give the result as a JSON object.

        Returns
        -------
        str
            nets, results (benchmark -> row -> the JSON object of a benchmark), missing, failed, version.
        """
        results = {
            name: {row: json.loads(one.json()) for row, one in rows.items()} for name, rows in self.results.items()
        }
        return json.dumps(vars(self) | {"results": results}, indent=1, ensure_ascii=False) + "\n"

    def table(self) -> str:
        """Give both tables as text.

        Returns
        -------
        str
            Several lines.
        """
        lines: list[str] = []
        for title, header, rows in self.tables():
            cells = [("", header), *rows]
            widths = [max(len(row[i]) for _, row in cells) for i in range(len(header))]
            left = max(len(name) for name, _ in rows)
            lines.append(f"{title}, per cent")
            lines += ["  ".join([f"  {name:{left}}", *map(str.ljust, row, widths)]).rstrip() for name, row in cells]
        return "\n".join(map(printable, [*lines, *(f"  {note}" for note in self.notes())]))

    def tables(self) -> list[PaperTable]:
        """Give Table 11 and Table 12, cell by cell.

        Returns
        -------
        list of PaperTable
        """
        of_paper = [one for one in BENCHMARKS.values() if one.paper]
        groups = {
            "Table 11: image classification": [one for one in of_paper if not one.boxes],
            "Table 12: actions": [one for one in of_paper if one.boxes],
        }
        return [PaperTable(title, [one.title for one in group], self._rows(group)) for title, group in groups.items()]

    def notes(self) -> list[str]:
        """List what a reader of the tables should know: differences from the paper, what was left out and why.

        Returns
        -------
        list of str
        """
        said = []
        for name, rows in self.results.items():
            for note in dict.fromkeys(note for one in rows.values() for note in one.notes):
                of = [row for row, one in rows.items() if note in one.notes]
                said.append(f"{', '.join([BENCHMARKS[name].title, *_some(of, len(rows))])}: {note}")
        if unlike := self._differences():
            said.append(f"not directly comparable: {'; '.join(unlike)}")
        skipped = [BENCHMARKS[name].title for name in self.missing]
        said += [f"data not found: {', '.join(skipped)}"] if skipped else []
        return said + [f"failed: {name}: {reason}" for name, reason in self.failed.items()]

    def _rows(self, group: list[Benchmark]) -> list[tuple[str, list[str]]]:
        """Each row of ours has the paper's of the same name below it; rows that the paper does not have come first."""
        ours = [row for one in group for row in self.results.get(one.name, {})]
        of_paper = list(dict.fromkeys(row for one in group for row in one.paper))
        rows = []
        for name in dict.fromkeys([*(row for row in ours if row not in of_paper), *of_paper]):
            if name in ours:
                rows.append((f"{name}: ours", [self._cell(one, name) for one in group]))
            if name in of_paper:
                rows.append((f"{name}: paper", [_cell_of_paper(one, name) for one in group]))
        return rows

    def _cell(self, benchmark: Benchmark, row: str) -> str:
        result = self.results.get(benchmark.name, {}).get(row)
        return plus_minus(result.value, result.std) if result else NOTHING

    def _differences(self) -> list[str]:
        """How the settings differ from the paper's, and in which benchmarks if not in all."""
        found: dict[str, list[str]] = {}
        for name, rows in self.results.items():
            for text in dict.fromkeys(text for one in rows.values() for text in one.differences()):
                found.setdefault(text, []).append(BENCHMARKS[name].title)
        some = {text: ", ".join(_some(titles, len(self.results))) for text, titles in found.items()}
        return [f"{text} for {titles}" if titles else text for text, titles in some.items()]


def _cell_of_paper(benchmark: Benchmark, row: str) -> str:
    value = benchmark.paper.get(row)
    return NOTHING if value is None else plus_minus(value, benchmark.paper_std.get(row), decimals=1)


def _some(names: list[str], of: int) -> list[str]:
    """The names; none if they are all."""
    return names if len(names) < of else []
