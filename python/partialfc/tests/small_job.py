"""A rank of a small job, as a process: `small_job.py CLUSTER RANK WORLD PORT STEPS OUTPUT`. Rank 0 writes what it has at the end."""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

import partialfc

C, D, B = 200, 16, 16


def batch(step: int) -> tuple[Tensor, Tensor]:
    """Inputs and labels of all ranks."""
    means = torch.randn(C, 24, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(100 + step)
    labels = torch.randint(0, C, (B,), generator=generator)
    return means[labels] + 0.3 * torch.randn(B, 24, generator=generator), labels


def main(cluster: str, rank: int, world: int, port: int, steps: int, output: Path) -> None:
    """Trains from the newest checkpoint to the last step."""
    torch.set_num_threads(1)
    # Whoever was started in the background without job control ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=world, timeout=timedelta(seconds=60))
    torch.manual_seed(3)
    inner = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, D))
    network = nn.parallel.DistributedDataParallel(inner)
    head = partialfc.PartialFC(None, D, C, cluster=cluster)
    optimizer = torch.optim.SGD([{"params": network.parameters()}, {"params": head.parameters()}], 0.1, 0.9, weight_decay=5e-4)
    losses: dict[int, float] = {}

    def save(directory: Path) -> None:
        state = {"network": inner.state_dict(), "head": head.state_dict(), "optimizer": optimizer.state_dict(), "losses": losses}
        torch.save(state, directory / "state.pt")

    def load(directory: Path) -> None:
        state = torch.load(directory / "state.pt", weights_only=False)
        inner.load_state_dict(state["network"])
        head.load_state_dict(state["head"])
        optimizer.load_state_dict(state["optimizer"])
        losses.update(state["losses"])

    job = partialfc.Job(head, save, load)
    for step in range(job.resume_newest(), steps):
        x, labels = batch(step)
        mine = slice(rank * B // world, (rank + 1) * B // world)
        loss = head(network(x[mine]), labels[mine])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses[step] = loss.item()
        print(step, loss.item(), flush=True)
        job.boundary()
    head.close()
    dist.barrier()
    if rank == 0:
        torch.save({"network": inner.state_dict(), "losses": losses}, output)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), Path(sys.argv[6]))
