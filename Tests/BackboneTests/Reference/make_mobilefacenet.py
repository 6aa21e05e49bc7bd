#!/usr/bin/env python3
"""Makes mobilefacenet.txt: a small MobileFaceNet forward and backward in PyTorch, in double precision.

The modules are named and nested as InsightFace's `mbf`, so that the names below are those of its state dictionary. Parameters are a
function of their place, which the test computes too. Needs PyTorch; the result is the same on every run.
"""

import math
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "Benchmarks/Peers"))

from backbones import MobileFaceNet  # noqa: E402

BATCH, SIZE, EMBEDDING, DEPTHS, SCALE = 4, 32, 16, (1, 1, 1, 1), 2


def noise(count, phase):
    """Numbers in ±1 that any language computes."""
    return [2 * ((math.sin(12.9898 * i + phase) * 43758.5453) % 1.0) - 1 for i in range(count)]


def count(depths, scale):
    return sum(p.numel() for p in MobileFaceNet(depths, scale, 512, 7).parameters())


def main():
    torch.set_default_dtype(torch.float64)
    net = MobileFaceNet(DEPTHS, SCALE, EMBEDDING, SIZE // 16)
    names = [name for name in net.state_dict() if not name.endswith("num_batches_tracked")]
    with torch.no_grad():
        for index, name in enumerate(names):
            tensor = net.state_dict()[name]
            values = torch.tensor(noise(tensor.numel(), index)).reshape(tensor.shape)
            if name.endswith("running_var"):
                values = 1 + 0.5 * values
            elif tensor.dim() > 1:
                values = values / math.sqrt(tensor[0].numel())
            elif name.endswith("weight"):
                values = 0.8 + 0.4 * values
            else:
                values = 0.3 * values
            tensor.copy_(values.float().double())
    images = torch.tensor(noise(BATCH * 3 * SIZE * SIZE, 0.5)).reshape(BATCH, 3, SIZE, SIZE).float().double()
    upstream = torch.tensor(noise(BATCH * EMBEDDING, 0.25)).reshape(BATCH, EMBEDDING).float().double()
    net.eval()
    inference = net(images).detach()
    net.train()
    embeddings = net(images)
    (embeddings * upstream).sum().backward()
    gradients = dict(net.named_parameters())
    with open("mobilefacenet.txt", "w") as file:
        print("count mbf", count((1, 4, 6, 2), 2), file=file)
        print("count mbf_large", count((2, 8, 12, 4), 4), file=file)
        print("embeddings", *[f"{v:.9g}" for v in embeddings.detach().flatten()], file=file)
        print("inference", *[f"{v:.9g}" for v in inference.flatten()], file=file)
        for name in names:
            if name in gradients:
                g = gradients[name].grad.flatten()
                step = max(1, len(g) // 4)
                print(name, f"{g.norm().item():.9g}", *[f"{v:.9g}" for v in g[::step][:4]], file=file)


if __name__ == "__main__":
    main()
