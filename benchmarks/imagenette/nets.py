"""Table 3 on ten classes: all nets by one short recipe, and which of the conclusions of Sect. 4.1 show at this size.

    python benchmarks/imagenette/nets.py --data imagenette-128 --out RUNS --width 0.0625                       # a CPU
    python benchmarks/imagenette/nets.py --data imagenette-128 --out RUNS --device cuda --batch 64   # a GPU

Every row is a run of `vggfeat.train` in OUT/ROW-SEED, then a dense evaluation in OUT/evaluations: the same command goes
on where a killed one was, and `vggfeat evaluate --runs OUT/evaluations --table 3` prints what is there. Processes with
other rows (`--only`) may share OUT; the command without it then gathers them all.

The rows, the most telling first:
    A A-LRN B B-5x5 C D E     S=256
    D-from-A E-from-A         S=256, the first four convolutions and the fully connected layers from the row A, the
                              others by --init
    D-long E-long             S=256, the epochs of A and of the net together: what D-from-A has had
    A-jittered ... E-jittered S from [256, 512], as many steps as at S=256

Batch, learning rate, epochs and seed are the same in all rows. The validation photos choose nothing: the learning rate
is divided by 10 after three quarters of the epochs, and the net of the last epoch counts, not the best one. Q is S,
or the middle of its range (Sect. 4.1).
"""

import argparse
import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from vggfeat import __version__
from vggfeat.errors import DataError, UsageError, VggfeatError, WeightsError
from vggfeat.evaluate import evaluate
from vggfeat.train import Recipe, train

NETS = ("A", "A-LRN", "B", "B-5x5", "C", "D", "E")
DEEP = ("D", "E")  # also started from A
JITTERED = ("A", "D", "C", "E")
NEVER = 100.0  # points of error that nobody can gain: the learning rate then falls by the number of epochs alone
SURE = 2  # standard errors
HEAD = ("row", "S", "Q", "init", "seed", "epochs", "train loss", "centre top-1 / 5", "dense top-1 / 5", "±", "seconds")


@dataclass(frozen=True)
class Training:
    """One training. from_a : it starts from the last net of the row A. long : A's epochs beside its own."""

    name: str
    net: str
    scale: str = "256"
    from_a: bool = False
    long: bool = False


class Claim(NamedTuple):
    """What Sect. 3.1 or 4.1 says of two rows. `paper`: by how many points of top-1 error `one` is better there, None
    where it has no figure. `gain`: whether it claims that there is one."""

    says: str
    one: str
    other: str
    paper: float | None
    gain: bool = True


CLAIMS = [
    Claim("normalisation does not help", "A", "A-LRN", 0.1, gain=False),
    Claim("deeper is better, 11 to 13 layers", "B", "A", 0.9),
    Claim("more non-linearities help", "C", "B", 0.6),
    Claim("3x3 filters are better than 1x1 at the same depth", "D", "C", 1.1),
    Claim("deeper is better, 11 to 16 layers", "D", "A", 2.6),
    Claim("it saturates at 19 layers", "E", "D", -0.3, gain=False),
    Claim("two 3x3 are better than one 5x5 (there by a centre crop)", "B", "B-5x5", 7.0),
    Claim("jittered S is better than fixed", "A-jittered", "A", None),
    Claim("jittered S is better than fixed", "C-jittered", "C", 0.8),
    Claim("jittered S is better than fixed", "D-jittered", "D", 1.4),
    Claim("jittered S is better than fixed", "E-jittered", "E", 1.8),
    Claim("from A against a start without it, the same further epochs", "D-from-A", "D", None, gain=False),
    Claim("from A against a start without it, the same epochs in all", "D-from-A", "D-long", None, gain=False),
    Claim("from A against a start without it, the same further epochs", "E-from-A", "E", None, gain=False),
    Claim("from A against a start without it, the same epochs in all", "E-from-A", "E-long", None, gain=False),
]


@dataclass(frozen=True)
class Outcome:
    """A row's outcome. Errors in per cent on the validation photos: of the centre crop, and of the dense application
    at q. `train_loss` is the mean over the last epoch, with dropout. failed : why there is nothing else."""

    row: str
    net: str
    init: str
    S: str
    seed: int
    epochs: int = 0
    seconds: float = 0.0
    train_loss: float | None = None
    centre: tuple[float, float] | None = None
    q: int = 0
    dense: tuple[float, float] | None = None
    failed: str = ""


def rows(nets: Sequence[str]) -> list[Training]:
    deep = [net for net in DEEP if net in nets]
    return [
        *[Training(net, net) for net in nets],
        *[Training(f"{net}-from-A", net, from_a=True) for net in deep],
        *[Training(f"{net}-long", net, long=True) for net in deep],
        *[Training(f"{net}-jittered", net, scale="256-512") for net in JITTERED if net in nets],
    ]


def recipe(row: Training, args: argparse.Namespace, seed: int) -> Recipe:
    epochs = args.epochs * (2 if row.long else 1)
    start = f"from:{folder(args, 'A', seed) / 'last.safetensors'}" if row.from_a else args.init
    return Recipe(
        net=row.net,
        width=args.width,
        scale=row.scale,
        init=start,
        fill=args.init,
        batch=args.batch,
        lr=args.lr,
        warmup=args.warmup,
        epochs=epochs,
        gain=NEVER,
        patience=max(1, 3 * epochs // 4 - 1),  # the first epoch always improves, and isn't waited for
        drops=1,
        seed=seed,
        device=args.device,
    )


def folder(args: argparse.Namespace, name: str, seed: int) -> Path:
    return Path(args.out, f"{name}-{seed}")


def run(row: Training, args: argparse.Namespace, seed: int) -> tuple[Outcome, np.ndarray | None]:
    """Train and evaluate a row, or read what it came to; also which photos were wrong densely, bool (N,), sorted by
    name. A loss that became no number ends the row and not the others."""
    about: dict[str, Any] = {
        "row": row.name,
        "net": row.net,
        "init": "from A" if row.from_a else args.init,
        "S": row.scale,
        "seed": seed,
    }
    wanted, out = recipe(row, args, seed), folder(args, row.name, seed)
    try:
        if row.from_a:
            train(args.data, folder(args, "A", seed), recipe(Training("A", "A"), args, seed))
        result = train(args.data, out, wanted)
    except (UsageError, DataError, WeightsError):
        raise
    except VggfeatError as error:
        return Outcome(**about, failed=str(error)), None
    low, high = wanted.scales
    found = evaluate(
        args.data,
        Path(args.out, "evaluations"),
        scales=(wanted.test_scale,),
        weights=out / "last.safetensors",
        train_scale=(low,) if low == high else (low, high),
        device=args.device,
    )
    with (out / "log.csv").open(newline="", encoding="utf-8") as lines:
        last = list(csv.DictReader(lines))[-1]
    assert found.evidence is not None  # a validation set has labels
    measured = Outcome(
        **about,
        epochs=result.epochs,
        seconds=round(result.seconds, 1),
        train_loss=round(float(last["train_loss"]), 4),
        centre=(float(last["val_top1"]), float(last["val_top5"])),
        q=wanted.test_scale,
        dense=(found.rows[0].top1, found.rows[0].top5),
    )
    return measured, found.evidence.scores.ranks > 1


def standard_error(error: float, n: int) -> float:
    """Of an error in per cent of n photos."""
    return math.sqrt(error * (100 - error) / n)


def compare(wrong: dict[str, list[np.ndarray]], classes: int) -> list[dict[str, Any]]:
    """Each claim whose rows there are: ours in points of dense top-1 error, its standard error over the photos (both
    nets saw the same ones, so their difference is taken photo by photo; seeds are averaged), and the verdict."""
    found = []
    for claim in CLAIMS:
        if not (wrong.get(claim.one) and wrong.get(claim.other)):
            continue
        one, other = (np.mean(wrong[name], axis=0) for name in (claim.one, claim.other))
        gains = 100 * (other - one)
        gain, error = float(gains.mean()), float(gains.std(ddof=1) / math.sqrt(len(gains)))
        unlearnt = [name for name in (claim.one, claim.other) if at_chance(np.mean(wrong[name], axis=0), classes)]
        verdict = judge(claim, gain, error) + "".join(f"; {name} has learnt nothing" for name in unlearnt)
        found.append({**claim._asdict(), "ours": round(gain, 2), "error": round(error, 2), "verdict": verdict})
    return found


def judge(claim: Claim, gain: float, error: float) -> str:
    sure = abs(gain) > SURE * error
    if not claim.gain:
        return f"{claim.one if gain > 0 else claim.other} is better" if sure else "no difference that shows"
    return ("shows" if gain > 0 else "the opposite shows") if sure else "can't be told"


def at_chance(wrong: np.ndarray, classes: int) -> bool:
    chance = 100 * (1 - 1 / classes)
    return 100 * float(wrong.mean()) > chance - SURE * standard_error(chance, len(wrong))


def text(done: Sequence[Outcome], claims: Sequence[dict[str, Any]], n: int) -> str:
    lines = [_line(*HEAD), _line(*["---"] * len(HEAD)), *(_row(m, n) for m in done)]
    lines += ["", _line("the paper", "better by, paper", "here", ""), _line(*["---"] * 4)]
    for c in claims:
        paper = "–" if c["paper"] is None else f"{c['paper']:+.1f}"
        ours = f"{c['ours']:+.1f} ± {c['error']:.1f}"
        lines.append(_line(f"{c['says']}: {c['one']} before {c['other']}", paper, ours, c["verdict"]))
    lines += [
        "",
        f"Errors in per cent of {n} photos, ± one standard error. A difference, photo by photo, shows if it is more",
        f"than {SURE} of its own. These are of the photos only: how much a seed decides, several --seeds tell.",
        "Equal short recipes: a net that is behind may be slower rather than worse.",
    ]
    return "\n".join(lines)


def _row(m: Outcome, n: int) -> str:
    if m.centre is None or m.dense is None:
        return _line(m.row, m.S, "", m.init, m.seed, m.failed, *[""] * 5)
    errors = [f"{top1:.1f} / {top5:.1f}" for top1, top5 in (m.centre, m.dense)]
    ours = f"{m.train_loss:.3f}", *errors, f"{standard_error(m.dense[0], n):.1f}", f"{m.seconds:.0f}"
    return _line(m.row, m.S, m.q, m.init, m.seed, m.epochs, *ours)


def _line(*cells: Any) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def settings(args: argparse.Namespace) -> dict[str, Any]:
    machine = torch.cuda.get_device_name(args.device) if args.device.startswith("cuda") else "CPU"
    return {
        **{key: getattr(args, key) for key in ("width", "epochs", "batch", "lr", "init", "warmup", "nets", "seeds")},
        "device": args.device,
        "lr_divided_after": "3/4 of the epochs",
        "machine": machine,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "version": __version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--width", type=float, default=1.0, help="factor on the channels of all nets")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, help="default: the paper's for an image, 0.01 x batch / 256")
    parser.add_argument("--init", default="glorot", choices=("glorot", "he"), help="of all layers that are not from A")
    parser.add_argument("--warmup", type=float, default=0.0, help="epochs in which the learning rate rises")
    parser.add_argument("--nets", nargs="+", default=NETS, choices=NETS)
    parser.add_argument(
        "--only", nargs="+", metavar="ROW", help="these rows; A is trained for those that start from it"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="default: OUT/nets.json")
    args = parser.parse_args()
    known = {row.name: row for row in rows(args.nets)}
    if unknown := sorted(set(args.only or ()) - set(known)):
        parser.error(f"no row {', '.join(unknown)}; the rows are {' '.join(known)}")
    wanted = [row for name, row in known.items() if not args.only or name in args.only]
    done: list[Outcome] = []
    wrong: dict[str, list[np.ndarray]] = {}
    for seed in args.seeds:
        for row in wanted:
            measured, misses = run(row, args, seed)
            done.append(measured)
            if misses is not None:
                wrong.setdefault(row.name, []).append(misses)
            made = report(args, done, wrong)
            print(_row(measured, made["photos"]), flush=True)
    print(text(done, made["claims"], made["photos"]))


def report(args: argparse.Namespace, done: Sequence[Outcome], wrong: dict[str, list[np.ndarray]]) -> dict[str, Any]:
    """What there is so far, also written as JSON."""
    n = max((len(one) for some in wrong.values() for one in some), default=0)
    classes = sum(entry.is_dir() for entry in (args.data / "val").iterdir())
    claims = compare(wrong, classes)
    errors = [round(standard_error(m.dense[0], n), 2) if m.dense else None for m in done]
    each = [asdict(m) | {"dense_standard_error": error} for m, error in zip(done, errors, strict=True)]
    made = {"settings": settings(args), "photos": n, "rows": each, "claims": claims}
    file = args.json or args.out / "nets.json"
    file.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return made


if __name__ == "__main__":
    try:
        main()
    except VggfeatError as error:
        raise SystemExit(str(error)) from None
