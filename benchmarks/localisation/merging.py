"""Time of merging the boxes of one class, against plain Python on the same boxes in the same run.

    python benchmarks/localisation/merging.py --out benchmarks/localisation/results/merging.json

The boxes lie around some objects, as a net predicts them from many places; many of them overlap. The plain version
sorts all pairs of boxes, or goes through them for the best, as the rule is written. Wall and CPU time are recorded: on
a machine that has other work, only the second says something.
"""

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vggfeat.localization import MergeRule, merge

Entry = tuple[tuple[float, ...], int]  # box, count
CASES = [("library", 1000, 5), ("library", 5000, 5), ("library", 5000, 50), ("overfeat", 100, 5)]
OVERFEAT = 200  # boxes, at most, for the plain version of OverFeat's text, whose time grows with their third power


def dense_boxes(n: int, objects: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Boxes around objects of 40 to 200 pixels; a place and a size vary by about 15 %."""
    draw = np.random.default_rng(seed)
    centres, sides = draw.uniform(60, 440, (objects, 2)), draw.uniform(40, 200, (objects, 2))
    of = draw.integers(0, objects, n)
    found = centres[of] + draw.normal(0, 0.15, (n, 2)) * sides[of]
    halves = sides[of] * np.exp(draw.normal(0, 0.15, (n, 2))) / 2
    return np.concatenate([found - halves, found + halves], axis=1), draw.random(n)


def distance(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Of the centres."""
    return math.hypot(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]) / 2


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union."""
    common = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def joined(a: Entry, b: Entry) -> Entry:
    """The average, weighted by counts."""
    count = a[1] + b[1]
    return tuple((a[1] * p + b[1] * q) / count for p, q in zip(a[0], b[0], strict=True)), count


def mergeable(a: tuple[float, ...], b: tuple[float, ...], rule: MergeRule) -> bool:
    """The limits of the rule `library`."""
    return (
        abs(a[0] + a[2] - b[0] - b[2]) <= rule.horizontal * max(a[2] - a[0], b[2] - b[0])
        and abs(a[1] + a[3] - b[1] - b[3]) <= rule.vertical * max(a[3] - a[1], b[3] - b[1])
        and 1 - iou(a, b) <= rule.apart
    )


def plain_library(entries: list[Entry], rule: MergeRule) -> list[Entry]:
    """Passes over all pairs in the order of their distance."""
    while True:
        entries.sort()
        pairs = [
            (distance(entries[i][0], entries[j][0]), i, j)
            for j in range(len(entries))
            for i in range(j)
            if mergeable(entries[i][0], entries[j][0], rule)
        ]
        used: set[int] = set()
        new = []
        for _, i, j in sorted(pairs):
            if i not in used and j not in used:
                used |= {i, j}
                new.append(joined(entries[i], entries[j]))
        if not new:
            return entries
        entries = [entry for i, entry in enumerate(entries) if i not in used] + new


def plain_overfeat(entries: list[Entry], rule: MergeRule) -> list[Entry]:
    """The best of all pairs, again and again."""

    def score(a: tuple[float, ...], b: tuple[float, ...]) -> float:
        return 2 * distance(a, b) / (math.dist(a[:2], a[2:]) + math.dist(b[:2], b[2:])) + 1 - iou(a, b)

    entries.sort()
    while len(entries) > 1:
        pairs = ((score(entries[i][0], entries[j][0]), i, j) for j in range(len(entries)) for i in range(j))
        least, i, j = min(pairs)
        if least > rule.score:
            break
        entries[i] = joined(entries[i], entries.pop(j))
    return entries


def timed(call: Callable[[], object], runs: int) -> tuple[object, dict[str, float]]:
    """What a call gives, and the median and least time of some runs, in milliseconds."""
    wall, cpu = [], []
    for _ in range(runs):
        clock, process = time.perf_counter(), time.process_time()
        found = call()
        wall.append(1000 * (time.perf_counter() - clock))
        cpu.append(1000 * (time.process_time() - process))
    times = {"wall": wall, "cpu": cpu}
    medians = {f"{name} ms, median": round(statistics.median(values), 1) for name, values in times.items()}
    return found, medians | {"cpu ms, least": round(min(cpu), 1)}


def measured(name: str, n: int, objects: int, runs: int, most: int) -> dict[str, object]:
    """One line of the record."""
    boxes, confidences = dense_boxes(n, objects)
    rule = MergeRule(name)  # type: ignore[arg-type]
    merged, ours = timed(lambda: merge(boxes, confidences, rule), runs)
    row = {"rule": name, "boxes": n, "objects": objects, "merged": len(merged.boxes), "ours": ours}
    if n <= (most if name == "library" else OVERFEAT):
        plain = plain_library if name == "library" else plain_overfeat
        found, row["plain"] = timed(lambda: plain([(tuple(box), 1) for box in boxes.tolist()], rule), 1)
        same = np.sort(merged.boxes, axis=0), np.sort([box for box, _ in found], axis=0)
        row["largest difference, pixels"] = float(np.abs(same[0] - same[1]).max())
        row["ratio of cpu"] = round(row["plain"]["cpu ms, median"] / ours["cpu ms, median"], 1)
    return row


def main() -> None:
    """Measure all cases, one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--plain", type=int, default=5000, help="boxes, at most, for the plain version of library")
    options = parser.parse_args()
    rows = []
    for case in CASES:
        rows.append(measured(*case, runs=options.runs, most=options.plain))
        print(json.dumps(rows[-1]), flush=True)
    load = [round(value, 1) for value in os.getloadavg()]
    if options.out:
        record = {"cores": os.cpu_count(), "load average at the end": load, "cases": rows}
        options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
