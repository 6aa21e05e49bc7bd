"""Centers that are close to each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from .exact import F32
from .frames import Tensor


class Pair(NamedTuple):
    """Two classes, `a` < `b`, and the cosine of their centers."""

    a: int
    b: int
    cosine: float


def directions(rows: F32) -> F32:
    """Rows [n, D] divided by their lengths; zeros for those without any."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), np.float32)


def nearest(queries: F32, own: Tensor | None, blocks: Iterable[tuple[Tensor, F32]], count: int) -> tuple[Tensor, F32]:
    """The closest of all rows to each query: ids i64 and cosines f32 [q, count], −1 and −∞ where there are not as many.

    Args:
        queries: f32 [q, D].
        own: the class of each query, which is left out, or None.
        blocks: ids i64 [n] and rows f32 [n, D].
    """
    units = directions(queries)
    ids = np.full((len(units), count), -1, np.int64)
    cosines = np.full((len(units), count), -np.inf, np.float32)
    for numbers, rows in blocks:
        products = units @ directions(rows).T
        if own is not None:
            products[own[:, None] == numbers[None, :]] = -np.inf
        all_ids = np.concatenate([ids, np.broadcast_to(numbers, products.shape)], axis=1)
        all_cosines = np.concatenate([cosines, products], axis=1)
        best = np.argsort(-all_cosines, axis=1, kind="stable")[:, :count]
        ids, cosines = np.take_along_axis(all_ids, best, 1), np.take_along_axis(all_cosines, best, 1)
    return ids, cosines


def close_pairs(blocks: Iterable[tuple[Tensor, F32]], threshold: float, limit: int) -> list[Pair]:
    """Pairs of rows with at least this cosine, the closest first, at most `limit`."""
    parts = [(ids, directions(rows)) for ids, rows in blocks]
    found: list[Pair] = []
    for i, (ids, rows) in enumerate(parts):
        for others, other_rows in parts[i:]:
            products = rows @ other_rows.T
            left, right = np.nonzero((products >= threshold) & (ids[:, None] < others[None, :]))
            found += [Pair(int(ids[a]), int(others[b]), float(products[a, b])) for a, b in zip(left, right, strict=True)]
        if len(found) > limit:
            found = sorted(found, key=lambda pair: -pair.cosine)[:limit]
    return sorted(found, key=lambda pair: -pair.cosine)[:limit]
