"""From the shards' partial softmaxes to loss, log Z and the gradient by the features, with the bits of the project's own worker.

The formulas are in docs/mathematics.md, *Partial softmax*; the merge is that of Milakov and Gimelshein (arXiv 1805.02867).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import exact
from .errors import MalformedMessage
from .exact import F32, F64
from .tree import Node, ReductionTree

I64 = npt.NDArray[np.int64]
Payload = Sequence[npt.NDArray[Any]]


@dataclass(slots=True)
class Partial:
    """The softmax over a set of classes without the labels: maximum [n], sum [n], numerator [n, D], all f32."""

    maximum: F32
    sum: F32
    numerator: F32


@dataclass(slots=True)
class Result:
    """What a step gives.

    Attributes:
        losses: f64 [n], w·loss of each sample; 0 for one without class.
        log_z: f64 [n], log Σ exp z over the sampled classes.
        gradient: f32 [n, D], ∂/∂x of Σ w·loss / B.
    """

    losses: F64
    log_z: F64
    gradient: F32


def joined(results: Sequence[Result]) -> Result:
    """The result of consecutive parts."""
    if len(results) == 1:
        return results[0]
    parts = [(one.losses, one.log_z, one.gradient) for one in results]
    losses, log_z, gradient = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Result(losses, log_z, gradient)


def merge(a: Partial, b: Partial) -> Partial:
    """The softmax over two disjoint sets of classes, `a` before `b`."""
    top = np.where(b.maximum > a.maximum, b.maximum, a.maximum)
    fa, fb = _rescale(a.maximum, top), _rescale(b.maximum, top)
    numerator = fa[:, None] * a.numerator
    numerator += fb[:, None] * b.numerator
    return Partial(top, fa * a.sum + fb * b.sum, numerator)


def _rescale(before: F32, after: F32) -> F32:
    same = before == after
    with np.errstate(invalid="ignore"):
        difference = before - after
    return np.where(same, np.float32(1), exact.expf(np.where(same, np.float32(0), difference)))


def finish(features: F32, others: Partial, target_logit: F32, target_numerator: F32, scale_over_batch: float) -> tuple[F64, F64, F32]:
    """Loss f64 [n], log Z f64 [n] and gradient f32 [n, D] by features that are not normalised.

    Args:
        features: f32 [n, D].
        others: over all sampled classes but each sample's own.
        target_logit: f32 [n], s·t of the label.
        target_numerator: f32 [n, D], t′·ŵ of the label.
        scale_over_batch: s / B.
    """
    target, sums, top = target_logit.astype(np.float64), others.sum.astype(np.float64), others.maximum.astype(np.float64)
    there = sums != 0.0
    above = np.where(there, top, 0.0) - np.where(there, target, 0.0)
    higher = there & (above > 0.0)
    high_log = np.where(there, top, 0.0) + exact.log(np.where(there, sums, 1.0) + exact.exp(-np.where(higher, above, 0.0)))
    low_loss = exact.log1p(np.where(there, sums, 0.0) * exact.exp(np.where(higher, 0.0, above)))
    log_z = np.where(higher, high_log, np.where(there, target + low_loss, target))
    loss = np.where(higher, high_log - target, np.where(there, low_loss, 0.0))
    weight = np.where(there, exact.exp(np.where(there, top, 0.0) - log_z), 0.0).astype(np.float32)
    target_weight = (-exact.expm1(-loss)).astype(np.float32)
    g = weight[:, None] * others.numerator - target_weight[:, None] * target_numerator
    wide = features.astype(np.float64)
    norm = np.sqrt(exact.lane_sum(wide * wide))
    inverse = np.where(norm < exact.SHORTEST, 0.0, 1.0 / np.where(norm < exact.SHORTEST, 1.0, norm))
    outer = (scale_over_batch * inverse).astype(np.float32)
    inner = (exact.lane_sum(g.astype(np.float64) * wide) * inverse * inverse).astype(np.float32)
    return loss, log_z, outer[:, None] * (g - inner[:, None] * features)


class FeaturesExchange:
    """Collects the shards' answers to *forward* in the exchange `features`.

    Args:
        slices: number N of slices of the class centers.
        labels: i64 [n], −1 for a sample without class.
        features: f32 [n, D].
    """

    def __init__(self, slices: int, labels: I64, features: F32) -> None:
        self.tree = ReductionTree(slices)
        self.labels, self.features = labels, features
        n, size = features.shape
        self.parts: dict[Node, Partial] = {}
        self.logit = np.zeros(n, np.float32)
        self.numerator = np.zeros((n, size), np.float32)
        self.found = labels < 0

    def take(self, sender: str, payload: Payload) -> None:
        """Takes one shard's answer.

        Raises:
            MalformedMessage: it has other shapes than the protocol says, numbers that are not finite, or what another shard sent.
        """
        n, size = self.features.shape
        if len(payload) != 7:
            raise MalformedMessage(f"{sender} sent {len(payload)} tensors of its partial softmax, expected 7")
        nodes, maximum, sums, numerator, samples, logit, target = payload
        k, t = nodes.shape[0] if nodes.ndim else 0, samples.shape[0] if samples.ndim else 0
        shapes = [(k, 2), (k, n), (k, n), (k, n, size), (t,), (t,), (t, size)]
        types = [np.int32, np.float32, np.float32, np.float32, np.int32, np.float32, np.float32]
        for tensor, shape, dtype in zip(payload, shapes, types, strict=True):
            if tensor.shape != shape or tensor.dtype != dtype:
                raise MalformedMessage(f"{sender} sent {tensor.dtype} {list(tensor.shape)}, expected {dtype.__name__} {list(shape)}")
        empty = np.isneginf(maximum) & (sums == 0)
        if not (np.isfinite(sums).all() and (sums >= 0).all() and (np.isfinite(maximum) | empty).all() and np.isfinite(numerator).all()):
            raise MalformedMessage(f"{sender} sent a partial softmax that is not finite")
        if not (np.isfinite(logit).all() and np.isfinite(target).all()):
            raise MalformedMessage(f"{sender} sent targets that are not finite")
        for index in range(k):
            node = (int(nodes[index, 0]), int(nodes[index, 1]))
            if not self.tree.contains(node) or node in self.parts:
                raise MalformedMessage(f"{sender} sent the node {node} of {self.tree.leaves} slices, which is none or came twice")
            self.parts[node] = Partial(maximum[index], sums[index], numerator[index])
        places = samples.astype(np.int64)
        if t and (places.min() < 0 or places.max() >= n or len(np.unique(places)) != t or self.found[places].any()):
            raise MalformedMessage(f"{sender} sent targets of samples that are none of this rank's {n}, or that came twice")
        self.found[places] = True
        self.logit[places] = logit
        self.numerator[places] = target

    def finish(self, scale_over_batch: float, weights: F32 | None) -> Result:
        """The result, when every shard's answer was taken.

        Raises:
            MalformedMessage: slices or targets are missing.
        """
        root = self.tree.combine(self.parts, merge)
        if root is None:
            raise MalformedMessage("slices are missing in what the shards sent")
        if not self.found.all():
            missing = int(np.flatnonzero(~self.found)[0])
            raise MalformedMessage(f"no shard sent the target of sample {missing}, class {self.labels[missing]}")
        losses, log_z, gradient = finish(self.features, root, self.logit, self.numerator, scale_over_batch)
        absent = self.labels < 0
        if weights is not None:
            losses = losses * weights
            gradient *= weights[:, None]
        if absent.any():
            losses[absent] = 0.0
            log_z[absent] = 0.0
            gradient[absent] = 0.0
        return Result(losses, log_z, gradient)
