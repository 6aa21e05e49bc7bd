"""Tensors between the device and the network: page-locked memory where there is a GPU."""

from __future__ import annotations

import numpy as np
import torch

from .exact import F32


class Staging:
    """Copies features f32 [n, D] to the host, and gradients back. One thread at a time."""

    def __init__(self) -> None:
        self._back: torch.Tensor | None = None

    def to_host(self, features: torch.Tensor, count: int) -> F32:
        """Features as f32 [count, D] in memory of their own; rows beyond the given ones are ones."""
        n, size = features.shape
        host = torch.ones((count, size), dtype=torch.float32, pin_memory=features.is_cuda)
        host[:n].copy_(features.detach(), non_blocking=features.is_cuda)
        if features.is_cuda:
            torch.cuda.current_stream(features.device).synchronize()
        return host.numpy()

    def to_device(self, gradient: F32, device: torch.device) -> torch.Tensor:
        """A gradient as a tensor on the device of its features."""
        tensor = torch.from_numpy(np.ascontiguousarray(gradient))
        if device.type != "cuda":
            return tensor.to(device)
        if self._back is None or self._back.shape != tensor.shape:
            self._back = torch.empty(tensor.shape, dtype=torch.float32, pin_memory=True)
        self._back.copy_(tensor)
        return self._back.to(device, non_blocking=True)
