#!/usr/bin/env python3
"""Times a backbone in PyTorch or onnxruntime: images per second, training and inference. Prints one line of JSON."""

import argparse
import io
import json
import resource
import statistics
import time
import warnings

import torch
from backbones import network

SIZE, EMBEDDING = 112, 512


def seconds(repetitions, body):
    """The median, after one repetition that does not count."""
    body()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        body()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def training(net, images, upstream, compiles):
    """Forward, backward, clip, SGD, as InsightFace's loop."""
    net.train()
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 1e-4, 0.9, weight_decay=5e-4)
    run = torch.compile(net) if compiles else net

    def step():
        (run(images) * upstream).sum().backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5)
        optimizer.step()
        optimizer.zero_grad()

    return step


def inference(net, images, compiles):
    net.eval()
    run = torch.compile(net) if compiles else net

    def step():
        with torch.inference_mode():
            run(images)

    return step


def onnx_inference(net, images, threads):
    import onnxruntime

    file = io.BytesIO()
    net.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, images[:1], file, input_names=["data"], opset_version=17, dynamo=False,
                          dynamic_axes={"data": {0: "batch"}})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    values = images.contiguous().numpy()
    return lambda: session.run(None, {"data": values})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", choices=["eager", "compile", "onnxruntime"])
    parser.add_argument("--network", default="iresnet18")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    net = network(options.network).to(memory_format=torch.channels_last)
    images = torch.rand(options.batch, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    upstream = torch.rand(options.batch, EMBEDDING)
    compiles = options.variant == "compile"
    result = {}
    if options.variant == "onnxruntime":
        result["inference"] = options.batch / seconds(
            options.repetitions, onnx_inference(net, images, options.threads))
    else:
        result["inference"] = options.batch / seconds(options.repetitions, inference(net, images, compiles))
        result["training"] = options.batch / seconds(
            options.repetitions, training(net, images, upstream, compiles))
    result["peakBytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main()
