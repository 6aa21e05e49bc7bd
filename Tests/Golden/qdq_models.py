#!/usr/bin/env python3
"""Makes onnx/qdq_*.onnx and qdq.txt: quantised models of onnxruntime's, models that must be refused, and what onnxruntime computes.

qdq.txt holds what onnxruntime gives for the models here, and for onnx/qdq_exported.onnx, which the tests export with
PFC_KEEP_ONNX=Tests/Golden/onnx swift test --filter QuantizedFileONNXTests.
Needs onnx, onnxruntime and NumPy.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from inputs import number
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

FOLDER = Path(__file__).resolve().parent
F = np.float32


def numbers(shape, kind, scale=1.0):
    return np.array([F(scale) * F(number(i, kind)) for i in range(int(np.prod(shape)))], F).reshape(shape)


def images(count):
    """[count, 3, 8, 8] of the NHWC images of the tests."""
    return numbers((count, 8, 8, 3), 20, 2).transpose(0, 3, 1, 2).copy()


def plain():
    """A convolution with ReLU, a depthwise one, their sum, a mean, and a linear layer."""
    weights = {
        "w1": numbers((8, 3, 3, 3), 1), "b1": numbers(8, 2, 0.25), "w2": numbers((8, 1, 3, 3), 3), "b2": numbers(8, 4, 0.25),
        "w3": numbers((8, 8, 1, 1), 6), "b3": numbers(8, 7, 0.25), "w4": numbers((6, 8), 8), "b4": numbers(6, 9, 0.25)}
    nodes = [
        helper.make_node("Conv", ["data", "w1", "b1"], ["c1"], "first", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"], "relu"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "deep", kernel_shape=[3, 3], pads=[1] * 4, group=8),
        helper.make_node("Conv", ["c2", "w3", "b3"], ["c3"], "joined", kernel_shape=[1, 1]),
        helper.make_node("Add", ["c3", "r1"], ["sum"], "sum"),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"], "mean"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "w4", "b4"], ["embedding"], "last", transB=1)]
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 6])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


class Reader(CalibrationDataReader):
    def __init__(self):
        self.batches = iter([{"data": images(8)}])

    def get_next(self):
        return next(self.batches, None)


def session(model):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def line(name, values):
    return " ".join([name] + [f"{v:.9g}" for v in np.asarray(values).ravel()])


def strip(model):
    for place in [model, model.graph, *model.graph.node, *model.graph.value_info]:
        place.doc_string = ""
        del place.metadata_props[:]
    del model.graph.value_info[:]
    return model


def others():
    """onnxruntime's quantised models, and what it computes with them."""
    with tempfile.TemporaryDirectory() as folder:
        source = f"{folder}/plain.onnx"
        onnx.save(plain(), source)
        for name, per_channel, activations in (
                ("tensor_u8", False, QuantType.QUInt8), ("channel_u8", True, QuantType.QUInt8),
                ("channel_s8", True, QuantType.QInt8)):
            path = FOLDER / "onnx" / f"qdq_{name}.onnx"
            quantize_static(source, path, Reader(), quant_format=QuantFormat.QDQ, per_channel=per_channel,
                            activation_type=activations, weight_type=QuantType.QInt8)
            model = strip(onnx.load(path))
            onnx.save(model, path)
            yield line(name, session(model).run(None, {"data": images(3)})[0])


def refused():
    """Models of one convolution that have no form in integers here."""
    def make(name, change):
        codes = np.full((2, 3, 1, 1), 5, np.int8)
        tensors = {"scale": np.array(0.01, F), "zero": np.array(128, np.uint8), "other": np.array(0.02, F), "codes": codes,
                   "ws": np.array([0.1, 0.2], F), "wz": np.zeros(2, np.int8)}
        nodes = [helper.make_node("QuantizeLinear", ["data", "scale", "zero"], ["q"], "encode"),
                 helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["x"], "decode"),
                 helper.make_node("DequantizeLinear", ["codes", "ws", "wz"], ["w"], "weight", axis=0),
                 helper.make_node("Conv", ["x", "w"], ["y"], "layer"),
                 helper.make_node("GlobalAveragePool", ["y"], ["p"], "mean"),
                 helper.make_node("Flatten", ["p"], ["embedding"], "flat")]
        change(nodes, tensors)
        graph = helper.make_graph(
            nodes, "small", [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["batch", 3, 8, 8])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 2])],
            [numpy_helper.from_array(value, key) for key, value in tensors.items()])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
                  FOLDER / "onnx" / f"qdq_refused_{name}.onnx")

    def lowest(nodes, tensors):
        tensors["codes"][1, 2] = -128

    def axis(nodes, tensors):
        tensors["ws"], tensors["wz"] = np.array([0.1, 0.2, 0.3], F), np.zeros(3, np.int8)
        nodes[2].attribute[0].i = 1

    def scale(nodes, tensors):
        nodes[1].input[1] = "other"

    def codes(nodes, tensors):
        nodes.insert(1, helper.make_node("MaxPool", ["q"], ["m"], "pool", kernel_shape=[2, 2]))
        nodes[2].input[0] = "m"

    for change in (lowest, axis, scale, codes):
        make(change.__name__, change)


def exported(path):
    """Every value and all codes of a model that the tests exported, of two images, channels last."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    names = [name for node in model.graph.node for name in node.output if name != "embedding"]
    names = [name for name in names if not name.endswith((".weight", ".decoded", ".held"))]
    model = onnx.shape_inference.infer_shapes(model)
    known = {value.name: value for value in model.graph.value_info}
    model.graph.output.extend(known[name] for name in names)
    run = session(model)
    for name, value in zip(["embedding"] + names, run.run(["embedding"] + names, {"data": images(2)})):
        yield line(name, value.transpose(0, 2, 3, 1) if value.ndim == 4 else value)


def main():
    refused()
    lines = list(others()) + list(exported(FOLDER / "onnx" / "qdq_exported.onnx"))
    (FOLDER / "qdq.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
