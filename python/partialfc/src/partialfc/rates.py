"""The optimiser that has the head's parameter: its learning rate is the centers', its decay must be the cluster's."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch.optim import Optimizer

from .errors import PartialFCError, WrongConfiguration, WrongRate


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


class Stepped(Protocol):
    """A head."""

    def before_step(self, optimizer: Optimizer) -> None:
        """Is told that the optimiser is about to step."""


class OptimizerLink:
    """The optimiser whose steps keep those of a head, once it is known.

    Args:
        parameter: of the head.
    """

    def __init__(self, parameter: torch.Tensor) -> None:
        self._parameter = parameter
        self._optimizer: weakref.ref[Optimizer] | None = None
        self._hook: Any = None

    def attach(self, optimizer: Optimizer, head: weakref.ref[Any]) -> None:
        """Has the head told before every step.

        Raises:
            WrongConfiguration: the optimiser does not have the head's parameter.
        """
        if group_of(optimizer, self._parameter) is None:
            raise WrongConfiguration("this optimiser does not have the head's parameter: give it {'params': head.parameters()}")
        if self._hook is not None and hasattr(self._hook, "remove"):
            self._hook.remove()

        def before_step(optimizer: Optimizer, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            stepped: Stepped | None = head()
            if stepped is None:
                return
            if named.get("closure") is not None or any(one is not None for one in arguments[1:]):
                raise PartialFCError(
                    "optimizer.step(closure) does not work with the head: a step is kept before the closure would compute it; call the "
                    "head and backward first, then step() without a closure"
                )
            stepped.before_step(optimizer)

        self._hook = before_optimizer_steps(optimizer, before_step)
        self._optimizer = weakref.ref(optimizer)

    def rate(self, configuration: Mapping[str, Any], head: weakref.ref[Any]) -> float:
        """The learning rate of the head's group; finds the optimiser if nobody has said which.

        Raises:
            WrongConfiguration: there is none, or several, or its group does not fit the cluster.
        """
        optimizer = self._optimizer() if self._optimizer else None
        if optimizer is None:
            optimizer = find_optimizer(self._parameter)
            if optimizer is None:
                raise WrongConfiguration(
                    "no optimiser has the head's parameter: add {'params': head.parameters()} to its groups before the first step"
                )
            self.attach(optimizer, head)
        group = group_of(optimizer, self._parameter)
        if group is None:
            raise WrongConfiguration("the optimiser does not have the head's parameter any more")
        check_group(group, configuration)
        return float(group["lr"])
