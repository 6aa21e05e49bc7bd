"""Which losses of a head may go backward, so that no gradient is of a step that was undone, and none counts twice."""

from __future__ import annotations

from torch import Tensor

from .errors import AccumulationError

_REMEDY = (
    "call the head once for each step of the optimiser, with the whole batch, or tell it the labels of the whole batch before its parts "
    "(head.accumulate, head.prefetch)"
)


class Ledger:
    """The calls of a head, numbered from 1, and those of them that belong to the step that the cluster has open."""

    def __init__(self) -> None:
        self._calls = 0
        self._open: set[int] = set()
        self._propagated: set[int] = set()
        self._stale: tuple[Tensor, int] | None = None

    def call(self) -> int:
        """The number of another call for the open step."""
        self._calls += 1
        self._open.add(self._calls)
        return self._calls

    def close(self) -> None:
        """The step is kept or undone."""
        self._open.clear()
        self._propagated.clear()

    def undo(self, gradient: Tensor | None) -> None:
        """The step is undone, and a gradient of the head's parameter shows that one of its losses went backward."""
        if gradient is not None and self._open:
            self._stale = (gradient, gradient._version)

    def check(self, call: int, gradient: Tensor | None) -> None:
        """Before the loss of a call goes backward; `gradient` is that of the head's parameter.

        Raises:
            AccumulationError: the step of that call was undone or is kept already, its loss went backward before, or there was no step of
                the optimiser and no zero_grad since the loss of an undone step went backward.
        """
        if call not in self._open:
            why = (
                "another call of the head or abandon() has undone its step, or the optimiser has stepped"
                if self._open
                else "its step is kept already, or was undone"
            )
            raise AccumulationError(
                f"backward was called for a loss of the head whose step is not open any more: {why}; {_REMEDY}, and backward before the "
                "next call"
            )
        if call in self._propagated:
            raise AccumulationError(
                "backward was called twice for one loss of the head, so its gradient would count twice: call it once for each call of the "
                "head, on the sum of all losses"
            )
        before, self._stale = self._stale, None
        if before is not None and before[0] is gradient and gradient._version == before[1]:
            raise AccumulationError(
                "backward was called for two losses of the head without a step of the optimiser or a zero_grad between: gradients are "
                f"not accumulated over several steps of the cluster (batch.size); {_REMEDY}"
            )
        self._propagated.add(call)
