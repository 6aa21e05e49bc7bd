"""`python -m partialfc.demo`: trains a small network on a cluster on this machine, and says how well it tells classes apart."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from .client import Client
from .errors import PartialFCError
from .head import PartialFC
from .local import LocalCluster, external_configuration, free_ports

SIZE, EMBEDDING = 20, 64
MARGINS = {"scale": 32.0, "m1": 1.0, "m2": 0.2, "m3": 0.0}
SGD = {"momentum": 0.9, "weight_decay": 5e-4}


class Glyphs:
    """Invented characters: a few strokes for each class, drawn a little differently for each sample."""

    def __init__(self, classes: int, seed: int = 1) -> None:
        source = np.random.default_rng(seed)
        self.classes = classes
        self._points = torch.from_numpy(source.uniform(3, SIZE - 4, (classes, 5, 2)).astype(np.float32))

    def draw(self, labels: Tensor, seed: int) -> Tensor:
        """Images f32 [n, 1, SIZE, SIZE] of samples of these classes."""
        generator = torch.Generator().manual_seed(seed)
        n = len(labels)
        points = self._points[labels] + 0.25 * torch.randn(n, 5, 2, generator=generator) + 0.8 * torch.randn(n, 1, 2, generator=generator)
        grid = torch.stack(torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij"), -1).float()
        start, along = points[:, :-1], points[:, 1:] - points[:, :-1]
        offset = grid[None, None] - start[:, :, None, None]
        share = (offset * along[:, :, None, None]).sum(-1) / along.square().sum(-1).clamp(min=1e-6)[:, :, None, None]
        distance = offset - share.clamp(0, 1)[..., None] * along[:, :, None, None]
        ink: Tensor = (1.6 - distance.norm(dim=-1)).clamp(0, 1).amax(1)
        noise: Tensor = 0.1 * torch.randn(n, SIZE, SIZE, generator=generator)
        return (ink + noise)[:, None]


def network() -> nn.Module:
    """A small convolutional network, 20 × 20 pixels to an embedding."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.PReLU(16),
        nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.PReLU(32),
        nn.Conv2d(32, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64),
        nn.Flatten(), nn.Linear(64 * 25, EMBEDDING, bias=False), nn.BatchNorm1d(EMBEDDING),
    )  # fmt: skip


def train(rank: int, options: argparse.Namespace, cluster: str, port: int) -> None:
    """The loop of one rank."""
    torch.set_num_threads(1)
    world = options.ranks
    if world > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        dist.init_process_group("gloo", rank=rank, world_size=world)
    torch.manual_seed(1)
    model: nn.Module = network()
    inner = model
    if world > 1:
        model = nn.parallel.DistributedDataParallel(model)
    head = PartialFC(MARGINS, EMBEDDING, options.classes, options.rate, cluster=cluster, timeout=120)
    optimizer = torch.optim.SGD([{"params": model.parameters()}, {"params": head.parameters()}], lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, options.steps, power=1.0)
    glyphs, count = Glyphs(options.classes), options.batch // world
    start = time.monotonic()
    for step in range(options.steps):
        labels = torch.randint(0, options.classes, (options.batch,), generator=torch.Generator().manual_seed(1000 + step))
        labels = labels[rank * count : (rank + 1) * count]
        loss = head(model(glyphs.draw(labels, step * world + rank)), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5)
        optimizer.step()
        schedule.step()
        if rank == 0 and (step % 25 == 0 or step == options.steps - 1):
            print(f"step {step:4}  loss {loss.item():7.3f}  {time.monotonic() - start:5.1f} s", flush=True)
    if rank == 0:
        print(f"accuracy on new samples, among {options.classes} classes: {accuracy(inner, glyphs, cluster):.1%}", flush=True)
    head.close()
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


def accuracy(model: nn.Module, glyphs: Glyphs, cluster: str) -> float:
    """The share of new samples whose closest class center is that of their class."""
    model.eval()
    labels = torch.randint(0, glyphs.classes, (1000,), generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        features = model(glyphs.draw(labels, 1 << 30)).numpy()
    with Client(cluster) as client:
        ids, _ = client.neighbors(features, 1)
    return float((ids[:, 0] == labels.numpy()).mean())


def main(arguments: list[str] | None = None) -> int:
    """Runs the demonstration; the exit code of the process."""
    parser = argparse.ArgumentParser(prog="python -m partialfc.demo", description=__doc__)
    parser.add_argument("--programs", help="the folder of coordinator and shard-server; default: PATH")
    parser.add_argument("--cluster", help="the endpoint of a cluster that is there, instead of one on this machine")
    parser.add_argument("--ranks", type=int, default=1, help="processes that train together")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=0.2, help="share of the classes that takes part in a step")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if options.batch % (4 * options.ranks):
        parser.error("--batch must be a multiple of 4 times --ranks")
    start = time.monotonic()
    try:
        if options.cluster:
            launch(options, options.cluster)
            return 0
        with tempfile.TemporaryDirectory(prefix="partialfc-demo-") as directory:
            settings = external_configuration(
                options.classes,
                EMBEDDING,
                batch=options.batch,
                micro_batch=options.batch // 4,
                shards=options.shards,
                head={**MARGINS, "sample_rate": options.rate},
                optimizer=SGD,
            )
            with LocalCluster(Path(directory), settings, shards=options.shards, programs=options.programs) as cluster:
                print(f"a coordinator at {cluster.endpoint} and {options.shards} shards, state in {directory}", flush=True)
                launch(options, cluster.endpoint)
        print(f"{time.monotonic() - start:.0f} s, with the start and the end of the cluster")
    except PartialFCError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def launch(options: argparse.Namespace, cluster: str) -> None:
    """Runs all ranks, in this process if there is one."""
    if options.ranks == 1:
        train(0, options, cluster, 0)
    else:
        spawn(train, (options, cluster, free_ports(1)[0]), nprocs=options.ranks)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    sys.exit(main())
