"""The page of Tables 11 and 12."""

from collections.abc import Sequence
from pathlib import Path

from vggfeat.bench.benchmarks import BENCHMARKS
from vggfeat.bench.paper_result import PaperResult
from vggfeat.bench.result import in_short
from vggfeat.report import Notes, Page, Section, Table, Text
from vggfeat.report.provenance import provenance


def write_paper_report(result: PaperResult, file: str | Path, *, command: Sequence[str] | None = None) -> Path:
    """Write the page of the paper's tables as one HTML file, whole or not at all.

    Parameters
    ----------
    result : PaperResult
    file : str or path
    command : sequence of str, optional
        The words of the command line, for the provenance.

    Returns
    -------
    Path
        `file`.

    Raises
    ------
    UsageError
        If the file cannot be written there.
    OSError
        If the disk fails.
    """
    tables = [
        Section(title, [Table("Per cent", ["Method", *header], [[name, *cells] for name, cells in rows])])
        for title, header, rows in result.tables()
    ]
    page = Page(
        title="Tables 11 and 12 of the paper",
        kicker="vggfeat benchmark",
        sections=[*tables, *_remarks(result), *_left_out(result), *_settings(result)],
        foot=provenance(result.version, _weights(result), command),
    )
    return page.write(file)


def _remarks(result: PaperResult) -> list[Section]:
    notes = result.notes()
    return [Section("Notes", [Notes(notes)])] if notes else []


def _left_out(result: PaperResult) -> list[Section]:
    titles: dict[str, list[str]] = {}
    for name, line in result.missing.items():
        titles.setdefault(line, []).append(BENCHMARKS[name].title)
    lines = [f"{', '.join(names)}: {line}" for line, names in titles.items()]
    return [Section("Data sets that were not found", [Notes(lines)])] if lines else []


def _settings(result: PaperResult) -> list[Section]:
    rows = [
        (f"{BENCHMARKS[name].title}, {row}", one.metric, in_short(one.config))
        for name, rows in result.results.items()
        for row, one in rows.items()
    ]
    text = "Each value is that of its benchmark by itself, with the recipe of the paper."
    table = Table("How each value was measured", ["Value", "Measure", "Descriptors"], rows)
    return [Section("Settings", [Text(text), table], folded=True)] if rows else []


def _weights(result: PaperResult) -> list[tuple[str, str]]:
    used = {
        f"{one['name']}, sha256 {one['sha256']}": None
        for rows in result.results.values()
        for run in rows.values()
        for one in run.weights
    }
    return [("Weights", weights) for weights in used]
