"""The optimiser that has the head's parameter: its learning rate is the centers', its decay must be the cluster's."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer

from .errors import WrongConfiguration, WrongRate


def group_of(optimizer: Optimizer, parameter: torch.Tensor) -> dict[str, Any] | None:
    """The group of an optimiser that has a parameter."""
    for group in optimizer.param_groups:
        if any(one is parameter for one in group["params"]):
            return group
    return None


def find_optimizer(parameter: torch.Tensor) -> Optimizer | None:
    """The one optimiser of this process that has a parameter.

    Raises:
        WrongConfiguration: there are several.
    """
    found = [one for one in gc.get_objects() if issubclass(type(one), Optimizer) and group_of(one, parameter) is not None]
    if len(found) > 1:
        raise WrongConfiguration("several optimisers have the head's parameter; say which one steps with head.attach(optimizer)")
    return found[0] if found else None


def before_optimizer_steps(optimizer: Optimizer, work: Callable[..., None]) -> Any:
    """Calls `work(optimizer, arguments, named)`, as PyTorch does, before every step; what removes it again, or None before PyTorch 2.0."""
    if hasattr(optimizer, "register_step_pre_hook"):
        return optimizer.register_step_pre_hook(work)
    step = optimizer.step

    @functools.wraps(step)
    def stepped(*arguments: Any, **more: Any) -> Any:
        work(optimizer, (optimizer, *arguments), more)
        return step(*arguments, **more)

    optimizer.step = stepped  # type: ignore[method-assign]
    return None


def check_rates(rates: Sequence[float]) -> None:
    """Checks the learning rates that the ranks are about to send, which are float32 on the way.

    Raises:
        WrongRate: one is not finite or negative, or two ranks differ; the message names values and ranks.
    """
    with np.errstate(over="ignore"):
        sent = np.asarray(rates, np.float64).astype(np.float32)
    for rank, (rate, value) in enumerate(zip(rates, sent, strict=True)):
        if not (np.isfinite(value) and value >= 0):
            of = f" at rank {rank}" if len(rates) > 1 else ""
            raise WrongRate(f"the learning rate of the head's group is {rate:g}{of}: it must be a finite number from 0 up (float32)")
        if value != sent[0]:
            raise WrongRate(
                f"the learning rate of the head's group is {rates[0]:.9g} at rank 0 and {rate:.9g} at rank {rank}: it must be the same at "
                "every rank"
            )


def check_group(group: Mapping[str, Any], configuration: Mapping[str, Any]) -> None:
    """Compares what the group says of the centers' update with the cluster's section `optimizer`.

    Raises:
        WrongConfiguration: momentum or weight decay differ; the message names both.
    """
    section = configuration.get("optimizer", {})
    for name in ("weight_decay", "momentum"):
        if name in group and name in section and (name != "momentum" or section.get("name", "sgd") == "sgd"):
            ours, theirs = float(group[name]), float(section[name])
            if abs(ours - theirs) > 1e-6 * max(abs(theirs), 1e-3):
                raise WrongConfiguration(
                    f"the optimiser's group of the head has {name} {ours:g}, and the cluster's configuration has optimizer.{name} "
                    f"{theirs:g}, by which the centers are updated: make them equal"
                )
