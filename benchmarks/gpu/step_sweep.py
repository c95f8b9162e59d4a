"""What was guessed about the GPU, one setting after the other; the best value of each is kept for the next.

A value takes the place of the default only if it is better by more than NOISE. Each figure is images a second of
`extract` from JPEG files to a store: net E to fc7, with the usual precision of the machine.
"""

import time
from dataclasses import replace
from itertools import count
from typing import Any

import torch
from job import Job

import vggfeat
from vggfeat import weights
from vggfeat.descriptors import Describer
from vggfeat.engine import Engine
from vggfeat.engine.dense import dense
from vggfeat.engine.devices import CPU_TUNING, GPU_TUNING, Cpu, Gpu
from vggfeat.engine.layers.fused import use_faster
from vggfeat.engine.net import DenseNet
from vggfeat.sources import Item
from vggfeat.spec import DescriptorSpec, Precision

NOISE = 1.03
LOADED: dict[str, Engine] = {}
RUNS = count()
WAYS = {"measured": "", "plain": "Sequential Conv2d", "fused and convolution": "ConvReLU Conv2d",
        "fused and windows": "ConvReLU WindowLinear", "plain and windows": "Sequential WindowLinear"}  # fmt: skip
AXES: dict[str, list[Any]] = {
    "batch_pixels": [2**21, 2**22, 2**24],  # GPU_PIXELS
    "ways": list(WAYS)[1:],
    "waiting": [16, 256],  # GPU_WINDOW
    "at_once": [1, 4],  # LAUNCHED
    "upload_pixels": [0, 2**24],
    "workers": [8, 32],
    "group": [256],
}
REHEARSED: dict[str, list[Any]] = {"batch_pixels": [2**16], "upload_pixels": [2**20], "workers": [1]}


class ForcedNet(DenseNet):
    """A net on a GPU whose layers go the ways that are named, in place of the faster ones."""

    def __init__(self, found: weights.Weights, precision: Precision, ways: str) -> None:
        super().__init__(found, "fc7", device="cuda", precision=precision)
        self.ways = ways

    def load(self) -> torch.nn.Sequential:
        if self._net is None:
            net = dense(weights.load(self.weights, self.layer), self.layer).to(self.device, self.dtype)
            cost = lambda way, _: 0.0 if type(way).__name__ in self.ways.split() else 1.0  # noqa: E731
            self._net = use_faster(net.to(memory_format=torch.channels_last), cost)
        return self._net


def engine_of(spec: DescriptorSpec, machine: Cpu | Gpu, ways: str) -> Engine:
    """The engine of a machine; engines whose layers go the same ways share one loaded net."""
    if ways not in LOADED:
        LOADED[ways] = Engine.of(spec, machine)
        if WAYS[ways]:
            usual = LOADED[ways]
            forced = ForcedNet(usual.nets[0].weights, usual.precision, WAYS[ways])
            LOADED[ways] = Engine([forced], usual.precision, machine)
    return Engine(LOADED[ways].nets, LOADED[ways].precision, machine)


def rate(job: Job, setting: dict[str, Any]) -> float:
    """Images a second of the second of two runs; the first one loads the net and chooses the ways of its layers."""
    tuning = {key: value for key, value in setting.items() if key not in ("ways", "workers")}
    if job.rehearse:
        machine: Cpu | Gpu = Cpu(replace(CPU_TUNING, **tuning))
    else:
        machine = Gpu(torch.device("cuda"), replace(GPU_TUNING, **tuning))
    scales = (224, 256) if job.rehearse else (256, 384, 512)
    spec = DescriptorSpec(weights=job.weights("E"), scales=scales, device=job.device)
    describer = Describer(spec=spec, engine=engine_of(spec, machine, setting.get("ways", "measured")))
    items = [Item(str(i), file) for i, file in enumerate(job.photos(600))]
    for _ in range(2):
        out = job.scratch / f"sweep-{next(RUNS)}.vggfeat"
        began = time.perf_counter()
        vggfeat.extract(items, out, describer=describer, workers=setting.get("workers"), part_size=4096)
        seconds = time.perf_counter() - began
    return round(len(items) / seconds, 1)


def main() -> None:
    job, best = Job(), {}
    fastest = rate(job, best)
    table: dict[str, dict[str, float]] = {"defaults": {"all": fastest}}
    for axis, values in (REHEARSED if job.rehearse else AXES).items():
        table[axis] = {}
        for value in values:
            table[axis][str(value)] = found = rate(job, best | {axis: value})
            if found > NOISE * fastest:
                fastest, best = found, best | {axis: value}
            job.note(images_per_s=table, best=best, with_the_best=fastest)


if __name__ == "__main__":
    main()
