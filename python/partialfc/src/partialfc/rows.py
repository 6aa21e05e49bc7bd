"""The exchange `rows`: the sampled centers come here, and the softmax is computed in PyTorch on a device, in blocks of rows.

No matrix of samples × sampled classes is ever held. The formulas are in docs/mathematics.md; the bits are those of the device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import MalformedMessage
from .exact import F32
from .softmax import I64, Payload, Result
from .tree import ReductionTree

BLOCK = 1 << 24
"""Logits that are held at a time."""
_NEAREST = 1e-6


@dataclass(frozen=True, slots=True)
class RowsSettings:
    """What of the run's configuration the softmax depends on.

    Attributes:
        scale: s.
        margins: m1, m2 and m3.
        interclass_filter: τ, 0 if there is none.
        batch: B.
        micro_batch: g.
        sends_half: whether gradients of rows travel as bf16.
        device: on which is computed.
    """

    scale: float
    margins: tuple[float, float, float]
    interclass_filter: float
    batch: int
    micro_batch: int
    sends_half: bool
    device: torch.device


class RowsExchange:
    """Collects the shards' rows, and computes with them.

    Args:
        settings: of the run.
        size: D.
    """

    def __init__(self, settings: RowsSettings, size: int) -> None:
        self._settings, self._size = settings, size
        self._ids: list[Tensor] = []
        self._rows: list[Tensor] = []
        self._counts: list[int] = []

    def take(self, sender: str, payload: Payload) -> None:
        """Takes one shard's rows: counts i32 [slices], ids i64 [S], rows as f32, bf16 or int8.

        Raises:
            MalformedMessage: they have other shapes than the protocol says, or are not finite.
        """
        size = self._size
        if len(payload) != 3 or payload[1].dtype != np.int64 or payload[1].ndim != 1 or payload[2].ndim != 2:
            raise MalformedMessage(f"{sender} sent other tensors than counts, ids and rows")
        _, ids, rows = payload
        count, width = rows.shape
        packed = 4 * -(-size // 4) + 4
        expected = {"float32": size, "uint16": size, "uint8": packed}.get(rows.dtype.name, -1)
        if count != len(ids) or width != expected:
            raise MalformedMessage(f"{sender} sent {len(ids)} ids and rows {rows.dtype} {list(rows.shape)}")
        decoded = decode_rows(rows, size).to(self._settings.device)
        if not torch.isfinite(decoded).all():
            raise MalformedMessage(f"{sender} sent a center that is not finite")
        self._ids.append(torch.from_numpy(ids.copy()).to(self._settings.device))
        self._rows.append(decoded)
        self._counts.append(count)

    def finish(
        self, labels: I64, features: F32, margins: F32 | None, weights: F32 | None, micro_batches: tuple[int, int] | None
    ) -> tuple[Result, list[list[Any]]]:
        """The result, and for each shard in the order of `take` its nodes i32 [K, 2] and row gradients [K, S, D].

        Args:
            labels: i64 [n], −1 for a sample without class.
            features: f32 [n, D].
            margins: f32 [n, 3], or None: those of the settings.
            weights: f32 [n], or None: 1.
            micro_batches: of this rank, first and one past the last; None: the samples are some of the rank's, without row gradients.

        Raises:
            MalformedMessage: the center of a label is missing.
        """
        settings, device = self._settings, self._settings.device
        self._labels, x = torch.from_numpy(labels).to(device), torch.from_numpy(features).to(device)
        given = torch.tensor(settings.margins) if margins is None else torch.from_numpy(margins)
        self._margins = given.to(device, torch.float64).expand(len(labels), 3)
        given = torch.ones(len(labels)) if weights is None else torch.from_numpy(weights)
        self._weights = given.to(device) * (self._labels >= 0)
        rows, places = torch.cat(self._rows), self._places(torch.cat(self._ids))
        length = rows.double().norm(dim=1)
        units = (rows / length.clamp(min=1e-15)[:, None]).float() * (length >= 1e-15)[:, None]
        x_length = x.double().norm(dim=1)
        directions = (x / x_length.clamp(min=1e-15)[:, None]).float() * (x_length >= 1e-15)[:, None]
        logit, slope = self._targets(directions, units, places)
        others = torch.full_like(logit, -math.inf)
        for start, _, z, _ in self._blocks(directions, units, places):
            del start
            others = torch.logaddexp(others, z.logsumexp(1).double())
        present = self._labels >= 0
        loss = torch.where(present, torch.nn.functional.softplus(others - logit), 0.0)
        loss = torch.where(others - logit > 20, torch.logaddexp(others, logit) - logit, loss) * present
        log_z = torch.where(present, logit + loss, 0.0)
        q = torch.zeros_like(directions)
        tree = ReductionTree(settings.batch // settings.micro_batch)
        nodes = tree.subtrees(*micro_batches) if micro_batches else []
        pushes = torch.zeros((len(nodes), len(rows), rows.shape[1]), device=settings.device)
        target = (torch.expm1(-loss) * slope).float() * self._weights
        for start, stop, z, kept in self._blocks(directions, units, places):
            p = torch.exp(z - log_z.float()[:, None]) * kept * self._weights[:, None]
            here = (places >= start) & (places < stop)
            p[here, places[here] - start] = target[here]
            q += p @ units[start:stop]
            for k, (lower, upper) in enumerate(self._samples(nodes, micro_batches or (0, 0))):
                pushes[k, start:stop] = p[lower:upper].T @ directions[lower:upper]
        outer = torch.where(x_length >= 1e-15, settings.scale / (settings.batch * x_length.clamp(min=1e-15)), 0.0).float()
        inner = (q.double() * directions).sum(1, keepdim=True).float()
        gradient = outer[:, None] * (q - inner * directions)
        result = Result((loss * self._weights).cpu().numpy(), log_z.cpu().numpy(), np.ascontiguousarray(gradient.cpu().numpy(), np.float32))
        return result, self._payloads(nodes, pushes)

    def _places(self, ids: Tensor) -> Tensor:
        """Where each label's row is; −1 without class."""
        ordered, order = ids.sort()
        if len(ids) == 0:
            found = torch.zeros_like(self._labels)
            missing = self._labels >= 0
        else:
            at = torch.searchsorted(ordered, self._labels.clamp(min=0)).clamp(max=len(ids) - 1)
            found, missing = order[at], (self._labels >= 0) & (ordered[at] != self._labels)
        if missing.any():
            raise MalformedMessage(f"no shard sent the center of class {int(self._labels[missing][0])}")
        return torch.where(self._labels >= 0, found, -1)

    def _targets(self, directions: Tensor, units: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """s·t and t′ of each sample, f64 [n]."""
        if len(units) == 0:
            return torch.zeros_like(self._margins[:, 0]), torch.zeros_like(self._margins[:, 0])
        cosine = (directions.double() * units[places.clamp(min=0)].double()).sum(1).clamp(-1, 1)
        m1, m2, m3 = self._margins.T
        angle = torch.acos(cosine)
        logit = self._settings.scale * (torch.cos(m1 * angle + m2) - m3)
        inside = angle.clamp(_NEAREST, math.pi - _NEAREST)
        slope = m1 * torch.sin(m1 * inside + m2) / torch.sin(inside)
        return logit, torch.where((m1 == 1) & (m2 == 0), torch.ones_like(slope), slope)

    def _blocks(self, directions: Tensor, units: Tensor, places: Tensor) -> Any:
        """Logits of some rows at a time without the targets, −∞ in their place, and which of them have a gradient."""
        step = max(1, BLOCK // max(1, len(directions)))
        for start in range(0, len(units), step):
            stop = min(start + step, len(units))
            cosine = (directions @ units[start:stop].T).clamp(-1, 1)
            filtered = cosine > self._settings.interclass_filter if self._settings.interclass_filter > 0 else None
            z = self._settings.scale * cosine
            kept = torch.ones((), device=z.device)
            if filtered is not None:
                z, kept = z.masked_fill(filtered, 0.0), (~filtered).float()
            here = (places >= start) & (places < stop)
            z[here, places[here] - start] = -math.inf
            yield start, stop, z, kept

    def _samples(self, nodes: list[tuple[int, int]], micro_batches: tuple[int, int]) -> list[tuple[int, int]]:
        """The samples of this rank below each node."""
        (first, end), size = micro_batches, self._settings.micro_batch
        return [((index << level) * size - first * size, (min((index + 1) << level, end) - first) * size) for level, index in nodes]

    def _payloads(self, nodes: list[tuple[int, int]], pushes: Tensor) -> list[list[Any]]:
        numbers = np.asarray(nodes, np.int32).reshape(-1, 2)
        payloads, at = [], 0
        for count in self._counts:
            part = pushes[:, at : at + count].contiguous()
            at += count
            if self._settings.sends_half:
                payloads.append([numbers, part.bfloat16().cpu().view(torch.int16).numpy().view(np.uint16)])
            else:
                payloads.append([numbers, part.cpu().numpy()])
        return payloads


def decode_rows(rows: Any, size: int) -> Tensor:
    """Rows f32 [S, D] from f32, bf16 (as u16), or int8 with a scale for each row (u8 [S, 4·⌈D/4⌉ + 4])."""
    if rows.dtype == np.float32:
        return torch.from_numpy(rows.copy())
    if rows.dtype == np.uint16:
        return torch.from_numpy(rows.view(np.int16).copy()).view(torch.bfloat16).float()
    scales = np.ascontiguousarray(rows[:, -4:]).view(np.float32)
    return torch.from_numpy(rows[:, :size].view(np.int8).astype(np.float32) * scales)
