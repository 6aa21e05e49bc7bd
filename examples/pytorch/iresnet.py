"""IResNet as InsightFace defines it, without its options: images f32 [n, 3, 112, 112] to embeddings [n, D]."""

from __future__ import annotations

from torch import Tensor, nn

DEPTHS = {"r18": (2, 2, 2, 2), "r34": (3, 4, 6, 3), "r50": (3, 4, 14, 3), "r100": (3, 13, 30, 3)}


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.Conv2d(before, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        same = stride == 1 and before == width
        self.shortcut = nn.Identity() if same else nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


class IResNet(nn.Module):
    """The network. `name` is r18, r34, r50 or r100; `image_size` a multiple of 16."""

    def __init__(self, name: str, embedding_size: int, image_size: int = 112) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64)]
        before = 64
        for depth, width in zip(DEPTHS[name], (64, 128, 256, 512), strict=True):
            for index in range(depth):
                layers.append(Block(before, width, 2 if index == 0 else 1))
                before = width
        side = image_size // 16
        self.body = nn.Sequential(*layers, nn.BatchNorm2d(512), nn.Flatten())
        self.fc = nn.Linear(512 * side * side, embedding_size)
        self.features = nn.BatchNorm1d(embedding_size)
        nn.init.constant_(self.features.weight, 1.0)
        self.features.weight.requires_grad = False
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.features(self.fc(self.body(x)))
