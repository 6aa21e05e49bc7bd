"""Which of many ranges numbers are in, without a look at every range."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


class Ranges:
    """Ranges lower ..< upper, each with the number of whom it belongs to. Of two that overlap the first one is cut off.

    Args:
        ranges: lower, upper and owner ≥ 0 of each.
    """

    def __init__(self, ranges: Iterable[tuple[int, int, int]]) -> None:
        table = np.asarray(sorted(ranges), np.int64).reshape(-1, 3)
        self._lower, self._upper, self._owner = table[:, 0], table[:, 1], table[:, 2]

    @staticmethod
    def joined(ranges: Iterable[tuple[int, int]]) -> Ranges:
        """All of one owner, 0; they may overlap."""
        found: list[tuple[int, int, int]] = []
        for lower, upper in sorted(ranges):
            if found and lower <= found[-1][1]:
                found[-1] = (found[-1][0], max(upper, found[-1][1]), 0)
            else:
                found.append((lower, upper, 0))
        return Ranges(found)

    def owners(self, numbers: I64) -> I64:
        """To whom each number belongs, −1 for nobody."""
        if not len(self._lower):
            return np.full(len(numbers), -1, np.int64)
        at = np.searchsorted(self._lower, numbers, side="right") - 1
        inside = (at >= 0) & (numbers < self._upper[np.maximum(at, 0)])
        return np.where(inside, self._owner[np.maximum(at, 0)], -1)

    def have(self, numbers: I64) -> npt.NDArray[np.bool_]:
        """Whether each number is in a range."""
        return np.asarray(self.owners(numbers) >= 0)
