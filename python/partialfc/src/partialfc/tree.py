"""The fixed binary tree along which results are combined, over slices or over micro-batches.

Node (level, index) covers the leaves index·2^level ..< (index + 1)·2^level, cut off at the number of leaves. Floating-point sums depend
on their order, so everything is combined along this tree, whoever computed which part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

Node = tuple[int, int]
V = TypeVar("V")


class ReductionTree:
    """A tree over `leaves` ≥ 1 leaves."""

    def __init__(self, leaves: int) -> None:
        if leaves < 1:
            raise ValueError("a tree needs a leaf")
        self.leaves = leaves
        self.root: Node = ((leaves - 1).bit_length(), 0)

    def covers(self, node: Node) -> range:
        """The leaves below a node."""
        level, index = node
        return range(min(index << level, self.leaves), min((index + 1) << level, self.leaves))

    def contains(self, node: Node) -> bool:
        """Whether the node is part of this tree and covers a leaf."""
        level, index = node
        return 0 <= level <= self.root[0] and 0 <= index <= (self.leaves - 1) >> level

    def subtrees(self, lower: int, upper: int) -> list[Node]:
        """The largest whole subtrees of the leaves lower ..< upper, in the order of their leaves."""
        found: list[Node] = []

        def visit(node: Node) -> None:
            covered = self.covers(node)
            if not covered or covered.stop <= lower or upper <= covered.start:
                return
            if lower <= covered.start and covered.stop <= upper:
                found.append(node)
            else:
                visit((node[0] - 1, node[1] * 2))
                visit((node[0] - 1, node[1] * 2 + 1))

        visit(self.root)
        return found

    def combine(self, parts: Mapping[Node, V], merge: Callable[[V, V], V], node: Node | None = None) -> V | None:
        """The value at `node` (the root by default), from those of disjoint subtrees; None if a leaf is missing."""
        node = self.root if node is None else node
        if node in parts:
            return parts[node]
        level, index = node
        if level == 0:
            return None
        left = self.combine(parts, merge, (level - 1, index * 2))
        if left is None or not self.covers((level - 1, index * 2 + 1)):
            return left
        right = self.combine(parts, merge, (level - 1, index * 2 + 1))
        return None if right is None else merge(left, right)
