"""What operators and readers can do, with and without keys."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import PATIENCE, programs, wait_until

import partialfc
from partialfc.local import LocalCluster, external_configuration
from partialfc.safetensors import SafeTensors, write_rows

C, D = 300, 16
Start = Callable[..., LocalCluster]


def configuration(folder: Path, shards: int = 3) -> tuple[dict, np.ndarray]:
    """A run that begins with known centers."""
    centers = np.random.default_rng(1).standard_normal((C, D)).astype("f4")
    centers[7] = centers[3] + 0.01
    path = folder / "centers.safetensors"
    write_rows(path, "centers", (C, D), [centers])
    head = {"initial": str(path), "slices": 8}
    return external_configuration(C, D, batch=8, shards=shards, head=head), centers


def wait_for_centers(client: partialfc.Client) -> None:
    """Until the shards have divided the classes among them."""
    wait_until(lambda: client.command("slices") and client.status()["shards"], "a shard owns a class")


def test_centers_neighbors_conflicts_and_export(cluster: Start, tmp_path: Path) -> None:
    settings, centers = configuration(tmp_path)
    with partialfc.Client(cluster(settings, shards=3).endpoint) as client:
        wait_for_centers(client)
        order = np.random.default_rng(2).permutation(C)
        assert np.array_equal(client.centers(order.tolist()), centers[order])
        ids, cosines = client.neighbors([3, 100], 5)
        units = centers / np.linalg.norm(centers, axis=1, keepdims=True)
        assert ids[0, 0] == 7
        products = units[100] @ units.T
        products[100] = -np.inf
        assert ids[1].tolist() == np.argsort(-products)[:5].tolist()
        assert np.allclose(cosines[1], np.sort(products)[::-1][:5], atol=1e-6)
        assert (3, 7) in [(pair.a, pair.b) for pair in client.conflicts(0.95)]
        assert partialfc.export_weight(client, tmp_path / "out.safetensors") == (C, D)
        assert np.array_equal(SafeTensors(tmp_path / "out.safetensors").matrix("centers"), centers)
        partialfc.export_weight(client, tmp_path / "out.pt")
        assert np.array_equal(torch.load(tmp_path / "out.pt", weights_only=True)["weight"].numpy(), centers)
        with pytest.raises(partialfc.PartialFCError, match="no class 300"):
            client.centers([300])


def test_commands(cluster: Start, tmp_path: Path) -> None:
    settings, _ = configuration(tmp_path, shards=1)
    with partialfc.Client(cluster(settings).endpoint) as client:
        wait_for_centers(client)
        assert client.pause()["state"] in ("paused", "waiting")
        client.resume()
        assert client.classes()["classes"] == C
        assert client.events(5)
        with pytest.raises(partialfc.CommandRefused, match="unknown command") as refused:
            client.command("dance")
        assert refused.value.exit_code == 64
        with pytest.raises(partialfc.CommandRefused, match="no checkpoint of step 77"):
            client.restore(77)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = programs()
    if folder is None:
        pytest.skip("the programs are not built")
    for name in ("keys", "others"):
        subprocess.run([str(folder / "coordinator"), "keys", "new", str(tmp_path / name)], check=True, capture_output=True)
    return tmp_path / "keys"


@pytest.mark.parametrize("encrypt", ["all", "control"])
def test_keys(cluster: Start, tmp_path: Path, keys: Path, encrypt: str) -> None:
    settings, centers = configuration(tmp_path, shards=1)
    run = cluster(settings, keys=keys, encrypt=encrypt)
    with partialfc.Client(run.endpoint, keys=keys / "operator", encrypt=encrypt) as client:
        wait_for_centers(client)
        assert np.array_equal(client.centers([5]), centers[5:6])
    with partialfc.Client(run.endpoint, keys=keys / "reader", encrypt=encrypt) as client:
        assert client.status()["classes"] == C
        with pytest.raises(partialfc.Refused, match="forbidden"):
            client.pause()
    with pytest.raises(partialfc.Unreachable, match="does not accept this key"):
        partialfc.Client(run.endpoint, keys=tmp_path / "others/operator", encrypt=encrypt, deadline=3)
    with pytest.raises(partialfc.Unreachable, match="wants keys, and this process has none"):
        partialfc.Client(run.endpoint, deadline=3)
    head = partialfc.PartialFC(None, D, C, cluster=run.endpoint, keys=keys / "worker", encrypt=encrypt, timeout=PATIENCE)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    features = torch.randn(8, D, requires_grad=True)
    head(features, torch.arange(8)).backward()
    optimizer.step()
    assert head.step == 0
    head.close()


def test_key_files_that_cannot_be_used(keys: Path) -> None:
    file = keys / "reader" / "key"
    with pytest.raises(partialfc.PartialFCError, match="cannot be read"):
        partialfc.Keys.read(keys / "nobody")
    file.chmod(0o644)
    with pytest.raises(partialfc.PartialFCError, match="read by others"):
        partialfc.Keys.read(keys / "reader")
    file.chmod(0o600)
    secret = next(line.split()[1] for line in file.read_text().splitlines() if line.startswith("own-secret-key"))
    assert secret not in repr(partialfc.Keys.read(keys / "reader"))
    file.write_text(file.read_text().replace(secret, secret[:-1]))
    with pytest.raises(partialfc.PartialFCError, match="40 characters") as damaged:
        partialfc.Keys.read(keys / "reader")
    assert secret[:-1] not in str(damaged.value)


@pytest.mark.parametrize("layout", ["insightface", "cvlface"])
def test_the_head_of_eight_ranks_in_three_shards(cluster: Start, tmp_path: Path, layout: str) -> None:
    weight = torch.randn(C, D, generator=torch.Generator().manual_seed(1))
    counts = [C // 8 + (rank < C % 8) for rank in range(8)]
    (tmp_path / "head").mkdir()
    for rank, part in enumerate(torch.split(weight, counts)):
        if layout == "insightface":
            torch.save({"state_dict_softmax_fc": {"weight": part}}, tmp_path / f"head/checkpoint_gpu_{rank}.pt")
        else:
            torch.save({"partial_fc.weight": part}, tmp_path / f"head/classifier_rank{rank}.pt")
    partialfc.import_weight(tmp_path / "head", tmp_path / "centers.safetensors", num_classes=C)
    head = {"initial": str(tmp_path / "centers.safetensors"), "slices": 8}
    with partialfc.Client(cluster(external_configuration(C, D, batch=8, shards=3, head=head), shards=3).endpoint) as client:
        wait_for_centers(client)
        partialfc.export_weight(client, tmp_path / "out.pt")
    assert torch.equal(torch.load(tmp_path / "out.pt", weights_only=True)["weight"], weight)
