"""Everything that is to be measured on a GPU, most important first, in eight minutes.

    python benchmarks/gpu/run.py --data DATA --out results.json                 # on a machine with one H100 or H200
    python benchmarks/gpu/run.py --data DATA --out results.json --rehearse      # the same in miniature, on a CPU

Each step is a process with a time limit. It writes its figures as it goes, so that a step that fails or runs out of
time keeps those that it has; the reason stands beside them, and the next step goes on. README.md says how to make DATA,
and what each figure is held against.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECONDS = 480.0  # of all steps together
GRACE = 3.0  # seconds of a step after SIGTERM
TAIL = 4000  # characters of a step's output that are kept


class Step(NamedTuple):
    """A command and its time limit. {data}, {scratch} and {json} in it are replaced; {json} is where it writes."""

    name: str
    seconds: float
    command: Sequence[str]


def script(name: str, seconds: float) -> Step:
    return Step(name, seconds, (str(HERE / f"step_{name}.py"), "{data}", "{scratch}", "{json}"))


# The commands are run by this Python. A line from another part of the project is one entry at the end.
STEPS = [
    script("weights", 45),
    # one after the other: some of them fill the memory of the device
    Step("tests", 90, (
        "-m", "pytest", "-q", "-m", "gpu", "-n", "0", "--tb=line", "--continue-on-collection-errors", "tests",
    )),
    script("extract", 150),
    script("sweep", 100),
    script("precision", 45),
    script("training", 50),
    script("svm", 45),
    script("localise", 40),
    Step("doctor", 20, ("-m", "vggfeat", "doctor")),
    Step("train E", 30, (
        "benchmarks/train/throughput.py", "--device", "cuda", "--net", "E", "--width", "1", "--batch", "256",
        "--micro", "128", "--turns", "2", "--peak", "989e12", "--json", "{json}",
    )),
]  # fmt: skip
# Those of this folder know what a rehearsal is; the others need a GPU, or take long.
REHEARSED = {step.name for step in STEPS if step.command[0].startswith(str(HERE))}


def run(step: Step, places: dict[str, str], seconds: float, environment: dict[str, str]) -> dict[str, Any]:
    """Run a step: how it ended, its seconds, the end of its output, and what it wrote."""
    command = [sys.executable, *step.command]
    for name, place in places.items():
        command = [word.replace(f"{{{name}}}", place) for word in command]
    written, began = Path(places["json"]), time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status = process.wait(seconds)
            ended = "done" if status == 0 else f"failed with status {status}"
        except subprocess.TimeoutExpired:
            ended = f"out of time after {seconds:.0f} s"
        finally:
            _end(process)
        output.seek(0)
        tail = output.read()[-TAIL:]
    report = {"ended": ended, "seconds": round(time.monotonic() - began, 1), "output": tail}
    try:
        return report | {"figures": json.loads(written.read_text())}
    except (OSError, ValueError):
        return report


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a step and all processes that it started; they are a session of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(GRACE)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def run_all(
    steps: Sequence[Step],
    out: Path,
    places: dict[str, str],
    seconds: float = SECONDS,
    environment: dict[str, str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Run the steps in their order, and write what is known after each of them."""
    ends = clock() + seconds
    report: dict[str, Any] = {"seconds": seconds, "steps": {}}
    with tempfile.TemporaryDirectory() as scratch:
        for number, step in enumerate(steps):
            left = ends - clock()
            own = places | {"scratch": scratch, "json": str(Path(scratch) / f"{number}.json")}
            if left > 0:
                report["steps"][step.name] = run(step, own, min(step.seconds, left), environment or dict(os.environ))
            else:
                report["steps"][step.name] = {"ended": "not begun: no time was left"}
            temporary = out.with_name(f"{out.name}.tmp")
            temporary.write_text(json.dumps(report, indent=1) + "\n")
            temporary.replace(out)
            print(f"{step.name}: {report['steps'][step.name]['ended']}", flush=True)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of photos, made by data.py")
    parser.add_argument("--out", type=Path, required=True, help="a JSON file; it is written again after each step")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with tiny nets and few photos")
    parser.add_argument("--only", help="some of the steps, such as extract,sweep; weights is always one of them")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of all steps together")
    options = parser.parse_args()
    wanted = {"weights", *options.only.split(",")} if options.only else {step.name for step in STEPS}
    if unknown := wanted - {step.name for step in STEPS}:
        parser.error(f"no step {min(unknown)!r}; take some of {', '.join(step.name for step in STEPS)}")
    steps = [step for step in STEPS if step.name in wanted and (step.name in REHEARSED or not options.rehearse)]
    if options.rehearse:  # a CPU may be slow or busy
        steps = [step._replace(seconds=options.seconds) for step in steps]
    folders = [str(ROOT), *(str(HERE.parent / name) for name in ("gpu", "extract", "train", "svm"))]
    path = os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    if options.rehearse:
        environment["VGGFEAT_REHEARSE"] = "1"
    else:
        environment.pop("VGGFEAT_REHEARSE", None)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = run_all(steps, options.out, {"data": str(options.data.absolute())}, options.seconds, environment)
    sys.exit(any(step["ended"] != "done" for step in report["steps"].values()))


if __name__ == "__main__":
    main()
