"""The explorer with many photos: the map, the first picture, frames while the map is moved, neighbours.

The photos and descriptors of a real store are repeated: each row is a mixture of the descriptors of a photo and of one
of its neighbours, with noise, and shows that photo.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import numpy as np

from tests.kit.chromium import chromium
from vggfeat.neighbours import nearest
from vggfeat.store import Store, load
from vggfeat.store.identity import Identity
from vggfeat.store.writing import Record, Writer

PART = 5000
FRAMES = """new Promise(done => {
  const times = [];
  const frame = now => { times.push(now); if (now - times[0] < SECONDS * 1000) requestAnimationFrame(frame);
    else done(times.slice(1).map((time, i) => time - times[i])); };
  requestAnimationFrame(frame);
})"""


def make(store: Path, rows: int, folder: Path) -> Path:
    """A store of `rows` rows in a folder."""
    real, rng = load(store), np.random.default_rng(0)
    source = Path(Store(store).meta["source"])
    near = nearest(real.X, 15).rows
    out = folder / "many.vggfeat"
    photos = folder / "photos"
    with Writer(out, {"scales": [64], "layer": "pool5"}, source=str(photos)) as writer:
        for start in range(0, rows, PART):
            chosen = rng.integers(len(real.X), size=min(PART, rows - start))
            other = near[chosen, rng.integers(15, size=len(chosen))]
            share = rng.uniform(0, 0.5, (len(chosen), 1))
            X = (1 - share) * real.X[chosen] + share * real.X[other]
            X += rng.normal(scale=0.4 / np.sqrt(X.shape[1]), size=X.shape)
            writer.commit([repeated(source, photos, real, row, start + i, X[i]) for i, row in enumerate(chosen)])
    return out


def repeated(source: Path, photos: Path, real, row: int, number: int, vector: np.ndarray) -> Record:
    name = f"{number:06}-{real.paths[row].replace('/', '-')}"
    file = photos / name[:3] / name
    file.parent.mkdir(parents=True, exist_ok=True)
    os.link(source / real.paths[row], file)
    return Record(f"{name[:3]}/{name}", real.labels[row], 64, 64, {64: vector.astype(np.float32)}, Identity())


@contextmanager
def explorer(store: Path) -> Iterator[tuple[str, float]]:
    """The address of an explorer, and how long it took to start."""
    start = time.perf_counter()
    words = [sys.executable, "-m", "vggfeat", "explore", str(store), "--no-browser"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stderr:
                if found := re.search(r"http://\S+", line):
                    yield found[0], time.perf_counter() - start
                    return
        finally:
            process.terminate()


def state(address: str) -> dict:
    return json.load(urlopen(f"{address}state"))


def compute(store: Path) -> dict[str, float]:
    """Seconds of each stage of the map, and of all sheets."""
    with explorer(store) as (address, _):
        start = time.perf_counter()
        found = {}
        while (now := state(address))["map"]["stage"] != "done":
            found[now["map"]["stage"]] = time.perf_counter() - start
            time.sleep(0.5)
        begin = time.perf_counter()
        for number in range(now["sheet"]["count"]):
            urlopen(f"{address}sheet/{number}").read()
        return {
            "graph_s": found["comparing"],
            "map_s": found.get("arranging", 0),
            "sheets_s": time.perf_counter() - begin,
        }


def neighbours(address: str, rows: int, times: int = 30) -> list[float]:
    """Milliseconds of a request for the neighbours of a photo."""
    found = []
    for row in np.random.default_rng(1).integers(rows, size=times):
        start = time.perf_counter()
        urlopen(f"{address}row/{row}").read()
        found.append(1000 * (time.perf_counter() - start))
    return found


def frames(tab, seconds: float) -> list[float]:
    """Milliseconds between the frames while a mouse drags the map to and fro."""
    tab("Runtime.evaluate", expression=f"window.frames = {FRAMES.replace('SECONDS', str(seconds))}; 0")
    mouse = {"button": "left", "buttons": 1, "clickCount": 1}
    tab("Input.dispatchMouseEvent", type="mousePressed", x=450, y=400, **mouse)
    end, step = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        step += 1
        x, y = 450 + 300 * np.sin(step / 20), 400 + 200 * np.sin(step / 33)
        tab("Input.dispatchMouseEvent", type="mouseMoved", x=float(x), y=float(y), **mouse)
        time.sleep(0.008)
    tab("Input.dispatchMouseEvent", type="mouseReleased", x=450, y=400, **mouse)
    return tab.value("window.frames")


def page(address: str, rows: int, folder: Path, repeats: int) -> dict:
    """What a user of a page sees."""
    found: dict = {"first_picture_ms": [], "frames": {}}
    with chromium(folder / "profile") as tab:
        for _ in range(repeats):
            tab.open(address, 1280)
            while not (marks := tab.value("performance.getEntriesByName('picture').map(mark => mark.startTime)")):
                time.sleep(0.05)
            found["first_picture_ms"].append(round(marks[0]))
        for name, presses in (("whole map", 0), ("near", 6), ("nearer", 12)):
            tab.value("document.getElementById('fit').click()")
            for _ in range(presses):
                tab.value("document.getElementById('in').click()")
            time.sleep(3)
            found["frames"][name] = [rate(frames(tab, 3)) for _ in range(repeats)]
    found["neighbours_ms"] = {
        "median": round(float(np.median(times := neighbours(address, rows))), 1),
        "worst": round(max(times), 1),
    }
    return found


def rate(intervals: list[float]) -> dict[str, float]:
    """Frames a second, and the interval that 95 % of the frames do not exceed."""
    return {
        "per_s": round(1000 / float(np.mean(intervals)), 1),
        "p95_ms": round(float(np.percentile(intervals, 95)), 1),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("store", type=Path, help="a store of real photos in a folder")
    options.add_argument("--rows", type=int, default=50_000)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--keep", type=Path, help="make the store in this folder, or take the one that is there")
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp())
    store = folder / "many.vggfeat"
    if not store.exists():
        folder.mkdir(parents=True, exist_ok=True)
        make(given.store, given.rows, folder)
    computed = {} if (store / "_explore").exists() else compute(store)  # once for each folder
    with explorer(store) as (address, started):
        found = {"rows": given.rows, "load": os.getloadavg(), **computed, "start_s": round(started, 2)}
        found |= page(address, given.rows, folder, given.repeats)
    print(json.dumps(found, indent=1))
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")
    if not given.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
