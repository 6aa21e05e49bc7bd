"""Jobs of several ranks: start again, go back, are superseded, survive everything."""

from __future__ import annotations

import copy
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_job
import torch
from conftest import PATIENCE, in_threads, programs, wait_until, worlds
from small_job import B, C, D

import partialfc
from partialfc.local import LocalCluster, external_configuration, free_ports

Start = Callable[..., LocalCluster]
FAULTS = int(os.environ.get("PARTIALFC_FAULTS", "4"))
STEPS = int(os.environ.get("PARTIALFC_STEPS", "40"))


def configuration(shards: int = 2, **more: Any) -> dict[str, Any]:
    head = {"scale": 16, "m1": 1, "m2": 0.3, "m3": 0.1, "sample_rate": 0.3, "slices": 8}
    settings = external_configuration(C, D, batch=B, micro_batch=4, shards=shards, head=head, **more)
    settings["cluster"] |= {"lease_seconds": 3, "job_goes_back": "allow"}
    return settings


def rows(cluster: LocalCluster) -> np.ndarray:
    with partialfc.Client(cluster.endpoint) as client:
        return client.centers(range(C))


class Rank:
    """A rank in a thread, with a network of its own."""

    def __init__(self, cluster: LocalCluster, world: Any, state: dict[str, Any] | None = None, timeout: float = PATIENCE) -> None:
        self.network = torch.nn.Linear(24, D)
        generator = torch.Generator().manual_seed(3)
        for parameter in self.network.parameters():
            parameter.data.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
        self.head = partialfc.PartialFC(None, D, C, cluster=cluster.endpoint, timeout=timeout)
        self.head._world = world
        groups = [{"params": self.network.parameters()}, {"params": self.head.parameters()}]
        self.optimizer = torch.optim.SGD(groups, 0.1, 0.9, weight_decay=5e-4)
        if state:
            self.load(state)

    def save(self) -> dict[str, Any]:
        parts = {"network": self.network, "head": self.head, "optimizer": self.optimizer}
        return {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}

    def load(self, state: dict[str, Any]) -> None:
        for name, part in {"network": self.network, "head": self.head, "optimizer": self.optimizer}.items():
            part.load_state_dict(state[name])

    def step(self, step: int) -> float:
        world = self.head.world
        x, labels = small_job.batch(step)
        mine = slice(world.rank * B // world.size, (world.rank + 1) * B // world.size)
        loss = self.head(self.network(x[mine]), labels[mine])
        self.optimizer.zero_grad()
        loss.backward()
        for parameter in self.network.parameters():
            # What DistributedDataParallel does.
            gathered = world.gather(parameter.grad.reshape(-1).tolist())
            parameter.grad.copy_((torch.tensor(gathered).sum(0) / world.size).view_as(parameter.grad))
        self.optimizer.step()
        return loss.item()


def steps_with_checkpoint(cluster: LocalCluster, rank: Rank, job: partialfc.Job, count: int, ordered: int) -> list[dict[str, Any]]:
    """Steps from 0, of which a checkpoint is ordered before `ordered`; what is listed once its manifest is written."""
    with partialfc.Client(cluster.endpoint) as client:
        for step in range(count):
            if step == ordered:
                client.command("checkpoint")
            rank.step(step)
            job.boundary()
        return wait_until(client.checkpoints, "a checkpoint")


def run(cluster: LocalCluster, number: int, ranks: int, steps: range, states: list[Any] | None = None) -> list[Any]:
    """A start of the job; what each rank's state is afterwards. It goes without a word, as if it was killed."""
    all_worlds = worlds(ranks, number)

    def work(rank: int) -> dict[str, Any]:
        one = Rank(cluster, all_worlds[rank], states[rank] if states else None)
        losses = [one.step(step) for step in steps]
        state = one.save()
        one.head.session._link._process.kill()
        one.head.session._stopping = True
        return {**state, "losses": losses}

    return in_threads(work, ranks)


@pytest.mark.slow
def test_two_ranks_compute_what_one_does(cluster: Start) -> None:
    found = []
    for ranks in (1, 2):
        one = cluster(configuration(2 * ranks - 1), shards=2 * ranks - 1)
        state = run(one, 1, ranks, range(6))
        found.append((state[0]["losses"], rows(one)))
    assert np.allclose(found[0][0], found[1][0], rtol=1e-5)
    assert np.allclose(found[0][1], found[1][1], rtol=1e-3, atol=1e-5)


def test_a_rank_may_come_before_the_first_shard(tmp_path: Path) -> None:
    """What it computes with is its own affair: it decides nothing for the shards."""
    folder = programs()
    if folder is None:
        pytest.skip("the programs are not built")
    one = LocalCluster(tmp_path / "cluster", configuration(1), programs=folder)
    try:
        one.start_coordinator()
        rank = Rank(one, worlds(1)[0])
        starts = threading.Timer(3, lambda: one.start_shard(0))
        starts.start()
        assert rank.step(0) > 0
        starts.join()
    finally:
        one.stop()


@pytest.mark.slow
def test_a_job_that_starts_again_at_the_last_step_goes_on_with_the_same_bits(cluster: Start) -> None:
    calm = cluster(configuration(), shards=2)
    whole = run(calm, 1, 2, range(12))
    rough = cluster(configuration(), shards=2)
    first = run(rough, 1, 2, range(5))
    again = run(rough, 2, 2, range(5, 12), first)
    assert whole[0]["losses"] == first[0]["losses"] + again[0]["losses"]
    assert np.array_equal(rows(calm), rows(rough))
    assert torch.equal(whole[1]["network"]["weight"], again[1]["network"]["weight"])


@pytest.mark.slow
def test_two_ranks_throw_steps_away(cluster: Start) -> None:
    def run_with(skips: bool) -> tuple[list[float], np.ndarray]:
        one = cluster(configuration(), shards=2)
        both = worlds(2)

        def work(rank: int) -> list[float]:
            mine = Rank(one, both[rank])
            losses = []
            for step in range(5):
                if skips and step in (0, 2, 3):
                    x, labels = small_job.batch(500 + step)
                    half = slice(rank * B // 2, (rank + 1) * B // 2)
                    mine.head(mine.network(x[half]), labels[half]).backward()
                    mine.optimizer.zero_grad()
                losses.append(mine.step(step))
            mine.head.close()
            return losses

        return in_threads(work, 2)[0], rows(one)

    calm, rough = run_with(False), run_with(True)
    assert calm[0] == rough[0]
    assert np.array_equal(calm[1], rough[1])


def test_a_newer_start_takes_over(cluster: Start) -> None:
    one = cluster(configuration(), shards=2)
    old = Rank(one, worlds(1, 1)[0])
    old.step(0)
    old.step(1)
    state = old.save()
    new = Rank(one, worlds(1, 2)[0], state)
    new.step(2)
    with pytest.raises(partialfc.JobOver):
        old.step(2)
    new.step(3)
    new.head.close()


def test_a_step_that_is_gone_is_refused_in_words(cluster: Start) -> None:
    one = cluster(configuration(1), shards=1)
    old = Rank(one, worlds(1, 1)[0])
    old.step(0)
    state = old.save()
    for step in range(1, 4):
        old.step(step)
    old.head.close()
    new = Rank(one, worlds(1, 2)[0], state)
    with pytest.raises(partialfc.StepGone, match="0"):
        new.step(1)


def test_a_missing_rank_is_named(cluster: Start) -> None:
    one = cluster(configuration(1), shards=1)
    rank = Rank(one, worlds(2)[0])
    rank.head.join()
    session = rank.head.session
    wait_until(lambda: session.plan and "1 of 2 ranks" in session.plan.reason, "the coordinator misses a rank")
    session.timeout = 0.1
    with pytest.raises(partialfc.NoAnswer, match="1 of 2 ranks"):
        session.place()


@pytest.mark.slow
def test_a_rank_that_hangs_is_named(cluster: Start) -> None:
    settings = configuration(1)
    settings["cluster"]["stuck_seconds"] = 2
    one = cluster(settings, shards=1)
    both = worlds(2)
    ranks = [Rank(one, world) for world in both]
    in_threads(lambda rank: ranks[rank].step(0), 2)
    session = ranks[0].head.session
    # Rank 1 does not call the head any more: rank 0 says what it would have said to it.
    ranks[0].head.world.gather = lambda values: [values, values]
    x, labels = small_job.batch(1)
    stuck = threading.Thread(target=in_threads, args=(lambda _: fail(), 1))

    def fail() -> None:
        with pytest.raises(partialfc.NoAnswer, match="rank 1"):
            ranks[0].head(ranks[0].network(x[:8]), labels[:8])
        told.append(1)

    told: list[int] = []
    stuck.start()
    wait_until(lambda: "rank 1" in session._whom(), "rank 1 is named")
    session.timeout = 0
    stuck.join(PATIENCE)
    assert told


def test_two_ranks_with_other_rates_are_refused_in_words(cluster: Start) -> None:
    one = cluster(configuration(1), shards=1)
    both = worlds(2)

    def work(rank: int) -> None:
        mine = Rank(one, both[rank])
        mine.optimizer.param_groups[1]["lr"] = 0.1 + rank
        with pytest.raises(partialfc.WrongRate, match=r"0\.1 at rank 0 and 1\.1 at rank 1"):
            mine.step(0)
        mine.optimizer.param_groups[1]["lr"] = 0.1
        mine.step(0)
        mine.head.close()

    in_threads(work, 2)


def test_ranks_give_as_many_parts(cluster: Start) -> None:
    one = cluster(configuration(1), shards=1)
    both = worlds(2)

    def work(rank: int) -> None:
        mine = Rank(one, both[rank])
        x, labels = small_job.batch(0)
        features, labels = mine.network(x[:8]), labels[:8]
        mine.head.prefetch(labels)
        with pytest.raises(partialfc.AccumulationError, match=r"rank 1 has given all samples .* rank 0 has not"):
            mine.head(features[: 4 + 4 * rank], labels[: 4 + 4 * rank])
        mine.head.abandon()
        assert mine.step(0) > 0
        mine.head.close()

    in_threads(work, 2)


def test_a_head_that_is_deleted_leaves(cluster: Start) -> None:
    one = cluster(configuration(1), shards=1)
    rank = Rank(one, worlds(1)[0])
    rank.step(0)
    session = rank.head.session
    del rank
    gc.collect()
    assert session._stopping
    with partialfc.Client(one.endpoint) as client:
        wait_until(lambda: any("the head was deleted" in event["text"] for event in client.events(50)), "the farewell")


def test_a_checkpoint_that_is_given_up_leaves_nothing(cluster: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = cluster(configuration(1), shards=1)
    rank = Rank(one, worlds(1)[0])

    def save(directory: Path) -> None:
        (directory / "state.pt").write_bytes(b"1")
        if not given_up:
            given_up.append(directory)
            with partialfc.Client(one.endpoint) as client:
                client.command("cancel")
            wait_until(lambda: rank.head.session.pending_checkpoint() is None, "the checkpoint is given up")
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "late.pt").write_bytes(b"1")

    given_up: list[Path] = []
    job = partialfc.Job(rank.head, save, lambda path: None)
    with partialfc.Client(one.endpoint) as client:
        rank.step(0)
        client.command("checkpoint")
        rank.step(1)
        wait_until(rank.head.session.pending_checkpoint, "a checkpoint is due")
        assert job.boundary() is None
        assert given_up
        assert not given_up[0].exists()
        # Another one, whose list of files the coordinator would not take: it fails, and the job goes on.
        monkeypatch.setattr("partialfc.job.LONGEST_LIST", 10)
        client.command("checkpoint")
        rank.step(2)
        wait_until(rank.head.session.pending_checkpoint, "a checkpoint is due")
        assert job.boundary() is None
        wait_until(lambda: any("write fewer" in event["text"] for event in client.events(50)), "the event")
        rank.step(3)
        monkeypatch.undo()
    assert steps_with_checkpoint(one, rank, job, 3, 1)
    rank.head.close()


def test_ranks_that_do_not_divide_the_batch(cluster: Start) -> None:
    one = cluster(configuration(1), shards=1)
    rank = Rank(one, worlds(3)[0])
    with pytest.raises((partialfc.WrongConfiguration, partialfc.JobDisagrees), match="3"):
        rank.head.join()


@pytest.mark.slow
def test_checkpoints_are_pairs(cluster: Start, tmp_path: Path) -> None:
    one = cluster(configuration(), shards=2)
    rank = Rank(one, worlds(1)[0])
    saved: list[int] = []

    def save(directory: Path) -> None:
        saved.append(rank.head.step)
        torch.save(rank.save(), directory / "state.pt")

    job = partialfc.Job(rank.head, save, lambda directory: None)
    found = steps_with_checkpoint(one, rank, job, 6, 3)
    assert [entry["step"] for entry in found] == saved
    directory = Path(found[0]["directory"])
    assert (directory / "job/state.pt").exists()
    rest = [rank.step(step) for step in (6, 7)]
    calm_rows = rows(one)
    rank.head.close()
    again = Rank(one, worlds(1, 2)[0])
    second = partialfc.Job(again.head, save, lambda path: again.load(torch.load(path / "state.pt", weights_only=False)))
    assert second.resume(directory) == saved[0] + 1
    losses = [again.step(step) for step in range(saved[0] + 1, 8)]
    assert losses[-2:] == rest
    assert np.array_equal(rows(one), calm_rows)
    again.head.close()


def test_a_damaged_part_is_left_out(cluster: Start) -> None:
    one = cluster(configuration(1), shards=1)
    rank = Rank(one, worlds(1)[0])

    def save(directory: Path) -> None:
        if len(saved) == 1:
            saved.append(-1)
            raise OSError(28, "No space left on device")
        saved.append(rank.head.step)
        torch.save(rank.save(), directory / "state.pt")
        # It may take so long that the coordinator says the task again.
        told = rank.head.session.pending_checkpoint()
        wait_until(lambda: rank.head.session.pending_checkpoint() is not told, "the task comes again")

    saved: list[int] = []
    job = partialfc.Job(rank.head, save, lambda path: None)
    with partialfc.Client(one.endpoint) as client:
        rank.step(0)
        for step in range(1, 7, 2):
            client.command("checkpoint")
            rank.step(step)
            wait_until(rank.head.session.pending_checkpoint, "a checkpoint is due")
            # A disk that is full costs the second checkpoint, and not the training.
            assert (job.boundary() is None) == (step == 3)
            rank.step(step + 1)
            # While a manifest is written, no other checkpoint begins.
            wait_until(lambda count=1 + (step == 5): len(client.checkpoints()) == count, "the checkpoints are complete")
        assert any("No space left on device" in event["text"] for event in client.events(50))
        found = wait_until(lambda: len(client.checkpoints()) == 2 and client.checkpoints(), "two checkpoints")
    rank.head.close()
    assert [entry["step"] for entry in found] == [saved[0], saved[2]]
    older, newer = (Path(entry["directory"]) for entry in found)
    os.truncate(newer / "job/state.pt", 100)
    again = Rank(one, worlds(1, 2)[0])
    second = partialfc.Job(again.head, save, lambda path: again.load(torch.load(path / "state.pt", weights_only=False)))
    with pytest.raises(partialfc.PartialFCError, match=r"is damaged: job/state\.pt has 100 bytes instead of"):
        second.resume(newer)
    (newer / "job/state.pt").unlink()
    with pytest.raises(partialfc.PartialFCError, match="is not there"):
        second.resume(newer)
    with pytest.warns(UserWarning, match=f"begins from {older}"):
        assert second.resume_newest() == saved[0] + 1
    again.step(saved[0] + 1)
    again.head.close()


class Processes:
    """The two ranks of a job as processes, which are started again together when one ends."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self.cluster, self.folder, self.starts = cluster, folder, 0
        self.ranks: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self.starts += 1
        (port,) = free_ports(1)
        script = str(Path(__file__).parent / "small_job.py")
        for rank in range(2):
            arguments = [self.cluster.endpoint, str(rank), "2", str(port), str(STEPS), str(self.folder / "out.pt")]
            with open(self.folder / f"rank{rank}.log", "ab") as log:
                self.ranks.append(subprocess.Popen([sys.executable, script, *arguments], stdout=log, stderr=log))

    def end(self) -> None:
        for process in self.ranks:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.ranks = []

    def watch(self) -> bool:
        """Whether the job is finished; starts it again if a rank has failed."""
        codes = [process.poll() for process in self.ranks]
        if codes == [0, 0]:
            return True
        if any(codes):
            self.end()
            self.start()
        return False

    def step(self) -> int:
        """The last step that rank 0 has printed."""
        text = (self.folder / "rank0.log").read_text(errors="replace") if (self.folder / "rank0.log").exists() else ""
        return max((int(line.split()[0]) for line in text.splitlines() if line[:1].isdigit()), default=-1)


def finish(cluster: LocalCluster, folder: Path, faults: int, seed: int = 1) -> tuple[dict[str, Any], np.ndarray, int]:
    """Runs the job to its end, with kill -9 of ranks, shards and coordinator on the way."""
    folder.mkdir()
    source, job = random.Random(seed), Processes(cluster, folder)
    job.start()
    due = [(index + 1) * STEPS // (faults + 1) for index in range(faults)]
    end = time.monotonic() + PATIENCE + 60 * faults + 10 * STEPS
    try:
        while not job.watch():
            assert time.monotonic() < end, (folder / "rank0.log").read_text()[-3000:]
            if due and job.step() >= due[0]:
                due.pop(0)
                victim = source.choice(["shard0", "shard1", "coordinator", "rank"])
                if victim == "rank":
                    job.ranks[source.randrange(2)].send_signal(signal.SIGKILL)
                else:
                    cluster.kill(victim)
                    cluster.start_coordinator() if victim == "coordinator" else cluster.start_shard(int(victim[-1]))
            time.sleep(0.05)
    finally:
        job.end()
    return torch.load(folder / "out.pt", weights_only=False), rows(cluster), job.starts


@pytest.mark.slow
def test_chaos(cluster: Start, tmp_path: Path) -> None:
    settings = configuration(checkpoint={"every_steps": 5})
    calm, calm_rows, _ = finish(cluster(settings, shards=2), tmp_path / "calm", 0)
    rough, rough_rows, starts = finish(cluster(configuration(checkpoint={"every_steps": 5}), shards=2), tmp_path / "rough", FAULTS)
    print(f"{FAULTS} faults, {starts} starts of the job")
    assert calm["losses"] == rough["losses"]
    assert np.array_equal(calm_rows, rough_rows)
    for name, values in calm["network"].items():
        assert torch.equal(values, rough["network"][name])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_ends_says_farewell(cluster: Start, tmp_path: Path, number: int) -> None:
    one = cluster(configuration(1), shards=1)
    job = Processes(one, tmp_path)
    job.start()
    try:
        wait_until(lambda: job.step() >= 3, "the third step")
        job.ranks[0].send_signal(number)
        words = "KeyboardInterrupt" if number == signal.SIGINT else "ended without a word"
        with partialfc.Client(one.endpoint) as client:
            wait_until(lambda: any(words in event["text"] for event in client.events(50)), "the event")
    finally:
        job.end()
