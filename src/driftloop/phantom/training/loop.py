"""The one training loop: AdamW, warm-up then cosine, moving average of weights, bf16 arithmetic, checkpoints to resume from.

What a step draws at random comes from (seed, step, rank), so a resumed training continues as if it had not stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from driftloop.core.rng import derive, generator


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train: `steps` of `batch` rows per process, top learning `rate`, `ema` decay of the copy."""

    name: str
    steps: int
    batch: int
    rate: float
    seed: int
    ema: float = 0.995
    decay: float = 0.01
    warmup: int = 50


Loss = Callable[[np.random.Generator], torch.Tensor]


@contextmanager
def half_precision() -> Iterator[None]:
    """bf16 where it is safe, twice as fast where the processor has it; plain attention, faster on short sequences."""
    with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        yield


def fit(plan: Plan, model: nn.Module, loss: Loss, folder: Path, report_every: int = 100) -> nn.Module:
    """Trains `model` in place on `loss`, resuming from the checkpoint in `folder`, and leaves the averaged weights in it."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.rate, weight_decay=plan.decay, betas=(0.9, 0.99))
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    path = folder / f"{plan.name}.pt"
    start = _resume(path, model, optimiser, average)
    clock, running = time.time(), 0.0
    model.train()
    for step in range(start, plan.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(plan, step)
        value = _step(model, optimiser, partial(loss, generator(derive(plan.seed, plan.name, step, place()[0]))))
        _follow(average, model, min(plan.ema, (1 + step) / (10 + step)))
        running += (value - running) * max(0.02, 1 / (step - start + 1))
        if (step + 1) % report_every == 0 or step + 1 == plan.steps:
            _report(plan, step + 1, running, (time.time() - clock) / (step + 1 - start))
            _save(path, model, optimiser, average, step + 1)
    model.load_state_dict(average)
    return model.eval()


def learning_rate(plan: Plan, step: int) -> float:
    """Linear warm-up, then a cosine down to 2 % of the top rate."""
    if step < plan.warmup:
        return plan.rate * (step + 1) / plan.warmup
    done = (step - plan.warmup) / max(1, plan.steps - plan.warmup)
    return plan.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def _step(model: nn.Module, optimiser: torch.optim.Optimizer, loss: Callable[[], torch.Tensor]) -> float:
    value = loss()
    optimiser.zero_grad(set_to_none=True)
    value.backward()
    _share_gradients(model)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return float(value.detach())


def _share_gradients(model: nn.Module) -> None:
    """The mean gradient over the processes of the group, if there is one."""
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = summed(torch.cat([g.reshape(-1) for g in gradients])) / dist.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def place() -> tuple[int, int]:
    """This process's number and how many there are in the group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def summed(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor`, in place, as the sum over the processes of the group."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


@torch.no_grad()
def _follow(average: dict[str, torch.Tensor], model: nn.Module, decay: float) -> None:
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - decay)
        else:
            average[name].copy_(value)


def _report(plan: Plan, step: int, loss: float, seconds: float) -> None:
    if place()[0] == 0:
        print(f"{plan.name} step {step}/{plan.steps} loss {loss:.4f} {seconds * 1000:.0f} ms/step", flush=True)


def _save(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, average: dict[str, torch.Tensor], step: int) -> None:
    if place()[0] != 0:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "average": average, "step": step}
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").rename(path)


def _resume(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, average: dict[str, torch.Tensor]) -> int:
    """Loads the checkpoint at `path` if there is one; the step to continue with."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    average.update(state["average"])
    return int(state["step"])
