"""The head in plain PyTorch, from the formulas: what InsightFace's `PartialFC_V2` computes with all classes sampled."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def margin_logits(features: Tensor, weight: Tensor, labels: Tensor, scale: float, margins: Tensor) -> Tensor:
    """Logits [n, C]: s·cos, and s·(cos(m1·θ + m2) − m3) for the label. `margins` is [3] or [n, 3]."""
    cosine = (nn.functional.normalize(features) @ nn.functional.normalize(weight).T).clamp(-1, 1)
    rows = torch.arange(len(labels))
    m1, m2, m3 = margins.expand(len(labels), 3).T
    target = torch.cos(m1 * torch.acos(cosine[rows, labels]) + m2) - m3
    logits = cosine.clone()
    logits[rows, labels] = target
    return scale * logits


class PlainHead(nn.Module):
    """All centers as a parameter."""

    def __init__(self, weight: Tensor, scale: float, m1: float, m2: float, m3: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.scale, self.margins = scale, torch.tensor([m1, m2, m3], dtype=weight.dtype)

    def forward(self, features: Tensor, labels: Tensor, margins: Tensor | None = None) -> Tensor:
        """The mean loss of samples whose label is not −1."""
        valid = labels >= 0
        given = self.margins if margins is None else margins[valid].to(self.weight.dtype)
        logits = margin_logits(features[valid].to(self.weight.dtype), self.weight, labels[valid], self.scale, given)
        return nn.functional.cross_entropy(logits, labels[valid])


class PlainTrainer:
    """A network and a plain head with one optimiser, in double precision."""

    def __init__(self, network: nn.Module, head: PlainHead, **sgd: Any) -> None:
        self.network, self.head = network, head
        self.optimizer = torch.optim.SGD([*network.parameters(), *head.parameters()], **sgd)

    def step(self, x: Tensor, labels: Tensor, margins: Tensor | None = None, weight: float = 1.0) -> float:
        """One step; the loss before it, times its weight."""
        loss = weight * self.head(self.network(x.double()), labels, margins)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @property
    def centers(self) -> np.ndarray:
        return self.head.weight.detach().numpy()
