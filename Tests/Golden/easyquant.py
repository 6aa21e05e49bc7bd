#!/usr/bin/env python3
"""The numbers of easyquant.txt: EasyQuant (arXiv 2006.16669) on a network of four layers, in NumPy from its definition.

Network and images are those of Tests/QuantizationTests/Support.swift, made of `number`. Usage: easyquant.py > easyquant.txt
"""

import numpy as np
from inputs import number

F = np.float32
IMAGES = 6


def numbers(count, kind, scale=1.0):
    return np.array([F(scale) * F(number(i, kind)) for i in range(count)], F)


class Layer:
    def __init__(self, name, kind, channels, outputs, kernel, stride=1, padding=0, depthwise=False, act=None, residual=False):
        self.name, self.k, self.s, self.p, self.depthwise = name, kernel, stride, padding, depthwise
        taps = kernel * kernel
        w = numbers(taps * outputs if depthwise else outputs * taps * channels, kind)
        # [outputs, taps, channels of the sum]
        self.w = w.reshape(taps, outputs).T[:, :, None] if depthwise else w.reshape(outputs, taps, channels)
        self.b = numbers(outputs, kind + 1, 0.25)
        self.act, self.residual = act, residual

    def patches(self, x):
        """[images * pixels, taps, channels] of x [images, h, w, channels], and the extents of the result."""
        n, h, w, c = x.shape
        x = np.pad(x, ((0, 0), (self.p, self.p), (self.p, self.p), (0, 0)))
        oh, ow = (h + 2 * self.p - self.k) // self.s + 1, (w + 2 * self.p - self.k) // self.s + 1
        rows = [x[i, y * self.s:y * self.s + self.k, z * self.s:z * self.s + self.k].reshape(-1, c)
                for i in range(n) for y in range(oh) for z in range(ow)]
        return np.stack(rows), (n, oh, ow)

    def sums(self, patches, w):
        """Exact sums: integers, or float64."""
        if self.depthwise:
            return np.einsum("rtc,ct->rc", patches, w[:, :, 0])
        return np.einsum("rtc,otc->ro", patches, w)

    def activate(self, y):
        if self.act is None:
            return y
        return np.where(y > 0, y, y * self.act).astype(y.dtype)

    def float(self, patches):
        y = self.sums(patches.astype(np.float64), self.w.astype(np.float64)) + self.b
        return self.activate(y.astype(F))

    def integer(self, patches, encoding, scales, limit):
        s, z = encoding
        codes = encode(patches, s, z, limit)
        w = encode(self.w, scales[:, None, None], 0, limit)
        y = self.sums(codes.astype(np.int64), w.astype(np.int64)).astype(F)
        y = y * (F(1) / (scales * s)).astype(F)
        return self.activate((y + self.b).astype(F))


def encode(x, scale, zero, limit):
    """Codes without their zero."""
    return np.clip(np.rint(x * scale), -limit - zero, limit - zero).astype(np.int32)


def cosine(a, b):
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return a @ b / np.sqrt((a @ a) * (b @ b))


def objective(target, result, images):
    if len(target) == images:
        return cosine(target, result)
    rows = len(target) // images
    return np.mean([cosine(target[i * rows:(i + 1) * rows], result[i * rows:(i + 1) * rows]) for i in range(images)])


def asymmetric(low, scale, limit):
    return F(scale), int(np.clip(np.rint(-F(limit) - F(low) * F(scale)), -limit, limit))


def search(layer, patches, target, x, bits, zero_point, kind):
    limit = 2 ** (bits - 1) - 1
    low, high = x.min(), x.max()
    symmetric = F(limit) / max(abs(low), abs(high))
    full = F(2 * limit) / (max(high, F(0)) - min(low, F(0)))
    initial = (F(limit) / np.abs(layer.w).max(axis=(1, 2))).astype(F)
    factors = [F(0.5) + F(1.5) * F(i) / F(99) for i in range(100)]
    scales = initial.copy()

    def score(encoding):
        return objective(target, layer.integer(patches, encoding, scales, limit), IMAGES)

    encoding, best = (symmetric, 0), score((symmetric, 0))
    if zero_point:
        other = asymmetric(min(low, F(0)), full, limit)
        if score(other) > best:
            encoding, best = other, score(other)
    for _ in range(3):
        start = best
        # Weights.
        def channels(candidate):
            result = layer.integer(patches, encoding, candidate, limit).astype(np.float64)
            if kind == "squared":
                return -((target.astype(np.float64) - result) ** 2).sum(axis=0)
            t = target.astype(np.float64)
            return (t * result).sum(0) / np.maximum(1e-300, np.sqrt((t * t).sum(0) * (result * result).sum(0)))
        chosen, values = scales.copy(), channels(scales)
        for f in factors:
            own = channels((initial * f).astype(F))
            better = own > values
            chosen[better], values[better] = (initial * f).astype(F)[better], own[better]
        kept, scales = scales, chosen
        value = score(encoding)
        if value >= best:
            best = value
        else:
            scales = kept
        # The input.
        center = F(1)
        for _ in range(3):
            found = edge = False
            for shifted in ([False, True] if zero_point else [False]):
                if shifted and asymmetric(min(low, F(0)), full, limit)[1] == 0:
                    continue
                grid = [asymmetric(min(low, F(0)), full * (f * center), limit) if shifted else (symmetric * (f * center), 0)
                        for f in factors]
                index = None
                for i, candidate in enumerate(grid):
                    value = score(candidate)
                    if value > best:
                        encoding, best, index = candidate, value, i
                if index is not None:
                    found, edge = True, index in (0, 99)
                    if edge:
                        center = F(0.5) if index == 0 else F(2)
            if not found or not edge:
                break
        if zero_point and (encoding[1] != 0 or low < 0):
            for step in range(17):
                candidate = asymmetric(min(low, F(0)) * F(step) / F(16), encoding[0], limit)
                value = score(candidate)
                if value > best:
                    encoding, best = candidate, value
        if best - start < 1e-7:
            break
    return encoding, scales


def main():
    layers = [
        Layer("first", 1, 3, 8, 3, stride=2, padding=1, act=F(0)),
        Layer("deep", 3, 8, 8, 3, padding=1, depthwise=True, act=numbers(8, 5) * F(0.5)),
        Layer("joined", 6, 8, 8, 1, residual=True),
        Layer("last", 8, 8, 6, 4),
    ]
    images = numbers(IMAGES * 192, 20, 2).reshape(IMAGES, 8, 8, 3)
    for bits in (7, 4):
        for zero_point in (True, False):
            for kind in ("squared", "cosine"):
                limit = 2 ** (bits - 1) - 1
                x = y = images
                first = None
                for layer in layers:
                    (float_patches, extents), (patches, _) = layer.patches(x), layer.patches(y)
                    target = layer.float(float_patches)
                    encoding, scales = search(layer, patches, target, y, bits, zero_point, kind)
                    print(bits, int(zero_point), kind, layer.name, f"{encoding[0]:.7g}", encoding[1],
                          " ".join(f"{s:.7g}" for s in scales))
                    x, y = target.reshape(*extents, -1), layer.integer(patches, encoding, scales, limit).reshape(*extents, -1)
                    if layer.residual:
                        x, y = x + first[0], y + first[1]
                    first = first or (x, y)


main()
