"""Attacks on vggfeat, and what comes of each: the fuzzes of the tests, and single attacks on the command.

    python benchmarks/reliability/attacks.py --tries 1000 --out benchmarks/reliability/results/now.json
    python benchmarks/reliability/attacks.py --kind single --package OTHER_CHECKOUT --out before.json
    python benchmarks/reliability/attacks.py --only tar     # whose name has "tar"

Each attack runs in processes of its own, which have a limit of time and 8 GB of addresses each (4 GB for a fuzz).
`peak_mb` is the memory of all its processes at once (proportional set sizes, looked at ten times a second).
The single attacks are in `single.py`, the fuzzes in `fuzzes.py`.
"""

import argparse
import csv
import json
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402
from fuzzes import FUZZES  # noqa: E402
from single import ATTACKS, Attack, Command, Ran  # noqa: E402

GB = 2**30
FUZZ_SECONDS = 1800


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tries", type=int, default=300, help="damaged files of a fuzz; slow ones take a share")
    options.add_argument("--only", default="", help="attacks whose name has this")
    options.add_argument("--kind", choices=("all", "single", "fuzz"), default="all")
    options.add_argument("--package", type=Path, default=ROOT, help="checkout that is attacked; single attacks only")
    options.add_argument("--seconds", type=int, default=60, help="limit of a command of a single attack")
    options.add_argument("--out", type=Path, help="where to write the results as JSON")
    chosen = options.parse_args()
    rows = []
    for name, attack in ATTACKS.items():
        if chosen.only in name and chosen.kind != "fuzz":
            rows.append({"attack": name, "tries": 1, **single(attack, chosen.package, chosen.seconds)})
            print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
    for name, (_, share) in FUZZES.items():
        if chosen.only in name and chosen.kind != "single" and chosen.package == ROOT:
            rows.append({"attack": name, **fuzz(name, max(20, int(chosen.tries * share)))})
            print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
    if chosen.out:
        made = {"cores": os.cpu_count(), "machine": platform.machine(), "torch": torch.__version__}
        chosen.out.write_text(json.dumps({**made, "attacks": rows}, indent=1, ensure_ascii=False) + "\n")


def fuzz(name: str, tries: int) -> dict[str, Any]:
    command = [sys.executable, HERE / "fuzzes.py", name, str(tries)]
    ran, measured = run(command, os.environ | {"PYTHONPATH": str(ROOT)}, FUZZ_SECONDS, 4 * GB)
    outcomes = json.loads(ran.output.splitlines()[-1]) if ran.status == 0 else {kind(ran): 1, last_line(ran): 1}
    return {"tries": sum(outcomes.values()), "outcomes": outcomes, **measured}


def single(make: Callable[[Path], Attack], package: Path, seconds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        attack, said = make(folder), None
        command = next(attack)
        while True:
            ran, measured = vggfeat(command, package, seconds)
            try:
                command = attack.send(ran)
            except StopIteration as end:
                said = end.value
                break
            assert ran.status == 0 or "No such option" in ran.output, last_line(ran)
        found = {"outcome": kind(ran), "status": ran.status, **in_store(folder / "s")}
        if said or ran.status:
            found["said"] = said or last_line(ran)
        return json.loads(json.dumps({**found, **measured}).replace(name, "FOLDER"))


def vggfeat(command: Command, package: Path, seconds: int) -> tuple[Ran, dict[str, float]]:
    environment = os.environ | {"PYTHONPATH": str(package)} | command.environment
    arguments = [sys.executable, "-m", "vggfeat", *command.arguments]
    return run(arguments, environment, seconds, 8 * GB, command.file_bytes)


def run(
    command: list[str | Path], environment: dict[str, str], seconds: float, room: int, file_bytes: int | None = None
) -> tuple[Ran, dict[str, float]]:
    """Run a command to its end, or to that of its time; how long it took, and the memory of its processes."""

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))  # a fuzz sets its own
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    start, peak = time.monotonic(), 0
    with tempfile.TemporaryFile() as output, tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            command, env=environment, cwd=ROOT if "fuzzes.py" in str(command[1]) else folder, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, preexec_fn=limits, start_new_session=True,
        )  # fmt: skip
        while process.poll() is None and time.monotonic() < start + seconds:
            peak = max(peak, sum(map(memory, family(process.pid))))
            time.sleep(0.1)
        status = process.poll()
        for pid in family(process.pid) if status is None else ():
            os.kill(pid, signal.SIGKILL)
        process.wait()
        output.seek(0)
        said = output.read().decode(errors="replace")
    return Ran(status, said), {"seconds": round(time.monotonic() - start, 1), "peak_mb": round(peak / 2**20)}


def family(pid: int) -> list[int]:
    """A process and all that it has started, and they have started."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:  # it has ended
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def memory(pid: int) -> int:
    """The proportional set size: memory that processes share is counted once."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it has ended
        return 0
    pss = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
    return int(pss[1]) * 1024 if pss else 0


def kind(ran: Ran) -> str:
    if ran.status is None:
        return "no end"
    if ran.status < 0:
        return f"crash ({signal.Signals(-ran.status).name})"
    if "Traceback (most recent call last)" in ran.output:
        return "traceback"
    return "done" if ran.status == 0 else "one line"


def last_line(ran: Ran) -> str:
    lines = [line.strip() for line in re.split(r"[\r\n]+", ran.output) if line.strip()]
    return lines[-1] if lines else ""


def in_store(store: Path) -> dict[str, Any]:
    """Rows, failures and the first reason of the store of the photos, if the attack made one."""
    if not store.is_dir():
        return {}
    rows = sum(pq.read_metadata(part).num_rows for part in store.glob("part-*.parquet"))
    found: dict[str, Any] = {"rows": rows, "failures": 0}
    if (store / "failures.csv").is_file():
        with (store / "failures.csv").open(newline="") as lines:
            reasons = [row["reason"] for row in csv.DictReader(lines)]
        found |= {"failures": len(reasons), "reasons": sorted(set(reasons))}
    return found


if __name__ == "__main__":
    main()
