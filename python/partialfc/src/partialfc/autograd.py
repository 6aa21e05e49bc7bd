"""The head as an operator of PyTorch, opaque to `torch.compile`: losses and gradients come from the cluster."""

from __future__ import annotations

import itertools
import logging
import math
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .errors import PartialFCError

if TYPE_CHECKING:
    from .head import PartialFC

log = logging.getLogger("partialfc")
_heads: weakref.WeakValueDictionary[int, PartialFC] = weakref.WeakValueDictionary()
_numbers = itertools.count(1)
_checked: set[int] = set()


def register(head: PartialFC) -> int:
    """The number by which the operator finds a head."""
    number = next(_numbers)
    _heads[number] = head
    return number


def _exchange(
    features: Tensor, labels: Tensor, weight: Tensor, margins: Tensor | None, loss_weight: Tensor | None, head: int
) -> tuple[Tensor, Tensor, Tensor]:
    if head not in _heads:
        raise PartialFCError("the head of this computation does not exist any more")
    return _heads[head].exchange(features, labels, margins, loss_weight)


def _propagate(gradient: Tensor, outer: Tensor, like: Tensor, call: Tensor, head: int) -> Tensor:
    """outer · gradient, in the type of the features."""
    if head in _heads:
        _heads[head].check_backward(int(call))
    if outer.device.type == "cpu" and head not in _checked:
        factor = float(outer)
        # A GradScaler multiplies with powers of two from 1 up.
        if math.isfinite(factor) and not (factor >= 1 and math.frexp(factor)[0] == 0.5):
            _checked.add(head)
            log.warning(
                "the head's loss was multiplied by %g before backward(): that reaches the network, but not the class centers; "
                "give the factor to the head as loss_weight instead",
                factor,
            )
    return (outer.to(torch.float32) * gradient).to(like.dtype)


class _Exchange(torch.autograd.Function):
    """For versions of PyTorch before 2.4, which cannot compile operators from outside into a graph."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        output = _exchange(*inputs)
        ctx.save_for_backward(output[1], inputs[0].new_empty(0), inputs[2].new_empty(0), output[2])
        ctx.head = inputs[5]
        ctx.mark_non_differentiable(output[1], output[2])
        return output

    @staticmethod
    def backward(ctx: Any, outer: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        gradient, like, weight, call = ctx.saved_tensors
        return _propagate(gradient, outer, like, call, ctx.head), None, torch.zeros_like(weight), None, None, None


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    features, _, weight, _, _, head = inputs
    _, gradient, call = output
    ctx.save_for_backward(gradient, features.new_empty(0), weight.new_empty(0), call)
    ctx.head = head
    ctx.mark_non_differentiable(gradient, call)


def _operators() -> Any:
    """The head as an operator with a gradient, opaque to `torch.compile`."""
    exchange = torch.library.custom_op(
        "partialfc::exchange",
        _exchange,
        mutates_args=(),
        schema="(Tensor features, Tensor labels, Tensor weight, Tensor? margins, Tensor? loss_weight, int head) "
        "-> (Tensor, Tensor, Tensor)",
    )
    propagate = torch.library.custom_op(
        "partialfc::propagate",
        _propagate,
        mutates_args=(),
        schema="(Tensor gradient, Tensor outer, Tensor like, Tensor call, int head) -> Tensor",
    )

    def backward(ctx: Any, outer: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        gradient, like, weight, call = ctx.saved_tensors
        return propagate(gradient, outer, like, call, ctx.head), None, torch.zeros_like(weight), None, None, None

    def fake(features: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
        loss, gradient = features.new_empty((), dtype=torch.float32), features.new_empty(features.shape, dtype=torch.float32)
        return loss, gradient, torch.empty((), dtype=torch.int64, device="cpu")

    exchange.register_fake(fake)
    propagate.register_fake(lambda gradient, outer, like, call, head: torch.empty_like(gradient, dtype=like.dtype))
    exchange.register_autograd(backward, setup_context=_setup)
    return exchange


exchange: Any = _operators() if hasattr(torch.library, "custom_op") else _Exchange.apply
"""Loss f32 [] of the global batch, and ∂loss/∂features f32 [n, D] for this rank, scaled for DDP's mean, and the number of the call i64 []
on the host."""
