"""The net and its optimiser: one step of stochastic gradient descent with momentum (Sect. 3.1)."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from vggfeat.errors import WeightsError
from vggfeat.nets.vgg import VGG
from vggfeat.train.loading import Failure, MicroBatch
from vggfeat.train.ranks import Ranks
from vggfeat.train.recipe import Recipe, TrainingPrecision
from vggfeat.weights.header import Preprocessing

TOP = (1, 5)  # the errors that are reported (Sect. 4)


class Input:
    """A micro-batch as the net sees it: float32 (N, 3, 224, 224), shifted in colour and preprocessed."""

    def __init__(self, preprocessing: Preprocessing, device: torch.device) -> None:
        self.device = device
        self._bgr, self._range = preprocessing.colour == "BGR", preprocessing.range
        self._mean, self._std = (
            torch.tensor(triple, device=device).view(3, 1, 1) for triple in (preprocessing.mean, preprocessing.std)
        )

    def __call__(self, batch: MicroBatch) -> Tensor:
        crops = batch.crops.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        shifts = batch.shifts.to(self.device, non_blocking=True)[:, :, None, None]
        x = (crops / 255 + shifts) * self._range
        if self._bgr:
            x = x.flip(1)
        return ((x - self._mean) / self._std).contiguous(memory_format=torch.channels_last)


def tally(scores: Tensor, labels: Tensor) -> Tensor:
    """float64 (4,): the sum of the losses, the images wrong among the best 1 and the best 5, and all images.

    scores (N, K), labels (N,). An image is right among the best k if fewer than k other classes score at least as
    high as its own: a net that gives all classes the same score is wrong (as in `metrics.top_k_error`).
    """
    scores = scores.detach().float()
    as_good = (scores >= scores.gather(1, labels[:, None])).sum(1)
    wrong = [((as_good < 1) | (as_good > k)).sum() for k in TOP]  # as_good is 0 for NaN scores
    loss = functional.cross_entropy(scores, labels, reduction="sum")
    return torch.stack([value.double() for value in (loss, *wrong, (labels >= 0).sum())])


class Learner:
    """A net in training, in one of several processes.

    Weights and momentum are float32 in any precision. `vgg` is the net itself; DistributedDataParallel averages the
    gradients of the processes.
    """

    def __init__(self, vgg: VGG, recipe: Recipe, preprocessing: Preprocessing, ranks: Ranks) -> None:
        self.recipe, self.ranks = recipe, ranks
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
        self._ddp = DistributedDataParallel(vgg, **_ddp_options(ranks)) if ranks.world > 1 else None
        model: nn.Module = self._ddp or self.vgg
        self._model: Any = torch.compile(model) if recipe.compile else model

    def step(self, batches: Iterable[MicroBatch], count: int, seed: int) -> tuple[Tensor, list[Failure]]:
        """One step over `count` micro-batches: the sum of all processes' tallies, and this one's unreadable images.

        The gradient is the mean over the images of all processes and micro-batches, however they are divided.
        """
        torch.manual_seed(seed)  # dropout
        self.vgg.train()
        self.sgd.zero_grad()
        total, failures = torch.zeros(2 + len(TOP), dtype=torch.float64, device=self.ranks.device), []
        for number, batch in enumerate(islice(batches, count), start=1):
            with self._no_exchange(number < count):
                total += self._add_gradients(batch)
            failures += batch.failures
        total = self.ranks.sum(total)
        if failures or self.ranks.world > 1:  # the mean is over the readable images
            factor = (self.recipe.batch / total[-1]).float()
            for parameter in self.trained.values():
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)
        self.sgd.step()
        return total, failures

    def _no_exchange(self, more: bool) -> AbstractContextManager[Any]:
        """The processes exchange gradients once per step, after the last micro-batch."""
        return self._ddp.no_sync() if self._ddp and more else nullcontext()

    def _add_gradients(self, batch: MicroBatch) -> Tensor:
        labels = batch.labels.to(self.ranks.device, non_blocking=True)
        with self._autocast():
            scores = self._model(self.input(batch))
        loss = functional.cross_entropy(scores.float(), labels, reduction="sum")
        (loss * (self.ranks.world / self.recipe.batch)).backward()  # the processes' gradients are averaged, not summed
        return tally(scores, labels)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.bfloat16)

    @torch.inference_mode()
    def judge(self, batch: MicroBatch) -> Tensor:
        """The tally of a micro-batch without dropout; fc8 is computed in float32, so that few scores are equal."""
        self.vgg.eval()
        with self._autocast():
            features = self.vgg[:-1](self.input(batch))
        return tally(self.vgg[-1](features.float()), batch.labels.to(self.ranks.device))

    def set_rate(self, rate: float) -> None:
        """Change the learning rate.

        Krizhevsky's velocity, v <- 0.9 v - rate * gradient, contains the rate, and so keeps its speed for a while.
        torch's momentum does not contain it, and is scaled to have the same effect.
        """
        group = self.sgd.param_groups[0]
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
