"""Batches of a loader, several for each step of the optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")


class TakesLabels(Protocol):
    """A head."""

    def prefetch(self, local_labels: Tensor) -> None:
        """Is told the labels of the next step."""


def second(batch: Any) -> Tensor:
    """The labels of a batch (images, labels, …)."""
    labels: Tensor = batch[1]
    return labels


def accumulated(
    head: TakesLabels, batches: Iterable[Batch], parts: int, labels: Callable[[Batch], Tensor], drop_last: bool
) -> Iterator[Batch]:
    """The batches, `parts` of which are read ahead so that the head can be told their labels first."""
    if parts < 1:
        raise ValueError(f"a step has {parts} parts, expected at least 1")
    group: list[Batch] = []

    def tell() -> None:
        head.prefetch(torch.cat([labels(one).reshape(-1) for one in group]))

    for batch in batches:
        group.append(batch)
        if len(group) == parts:
            tell()
            yield from group
            group.clear()
    if group and not drop_last:
        tell()
        yield from group
