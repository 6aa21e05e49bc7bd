"""The golden cases of the head, float64 by automatic differentiation, through real clusters."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import PATIENCE, golden_cases, in_threads, worlds
from golden import GoldenCase

import partialfc
from partialfc.local import LocalCluster, external_configuration

CASES = golden_cases()
TOLERANCE = 1e-4


def compute(
    case: GoldenCase, start: Callable[..., LocalCluster], shards: int, ranks: int, exchange: str, parts: int = 1
) -> dict[str, np.ndarray]:
    """One step of a case, of which each rank gives up to `parts` parts."""
    path, batch = str(case.path), len(case["labels"])
    micro = next(g for g in range(batch, 0, -1) if batch % g == 0 and batch // g >= min(4, batch) and (batch // g) % ranks == 0)
    names = {"scale": "scale", "m1": "m1", "m2": "m2", "m3": "m3", "interclass_filter": "filter", "sample_rate": "sample_rate"}
    head = {ours: case.number(theirs) for ours, theirs in names.items()}
    classes, size = case["centers"].shape
    optimizer = {"momentum": case.number("momentum"), "weight_decay": case.number("weight_decay")}
    configuration = external_configuration(
        classes,
        size,
        batch=batch,
        micro_batch=micro,
        shards=shards,
        head={**head, "slices": 8, "exchange": exchange, "initial": path, "sampled": path},
        optimizer=optimizer,
    )
    cluster = start(configuration, shards=shards)
    ranks_of = worlds(ranks)
    features, labels = torch.from_numpy(case["features"]), torch.from_numpy(case["labels"])

    def step(rank: int) -> tuple[float, np.ndarray]:
        module = partialfc.PartialFC(None, size, classes, cluster=cluster.endpoint, timeout=PATIENCE)
        module._world = ranks_of[rank]
        group = {"params": module.parameters(), "lr": case.number("lr"), **optimizer}
        sgd = torch.optim.SGD([group])
        mine = slice(rank * batch // ranks, (rank + 1) * batch // ranks)
        x, y = features[mine].clone().requires_grad_(), labels[mine]
        of_rank = batch // micro // ranks
        bounds = sorted({micro * (of_rank * part // parts) for part in range(parts + 1)})
        loss = 0.0
        if parts > 1:
            module.prefetch(y)
        for lower, upper in itertools.pairwise(bounds):
            one = module(x[lower:upper], y[lower:upper])
            one.backward()
            loss += one.item()
        sgd.step()
        module.close()
        assert x.grad is not None
        return loss, x.grad.numpy() / ranks

    found = in_threads(step, ranks)
    assert len({loss for loss, _ in found}) == 1
    with partialfc.Client(cluster.endpoint) as client:
        centers, momentum, _ = client.rows(case["sampled"].tolist())
    decay = optimizer["momentum"] * case["momentum"] + optimizer["weight_decay"] * case["centers"]
    return {
        "loss": np.asarray([found[0][0]]),
        "grad_features": np.concatenate([gradient for _, gradient in found]),
        "grad_centers": momentum - decay[case["sampled"]],
        "updated_centers": centers,
        "updated_momentum": momentum,
    }


@pytest.mark.slow
@pytest.mark.skipif(not CASES, reason="there are no golden cases; set GOLDEN_DIR")
@pytest.mark.parametrize("path", CASES, ids=[path.stem for path in CASES])
def test_golden(path: Path, cluster: Callable[..., LocalCluster], record_property: Callable[[str, object], None]) -> None:
    case = GoldenCase(path)
    setups = [(1, 1), (3, 1)] + ([(2, 2)] if len(case["labels"]) % 2 == 0 else [])
    results = [compute(case, cluster, shards, ranks, "features") for shards, ranks in setups]
    rows = compute(case, cluster, 2, setups[-1][1], "rows")
    for exchange, result in (("features", results[0]), ("rows", rows)):
        errors = {}
        for name, ours in result.items():
            theirs = case[name].reshape(ours.shape)
            errors[name] = float(np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-300))
        print(path.stem, exchange, {name: f"{error:.1e}" for name, error in errors.items()})
        record_property(exchange, errors)
        assert max(errors.values()) < TOLERANCE
    for other in results[1:]:
        for name, values in results[0].items():
            assert np.array_equal(values, other[name]), f"{name} depends on the numbers of shards and ranks"
    for whole, shards, ranks, exchange, parts in (
        (results[0], 1, 1, "features", 2),
        (results[0], 3, 1, "features", 4),
        (results[0], 3, setups[-1][1], "features", 2),
        (rows, 2, setups[-1][1], "rows", 2),
    ):
        cut = compute(case, cluster, shards, ranks, exchange, parts)
        for name, values in whole.items():
            if name == "loss":  # a sum of float32
                assert np.allclose(values, cut[name], rtol=1e-6)
            elif name == "grad_features" and exchange == "rows":
                assert np.linalg.norm(values - cut[name]) <= 1e-5 * np.linalg.norm(values)
            else:
                assert np.array_equal(values, cut[name]), f"{name} of {exchange} depends on the parts"
