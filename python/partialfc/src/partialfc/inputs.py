"""Labels, margins and weights as trainers give them, checked, on the host."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .exact import F32
from .turn import I64

LARGEST_WEIGHT = 1e6
"""Of a sample's loss."""


def labels_of(labels: Tensor) -> I64:
    """Labels [n] or [n, 1] of any integer type, as i64 [n] on the host.

    Raises:
        ValueError: they are no integers.
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"the labels are {labels.dtype}, expected integers")
    return labels.detach().reshape(-1).to("cpu", torch.int64).numpy()


def margins_of(margins: Tensor | None, n: int, count: int) -> F32 | None:
    """Margins [n, 3] as f32 [count, 3] on the host, or None.

    Raises:
        ValueError: their shape is another, or one is not finite or out of its domain.
    """
    if margins is None:
        return None
    if margins.shape != (n, 3):
        raise ValueError(f"the margins are {list(margins.shape)}, expected [{n}, 3]: m1, m2 and m3 of each sample")
    values = np.zeros((count, 3), np.float32)
    values[:, 0] = 1.0
    values[:n] = margins.detach().to("cpu", torch.float32).numpy()
    if not np.isfinite(values).all():
        raise ValueError("a margin is not finite")
    # The domain of the shards.
    for column, (lower, upper) in enumerate(((0.01, 100.0), (-100.0, 100.0), (-100.0, 100.0))):
        bad = np.flatnonzero((values[:, column] < np.float64(lower)) | (values[:, column] > np.float64(upper)))
        if len(bad):
            raise ValueError(f"margin m{column + 1} of sample {bad[0]} is {values[bad[0], column]:g}; it must be in {lower:g} to {upper:g}")
    return values


def weights_of(loss_weight: Tensor | None, n: int, count: int) -> F32 | None:
    """One weight or [n] as f32 [count] on the host, or None.

    Raises:
        ValueError: their shape is another, or one is negative, not finite, or too large.
    """
    if loss_weight is None:
        return None
    given = loss_weight.detach().to("cpu", torch.float32).numpy()
    if given.ndim and given.shape != (n,):
        raise ValueError(f"loss_weight is {list(given.shape)}, expected one number, or [{n}]")
    if not (np.isfinite(given).all() and (given >= 0).all()):
        raise ValueError("a loss_weight is negative or not finite")
    if (given > LARGEST_WEIGHT).any():
        raise ValueError(f"a loss_weight is {given.max():g}, more than {LARGEST_WEIGHT:g}: centers would overflow")
    weights = np.ones(count, np.float32)
    weights[:n] = given
    return weights
