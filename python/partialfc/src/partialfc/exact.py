"""Elementary functions of the softmax head, to the bit as the servers compute them.

They are written out with +, −, ·, / and sqrt alone, which IEEE 754 fixes: the mathematical library's last bit differs between machines.
Denormal numbers count as zero, as on the servers: see `flush_denormals`.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

LANES = 16
SHORTEST = 1e-15
"""A row shorter than this has no direction, and gets no gradient."""


def flush_denormals() -> None:
    """Makes the calling thread count denormal numbers as zero, where the servers do so: on x86."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        import torch

        torch.set_flush_denormal(True)


def _quotients(divisors: Sequence[float], kind: type) -> list[Any]:
    return [kind(1) / kind(d) for d in divisors]


_EXPF = [*_quotients([5040, 720, 120, 24, 6], np.float32), np.float32(0.5), np.float32(1), np.float32(1)]
_FACTORIALS = [87178291200, 6227020800, 479001600, 39916800, 3628800, 362880, 40320, 5040, 720, 120, 24, 6]
_EXPM1 = [*_quotients(_FACTORIALS, np.float64), 0.5, 1.0]
_LOG = _quotients([23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3], np.float64)
_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")
_LOG2_E = float.fromhex("0x1.71547652b82fep0")


def expf(x: F32) -> F32:
    """exp(x) in single precision, 0 below −87, saturated above 88."""
    magic = np.float32(float.fromhex("0x1.8p23"))
    clamped = np.minimum(np.maximum(x, np.float32(-87)), np.float32(88))
    shifted = clamped * np.float32(1.44269504) + magic
    n = shifted - magic
    r = (clamped - n * np.float32(0.693359375)) + n * np.float32(2.12194440e-4)
    p = np.full_like(r, _EXPF[0])
    for coefficient in _EXPF[1:]:
        p = p * r + coefficient
    exponent = shifted.view(np.int32) - magic.view(np.int32)
    scale = ((exponent + np.int32(127)) << np.int32(23)).view(np.float32)
    return np.where(x < np.float32(-87), np.float32(0), p * scale)


def _expm1_series(r: F64) -> F64:
    p = np.full_like(r, _EXPM1[0])
    for coefficient in _EXPM1[1:]:
        p = p * r + coefficient
    return p


def exp(x: F64) -> F64:
    """exp(x) in double precision, 0 below −708, saturated above 708."""
    magic = np.float64(float.fromhex("0x1.8p52"))
    clamped = np.minimum(np.maximum(x, -708.0), 708.0)
    shifted = clamped * _LOG2_E + magic
    n = shifted - magic
    r = (clamped - n * _LN2_HIGH) - n * _LN2_LOW
    p = _expm1_series(r) * r + 1.0
    exponent = shifted.view(np.int64) - magic.view(np.int64)
    scale = ((exponent + 1023) << 52).view(np.float64)
    return np.where(x < -708.0, 0.0, p * scale)


def expm1(x: F64) -> F64:
    """exp(x) − 1 without cancellation."""
    small = (x > -0.34) & (x < 0.34)
    return np.where(small, _expm1_series(np.where(small, x, 0.0)) * x, exp(x) - 1.0)


def _log_series(s: F64) -> F64:
    z = s * s
    p = np.full_like(s, _LOG[0])
    for coefficient in _LOG[1:]:
        p = p * z + coefficient
    return 2.0 * (s + s * z * p)


def log(x: F64) -> F64:
    """log(x) in double precision for normal x > 0."""
    half_root = 0x3FE6A09E667F3BCD
    bits = x.view(np.int64)
    biased = ((bits - half_root + (1023 << 52)).view(np.uint64) >> np.uint64(52)).view(np.int64)
    fraction = (bits - ((biased - 1023) << 52)).view(np.float64)
    k = (biased - 1023).astype(np.float64)
    f = fraction - 1.0
    return k * _LN2_HIGH + (_log_series(f / (2.0 + f)) + k * _LN2_LOW)


def log1p(x: F64) -> F64:
    """log(1 + x) without cancellation, x ≥ 0."""
    small = x < 0.4
    s = np.where(small, x, 0.0)
    return np.where(small, _log_series(s / (2.0 + s)), log(np.ascontiguousarray(np.where(small, 1.0, 1.0 + x))))


def lane_sum(products: F64) -> F64:
    """Sums over the last axis of [n, D], in 16 lanes that are combined in a fixed order."""
    n, size = products.shape
    lanes = np.zeros((n, LANES))
    for start in range(0, size, LANES):
        part = products[:, start : start + LANES]
        lanes[:, : part.shape[1]] += part
    width = LANES // 2
    while width:
        lanes[:, :width] += lanes[:, width : 2 * width]
        width //= 2
    return lanes[:, 0]
