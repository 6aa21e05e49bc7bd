#!/usr/bin/env python3
"""Times a network in use in onnxruntime or ncnn: milliseconds of a batch. Prints one line of JSON."""

import argparse
import json
import subprocess
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from backbones import network
from time_backbone import SIZE, seconds


def exported(net, folder):
    path = Path(folder) / "float.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, torch.rand(1, 3, SIZE, SIZE), path, input_names=["data"], opset_version=17, dynamo=False,
                          dynamic_axes={"data": {0: "batch"}})
    return path


def quantized(path, activations):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            generator = np.random.default_rng(1)
            self.batches = iter([{"data": generator.random((1, 3, SIZE, SIZE), np.float32) * 2 - 1} for _ in range(4)])

        def get_next(self):
            return next(self.batches, None)

    prepared, result = path.with_name("prepared.onnx"), path.with_name("int8.onnx")
    quant_pre_process(str(path), str(prepared))
    quantize_static(str(prepared), str(result), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8 if activations == "u8s8" else QuantType.QInt8,
                    weight_type=QuantType.QInt8)
    return result


def onnxruntime_run(path, values, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"data": values})


def ncnn_run(net, folder, values, threads):
    import ncnn

    traced = Path(folder) / "net.pt"
    torch.jit.trace(net, torch.rand(1, 3, SIZE, SIZE)).save(str(traced))
    subprocess.run(["pnnx", str(traced), f"inputshape=[1,3,{SIZE},{SIZE}]"], cwd=folder, check=True, capture_output=True)
    model = ncnn.Net()
    model.opt.num_threads = threads
    model.load_param(str(Path(folder) / "net.ncnn.param"))
    model.load_model(str(Path(folder) / "net.ncnn.bin"))

    def run():
        # It has no batches.
        for image in values:
            extractor = model.create_extractor()
            extractor.input("in0", ncnn.Mat(image).clone())
            extractor.extract("out0")

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runtime", choices=["onnxruntime", "ncnn"])
    parser.add_argument("arithmetic", choices=["f32", "u8s8", "s8s8"])
    parser.add_argument("--network", default="mbf")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=51)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    net = network(options.network).eval()
    values = np.random.default_rng(2).random((options.batch, 3, SIZE, SIZE), np.float32) * 2 - 1
    with tempfile.TemporaryDirectory() as folder:
        if options.runtime == "ncnn":
            run = ncnn_run(net, folder, values, options.threads)
        else:
            path = exported(net, folder)
            if options.arithmetic != "f32":
                path = quantized(path, options.arithmetic)
            run = onnxruntime_run(path, values, options.threads)
        for _ in range(3):
            run()
        print(json.dumps({"milliseconds": seconds(options.repetitions, run) * 1e3}))


if __name__ == "__main__":
    main()
