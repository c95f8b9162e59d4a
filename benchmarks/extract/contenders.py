"""What speed.py compares: timm's VGG as a user runs it, the same tuned by hand, and vggfeat step by step."""

import argparse
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.models import vgg as timm_vgg
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as transforms

import vggfeat
from vggfeat import nets, weights
from vggfeat.descriptors import Describer
from vggfeat.engine import Engine
from vggfeat.engine.dense import dense
from vggfeat.engine.devices import CPU_TUNING, Cpu
from vggfeat.engine.layers.halves import computes_in
from vggfeat.engine.layers.windows import use_windows
from vggfeat.engine.layers.winograd import use_winograd
from vggfeat.engine.net import DTYPES, DenseNet
from vggfeat.images import rescaled_size
from vggfeat.sources import Item
from vggfeat.spec import DescriptorSpec
from vggfeat.weights import native

Vectors = list[np.ndarray]  # (S, C) of each file
Run = Callable[[list[Path]], Callable[[], Vectors]]  # does the work; what it returns gives the results, not timed
Faster = Callable[[nn.Sequential], nn.Sequential]  # puts faster layers into a net
FIRST = "timm, plain loop"


def complete(options: argparse.Namespace, folder: Path) -> weights.Weights:
    """The weights; random if no file is named, and random fc6 and fc7 if the file has none."""
    layer, found = options.layer, None
    if options.weights:
        found = weights.resolve(options.weights, options.net, "pool5")
        if layer == "pool5" or found.top != "pool5":
            return found
    net, width = (found.net, found.width) if found else (options.net or "E", options.width)
    vgg = nets.initialise(nets.VGG(net, width=width, top=layer), "glorot", torch.Generator().manual_seed(0))
    tensors = dict(vgg.state_dict()) | (dict(weights.load(found, "pool5").state_dict()) if found else {})
    return native.save(
        folder / "complete.safetensors", tensors, net=net, width=width, lineage="random", licence="none",
        preprocessing=found.preprocessing if found else weights.OXFORD, source="random layers, for timing only",
        classes=None,
    )  # fmt: skip


class StagedNet(DenseNet):
    """A net on a CPU in float32 with some of the faster layers."""

    def __init__(self, found: weights.Weights, layer: Any, faster: Iterable[Faster]) -> None:
        super().__init__(found, layer)
        vgg = weights.load(found, layer)
        self._staged = dense(vgg, layer).to(memory_format=torch.channels_last)
        for use in faster:
            self._staged = use(self._staged)

    def load(self) -> nn.Sequential:
        return self._staged


@dataclass
class Bench:
    """What all rows share."""

    weights: weights.Weights
    layer: Any
    scales: list[int]
    device: str
    folder: Path
    number: Iterator[int] = field(default_factory=count)

    def spec(self, precision: Any = "float32") -> DescriptorSpec:
        return DescriptorSpec(
            weights=self.weights.path, layer=self.layer, scales=self.scales, device=self.device, precision=precision
        )

    def describer(self, precision: Any = "float32") -> Describer:
        found = Describer(spec=self.spec(precision))
        found.engine.nets[0].load()
        return found

    # timm

    def timm(self, dtype: torch.dtype, memory_format: torch.memory_format) -> Callable[[Tensor], Tensor]:
        """timm's net with the same weights: pixels (N, 3, H, W) RGB in 0..255 -> mirror-averaged vectors (N, C)."""
        found, layer = self.weights, self.layer
        plan = nets.layers(found.net, found.width, top=layer)
        # at width 1 these are timm's lists of layers
        net = timm_vgg.VGG([one.outputs if one.kind == "conv" else "M" for one in plan if one.kind != "FC"])
        if layer != "pool5":
            net.pre_logits = timm_vgg.ConvMlp(net.num_features, plan[-1].outputs, 7)
        net = net.eval()
        theirs = [module for module in net.modules() if isinstance(module, torch.nn.Conv2d)]
        own = [m for m in weights.load(found, layer) if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
        for their, our in zip(theirs, own, strict=False):
            their.weight.data = our.weight.data.reshape(their.weight.shape)
            their.bias.data = our.bias.data
        net = net.to(self.device, dtype).to(memory_format=memory_format)
        prep = found.preprocessing
        mean, std = (torch.tensor(v, device=self.device).view(3, 1, 1) for v in (prep.mean, prep.std))

        def run(pixels: Tensor) -> Tensor:
            x = pixels.to(self.device) * (prep.range / 255)
            x = ((x.flip(1) if prep.colour == "BGR" else x) - mean) / std
            x = torch.cat([x, x.flip(3)]).to(dtype).contiguous(memory_format=memory_format)
            maps = net.forward_features(x)
            maps = maps if layer == "pool5" else net.pre_logits(maps)
            return maps.float().mean(dim=(2, 3)).view(2, len(pixels), -1).mean(dim=0)

        return run

    def plain(self) -> Run:
        net = self.timm(torch.float32, torch.contiguous_format)

        @torch.inference_mode()
        def run(files: list[Path]) -> Callable[[], Vectors]:
            rows = []
            for file in files:
                pixels = transforms.pil_to_tensor(Image.open(file).convert("RGB"))
                vectors = [net(self.resize(pixels[None].float(), q))[0].cpu().numpy() for q in self.scales]
                rows.append(np.stack(vectors))
            return lambda: rows

        return run

    def tuned(self, batch: int = 32) -> Run:
        net = self.timm(torch.bfloat16 if self.device == "cuda" else torch.float32, torch.channels_last)

        @torch.inference_mode()
        def run(files: list[Path]) -> Callable[[], Vectors]:
            rows: dict[Path, np.ndarray] = {}
            sizes = defaultdict(list)
            for file in files:
                sizes[Image.open(file).size].append(file)
            batches = [some[i : i + batch] for some in sizes.values() for i in range(0, len(some), batch)]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                decoded = [[pool.submit(self.decode, file) for file in some] for some in batches]
                for some in batches:
                    pixels = torch.stack([one.result() for one in decoded.pop(0)]).to(self.device).float()
                    vectors = torch.stack([net(self.resize(pixels, q)) for q in self.scales], dim=1)
                    rows.update(zip(some, vectors.cpu().numpy(), strict=True))
            return lambda: [rows[file] for file in files]

        return run

    @staticmethod
    def decode(file: Path) -> Tensor:
        return transforms.pil_to_tensor(Image.open(file).convert("RGB"))

    @staticmethod
    def resize(pixels: Tensor, q: int) -> Tensor:
        size = rescaled_size(*pixels.shape[2:], q)  # torchvision's rule rounds the longer side down
        return transforms.resize(pixels, size, antialias=True)

    # vggfeat

    def stage(self, *faster: Faster, at_once: int = 1) -> Run:
        """The engine on a CPU in float32, without the store.

        faster : the faster layers to use. at_once : passes side by side.
        """
        net = StagedNet(self.weights, self.layer, faster)
        engine = Engine([net], machine=Cpu(replace(CPU_TUNING, at_once=at_once)))
        describer = Describer(spec=self.spec(), engine=engine)

        def run(files: list[Path]) -> Callable[[], Vectors]:
            rows = dict(describer.stream((i, describer.prepare(file)) for i, file in enumerate(files)))
            return lambda: [rows[i][0] for i in range(len(files))]

        return run

    def engine(self, precision: str, photos: dict[Path, Tensor]) -> Run:
        """The engine without decoding and store. photos : decoded photos, shared by all rows."""
        describer = self.describer(precision)

        def run(files: list[Path]) -> Callable[[], Vectors]:
            for file in files:  # only in the first round, which is not timed
                if file not in photos:
                    photos[file] = describer.prepare(file)
            rows = dict(describer.stream((i, photos[file]) for i, file in enumerate(files)))
            return lambda: [rows[i][0] for i in range(len(files))]

        return run

    def extract(self, describer: Describer) -> Run:
        """What the command does, with a loaded net."""

        def run(files: list[Path]) -> Callable[[], Vectors]:
            items = [Item(str(i), file) for i, file in enumerate(files)]
            store = vggfeat.extract(items, self.folder / f"{next(self.number)}.vggfeat", describer=describer)

            def rows() -> Vectors:
                table = store.read([f"q{q}" for q in self.scales])
                columns = [np.stack(column.to_numpy()) for column in table.columns]
                order = np.argsort([int(name) for name in store.paths])
                return list(np.stack(columns, axis=1)[order])

            return rows

        return run

    def rows(self, tuned: bool) -> dict[str, Run]:
        found = {FIRST: self.plain()}
        if tuned or self.device == "cuda":
            found["timm, tuned by hand"] = self.tuned()
        if self.device == "cuda":
            photos: dict[Path, Tensor] = {}
            found |= {f"vggfeat, {precision}": self.engine(precision, photos) for precision in DTYPES}
            return found | {"vggfeat, bfloat16, files to store": self.extract(self.describer("bfloat16"))}
        faster = [use_winograd] if self.layer == "pool5" else [use_winograd, use_windows]
        found["vggfeat, torch's convolutions"] = self.stage()
        found["+ Winograd"] = self.stage(use_winograd)
        if self.layer != "pool5":
            found["+ windows and products"] = self.stage(*faster)
        found["+ passes side by side"] = self.stage(*faster, at_once=CPU_TUNING.at_once)
        found["+ files to store"] = self.extract(self.describer())
        if computes_in(torch.bfloat16):
            found["vggfeat, bfloat16, files to store"] = self.extract(self.describer("bfloat16"))
        return found
