"""Partial FC in PyTorch without autograd, in bf16 or f32: only sampled rows are read and written, once each.

With x̂, ŵ of length 1, c = x̂·ŵ, z = s c (the target's with the margin) and g = ∂loss/∂c:

    ∂loss/∂w = (gᵀx̂ − <gᵀx̂, ŵ> ŵ) / |w|,   and <gᵀx̂, ŵ>_j = Σ_i g_ij c_ij costs no pass over the rows.

So momentum ← μ momentum + ∂loss/∂w + λ w is a product that accumulates into the momentum, and a multiple
of w.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from head_case import INITIAL_DEVIATION, LEARNING_RATE, MARGIN, MOMENTUM, SCALE, WEIGHT_DECAY, Case
from sampling import sample_by_draws


class SparseHead:
    """Rows, momentum and products in `kind`. A step goes over the sampled rows in blocks that stay in the cache."""

    def __init__(self, case: Case, kind: torch.dtype = torch.bfloat16, block: int | None = None) -> None:
        self.case, self.kind, self.block = case, kind, block or (4096 if kind == torch.bfloat16 else 2048)
        self.all = case.sampled == case.classes
        self.weight = torch.empty(case.classes, case.embedding_size, dtype=kind)
        self.weight.normal_(0, INITIAL_DEVIATION)
        self.momentum = torch.zeros_like(self.weight)
        self.gathered = self.weight if self.all else self.weight.new_empty(case.sampled, case.embedding_size)
        self.cosines = torch.empty(case.sampled, case.batch)
        self.inverse_lengths = torch.empty(case.sampled, 1)

    def sample(self, labels: Tensor) -> Tensor | None:
        """The sampled class ids [S], or nothing where all take part."""
        return None if self.all else sample_by_draws(self.case.classes, self.case.sampled, labels)

    @torch.inference_mode()
    def step(self, features: Tensor, labels: Tensor, sampled: Tensor | None) -> tuple[float, Tensor]:
        """One step on features [B, D] and labels [B]; returns the loss and ∂loss/∂features [B, D]."""
        targets = labels if sampled is None else torch.searchsorted(sampled, labels)
        lengths = features.norm(dim=1, keepdim=True)
        directions = features / lengths
        # The targets' logits decide the loss: they alone are computed in single precision.
        angles = (functional.normalize(self.weight[labels].float()) * directions).sum(1).clamp(-1, 1).acos()
        target_logits = SCALE * torch.cos(angles + MARGIN)
        normalizer = self.forward(directions.to(self.kind), targets, target_logits, sampled)
        target_gradients = SCALE / len(labels) * (target_logits.exp() / normalizer - 1)
        target_gradients *= torch.sin(angles + MARGIN) / torch.sin(angles)
        numerator = self.backward(directions.to(self.kind), targets, target_gradients, normalizer, sampled)
        loss = (normalizer.log() - target_logits).mean()
        return loss.item(), (numerator - (numerator * directions).sum(1, keepdim=True) * directions) / lengths

    def forward(
        self, directions: Tensor, targets: Tensor, target_logits: Tensor, sampled: Tensor | None
    ) -> Tensor:
        """Gathers rows and keeps all cosines [S, B]; returns Σ_j exp z_ij [B] (|z| ≤ 64 needs no shift)."""
        normalizer = torch.zeros(len(directions))
        for block in self.blocks():
            rows, cosines, inverse = self.gathered[block], self.cosines[block], self.inverse_lengths[block]
            if sampled is not None:
                torch.index_select(self.weight, 0, sampled[block], out=rows)
            inverse.copy_(torch.linalg.vector_norm(rows, dim=1, keepdim=True)).reciprocal_()
            cosines.copy_(torch.mm(rows, directions.t())).mul_(inverse)
            exponentials = torch.mul(cosines, SCALE).exp_()
            positions, samples = self.inside(targets, block)
            exponentials[positions, samples] = target_logits[samples].exp()
            normalizer += exponentials.sum(0)
        return normalizer

    def backward(
        self,
        directions: Tensor,
        targets: Tensor,
        target_gradients: Tensor,
        normalizer: Tensor,
        sampled: Tensor | None,
    ) -> Tensor:
        """Updates rows and momentum; returns Σ_j g_ij ŵ_j [B, D]. `target_gradients` [B]: the targets' g."""
        numerator = torch.zeros(directions.shape)
        for block in self.blocks():
            rows, cosines, inverse = self.gathered[block], self.cosines[block], self.inverse_lengths[block]
            gradients = torch.mul(cosines, SCALE).exp_().mul_(SCALE / len(targets) / normalizer)
            positions, samples = self.inside(targets, block)
            gradients[positions, samples] = target_gradients[samples]
            projections = torch.linalg.vecdot(gradients, cosines)[:, None]
            factors = (WEIGHT_DECAY - inverse.square() * projections).to(self.kind)
            gradients = gradients.mul_(inverse).to(self.kind)
            numerator += torch.mm(gradients.t(), rows)
            momentum = (
                self.momentum[block] if sampled is None else self.momentum.index_select(0, sampled[block])
            )
            momentum.addmm_(gradients, directions, beta=MOMENTUM).addcmul_(rows, factors)
            rows.add_(momentum, alpha=-LEARNING_RATE)
            if sampled is not None:
                scatter(self.weight, sampled[block], rows)
                scatter(self.momentum, sampled[block], momentum)
        return numerator

    def blocks(self) -> Iterator[slice]:
        """Ranges of positions among the sampled rows."""
        return (slice(start, start + self.block) for start in range(0, self.case.sampled, self.block))

    def inside(self, targets: Tensor, block: slice) -> tuple[Tensor, Tensor]:
        """Of the targets [B] that a block holds, the positions in the block and the samples."""
        samples = torch.where((targets >= block.start) & (targets < block.stop))[0]
        return targets[samples] - block.start, samples

    def rows(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and momentum [len(ids), D] of some classes."""
        return self.weight[ids], self.momentum[ids]


def scatter(table: Tensor, ids: Tensor, rows: Tensor) -> None:
    """Writes `rows` [n, D] at `ids` [n]; index_copy_ goes by elements: 16-byte ones save time."""
    if table.shape[1] * table.element_size() % 16 == 0:
        table, rows = table.view(torch.complex128), rows.view(torch.complex128)
    table.index_copy_(0, ids, rows)
