"""IResNet and MobileFaceNet in PyTorch. Modules are named and nested as InsightFace's, so that state dictionaries fit."""

from torch import nn

DEPTHS = {"iresnet18": (2, 2, 2, 2), "iresnet34": (3, 4, 6, 3), "iresnet50": (3, 4, 14, 3)}


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
    """`mbf` by default; (2, 8, 12, 4) and a scale of 4 for `mbf_large`. `last`: the side of the last feature map."""

    def __init__(self, depths=(1, 4, 6, 2), scale=2, embedding=512, last=7):
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


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        y = self.bn3(self.conv2(y))
        return y + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    def __init__(self, depths, embedding=512):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        inputs = 64
        for stage, (depth, width) in enumerate(zip(depths, (64, 128, 256, 512)), 1):
            blocks = [Block(inputs, width, 2)] + [Block(width, width, 1) for _ in range(depth - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            inputs = width
        self.bn2 = nn.BatchNorm2d(512)
        self.fc = nn.Linear(512 * 49, embedding)
        self.features = nn.BatchNorm1d(embedding)
        self.features.weight.requires_grad = False

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(self.bn2(x).flatten(1)))


def network(name):
    return MobileFaceNet() if name == "mbf" else IResNet(DEPTHS[name])
