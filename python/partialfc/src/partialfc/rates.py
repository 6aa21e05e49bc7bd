"""The optimiser that has the head's parameter: its learning rate is the centers', its decay must be the cluster's."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from .errors import WrongConfiguration


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
    """Calls `work(optimizer)` before every step; what removes it again, or None before PyTorch 2.0."""
    if hasattr(optimizer, "register_step_pre_hook"):
        return optimizer.register_step_pre_hook(work)
    step = optimizer.step

    @functools.wraps(step)
    def stepped(*arguments: Any, **more: Any) -> Any:
        work(optimizer)
        return step(*arguments, **more)

    optimizer.step = stepped  # type: ignore[method-assign]
    return None


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
