#!/usr/bin/env python3
"""Makes onnx/*.onnx: what PyTorch's exporters write for a padding, a GELU and layer normalisations. Needs PyTorch, onnx and onnxscript."""

import warnings
from pathlib import Path

import onnx
import torch
from torch import nn

FOLDER = Path(__file__).resolve().parent / "onnx"


class Padded(nn.Module):
    """TorchScript computes the order of the paddings with nodes."""

    def __init__(self):
        super().__init__()
        self.pad = nn.ZeroPad2d((1, 2, 3, 4))
        self.convolution = nn.Conv2d(3, 2, 3, bias=False)

    def forward(self, x):
        return self.convolution(self.pad(x)).flatten(1)


class Gelu(nn.Module):
    """Before operator set 20 it is written out with the error function, in another order by each exporter."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 3, bias=False)
        self.gelu = nn.GELU()

    def forward(self, x):
        return self.gelu(self.convolution(x)).flatten(1)


class Normalized(nn.Module):
    """Before operator set 17 a layer normalisation is written out. The factors and terms of channels are trained."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, bias=False)
        self.scale = nn.Parameter(torch.rand(4, 1, 1) + 0.5)
        self.shift = nn.Parameter(torch.rand(4, 1, 1))
        self.whole = nn.LayerNorm([4, 6, 4], eps=1e-3)
        self.channels = nn.LayerNorm(4)
        self.plain = nn.LayerNorm(24, elementwise_affine=False)
        self.unbiased = nn.LayerNorm(24, bias=False)
        for norm in (self.whole, self.channels, self.unbiased):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
        for norm in (self.whole, self.channels):
            nn.init.uniform_(norm.bias)

    def forward(self, x):
        x = self.whole(self.convolution(x * 0.5) * self.scale + self.shift).flatten(2).transpose(1, 2)
        x = self.channels(x).transpose(1, 2)
        return self.unbiased(self.plain(x) * 3.0).flatten(1)


def strip(path):
    """Takes out notes on where the code lies, which are no part of the network."""
    model = onnx.load(path)
    for place in [model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output]:
        place.doc_string = ""
        del place.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    onnx.save(model, path)


def main():
    warnings.simplefilter("ignore")
    torch.manual_seed(1)
    FOLDER.mkdir(exist_ok=True)
    image = torch.rand(2, 3, 8, 6)
    for name, net in (("pad", Padded()), ("gelu", Gelu())):
        net.eval()
        torch.onnx.export(net, image, FOLDER / f"{name}_script_17.onnx", opset_version=17, dynamo=False,
                          input_names=["data"], dynamic_axes={"data": {0: "batch"}})
        torch.onnx.export(net, (image,), FOLDER / f"{name}_dynamo_18.onnx", opset_version=18, dynamo=True,
                          input_names=["data"], dynamic_shapes=({0: torch.export.Dim("batch")},),
                          external_data=False, verbose=False)
    net = Normalized().eval()
    for opset in (11, 16):
        torch.onnx.export(net, image, FOLDER / f"normalized_script_{opset}.onnx", opset_version=opset, dynamo=False,
                          input_names=["data"], dynamic_axes={"data": {0: "batch"}})
    for path in FOLDER.glob("*.onnx"):
        strip(path)


if __name__ == "__main__":
    main()
