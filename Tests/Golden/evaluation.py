#!/usr/bin/env python3
"""The numbers of evaluation.txt: protocols of face recognition in NumPy (float64) and scikit-learn, from their definitions.

Inputs are a function of their place (`number`), so that only the results are kept. Usage: evaluation.py > evaluation.txt
"""

import numpy as np
from inputs import number
from sklearn.metrics import roc_auc_score, roc_curve

FARS = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
ROWS, TEMPLATES, SIZE = 600, 120, 8


def numbers(count, kind):
    return np.array([number(i, kind) for i in range(count)])


def show(name, values):
    print(name, " ".join("none" if v is None else f"{v:.12g}" for v in np.asarray(values, dtype=object).reshape(-1)))


def rates(name, labels, scores):
    """InsightFace's way, and the strict one: straight from the scores, without a curve."""
    far, tar, _ = roc_curve(labels, scores)
    far, tar = np.flipud(far), np.flipud(tar)
    negatives, positives = scores[labels == 0], scores[labels == 1]
    nearest, at, strict = [], [], []
    for x in FARS:
        if x * len(negatives) < 1:
            nearest.append(None), at.append(None), strict.append(None)
            continue
        index = min(zip(abs(far - x), range(len(far))))[1]
        nearest.append(tar[index]), at.append(far[index])
        best = 0.0
        for threshold in np.unique(scores):
            if np.mean(negatives >= threshold) <= x:
                best = max(best, np.mean(positives >= threshold))
        strict.append(best)
    show(name + ".nearest", nearest)
    show(name + ".at", at)
    show(name + ".strict", strict)
    show(name + ".auc", [roc_auc_score(labels, scores)])


def curve():
    """4,000 scores in steps of 1/64: many are equal."""
    labels = (numbers(4000, 1) > 0.2).astype(int)
    scores = np.floor((numbers(4000, 2) + 0.35 * labels) * 64) / 64
    rates("ties", labels, scores)
    fine = numbers(4000, 3) + 0.4 * labels
    rates("fine", labels, fine)


def unit(rows):
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)


def features(count, kind):
    """A person's direction and something of the image's own."""
    persons = np.arange(count) % 30
    base = numbers(30 * SIZE, 20).reshape(30, SIZE)
    return 0.7 * base[persons] + numbers(count * SIZE, kind).reshape(count, SIZE)


def pooled(keep_norm, detector):
    """Template i is of person i % 30. Row r is of template r % 120 and, of its five, medium r // 240."""
    rows = np.array([features(TEMPLATES, 21 + k) for k in range(ROWS // TEMPLATES)]).reshape(ROWS, SIZE)
    if not keep_norm:
        rows = unit(rows)
    if detector:
        rows = rows * (numbers(ROWS, 30) + 0.5)[:, None]
    templates = np.zeros((TEMPLATES, SIZE))
    for t in range(TEMPLATES):
        mine = np.array([r for r in range(ROWS) if r % TEMPLATES == t])
        media = mine // 240
        templates[t] = sum(rows[mine[media == m]].mean(axis=0) for m in set(media))
    return unit(templates)


def templates():
    for keep, detector in [(1, 1), (1, 0), (0, 1), (0, 0)]:
        found = pooled(keep, detector)
        name = f"pool.{keep}{detector}"
        pairs = [(a, b) for a in range(TEMPLATES) for b in range(a + 1, TEMPLATES)]
        scores = np.array([found[a] @ found[b] for a, b in pairs])
        labels = np.array([int(a % 30 == b % 30) for a, b in pairs])
        show(name + ".scores", scores[:6])
        rates(name, labels, scores)
    search(pooled(1, 1))


def search(found):
    """Galleries: templates 0…14 and 15…24; probes: templates 30…119."""
    hits, means = np.zeros(2), []
    probes = np.arange(30, TEMPLATES)
    for name, gallery in [("first", np.arange(15)), ("second", np.arange(15, 25))]:
        scores = found[probes] @ found[gallery].T
        mated = np.isin(probes % 30, gallery % 30)
        own = np.array([np.where(gallery % 30 == p % 30)[0][0] if m else -1 for p, m in zip(probes, mated)])
        rank = np.array([np.sum(s > s[o]) if o >= 0 else 999 for s, o in zip(scores, own)])
        here = np.array([np.sum(rank < k) for k in (1, 5)])
        hits += here
        negatives = np.sort(scores[~mated].max(axis=1))[::-1]
        tpir = []
        for x in (0.01, 0.1):
            threshold = negatives[max(int(len(negatives) * x) - 1, 0)]
            tpir.append(
                np.mean([rank[i] == 0 and scores[i, own[i]] > threshold for i in range(len(probes)) if mated[i]])
            )
        means.append(tpir)
        show(f"search.{name}", [mated.sum(), (~mated).sum(), *here, *tpir])
    show("search.both", [*(hits / len(probes)), *np.mean(means, axis=0)])


def open_set():
    """A gallery of 60 images of persons 0…19 and 40 distractors; probes of persons 0…29."""
    gallery = unit(np.concatenate([features(60, 41), numbers(40 * SIZE, 42).reshape(40, SIZE)]))
    keep = np.array([i % 30 < 20 for i in range(60)] + [True] * 40)
    gallery = gallery[keep]
    labels = [i % 30 for i in range(60) if i % 30 < 20]
    probes = unit(features(90, 43))
    found = []
    for i in range(90):
        if i % 30 >= 20:
            continue
        order = np.argsort(-(gallery @ probes[i]), kind="stable")
        found.append(next(k for k, g in enumerate(order) if g < len(labels) and labels[g] == i % 30))
    show("open", [len(gallery), len(found), 90 - len(found), *[np.mean(np.array(found) < k) for k in (1, 5, 20)]])


def every_pair():
    rows = unit(features(700, 51))
    scores = rows @ rows.T
    a, b = np.triu_indices(700, 1)
    labels, scores = (a % 30 == b % 30).astype(int), scores[a, b]
    rates("pairs", labels, scores)
    show("pairs.counts", [labels.sum(), len(labels) - labels.sum()])


def in_bytes():
    """400 rows less those of persons 20…29 and 40 distractors, and 90 probes, as int8: exact sums, cosines of the codes."""

    def encoded(rows):
        rows = rows.astype(np.float32)
        scales = np.abs(rows).max(axis=1) / np.float32(127)
        return np.rint(rows / scales[:, None]).astype(np.int64), scales

    def thrice(count, kind):
        first, second, third = [features(count, kind + 100 * k).astype(np.float32) for k in range(3)]
        return first + second + third

    keep = np.arange(400) % 30 < 20
    gallery, scales = encoded(np.concatenate([thrice(400, 61)[keep], numbers(40 * SIZE, 62).reshape(40, SIZE)]))
    probes, _ = encoded(thrice(90, 63))
    labels = np.concatenate([(np.arange(400) % 30)[keep], np.full(40, -1)])
    persons = np.arange(90) % 30
    products = probes @ gallery.T
    scores = products / np.sqrt(np.outer((probes**2).sum(axis=1), (gallery**2).sum(axis=1)))
    show("bytes.codes", gallery[:3].reshape(-1))
    show("bytes.scales", scales[:3])
    # Highest first, of equal ones the lower row. Cosines that are equal as real numbers are so in f32.
    order = np.lexsort((np.tile(np.arange(len(gallery)), (90, 1)), -np.round(scores, 12)), axis=1)
    show("bytes.nearest", order[[0, 7, 25, 89], :6].reshape(-1))
    own = np.array([scores[i, labels == persons[i]].max() if persons[i] < 20 else np.nan for i in range(90)])
    better = np.array([np.sum(scores[i, labels != persons[i]] >= own[i] - 1e-9) for i in range(90)])
    mated = persons < 20
    negatives = np.sort(scores[~mated].max(axis=1))[::-1]
    tpir = [
        np.mean((better[mated] == 0) & (own[mated] > negatives[max(int(len(negatives) * x) - 1, 0)]))
        for x in (0.01, 0.1)
    ]
    show("bytes.figures", [mated.sum(), (~mated).sum(), *[np.sum(better[mated] < k) for k in (1, 5)], *tpir])


def align():
    """Umeyama by singular values, and a warp by the inverse map."""
    target = np.array(
        [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
    )
    points = np.array([[60.0, 81.5], [103.0, 70.25], [88.5, 104.0], [75.0, 133.0], [113.0, 122.5]])
    p, q = points.mean(axis=0), target.mean(axis=0)
    u, s, v = np.linalg.svd((target - q).T @ (points - p) / 5)
    sign = np.diag([1, np.sign(np.linalg.det(u) * np.linalg.det(v))])
    scale = np.trace(np.diag(s) @ sign) / ((points - p) ** 2).sum() * 5
    matrix = scale * u @ sign @ v
    shift = q - matrix @ p
    show("align.matrix", [*matrix.reshape(-1), *shift])
    height, width = 150, 140
    image = np.array([[[(7 * y + 3 * x + 50 * c + x * y // 9) % 256 for c in range(3)] for x in range(width)] for y in range(height)])
    inverse = np.linalg.inv(matrix)
    values = []
    for y, x in [(0, 0), (10, 100), (30, 30), (55, 56), (80, 41), (111, 111), (111, 0), (5, 60), (0, 111)]:
        sx, sy = inverse @ (np.array([x, y]) - shift)
        left, top = int(np.floor(sx)), int(np.floor(sy))
        total = np.zeros(3)
        for j in (0, 1):
            for i in (0, 1):
                if 0 <= top + j < height and 0 <= left + i < width:
                    total += image[top + j, left + i] * (1 - abs(sx - left - i)) * (1 - abs(sy - top - j))
        values.extend(total)
    show("align.pixels", values)


curve()
templates()
open_set()
every_pair()
in_bytes()
align()
