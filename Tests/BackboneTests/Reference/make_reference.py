#!/usr/bin/env python3
"""Makes network.safetensors: forward and backward of a small IResNet, computed with NumPy in double precision.

The backward pass is written by hand and checked here against central differences before anything is saved.
Run it in this directory; the result is the same on every run.
"""

import json
import struct

import numpy as np

BATCH, CHANNELS, SIZE, EMBEDDING = 4, 3, 8, 8
STEM, DEPTHS, WIDTHS, STRIDES = 16, [2, 1], [16, 32], [2, 2]
EPSILON = 1e-5


def conv(x, w, stride):
    """NCHW convolution with padding k // 2; returns the output and a function for the gradients."""
    k, pad = w.shape[2], w.shape[2] // 2
    n, _, height, width = x.shape
    out_h, out_w = height // stride, width // stride
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = [
        (slice(None), slice(None), slice(i, i + out_h * stride, stride), slice(j, j + out_w * stride, stride))
        for i in range(k)
        for j in range(k)
    ]
    y = sum(np.einsum("nchw,oc->nohw", padded[at], w[:, :, i // k, i % k]) for i, at in enumerate(windows))

    def backward(dy):
        dw, dp = np.zeros_like(w), np.zeros_like(padded)
        for i, at in enumerate(windows):
            dw[:, :, i // k, i % k] = np.einsum("nohw,nchw->oc", dy, padded[at])
            dp[at] += np.einsum("nohw,oc->nchw", dy, w[:, :, i // k, i % k])
        return dp[:, :, pad : pad + height, pad : pad + width], dw

    return y, backward


def shaped(v, x):
    return v.reshape((1, -1) + (1,) * (x.ndim - 2))


def norm(p, name, x, training, stats):
    axes = (0,) + tuple(range(2, x.ndim))
    count = x.size // x.shape[1]
    if training:
        mean, var = x.mean(axes), x.var(axes)
        stats[name + ".running_mean"] = mean
        stats[name + ".running_var"] = var * count / (count - 1)
    else:
        mean, var = p[name + ".running_mean"], p[name + ".running_var"]
    inverse = 1 / np.sqrt(var + EPSILON)
    hat = (x - shaped(mean, x)) * shaped(inverse, x)
    y = hat * shaped(p[name + ".weight"], x) + shaped(p[name + ".bias"], x)

    def backward(dy, g):
        g[name + ".weight"] = (dy * hat).sum(axes)
        g[name + ".bias"] = dy.sum(axes)
        dhat = dy * shaped(p[name + ".weight"], x)
        return shaped(inverse, x) * (
            dhat - shaped(dhat.mean(axes), x) - hat * shaped((dhat * hat).mean(axes), x)
        )

    return y, backward


def prelu(p, name, x):
    a = shaped(p[name], x)

    def backward(dy, g):
        g[name] = (dy * np.minimum(x, 0)).sum((0, 2, 3))
        return dy * np.where(x > 0, 1, a)

    return np.where(x > 0, x, a * x), backward


def layers():
    """(name, inputs, outputs, stride) of every block."""
    inputs = STEM
    for stage, depth in enumerate(DEPTHS):
        for position in range(depth):
            yield f"layer{stage + 1}.{position}", inputs, WIDTHS[stage], STRIDES[stage] if position == 0 else 1
            inputs = WIDTHS[stage]


def network(p, images, training, dout=None):
    """Embeddings; with `dout`, also the gradients. Statistics of the batch are in the gradients, as in the product."""
    tape, stats, g = [], {}, {}

    def push(result):
        tape.append(result[1])
        return result[0]

    def conv_layer(name, x, stride):
        y, back = conv(x, p[name + ".weight"], stride)

        def backward(dy, g):
            dx, g[name + ".weight"] = back(dy)
            return dx

        return y, backward

    def block(name, x, stride, shortcut):
        inner = []

        def put(result):
            inner.append(result[1])
            return result[0]

        y = put(norm(p, name + ".bn1", x, training, stats))
        y = put(conv_layer(name + ".conv1", y, 1))
        y = put(norm(p, name + ".bn2", y, training, stats))
        y = put(prelu(p, name + ".prelu.weight", y))
        y = put(conv_layer(name + ".conv2", y, stride))
        y = put(norm(p, name + ".bn3", y, training, stats))
        if shortcut:
            s, back_conv = conv_layer(name + ".downsample.0", x, stride)
            s, back_norm = norm(p, name + ".downsample.1", s, training, stats)
        else:
            s = x

        def backward(dy, g):
            d = dy
            for back in reversed(inner):
                d = back(d, g)
            return d + (back_conv(back_norm(dy, g), g) if shortcut else dy)

        return y + s, backward

    x = push(conv_layer("conv1", images, 1))
    x = push(norm(p, "bn1", x, training, stats))
    x = push(prelu(p, "prelu.weight", x))
    for name, inputs, outputs, stride in layers():
        x = push(block(name, x, stride, stride != 1 or inputs != outputs))
    x = push(norm(p, "bn2", x, training, stats))
    flat = x.reshape(len(x), -1)

    def backward_head(dy, g):
        g["fc.weight"] = dy.T @ flat
        g["fc.bias"] = dy.sum(0)
        return (dy @ p["fc.weight"]).reshape(x.shape)

    tape.append(backward_head)
    out = push(norm(p, "features", flat @ p["fc.weight"].T + p["fc.bias"], training, stats))
    if dout is None:
        return out
    d = dout
    for back in reversed(tape):
        d = back(d, g)
    g["features.weight"] = np.zeros(EMBEDDING)
    return out, {**g, **stats}


def parameters(random):
    p = {}

    def add_conv(name, outputs, inputs, k):
        p[name + ".weight"] = random.normal(0, 0.2, (outputs, inputs, k, k))

    def add_norm(name, channels):
        p[name + ".weight"] = random.uniform(0.5, 1.5, channels)
        p[name + ".bias"] = random.normal(0, 0.3, channels)
        p[name + ".running_mean"] = random.normal(0, 0.3, channels)
        p[name + ".running_var"] = random.uniform(0.5, 2, channels)

    add_conv("conv1", STEM, CHANNELS, 3)
    add_norm("bn1", STEM)
    p["prelu.weight"] = random.uniform(0.1, 0.4, STEM)
    for name, inputs, outputs, stride in layers():
        add_norm(name + ".bn1", inputs)
        add_conv(name + ".conv1", outputs, inputs, 3)
        add_norm(name + ".bn2", outputs)
        p[name + ".prelu.weight"] = random.uniform(0.1, 0.4, outputs)
        add_conv(name + ".conv2", outputs, outputs, 3)
        add_norm(name + ".bn3", outputs)
        if stride != 1 or inputs != outputs:
            add_conv(name + ".downsample.0", outputs, inputs, 1)
            add_norm(name + ".downsample.1", outputs)
    add_norm("bn2", WIDTHS[-1])
    pixels = (SIZE // int(np.prod(STRIDES))) ** 2
    p["fc.weight"] = random.normal(0, 0.1, (EMBEDDING, WIDTHS[-1] * pixels))
    p["fc.bias"] = random.normal(0, 0.1, EMBEDDING)
    add_norm("features", EMBEDDING)
    p["features.weight"] = np.ones(EMBEDDING)
    return {name: value.astype(np.float32).astype(np.float64) for name, value in p.items()}


def check_gradients(p, images, dout, gradients, random):
    """Central differences of <embeddings, dout> at two elements of every trained tensor."""
    for name, value in p.items():
        if "running" in name or name == "features.weight":
            continue
        for _ in range(2):
            at = tuple(random.integers(0, extent) for extent in value.shape)
            kept, step = value[at], 1e-6
            value[at] = kept + step
            above = (network(p, images, True) * dout).sum()
            value[at] = kept - step
            below = (network(p, images, True) * dout).sum()
            value[at] = kept
            difference = (above - below) / (2 * step)
            assert abs(difference - gradients[name][at]) < 1e-5 * (1 + abs(difference)), (name, at)


def save(path, tensors):
    header, blobs, offset = {}, [], 0
    for name, value in sorted(tensors.items()):
        blob = np.ascontiguousarray(value, "<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def main():
    random = np.random.default_rng(20)
    p = parameters(random)
    images = random.normal(0, 1, (BATCH, CHANNELS, SIZE, SIZE)).astype(np.float32).astype(np.float64)
    dout = random.normal(0, 1, (BATCH, EMBEDDING)).astype(np.float32).astype(np.float64)
    out, gradients = network(p, images, True, dout)
    check_gradients(p, images, dout, gradients, random)
    assert set(gradients) == set(p)
    tensors = {"images": images, "embedding_gradient": dout, "embeddings": out, "inference": network(p, images, False)}
    tensors.update({"parameters/" + name: value for name, value in p.items()})
    tensors.update({"gradients/" + name: value for name, value in gradients.items()})
    save("network.safetensors", tensors)


if __name__ == "__main__":
    main()
