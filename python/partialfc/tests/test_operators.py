"""What operators do while a job trains."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import PATIENCE, wait_until
from small_job import B, C
from test_job import Rank, configuration, steps_with_checkpoint, worlds

import partialfc
from partialfc.local import LocalCluster

Start = Callable[..., LocalCluster]


def small_step(rank: Rank, labels: torch.Tensor) -> float:
    """A step with these labels [B]."""
    features = rank.network(torch.randn(B, 24, generator=torch.Generator().manual_seed(5)))
    loss = rank.head(features, labels)
    rank.optimizer.zero_grad()
    loss.backward()
    rank.optimizer.step()
    return loss.item()


def test_classes_change_while_a_job_trains(cluster: Start) -> None:
    one = cluster(configuration(1), shards=1)
    rank = Rank(one, worlds(1)[0])
    labels = torch.arange(B)
    small_step(rank, labels)
    with pytest.raises(ValueError, match=f"classes are 0 to {C - 1}"):
        small_step(rank, labels + C - 8)
    with partialfc.Client(one.endpoint) as client:
        client.add_classes(10)
        client.retire_classes([3])
        client.merge_classes(5, 6)
        small_step(rank, labels)

        def step_until_changed() -> bool:
            small_step(rank, labels)
            return client.classes()["version"] == 3

        wait_until(step_until_changed, "the change of the classes")
        small_step(rank, labels)
        before = client.centers([3, 5, 6, C + 1])
        small_step(rank, torch.where(labels == 9, C + 1, labels))
        after = client.centers([3, 5, 6, C + 1])
    assert np.array_equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
    assert not np.array_equal(before[2], after[2])
    assert not np.array_equal(before[3], after[3])
    rank.head.close()


def test_stop_ends_the_job(cluster: Start) -> None:
    one = cluster(configuration(1), shards=1)
    rank = Rank(one, worlds(1)[0])
    small_step(rank, torch.arange(B))
    with partialfc.Client(one.endpoint) as client:
        client.stop()
    with pytest.raises(partialfc.RunFinished):
        for _ in range(3):
            small_step(rank, torch.arange(B))


def test_restore_ends_the_job_and_a_new_start_goes_on_there(cluster: Start) -> None:
    one = cluster(configuration(1), shards=1)
    rank = Rank(one, worlds(1)[0])
    job = partialfc.Job(rank.head, lambda path: torch.save(rank.save(), path / "state.pt"), lambda path: None)
    checkpoint = steps_with_checkpoint(one, rank, job, 4, 1)[-1]
    with partialfc.Client(one.endpoint) as client:
        client.restore(checkpoint["step"])
    with pytest.raises(partialfc.JobOver):
        for step in range(4, 7):
            rank.step(step)
    again = Rank(one, worlds(1, 2)[0])
    second = partialfc.Job(again.head, lambda path: None, lambda path: again.load(torch.load(path / "state.pt", weights_only=False)))
    first = second.resume_newest()
    assert first == checkpoint["step"] + 1
    again.step(first)
    again.head.close()


def test_pause_is_only_time(cluster: Start) -> None:
    one = cluster(configuration(1), shards=1)
    rank = Rank(one, worlds(1)[0])
    small_step(rank, torch.arange(B))
    with partialfc.Client(one.endpoint) as client:
        client.pause()
        small_step(rank, torch.arange(B))
        rank.head.session.timeout = 1
        with pytest.raises(partialfc.NoAnswer, match="paused"):
            small_step(rank, torch.arange(B))
        client.resume()
    rank.head.session.timeout = PATIENCE
    rank.head.abandon()
    small_step(rank, torch.arange(B))
    rank.head.close()


def test_the_cluster_may_choose_the_rate(cluster: Start) -> None:
    settings: dict[str, Any] = configuration(1)
    settings["schedule"] = {"steps": 0, "rate": "plan", "learning_rate": 0.0, "warmup": 0, "decay_power": 0}
    one = cluster(settings, shards=1)
    rank = Rank(one, worlds(1)[0])
    small_step(rank, torch.arange(B))
    with partialfc.Client(one.endpoint) as client:
        before = client.centers([3])
        small_step(rank, torch.arange(B))
        assert np.array_equal(client.centers([3]), before)
        client.set_learning_rate(0.1)
        small_step(rank, torch.arange(B))
        small_step(rank, torch.arange(B))
        assert not np.array_equal(client.centers([3]), before)
    rank.head.close()


def test_a_forked_process_cannot_use_the_head(cluster: Start, tmp_path: Path) -> None:
    one = cluster(configuration(1), shards=1)
    rank = Rank(one, worlds(1)[0])
    small_step(rank, torch.arange(B))
    child = os.fork()
    if child == 0:
        words = "nothing"
        try:
            rank.head.session.join()
        except BaseException as error:
            words = type(error).__name__
        (tmp_path / "said").write_text(words)
        os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / "said").read_text() == "ForkedError"
    small_step(rank, torch.arange(B))
    rank.head.close()


@pytest.mark.slow
def test_heartbeats_go_on_while_python_stands_still(cluster: Start) -> None:
    one = cluster(configuration(1), shards=1)
    rank = Rank(one, worlds(1)[0])
    small_step(rank, torch.arange(B))
    member = rank.head.session._speaker.member
    # Holds the interpreter's lock for more than twice the lease.
    ctypes.PyDLL(None).sleep(7)
    small_step(rank, torch.arange(B))
    assert rank.head.session._speaker.member == member
    with partialfc.Client(one.endpoint) as client:
        texts = [event["text"] for event in client.events(50)]
    assert not [text for text in texts if "worker-0" in text and ("lost" in text or "lease" in text or "silent" in text)], texts
    rank.head.close()


def test_a_link_process_that_dies_is_started_again(cluster: Start) -> None:
    one = cluster(configuration(1), shards=1)
    rank = Rank(one, worlds(1)[0])
    small_step(rank, torch.arange(B))
    rank.head.session._link._process.kill()
    small_step(rank, torch.arange(B))
    small_step(rank, torch.arange(B))
    assert rank.head.step == 2
    rank.head.close()
