#!/usr/bin/env python3
"""Makes mobilefacenet.txt: a small MobileFaceNet forward and backward in PyTorch, in double precision.

The modules are named and nested as InsightFace's `mbf`, so that the names below are those of its state dictionary. Parameters are a
function of their place, which the test computes too. Needs PyTorch; the result is the same on every run.
"""

import math

import torch
from torch import nn

BATCH, SIZE, EMBEDDING, DEPTHS, SCALE = 4, 32, 16, (1, 1, 1, 1), 2


def wrap(*modules):
    holder = nn.Module()
    holder.layers = nn.Sequential(*modules)
    holder.forward = holder.layers.forward
    return holder


def linear_block(inputs, outputs, kernel=1, stride=1, padding=0, groups=1):
    return wrap(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(outputs)
    )


def conv_block(inputs, outputs, kernel=1, stride=1, padding=0, groups=1):
    return wrap(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.PReLU(outputs),
    )


class Bottleneck(nn.Module):
    def __init__(self, inputs, outputs, groups, stride, residual):
        super().__init__()
        self.residual = residual
        self.layers = nn.Sequential(
            conv_block(inputs, groups),
            conv_block(groups, groups, 3, stride, 1, groups),
            linear_block(groups, outputs),
        )

    def forward(self, x):
        y = self.layers(x)
        return x + y if self.residual else y


def residual(width, blocks, groups):
    return wrap(*[Bottleneck(width, width, groups, 1, True) for _ in range(blocks)])


class MobileFaceNet(nn.Module):
    def __init__(self, depths, scale, embedding, last):
        super().__init__()
        narrow, wide = 64 * scale, 128 * scale
        second = conv_block(narrow, narrow, 3, 1, 1, 64) if depths[0] == 1 else residual(narrow, depths[0], 128)
        self.layers = nn.ModuleList(
            [
                conv_block(3, narrow, 3, 2, 1),
                second,
                Bottleneck(narrow, narrow, 128, 2, False),
                residual(narrow, depths[1], 128),
                Bottleneck(narrow, wide, 256, 2, False),
                residual(wide, depths[2], 256),
                Bottleneck(wide, wide, 512, 2, False),
                residual(wide, depths[3], 256),
            ]
        )
        self.conv_sep = conv_block(wide, 512)
        self.features = wrap(
            linear_block(512, 512, last, groups=512),
            nn.Flatten(),
            nn.Linear(512, embedding, bias=False),
            nn.BatchNorm1d(embedding),
        )

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.features(self.conv_sep(x))


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
