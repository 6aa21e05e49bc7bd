"""InsightFace's training loop with class centers on a PartialFC cluster.

    torchrun --nproc_per_node 2 train.py --cluster tcp://host:7400 --data faces --classes 85742 [--resume]

`--data` is a folder with one folder of images per identity, or `synthetic`. Batch size, margins and sample rate are those of the cluster's
configuration (examples/external.yaml). `--resume` goes on from the newest checkpoint of the cluster, or from nothing if there is none:
with `torchrun --max-restarts 100` the job starts again by itself whatever happens to a rank.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

import torch
import torch.distributed as dist
from iresnet import IResNet
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

import partialfc


class Folder(Dataset):
    """Images of identities; needs Pillow."""

    def __init__(self, root: str, size: int) -> None:
        self.size = size
        self.people = sorted(path for path in Path(root).iterdir() if path.is_dir())
        self.images = [(image, label) for label, person in enumerate(self.people) for image in sorted(person.iterdir())]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        path, label = self.images[index]
        image = Image.open(path).convert("RGB").resize((self.size, self.size))
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(self.size, self.size, 3)
        return (pixels.permute(2, 0, 1).float() / 255 - 0.5) / 0.5, label


class Synthetic(Dataset):
    """A random picture for each class, and noise for each sample."""

    def __init__(self, classes: int, size: int, count: int) -> None:
        self.classes, self.size, self.count = classes, size, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        label = index * 2654435761 % self.classes
        picture = torch.randn(3, 7, 7, generator=torch.Generator().manual_seed(label))
        noise = torch.randn(3, self.size, self.size, generator=torch.Generator().manual_seed(index + (1 << 40)))
        return nn.functional.interpolate(picture[None], self.size, mode="bilinear")[0] + 0.3 * noise, label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cluster", required=True)
    parser.add_argument("--keys", help="the directory of a worker's keys")
    parser.add_argument("--data", default="synthetic")
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--network", default="r18")
    parser.add_argument("--image-size", type=int, default=112)
    parser.add_argument("--embedding-size", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--samples", type=int, default=100_000, help="of synthetic data")
    parser.add_argument("--rate", type=float, default=0.1, help="learning rate at the start")
    parser.add_argument("--workers", type=int, default=2, help="processes that load data")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    rank = dist.get_rank()
    torch.manual_seed(1)

    backbone = nn.parallel.DistributedDataParallel(IResNet(options.network, options.embedding_size, options.image_size).to(device))
    head = partialfc.PartialFC(None, options.embedding_size, options.classes, cluster=options.cluster, keys=options.keys).to(device)
    optimizer = torch.optim.SGD(
        [{"params": backbone.parameters()}, {"params": head.parameters()}], lr=options.rate, momentum=0.9, weight_decay=5e-4
    )
    scaler_type = getattr(torch.amp, "GradScaler", None) or torch.cuda.amp.GradScaler  # before PyTorch 2.3
    scaler = scaler_type(enabled=device.type == "cuda", growth_interval=100)
    parts = {"backbone": backbone, "head": head, "optimizer": optimizer, "scaler": scaler}

    step = 0

    def save(directory: Path) -> None:
        torch.save({"step": step, **{name: part.state_dict() for name, part in parts.items()}}, directory / "state.pt")

    def load(directory: Path) -> None:
        nonlocal step
        # PyTorch 1 cannot read numbers when it reads weights alone.
        state = torch.load(directory / "state.pt", map_location=device, weights_only=not torch.__version__.startswith("1."))
        for name, part in parts.items():
            part.load_state_dict(state[name])
        step = state["step"]

    job = partialfc.Job(head, save, load)
    if options.resume:
        job.resume_newest()

    synthetic = options.data == "synthetic"
    data = Synthetic(options.classes, options.image_size, options.samples) if synthetic else Folder(options.data, options.image_size)
    batch = head.local_batch_size
    sampler = DistributedSampler(data, drop_last=True, seed=1)
    per_epoch = len(sampler) // batch
    total = options.epochs * per_epoch
    for epoch in range(step // per_epoch, options.epochs):
        sampler.set_epoch(epoch)
        indices = list(sampler)[step % per_epoch * batch :]
        # A fork would take along the locks of threads that it does not have.
        context = "forkserver" if options.workers else None
        loader = DataLoader(
            data,
            batch,
            sampler=indices,
            num_workers=options.workers,
            drop_last=True,
            pin_memory=device.type == "cuda",
            multiprocessing_context=context,
        )
        for images, labels in loader:
            for group in optimizer.param_groups:
                group["lr"] = options.rate * (1 - step / total) ** 2
            with torch.autocast(device.type, enabled=device.type == "cuda"):
                embeddings = backbone(images.to(device, non_blocking=True))
            loss = head(embeddings, labels)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(backbone.parameters(), 5)
            scaler.step(optimizer)
            scaler.update()
            if rank == 0 and step % 10 == 0:
                logging.info("step %d of %d: loss %.4f, rate %.5f", step, total, loss.item(), optimizer.param_groups[1]["lr"])
            step += 1
            job.boundary()
    head.close()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
