"""The arithmetic of merge and finish against float64 and, where there is a C compiler, against the servers' kernels bit for bit."""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import numpy as np
import pytest
from conftest import REPOSITORY

from partialfc import exact
from partialfc.errors import MalformedMessage
from partialfc.softmax import FeaturesExchange, Partial, finish, merge
from partialfc.tree import ReductionTree

KERNELS = REPOSITORY / "Sources/C/CKernels"


def some_partial(source: np.random.Generator, n: int, size: int) -> Partial:
    maximum = (source.standard_normal(n) * 20).astype("f4")
    sums = (source.random(n) * 10 ** source.uniform(-30, 4, n)).astype("f4")
    numerator = (source.standard_normal((n, size)) * sums[:, None]).astype("f4")
    empty = source.random(n) < 0.05
    maximum[empty], sums[empty], numerator[empty] = -np.inf, 0, 0
    return Partial(maximum, sums, numerator)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not KERNELS.exists():
        pytest.skip("no C compiler, or no sources")
    library = tmp_path_factory.mktemp("kernels") / "kernels.so"
    sources = [str(KERNELS / name) for name in ("head_softmax.c", "head_rows.c")]
    flags = ["-O2", "-ffp-contract=off", "-shared", "-fPIC", f"-I{KERNELS}/include"]
    subprocess.run([compiler, *flags, "-o", str(library), *sources], check=True)
    return ctypes.CDLL(str(library))


def address(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def test_merge_and_finish_have_the_bits_of_the_kernels(kernels: ctypes.CDLL) -> None:
    exact.flush_denormals()
    source = np.random.default_rng(1)
    for size in (1, 7, 16, 33, 128, 512):
        n = int(source.integers(1, 140))
        a, b = some_partial(source, n, size), some_partial(source, n, size)
        ours = merge(a, b)
        theirs = [np.empty(n, "f4"), np.empty(n, "f4"), np.empty((n, size), "f4")]
        counts = ctypes.c_ssize_t(n), ctypes.c_ssize_t(size)
        inputs = [address(x) for x in (a.maximum, a.sum, a.numerator, b.maximum, b.sum, b.numerator)]
        kernels.pfc_head_merge(*counts, *inputs, *[address(x) for x in theirs])
        for mine, other in zip((ours.maximum, ours.sum, ours.numerator), theirs, strict=True):
            assert np.array_equal(mine.view("i4"), other.view("i4"))
        features = (source.standard_normal((n, size)) * 10 ** source.uniform(-17, 3, (n, 1))).astype("f4")
        logit, target = (source.standard_normal(n) * 20).astype("f4"), source.standard_normal((n, size)).astype("f4")
        loss, log_z, gradient = finish(features, ours, logit, target, 64 / n)
        outputs = [np.empty(n), np.empty(n), np.empty((n, size), "f4")]
        inputs = [address(x) for x in (features, ours.maximum, ours.sum, ours.numerator, logit, target)]
        kernels.pfc_head_finish(*counts, ctypes.c_double(64 / n), *inputs, *[address(x) for x in outputs])
        assert np.array_equal(loss.view("i8"), outputs[0].view("i8"))
        assert np.array_equal(log_z.view("i8"), outputs[1].view("i8"))
        assert np.array_equal(gradient.view("i4"), outputs[2].view("i4"))


def test_functions_are_accurate() -> None:
    x = np.linspace(-80, 80, 10001)
    assert np.max(np.abs(exact.exp(x) / np.exp(x) - 1)) < 1e-15
    assert np.max(np.abs(exact.expf(x.astype("f4")).astype("f8") / np.exp(x.astype("f4").astype("f8")) - 1)) < 3e-7
    y = np.logspace(-300, 300, 10001)
    assert np.max(np.abs(exact.log(y) - np.log(y)) / np.maximum(np.abs(np.log(y)), 1)) < 1e-15
    z = np.logspace(-20, 5, 10001)
    assert np.max(np.abs(exact.log1p(z) / np.log1p(z) - 1)) < 1e-15
    small = np.linspace(-1, 1, 10001)[np.linspace(-1, 1, 10001) != 0]
    assert np.max(np.abs(exact.expm1(small) / np.expm1(small) - 1)) < 1e-15


def test_finish_is_the_formula() -> None:
    source = np.random.default_rng(2)
    n, size = 20, 24
    others = some_partial(source, n, size)
    features, target = source.standard_normal((n, size)).astype("f4"), source.standard_normal((n, size)).astype("f4")
    logit = (source.standard_normal(n) * 10).astype("f4")
    loss, log_z, gradient = finish(features, others, logit, target, 3.0)
    top, sums = others.maximum.astype("f8"), others.sum.astype("f8")
    expected = np.logaddexp(np.where(sums > 0, top + np.log(np.where(sums > 0, sums, 1)), -np.inf), logit.astype("f8"))
    assert np.allclose(log_z, expected, rtol=1e-12)
    x = features.astype("f8")
    length = np.linalg.norm(x, axis=1, keepdims=True)
    weight = np.where(sums > 0, np.exp(np.where(sums > 0, top, 0) - log_z), 0)
    q = weight[:, None] * others.numerator - (1 - np.exp(-loss))[:, None] * target
    unit = x / length
    wanted = 3.0 / length * (q - (q * unit).sum(1, keepdims=True) * unit)
    assert np.linalg.norm(gradient - wanted) < 1e-5 * np.linalg.norm(wanted)


def test_subtrees_cover_each_leaf_once() -> None:
    assert ReductionTree(16).subtrees(0, 6) == [(2, 0), (1, 2)]
    for leaves in (1, 2, 3, 5, 12, 16):
        tree = ReductionTree(leaves)
        for lower in range(leaves + 1):
            for upper in range(lower, leaves + 1):
                nodes = tree.subtrees(lower, upper)
                assert [leaf for node in nodes for leaf in tree.covers(node)] == list(range(lower, upper))
        parts = {node: [*tree.covers(node)] for node in tree.subtrees(0, leaves // 2) + tree.subtrees(leaves // 2, leaves)}
        assert tree.combine(parts, lambda a, b: a + b) == list(range(leaves))
        if leaves > 1:
            parts.popitem()
            assert tree.combine(parts, lambda a, b: a + b) is None


def answer(n: int, size: int) -> list[np.ndarray]:
    zeros = [np.zeros((1, n), "f4"), np.ones((1, n), "f4"), np.zeros((1, n, size), "f4")]
    return [np.asarray([[0, 0]], "i4"), *zeros, np.arange(n, dtype="i4"), np.zeros(n, "f4"), np.zeros((n, size), "f4")]


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, np.asarray([[1, 0]], "i4"), "is none or came twice"),
        (1, np.full((1, 4), np.nan, "f4"), "not finite"),
        (2, np.full((1, 4), -1, "f4"), "not finite"),
        (3, np.zeros((1, 4, 3), "f4"), "expected float32"),
        (4, np.asarray([0, 1, 2, 2], "i4"), "came twice"),
        (4, np.asarray([0, 1, 2, 4], "i4"), "none of this rank's 4"),
        (5, np.full(4, np.inf, "f4"), "not finite"),
    ],
)
def test_what_shards_send_is_checked(place: int, value: np.ndarray, words: str) -> None:
    exchange = FeaturesExchange(1, np.arange(4), np.ones((4, 2), "f4"))
    payload = answer(4, 2)
    payload[place] = value
    with pytest.raises(MalformedMessage, match=words):
        exchange.take("shard-1", payload)


def test_missing_slices_and_targets_are_named() -> None:
    exchange = FeaturesExchange(2, np.arange(4), np.ones((4, 2), "f4"))
    exchange.take("shard-1", answer(4, 2))
    with pytest.raises(MalformedMessage, match="slices are missing"):
        exchange.finish(1.0, None)
    exchange = FeaturesExchange(1, np.asarray([0, 1, 2, -1]), np.ones((4, 2), "f4"))
    payload = answer(4, 2)
    payload[4:] = [np.asarray([0, 2], "i4"), np.zeros(2, "f4"), np.zeros((2, 2), "f4")]
    exchange.take("shard-1", payload)
    with pytest.raises(MalformedMessage, match="sample 1, class 1"):
        exchange.finish(1.0, None)


def test_samples_without_class_and_weights() -> None:
    labels, weights = np.asarray([0, 1, 2, -1]), np.asarray([1, 2, 0, 7], "f4")
    plain = FeaturesExchange(1, np.arange(4), np.ones((4, 2), "f4"))
    plain.take("shard-1", answer(4, 2))
    whole = plain.finish(1.0, None)
    exchange = FeaturesExchange(1, labels, np.ones((4, 2), "f4"))
    payload = answer(4, 2)
    payload[4:] = [np.asarray([0, 1, 2], "i4"), np.zeros(3, "f4"), np.zeros((3, 2), "f4")]
    exchange.take("shard-1", payload)
    result = exchange.finish(1.0, weights)
    assert result.losses.tolist() == [whole.losses[0], 2 * whole.losses[1], 0.0, 0.0]
    assert result.log_z[3] == 0
