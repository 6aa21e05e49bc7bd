"""Which classes there are, after the operations on them that operators ordered."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt

from .errors import MalformedMessage

I64 = npt.NDArray[np.int64]


class ClassRegistry:
    """The classes of a run.

    Args:
        initial: their number at the start.
        operations: those that were applied, as the coordinator tells them (JSON).
    """

    def __init__(self, initial: int, operations: str = "") -> None:
        self.count = initial
        self._other: dict[int, int] = {}
        self._retired: list[tuple[int, int]] = []
        self.version = 0
        try:
            for operation in json.loads(operations or "[]"):
                self._apply(operation)
                self.version += 1
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise MalformedMessage(f"the coordinator's operations on the classes cannot be read: {error!r}") from None

    def _apply(self, operation: dict[str, dict[str, object]]) -> None:
        ((kind, detail),) = operation.items()
        if kind == "add":
            self.count += int(str(detail["count"]))
        elif kind == "retire":
            ranges = detail.get("ranges") or [[one, one + 1] for one in detail["_0"]]  # type: ignore[attr-defined]
            self._retired += [(int(lower), int(upper)) for lower, upper in ranges]  # type: ignore[attr-defined]
        elif kind == "merge":
            before, into = int(str(detail["from"])), int(str(detail["into"]))
            self._other[before] = into
        else:
            raise MalformedMessage(f'the coordinator tells of an operation "{kind}" on the classes, which this client does not know')

    def labels(self, labels: I64) -> I64:
        """Labels [n] after merges; −1 for those of classes that are retired, whose samples take no part."""
        if not self._other and not self._retired:
            return labels
        labels = labels.copy()
        for before, into in self._other.items():
            labels[labels == before] = into
        for lower, upper in self._retired:
            labels[(labels >= lower) & (labels < upper)] = -1
        return labels
