#!/usr/bin/env python3
"""Checks that all PyTorch variants compute the same step as the formulas in double precision.

Two steps on the same sampled rows (the second has momentum): errors of the loss, of its gradient by the
features, of the rows and of their momentum, relative to the reference. Exits with 1 above the tolerance.
"""

import sys

import numpy as np
import torch

from dense_head import DenseHead
from head_case import LEARNING_RATE, MARGIN, MOMENTUM, SCALE, WEIGHT_DECAY, Case
from sparse_head import SparseHead

SINGLE_TOLERANCE = 1e-5
# Rows, momentum and the results of products have 8 bits: each is rounded by up to 2⁻⁹, several times.
BFLOAT16_TOLERANCE = 2e-2


class Reference:
    """The sampled rows and their momentum [S, D] in NumPy, double precision."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.momentum = rows, np.zeros_like(rows)

    def step(self, features: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
        """One step; features [B, D], rows of their classes at `targets` [B]; returns loss and ∂loss/∂x."""
        feature_lengths = np.linalg.norm(features, axis=1, keepdims=True)
        row_lengths = np.linalg.norm(self.rows, axis=1, keepdims=True)
        x, w = features / feature_lengths, self.rows / row_lengths
        target = (np.arange(len(features)), targets)
        cosines = x @ w.T
        angles = np.arccos(cosines[target])
        logits, slopes = SCALE * cosines, np.full_like(cosines, SCALE)
        logits[target], slopes[target] = (
            SCALE * np.cos(angles + MARGIN),
            SCALE * np.sin(angles + MARGIN) / np.sin(angles),
        )
        log_normalizer = np.log(np.exp(logits).sum(1))
        gradients = np.exp(logits - log_normalizer[:, None])
        gradients[target] -= 1
        gradients *= slopes / len(features)
        by_x, by_w = gradients @ w, gradients.T @ x
        by_features = (by_x - (by_x * x).sum(1, keepdims=True) * x) / feature_lengths
        by_rows = (by_w - (by_w * w).sum(1, keepdims=True) * w) / row_lengths
        self.momentum = MOMENTUM * self.momentum + by_rows + WEIGHT_DECAY * self.rows
        self.rows = self.rows - LEARNING_RATE * self.momentum
        return float((log_normalizer - logits[target]).mean()), by_features


def errors_of(head: DenseHead | SparseHead, case: Case) -> dict[str, float]:
    """The largest relative errors over two steps."""
    labels = torch.randint(case.classes, (case.batch,))
    sampled = head.sample(labels)
    ids = torch.arange(case.classes) if sampled is None else sampled
    assert len(ids) == case.sampled and bool((ids[1:] > ids[:-1]).all()), (
        "the sampled ids are not S distinct ones"
    )
    assert bool(torch.isin(labels, ids).all()), "a positive is missing"
    reference = Reference(double(head.weight[ids]))
    targets = np.searchsorted(ids.numpy(), labels.numpy())
    errors: dict[str, float] = {}
    for _ in range(2):
        features = torch.randn(case.batch, case.embedding_size)
        loss, by_features = head.step(features, labels, sampled)
        expected_loss, expected_by_features = reference.step(double(features), targets)
        rows, momentum = head.rows(ids)
        pairs = {
            "loss": (np.array(loss), np.array(expected_loss)),
            "∂x": (double(by_features), expected_by_features),
            "rows": (double(rows), reference.rows),
            "momentum": (double(momentum), reference.momentum),
        }
        for name, (value, expected) in pairs.items():
            error = float(np.linalg.norm(value - expected) / np.linalg.norm(expected))
            errors[name] = max(error, errors.get(name, 0))
    return errors


def double(tensor: torch.Tensor) -> np.ndarray:
    """A copy in double precision."""
    return tensor.detach().double().numpy()


def main() -> int:
    torch.manual_seed(1)
    all_good = True
    for case in (Case(1000, 1.0), Case(1000, 0.3)):
        variants: dict[str, tuple[DenseHead | SparseHead, float]] = {
            "dense": (DenseHead(case), SINGLE_TOLERANCE),
            "sparse": (SparseHead(case, block=256), BFLOAT16_TOLERANCE),
            "sparse-f32": (SparseHead(case, torch.float32, block=256), SINGLE_TOLERANCE),
        }
        for name, (head, tolerance) in variants.items():
            errors = errors_of(head, case)
            good = max(errors.values()) <= tolerance
            all_good = all_good and good
            numbers = "  ".join(f"{key} {error:.1e}" for key, error in errors.items())
            verdict = "ok" if good else f"above {tolerance}"
            print(f"r = {case.sample_rate:<4} {name:10} relative errors: {numbers}  {verdict}")
    return 0 if all_good else 1


if __name__ == "__main__":
    sys.exit(main())
