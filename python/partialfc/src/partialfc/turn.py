"""What a trainer gives for one step, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from .exact import F32
from .messages import StepID
from .softmax import Result

I64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class Turn:
    """The inputs of a rank for a step, which every attempt of it gets again, and its state.

    Attributes:
        step: its number.
        labels: i64 [n], −1 for no class, of n samples of the rank, always all of its micro-batches.
        rate: the learning rate, if the job sets it.
        features: f32 [n, D], of which the parts are filled; None: none is there yet.
        parts: samples lower ..< upper whose features are there: consecutive, whole micro-batches each.
        margins: f32 [n, 3], m1, m2 and m3 of each sample, or None: those of the configuration.
        weights: f32 [n] ≥ 0, by which loss and gradient of each sample are multiplied, or None: 1.
        device: where the softmax is computed if rows come here.
        results: of each part, of the first attempt that got so far.
        result: of all of them.
        used: the newest attempt that got these inputs.
        is_kept: the trainer has decided that the step counts.
        is_committed: it is committed.
        is_skipped: the shards have committed it without effect.
    """

    step: int
    labels: I64
    rate: float
    features: F32 | None = None
    parts: list[tuple[int, int]] = field(default_factory=list)
    margins: F32 | None = None
    weights: F32 | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    results: list[Result] = field(default_factory=list)
    result: Result | None = None
    used: StepID | None = None
    is_kept: bool = False
    is_committed: bool = False
    is_skipped: bool = False

    def give(self, features: F32, margins: F32 | None, weights: F32 | None, lower: int, upper: int) -> None:
        """Gives the features f32 [m, D] of the next part, samples `lower` to `upper`, and what goes with them, [m, 3] and [m]."""
        n = len(self.labels)
        if (lower, upper) == (0, n):
            self.features, self.margins = features, margins
        else:
            if self.features is None:
                self.features = np.ones((n, features.shape[1]), np.float32)
                self.margins = None if margins is None else np.zeros((n, 3), np.float32)
            self.features[lower:upper] = features
            if margins is not None and self.margins is not None:
                self.margins[lower:upper] = margins
        if weights is not None:
            if self.weights is None:
                self.weights = np.ones(n, np.float32)
            self.weights[lower:upper] *= weights
        # Last: from now on an attempt may send it.
        self.parts.append((lower, upper))

    @property
    def end(self) -> int:
        """The first sample whose features are not there."""
        return self.parts[-1][1] if self.parts else 0

    @property
    def is_whole(self) -> bool:
        """Whether all features are there."""
        return self.end == len(self.labels)

    @property
    def byte_count(self) -> int:
        """Memory that the inputs take."""
        tensors = (self.labels, self.features, self.margins, self.weights)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)
