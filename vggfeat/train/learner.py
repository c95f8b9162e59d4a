"""The net and its optimiser: one step of stochastic gradient descent with momentum (Sect. 3.1)."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vggfeat.errors import WeightsError
from vggfeat.nets.table import FC_WINDOW
from vggfeat.nets.vgg import VGG
from vggfeat.train.health import Health
from vggfeat.train.loading import Failure, MicroBatch
from vggfeat.train.objective import Objective
from vggfeat.train.ranks import Ranks
from vggfeat.train.settings import TrainingPrecision, TrainingSettings
from vggfeat.weights.header import Preprocessing


class Input:
    """A micro-batch as the net sees it: float32 (N, 3, 224, 224), shifted in colour and preprocessed; or its maps."""

    def __init__(self, preprocessing: Preprocessing, device: torch.device) -> None:
        self._bgr, self._range = preprocessing.colour == "BGR", preprocessing.range
        self._mean, self._std = (
            torch.tensor(triple, device=device).view(3, 1, 1) for triple in (preprocessing.mean, preprocessing.std)
        )

    def __call__(self, batch: MicroBatch) -> Tensor:
        if batch.crops.is_floating_point():
            return batch.crops
        x = (batch.crops.permute(0, 3, 1, 2) / 255 + batch.shifts[:, :, None, None]) * self._range
        if self._bgr:
            x = x.flip(1)
        return ((x - self._mean) / self._std).contiguous(memory_format=torch.channels_last)


class Learner:
    """A net in training, in one of several processes.

    Weights and momentum are float32 in any precision. `vgg` is the net itself, `layers` the part of it that images or
    their maps go through; DistributedDataParallel averages the gradients of the processes.
    """

    def __init__(
        self, vgg: VGG, recipe: TrainingSettings, objective: Objective, preprocessing: Preprocessing, ranks: Ranks
    ) -> None:
        self.recipe, self.objective, self.ranks = recipe, objective, ranks
        self.vgg = vgg.to(ranks.device).to(memory_format=torch.channels_last)
        for name, parameter in vgg.named_parameters():
            parameter.requires_grad_(recipe.finetune == "all" or name.startswith("fc"))
        self.trained = {name: p for name, p in vgg.named_parameters() if p.requires_grad}
        self.input = Input(preprocessing, ranks.device)
        self.bfloat16 = find_precision(recipe.precision, ranks.device) == "bfloat16"
        self.sgd = torch.optim.SGD(
            self.trained.values(),
            lr=recipe.lr or 0.0,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self.layers: nn.Sequential = after_pool5(vgg) if recipe.keeps_maps else vgg
        if len(recipe.options.crop_sizes) > 1:
            self.layers = for_small_crops(vgg)
        self._ddp = DistributedDataParallel(self.layers, **_ddp_options(ranks)) if ranks.world > 1 else None
        model: nn.Module = self._ddp or self.layers
        self._model: Any = torch.compile(model) if recipe.compile else model

    def step(self, batches: Iterable[MicroBatch], count: int, seed: int) -> tuple[Tensor, list[Failure]]:
        """One step over `count` micro-batches: the sum of all processes' tallies, and this one's unreadable images.

        `gradient_norm` is then the norm of the gradient, over all parameters that are trained, before it is clipped.
        The gradient is the mean over the images of all processes and micro-batches that have a loss, however they are
        divided.
        """
        torch.manual_seed(seed)  # dropout
        self.vgg.train()
        self.sgd.zero_grad()
        total, failures = self.no_images(), []
        for number, batch in enumerate(islice(batches, count), start=1):
            with self._no_exchange(number < count):
                total += self._add_gradients(batch)
            failures += batch.failures
        total = self.ranks.sum(total)
        if failures or self.ranks.world > 1 or not self.objective.all_count:
            factor = (self.recipe.batch / total[-1].clamp(min=1)).float()
            for parameter in self.trained.values():
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)
        self.gradient_norm = nn.utils.get_total_norm([p.grad for p in self.trained.values() if p.grad is not None])
        if self.recipe.options.clip:
            nn.utils.clip_grads_with_norm_(self.trained.values(), self.recipe.options.clip, self.gradient_norm)
        self.sgd.step()
        return total, failures

    def _no_exchange(self, more: bool) -> AbstractContextManager[Any]:
        """The processes exchange gradients once per step, after the last micro-batch."""
        return self._ddp.no_sync() if self._ddp and more else nullcontext()

    def no_images(self) -> Tensor:
        """The tally of no images."""
        return torch.zeros(len(self.objective.measures) + 1, dtype=torch.float64, device=self.ranks.device)

    def _add_gradients(self, batch: MicroBatch) -> Tensor:
        batch = batch.to(self.ranks.device)
        with self._autocast():
            outputs = self._model(self.input(batch))
        loss = self.objective.loss(outputs.float(), batch)
        (loss * (self.ranks.world / self.recipe.batch)).backward()  # the processes' gradients are averaged, not summed
        return self.objective.tally(outputs.detach().float(), batch, training=True)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.bfloat16)

    @torch.inference_mode()
    def judge(self, batch: MicroBatch, health: Health | None = None) -> Tensor:
        """The tally of a micro-batch without dropout; fc8 is computed in float32, so that few scores are equal."""
        self.vgg.eval()
        batch = batch.to(self.ranks.device)
        health = health or Health()
        with self._autocast():
            x = self.input(batch)
            for number, layer in enumerate(self.layers[:-1]):
                x = layer(x)
                if isinstance(layer, nn.ReLU) and x.ndim == 4:
                    health.add_maps(number, x)
        outputs = self.layers[-1](x.float())
        health.add_outputs(outputs)
        return self.objective.tally(outputs, batch, training=False)

    def set_rate(self, rate: float) -> None:
        """Change the learning rate.

        Krizhevsky's velocity, v <- 0.9 v - rate * gradient, contains the rate, and so keeps its speed for a while.
        torch's momentum does not contain it, and is scaled to have the same effect.
        """
        group = self.sgd.param_groups[0]
        if rate == group["lr"]:
            return
        for buffer in self._momentum().values():
            buffer.mul_(group["lr"] / rate)
        group["lr"] = rate

    def tensors(self) -> dict[str, Tensor]:
        """The state of the learner, on the CPU: net/conv1_1.weight, ..., momentum/conv1_1.weight, ..."""
        state = {f"net/{name}": value for name, value in self.vgg.state_dict().items()}
        state |= {f"momentum/{name}": value for name, value in self._momentum().items()}
        return {name: value.detach().cpu().contiguous() for name, value in state.items()}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], rate: float) -> None:
        """Restore the state that `tensors` returned. Raises WeightsError if it belongs to another net."""
        for name, parameter in self.vgg.named_parameters():
            kept = tensors.get(f"net/{name}")
            if kept is None or kept.shape != parameter.shape:
                found = f"of shape {tuple(kept.shape)}" if kept is not None else "missing"
                raise WeightsError(f"{name} is {found}, and this net's is of shape {tuple(parameter.shape)}")
            parameter.copy_(kept)
        for name, parameter in self.trained.items():
            if f"momentum/{name}" in tensors:
                buffer = torch.empty_like(parameter).copy_(tensors[f"momentum/{name}"])
                self.sgd.state[parameter]["momentum_buffer"] = buffer
        self.sgd.param_groups[0]["lr"] = rate

    def _momentum(self) -> dict[str, Tensor]:
        found = {name: self.sgd.state.get(p, {}).get("momentum_buffer") for name, p in self.trained.items()}
        return {name: buffer for name, buffer in found.items() if buffer is not None}


def after_pool5(vgg: VGG) -> nn.Sequential:
    """The fully connected layers: maps at pool5 to outputs."""
    names = [name for name, _ in vgg.named_children()]
    layers: nn.Sequential = vgg[names.index("pool5") + 1 :]
    return layers


def for_small_crops(vgg: VGG) -> nn.Sequential:
    """The net with pool5 averaged or repeated to 7x7 before fc6, which changes nothing at 224 pixels."""
    layers = [*vgg.named_children()]
    at = [name for name, _ in layers].index("flatten")
    return nn.Sequential(OrderedDict([*layers[:at], ("to7x7", nn.AdaptiveAvgPool2d(FC_WINDOW)), *layers[at:]]))


def find_precision(precision: TrainingPrecision, device: torch.device) -> TrainingPrecision:
    """The precision of the layers by name; "auto" is bfloat16 on a GPU that supports it, else float32."""
    if precision != "auto":
        return precision
    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def _ddp_options(ranks: Ranks) -> dict[str, Any]:
    """Options of DistributedDataParallel; the buckets of gradients share the gradients' memory."""
    return {
        "device_ids": [ranks.device.index] if ranks.device.type == "cuda" else None,
        "gradient_as_bucket_view": True,
    }
