"""Which classes there are, after the operations on them that operators ordered."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .checked import inner, json_of, listed, ranges_of, table, whole
from .errors import MalformedMessage
from .protobuf import NUMBER
from .ranges import Ranges

I64 = npt.NDArray[np.int64]
_WHAT = "the coordinator's list of operations on the classes"


class ClassRegistry:
    """The classes of a run.

    Args:
        initial: their number at the start.
        operations: those that were applied, as the coordinator tells them (JSON).
        first: how many of these count; None: all.

    Raises:
        MalformedMessage: the operations cannot be read, are unknown, or are fewer than `first`.
    """

    def __init__(self, initial: int, operations: str = "", first: int | None = None) -> None:
        self.count = initial
        self._other: dict[int, int] = {}
        self._retired: list[tuple[int, int]] = []
        told = listed(json_of(operations or "[]", _WHAT), _WHAT)
        self.version = len(told) if first is None else first
        if self.version > len(told):
            raise MalformedMessage(f"{_WHAT} has {len(told)} entries, and {self.version} were applied")
        for operation in told[: self.version]:
            self._apply(table(operation, f"an entry of {_WHAT}"))
        self._gone = Ranges.joined(self._retired)

    def _apply(self, operation: dict[str, Any]) -> None:
        if len(operation) != 1:
            raise MalformedMessage(f"{_WHAT} has an entry of {len(operation)} kinds")
        ((kind, detail),) = operation.items()
        what = f'an operation "{kind[:100]}" in {_WHAT}'
        detail = table(detail, what)
        if kind == "add":
            self.count = whole(self.count + whole(inner(detail, "count", what), f"count of {what}"), "the number of classes", 1)
        elif kind == "retire":
            if detail.get("ranges"):
                self._retired += ranges_of(detail["ranges"], f"ranges of {what}")
            else:
                ones = listed(inner(detail, "_0", what), what)
                self._retired += [(one, one + 1) for one in (whole(one, f"a class of {what}", 0, NUMBER - 1) for one in ones)]
        elif kind == "merge":
            before, into = (whole(inner(detail, name, what), f"{name} of {what}", 0, self.count - 1) for name in ("from", "into"))
            self._other[before] = into
        else:
            raise MalformedMessage(f"there is {what}, which this client does not know")

    def labels(self, labels: I64) -> I64:
        """Labels [n] after merges; −1 for those of classes that are retired, whose samples take no part."""
        if not self._other and not self._retired:
            return labels
        labels = labels.copy()
        for before, into in self._other.items():
            labels[labels == before] = into
        labels[self._gone.have(labels)] = -1
        return labels
