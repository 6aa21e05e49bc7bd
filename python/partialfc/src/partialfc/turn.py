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
        features: f32 [n, D]; None: not computed yet.
        margins: f32 [n, 3], m1, m2 and m3 of each sample, or None: those of the configuration.
        weights: f32 [n] ≥ 0, by which loss and gradient of each sample are multiplied, or None: 1.
        device: where the softmax is computed if rows come here.
        result: of the first attempt that got so far.
        used: the newest attempt that got these inputs.
        is_kept: the trainer has decided that the step counts.
        is_committed: it is committed.
    """

    step: int
    labels: I64
    rate: float
    features: F32 | None = None
    margins: F32 | None = None
    weights: F32 | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    result: Result | None = None
    used: StepID | None = None
    is_kept: bool = False
    is_committed: bool = False

    @property
    def byte_count(self) -> int:
        """Memory that the inputs take."""
        tensors = (self.labels, self.features, self.margins, self.weights)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)
