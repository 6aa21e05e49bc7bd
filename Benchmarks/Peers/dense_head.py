"""Partial FC in PyTorch with autograd over the whole matrix, as InsightFace's partial_fc_v2."""

import torch
from torch import Tensor
from torch.nn import functional

from head_case import INITIAL_DEVIATION, LEARNING_RATE, MARGIN, MOMENTUM, SCALE, WEIGHT_DECAY, Case
from sampling import sample_by_scores


class DenseHead:
    """The matrix is one parameter in single precision.

    Rows that were not sampled get a gradient of zero, and momentum and weight decay move them all the same.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.weight = torch.nn.Parameter(
            torch.empty(case.classes, case.embedding_size).normal_(0, INITIAL_DEVIATION)
        )
        self.optimizer = torch.optim.SGD(
            [self.weight], lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True
        )

    def sample(self, labels: Tensor) -> Tensor | None:
        """The sampled class ids [S], or nothing where all take part."""
        if self.case.sampled == self.case.classes:
            return None
        return sample_by_scores(self.case.classes, self.case.sampled, labels)

    def step(self, features: Tensor, labels: Tensor, sampled: Tensor | None) -> tuple[float, Tensor]:
        """One step on features [B, D] and labels [B]; returns the loss and ∂loss/∂features [B, D]."""
        features = features.detach().requires_grad_()
        rows = self.weight if sampled is None else self.weight[sampled]
        targets = labels if sampled is None else torch.searchsorted(sampled, labels)
        self.optimizer.zero_grad()
        loss = arcface_loss(features, rows, targets)
        loss.backward()
        self.optimizer.step()
        assert features.grad is not None
        return loss.item(), features.grad

    def rows(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and momentum [len(ids), D] of some classes."""
        return self.weight.detach()[ids], self.optimizer.state[self.weight]["momentum_buffer"][ids]


def arcface_loss(features: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy with ArcFace's margin. `targets` [B] are positions in `rows` [S, D]."""
    cosines = functional.linear(functional.normalize(features), functional.normalize(rows))
    samples = torch.arange(len(targets))
    cosines[samples, targets] = torch.cos(torch.acos(cosines[samples, targets].clamp(-1, 1)) + MARGIN)
    return functional.cross_entropy(SCALE * cosines, targets)
