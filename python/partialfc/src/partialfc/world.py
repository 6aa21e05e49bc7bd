"""The ranks of a job, by `torch.distributed` if it is initialised, else one process."""

from __future__ import annotations

import secrets

import torch
import torch.distributed as dist


class World:
    """The processes that train together.

    Args:
        group: of `torch.distributed`; None: the default one.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self.is_distributed = dist.is_available() and dist.is_initialized()
        self._group = group
        self.rank = dist.get_rank(group) if self.is_distributed else 0
        self.size = dist.get_world_size(group) if self.is_distributed else 1

    def _device(self) -> torch.device:
        backend = str(dist.get_backend(self._group))
        return torch.device("cuda", torch.cuda.current_device()) if "nccl" in backend and "gloo" not in backend else torch.device("cpu")

    def job_id(self) -> int:
        """A number that names this start of the job, the same at all ranks."""
        if self.size == 1:
            return secrets.randbits(62) | 1
        mine = torch.tensor([secrets.randbits(62) | 1], dtype=torch.int64, device=self._device())
        gathered = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(gathered, mine, group=self._group)
        return int(gathered[0].item())

    def gather(self, values: list[float]) -> list[list[float]]:
        """The numbers of every rank, in the order of ranks; every rank gives as many."""
        if self.size == 1:
            return [values]
        mine = torch.tensor(values, dtype=torch.float64, device=self._device())
        gathered = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(gathered, mine, group=self._group)
        return [one.tolist() for one in gathered]

    def newest(self, value: tuple[int, int, int]) -> tuple[int, int, int]:
        """The largest of the ranks' ids."""
        if self.size == 1:
            return value
        ids = self.gather([float(part) for part in value])
        return max((int(a), int(b), int(c)) for a, b, c in ids)

    def share(self, text: str) -> str:
        """Rank 0's text, at every rank."""
        if self.size == 1:
            return text
        texts: list[str | None] = [None] * self.size
        dist.all_gather_object(texts, text, group=self._group)
        return texts[0] or ""
