"""The head against plain PyTorch, and what its users do with it."""

from __future__ import annotations

import copy
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import PATIENCE, wait_until
from reference import PlainHead, PlainTrainer
from torch import Tensor, nn

import partialfc
from partialfc.accumulation import accumulated, second
from partialfc.local import LocalCluster, external_configuration
from partialfc.margins import Margins
from partialfc.rates import check_rates
from partialfc.safetensors import write_rows

C, D, B = 60, 16, 16
MARGINS = {"scale": 16.0, "m1": 1.0, "m2": 0.3, "m3": 0.1}
SGD = {"momentum": 0.9, "weight_decay": 5e-4}
Start = Callable[..., LocalCluster]


class Setup:
    """A cluster with known centers, a small network, a head and its optimiser."""

    def __init__(
        self,
        start: Start,
        folder: Path,
        *,
        shards: int = 2,
        rate: float = 1.0,
        lr: float = 0.1,
        head: Any = (),
        mean: str = "valid",
        **more: Any,
    ) -> None:
        generator = torch.Generator().manual_seed(1)
        self.centers = 0.3 * torch.randn(C, D, generator=generator)
        self.means = torch.randn(C, 24, generator=generator)
        path = folder / "centers.safetensors"
        write_rows(path, "centers", (C, D), [self.centers.numpy()])
        section = {**MARGINS, "sample_rate": rate, "slices": 8, "initial": str(path), **dict(head)}
        configuration = external_configuration(C, D, batch=B, micro_batch=4, shards=shards, head=section, optimizer=SGD, **more)
        self.cluster = start(configuration, shards=shards)
        self.wait_for_owners()
        torch.manual_seed(2)
        self.network = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, D))
        self.head = partialfc.PartialFC(MARGINS, D, C, rate, cluster=self.cluster.endpoint, mean=mean, timeout=PATIENCE)
        groups = [{"params": self.network.parameters()}, {"params": self.head.parameters()}]
        self.optimizer = torch.optim.SGD(groups, lr=lr, **SGD)

    def wait_for_owners(self) -> None:
        """Until the slices are divided among the shards, which takes a moment on a machine that is busy."""
        with partialfc.Client(self.cluster.endpoint) as client:
            wait_until(lambda: client.command("slices"), "a shard owns a slice")

    def batch(self, step: int, count: int = B) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(100 + step)
        labels = torch.randint(0, C, (count,), generator=generator)
        return self.means[labels] + 0.3 * torch.randn(count, 24, generator=generator), labels

    def step(self, x: Tensor, labels: Tensor, **more: Any) -> float:
        loss = self.head(self.network(x), labels, **more)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def plain(self, lr: float = 0.1) -> PlainTrainer:
        head = PlainHead(self.centers.double(), *MARGINS.values())
        return PlainTrainer(copy.deepcopy(self.network).double(), head, lr=lr, **SGD)

    def assert_centers(self, plain: PlainTrainer, tolerance: float = 1e-4) -> None:
        assert np.linalg.norm(self.rows() - plain.centers) < tolerance * np.linalg.norm(plain.centers)

    def rows(self) -> np.ndarray:
        with partialfc.Client(self.cluster.endpoint) as client:
            return client.centers(range(C))


@pytest.fixture
def setup(cluster: Start, tmp_path: Path) -> Callable[..., Setup]:
    made: list[Setup] = []

    def make(**more: Any) -> Setup:
        made.append(Setup(cluster, tmp_path, **more))
        return made[-1]

    yield make
    for one in made:
        one.head.close()


def test_all_classes_sampled_is_plain_pytorch(setup: Callable[..., Setup]) -> None:
    ours = setup()
    plain = ours.plain()
    steps = int(os.environ.get("PARTIALFC_STEPS", "30"))
    worst = 0.0
    for step in range(steps):
        x, labels = ours.batch(step)
        loss = ours.step(x, labels)
        expected = plain.step(x, labels)
        worst = max(worst, abs(loss - expected) / abs(expected))
        if step % 50 == 49 or step == steps - 1:
            print(f"step {step}: loss {loss:.6f}, plain {expected:.6f}")
        assert worst < 1e-4
    error = np.linalg.norm(ours.rows() - plain.centers) / np.linalg.norm(plain.centers)
    print(f"{steps} steps: losses differ by up to {worst:.1e}, centers by {error:.1e}")
    assert error < 1e-4


@pytest.mark.parametrize("exchange", ["features", "rows"])
def test_values_of_the_head_change_from_step_to_step(setup: Callable[..., Setup], exchange: str) -> None:
    stages = [{"until": 0.25, "scale": 8, "m2": 0}, {"until": 0.5, "m2": "0 to 0.3", "interclass_filter": 0}]
    ours = setup(head={"exchange": exchange}, schedule={"steps": 40, "stages": stages})
    plain = ours.plain()
    with partialfc.Client(ours.cluster.endpoint) as client:
        for step in range(30):
            warm = 0.3 * max(0, step - 10) / 9 if step < 20 else 0.3
            plain.head.scale = 8.0 if step < 10 else 32.0 if step > 25 else 16.0
            plain.head.margins = torch.tensor([1, warm, 0.1], dtype=torch.float64)
            x, labels = ours.batch(step)
            loss = ours.step(x, labels)
            expected = plain.step(x, labels)
            assert abs(loss - expected) < 1e-4 * abs(expected), f"step {step}"
            if step == 24:
                wait_until(lambda: client.status()["committed"] == 24, "the end of the step")
                # The next one has begun: it waits for this job alone.
                assert client.set_head(scale=32)["headChanges"] == [{"order": "scale=32"}]
                with pytest.raises(partialfc.CommandRefused, match="above 0 and at most 300"):
                    client.set_head(scale=0)
        assert client.status()["head"]["scale"] == 32
    ours.assert_centers(plain)


@pytest.mark.slow
def test_a_killed_shard_and_coordinator_change_no_bit(setup: Callable[..., Setup]) -> None:
    def run(disturbed: bool) -> tuple[list[float], np.ndarray, Tensor]:
        ours = setup(rate=0.3)
        losses = []
        for step in range(16):
            if disturbed and step in (3, 9):
                ours.cluster.kill("shard0")
                ours.cluster.start_shard(0)
            if disturbed and step in (6, 12):
                ours.cluster.kill("coordinator")
                ours.cluster.start_coordinator()
            x, labels = ours.batch(step)
            loss = ours.head(ours.network(x), labels)
            ours.optimizer.zero_grad()
            loss.backward()
            if disturbed and step == 13:
                ours.cluster.kill("shard1")
                ours.cluster.start_shard(1)
            ours.optimizer.step()
            losses.append(loss.item())
        return losses, ours.rows(), ours.network[0].weight.detach().clone()

    calm, calm_rows, calm_weight = run(False)
    rough, rough_rows, rough_weight = run(True)
    assert calm == rough
    assert np.array_equal(calm_rows, rough_rows)
    assert torch.equal(calm_weight, rough_weight)


@pytest.mark.slow
def test_what_is_not_stepped_is_undone(setup: Callable[..., Setup]) -> None:
    def run(with_skips: bool) -> tuple[list[float], np.ndarray]:
        ours = setup(rate=0.3)
        losses = []
        for step in range(6):
            if with_skips and step in (0, 3):
                x, labels = ours.batch(1000 + step)
                ours.head(ours.network(x), labels).backward()
                ours.optimizer.zero_grad()
            losses.append(ours.step(*ours.batch(step)))
        return losses, ours.rows()

    assert run(False)[0] == run(True)[0]


def test_accumulation_is_refused_in_words(setup: Callable[..., Setup]) -> None:
    ours = setup()
    ours.head(ours.network(ours.batch(0)[0]), ours.batch(0)[1]).backward()
    second = ours.head(ours.network(ours.batch(1)[0]), ours.batch(1)[1])
    with pytest.raises(partialfc.AccumulationError, match=r"batch\.size"):
        second.backward()
    ours.optimizer.zero_grad(set_to_none=False)
    ours.step(*ours.batch(2))
    ours.head(ours.network(ours.batch(3)[0]), ours.batch(3)[1]).backward()
    third = ours.head(ours.network(ours.batch(4)[0]), ours.batch(4)[1])
    ours.optimizer.zero_grad(set_to_none=False)
    third.backward()
    ours.optimizer.step()


def test_backward_of_a_step_that_is_not_open_is_refused(setup: Callable[..., Setup]) -> None:
    ours = setup()
    loss = [ours.head(ours.network(ours.batch(step)[0]), ours.batch(step)[1]) for step in range(2)]
    with pytest.raises(partialfc.AccumulationError, match="not open any more"):
        (loss[0] + loss[1]).backward()
    with pytest.raises(partialfc.AccumulationError, match="not open any more"):
        loss[0].backward()
    ours.optimizer.zero_grad()
    third = ours.head(ours.network(ours.batch(2)[0]), ours.batch(2)[1])
    third.backward(retain_graph=True)
    with pytest.raises(partialfc.AccumulationError, match="twice"):
        third.backward(retain_graph=True)
    ours.optimizer.step()
    with pytest.raises(partialfc.AccumulationError, match="not open any more"):
        third.backward()
    ours.optimizer.zero_grad()
    ours.step(*ours.batch(3))


def test_parts_of_a_batch_add_up_to_it(setup: Callable[..., Setup]) -> None:
    def run(parts: int) -> tuple[list[float], np.ndarray, np.ndarray]:
        ours = setup(rate=0.5)
        losses = []
        for step in range(4):
            # The last batch is a short one.
            x, labels = ours.batch(step, B if step < 3 else B - 3)
            loader = list(zip(x.split(B // parts), labels.split(B // parts), strict=True))
            loss = 0.0
            for part, of_part in ours.head.accumulate(loader, parts):
                one = ours.head(ours.network(part), of_part)
                one.backward()
                loss += one.item()
            ours.optimizer.step()
            ours.optimizer.zero_grad()
            losses.append(loss)
        assert ours.head.step == 3
        return losses, ours.rows(), ours.network[0].weight.detach().numpy()

    whole, cut = run(1), run(4)
    assert np.allclose(whole[0], cut[0], rtol=1e-6)
    # The network adds its gradients in another order.
    assert np.allclose(whole[1], cut[1], rtol=1e-5, atol=1e-6)
    assert np.allclose(whole[2], cut[2], rtol=1e-5, atol=1e-6)


def test_parts_that_do_not_fit_are_refused_in_words(setup: Callable[..., Setup]) -> None:
    ours = setup(mean="batch")
    head, network = ours.head, ours.network
    x, labels = ours.batch(0)
    head.prefetch(labels)
    with pytest.raises(ValueError, match="a part has 3 samples: parts are whole micro-batches of 4"):
        head(network(x[:3]), labels[:3])
    with pytest.raises(ValueError, match="not those that prefetch was told, from sample 0 of 16 on"):
        head(network(x[4:8]), labels[4:8])
    first = head(network(x[:8]), labels[:8])
    first.backward(retain_graph=True)
    with pytest.raises(partialfc.AccumulationError, match="called for 8 of the 16 samples whose labels it was told"):
        ours.optimizer.step()
    with pytest.raises(partialfc.AccumulationError, match="twice"):
        first.backward(retain_graph=True)
    with pytest.raises(ValueError, match="not those that prefetch was told, from sample 8 of 16 on"):
        head(network(x[:8]), labels[:8])
    with pytest.raises(ValueError, match="either all parts of a step have margins"):
        head(network(x[8:]), labels[8:], margins=torch.tensor([[1.0, 0.3, 0.1]]).expand(8, 3))
    head(network(x[8:]), labels[8:]).backward()
    ours.optimizer.step()
    assert head.step == 0
    with pytest.raises(partialfc.AccumulationError, match="not open any more"):
        first.backward()
    head.prefetch(labels)
    head(network(x[:8]), labels[:8]).backward()
    # Another step instead of the second part undoes the first.
    ours.optimizer.zero_grad()
    head.abandon()
    ours.step(x, labels)
    assert head.step == 1


def test_a_loader_is_read_ahead_in_groups() -> None:
    told: list[list[int]] = []

    class Head:
        def prefetch(self, labels: Tensor) -> None:
            told.append(labels.tolist())

    batches = [("image", torch.tensor([index])) for index in range(5)]
    assert list(accumulated(Head(), batches, 2, second, True)) == batches[:4]
    assert told == [[0, 1], [2, 3]]
    assert list(accumulated(Head(), batches, 2, second, False)) == batches
    assert told[2:] == [[0, 1], [2, 3], [4]]
    with pytest.raises(ValueError, match="0 parts"):
        next(accumulated(Head(), batches, 0, second, True))


def test_parts_survive_a_killed_shard(setup: Callable[..., Setup]) -> None:
    def run(kills: bool) -> tuple[list[float], np.ndarray]:
        ours = setup(rate=0.5)
        losses = []
        for step in range(3):
            x, labels = ours.batch(step)
            ours.head.prefetch(labels)
            for index in range(4):
                here = slice(4 * index, 4 * index + 4)
                loss = ours.head(ours.network(x[here]), labels[here])
                loss.backward()
                losses.append(loss.item())
                if kills and index == step:
                    ours.cluster.kill("shard1")
                    ours.cluster.start_shard(1)
            ours.optimizer.step()
            ours.optimizer.zero_grad()
        return losses, ours.rows()

    calm, rough = run(False), run(True)
    assert calm[0] == rough[0]
    assert np.array_equal(calm[1], rough[1])


def test_a_step_that_the_shards_leave_out_is_told_before_the_network_changes(setup: Callable[..., Setup]) -> None:
    ours = setup()
    ours.step(*ours.batch(0))
    x, labels = ours.batch(1)
    with pytest.raises(ValueError, match="more than 1e"):
        ours.step(x, labels, loss_weight=1e38)
    before, weight = ours.rows(), ours.network[0].weight.detach().clone()
    # So large a rate that rows would not be finite.
    ours.optimizer.param_groups[1]["lr"] = 3e38
    with pytest.raises(partialfc.NotFinite, match=r"step 1: .* left the step out"):
        ours.step(x, labels, loss_weight=1e6)
    assert torch.equal(weight, ours.network[0].weight)
    assert np.array_equal(before, ours.rows())
    # A checkpoint that is written now is of this step.
    assert ours.head.step == 1
    ours.optimizer.param_groups[1]["lr"] = 0.1
    ours.step(x, labels)
    assert ours.head.step == 2


def test_labels_above_the_known_classes_wait_for_the_plan(setup: Callable[..., Setup]) -> None:
    ours = setup()
    ours.step(*ours.batch(0))
    x, labels = ours.batch(1)
    with partialfc.Client(ours.cluster.endpoint) as client:
        client.add_classes(3)
        # They are there from the next step on, whose plan comes with the commit of this one.
        ours.step(x, labels)
        wait_until(lambda: client.classes()["version"], "the new classes")
    labels[0] = C + 2
    ours.step(x, labels)
    with pytest.raises(ValueError, match=f"label {C + 3} of sample 0 is no class: classes are 0 to {C + 2}"):
        ours.step(x, torch.full_like(labels, C + 3))


@pytest.mark.skipif(not hasattr(torch.amp, "GradScaler"), reason="GradScaler for CPUs is of PyTorch 2.3")
def test_a_scaler_skips_and_goes_on(setup: Callable[..., Setup]) -> None:
    ours = setup()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120, growth_interval=1000)
    steps = []
    for step in range(8):
        x, labels = ours.batch(step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = ours.network(x)
        loss = ours.head(features.half() if step < 3 else features, labels)
        ours.optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(ours.optimizer)
        scaler.step(ours.optimizer)
        if step == 3:
            scaler.update(1024.0)
        else:
            scaler.update()
        steps.append(ours.head.step)
    assert steps[2] == -1
    assert steps[-1] > steps[3] >= -1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_features_of_any_type(setup: Callable[..., Setup], dtype: torch.dtype) -> None:
    ours = setup()
    x, labels = ours.batch(0)
    features = ours.network(x).detach().to(dtype).requires_grad_()
    loss = ours.head(features, labels)
    loss.backward()
    assert features.grad is not None
    assert features.grad.dtype == dtype
    reference = features.detach().double().requires_grad_()
    plain = PlainHead(ours.centers.double(), *MARGINS.values())
    plain(reference, labels).backward()
    assert reference.grad is not None
    error = (features.grad.double() - reference.grad).norm() / reference.grad.norm()
    assert error < {torch.bfloat16: 1e-2, torch.float16: 1e-2, torch.float64: 1e-4}[dtype]


@pytest.mark.skipif(not hasattr(torch.library, "custom_op"), reason="torch.compile takes the head from PyTorch 2.4 on")
def test_compiled_with_the_whole_graph(setup: Callable[..., Setup]) -> None:
    ours = setup()

    def compute(x: Tensor, labels: Tensor) -> Tensor:
        return ours.head(ours.network(x), labels)

    compiled = torch.compile(compute, fullgraph=True, backend="aot_eager")
    plain = ours.plain()
    for step in range(4):
        x, labels = ours.batch(step)
        loss = compiled(x, labels)
        ours.optimizer.zero_grad()
        loss.backward()
        ours.optimizer.step()
        expected = plain.step(x, labels)
        assert abs(loss.item() - expected) < 1e-4 * abs(expected)


def test_short_batches_and_samples_without_class(setup: Callable[..., Setup]) -> None:
    ours = setup()
    plain = ours.plain()
    for step, (count, absent) in enumerate([(16, 0), (11, 0), (16, 5), (7, 2), (16, 0)]):
        x, labels = ours.batch(step, count)
        labels[:absent] = -1
        loss = ours.step(x, labels)
        expected = plain.step(x, labels)
        assert abs(loss - expected) < 1e-4 * abs(expected)
    ours.assert_centers(plain)


def test_margins_of_each_sample(setup: Callable[..., Setup]) -> None:
    ours = setup()
    plain = ours.plain()
    for step in range(4):
        x, labels = ours.batch(step)
        margins = torch.stack([torch.full((B,), 1.0), 0.2 + 0.02 * torch.arange(B), 0.1 - 0.01 * torch.arange(B)], 1)
        loss = ours.step(x, labels, margins=margins)
        expected = plain.step(x, labels, margins)
        assert abs(loss - expected) < 1e-4 * abs(expected)
    ours.assert_centers(plain)


def test_a_weight_of_the_loss_reaches_the_centers(setup: Callable[..., Setup]) -> None:
    ours = setup()
    plain = ours.plain()
    for step in range(3):
        x, labels = ours.batch(step)
        loss = ours.step(x, labels, loss_weight=0.25)
        expected = plain.step(x, labels, weight=0.25)
        assert abs(loss - expected) < 1e-4 * abs(expected)
    ours.assert_centers(plain)


@pytest.mark.slow
def test_prefetch_changes_nothing(setup: Callable[..., Setup]) -> None:
    def run(prefetch: bool) -> list[float]:
        ours = setup(rate=0.3)
        losses = []
        for step in range(4):
            x, labels = ours.batch(step)
            if prefetch:
                ours.head.prefetch(labels)
            losses.append(ours.step(x, labels))
        return losses

    assert run(False) == run(True)


def test_the_rate_is_that_of_the_group(setup: Callable[..., Setup]) -> None:
    ours = setup()
    before = ours.rows()
    ours.optimizer.param_groups[1]["lr"] = 0.0
    ours.step(*ours.batch(0))
    assert np.array_equal(ours.rows(), before)
    ours.optimizer.param_groups[1]["lr"] = 0.1
    ours.step(*ours.batch(1))
    assert not np.array_equal(ours.rows(), before)


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -0.1, 1e39])
def test_a_rate_that_is_none_is_refused_and_a_corrected_one_works(setup: Callable[..., Setup], rate: float) -> None:
    ours = setup()
    ours.step(*ours.batch(0))
    ours.optimizer.param_groups[1]["lr"] = rate
    with pytest.raises(partialfc.WrongRate, match="must be a finite number"):
        ours.step(*ours.batch(1))
    ours.optimizer.param_groups[1]["lr"] = 0.1
    ours.step(*ours.batch(1))
    assert ours.head.step == 1


def test_rates_that_differ_are_named_with_their_ranks() -> None:
    check_rates([0.1, 0.1])
    with pytest.raises(partialfc.WrongRate, match=r"is 0\.1 at rank 0 and 0\.2 at rank 1"):
        check_rates([0.1, 0.2])


def test_what_is_not_finite_is_not_kept(setup: Callable[..., Setup]) -> None:
    ours = setup()
    x, labels = ours.batch(0)
    x[3] = float("inf")
    loss = ours.head(ours.network(x), labels)
    assert torch.isnan(loss)
    loss.backward()
    with pytest.raises(partialfc.NotFinite, match="GradScaler"):
        ours.optimizer.step()
    ours.head.abandon()
    ours.optimizer.zero_grad()
    ours.step(*ours.batch(1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"embedding_size": 17}, "17"),
        ({"num_classes": 61}, "has 61 classes, the cluster 60"),
        ({"sample_rate": 0.5}, "sample rate of 0.5"),
        ({"margin_loss": {**MARGINS, "m2": 0.5}}, "m2 0.5.*head.m2 0.3"),
    ],
)
def test_a_head_that_does_not_fit_is_refused_in_words(setup: Callable[..., Setup], change: dict[str, Any], words: str) -> None:
    ours = setup()
    arguments = {"margin_loss": MARGINS, "embedding_size": D, "num_classes": C, "sample_rate": 1.0, **change}
    head = partialfc.PartialFC(**arguments, cluster=ours.cluster.endpoint, timeout=PATIENCE)
    with pytest.raises(partialfc.WrongConfiguration, match=words):
        head.join()


def test_wrong_inputs_are_refused_in_words(setup: Callable[..., Setup]) -> None:
    ours = setup()
    x, labels = ours.batch(0)
    features = ours.network(x).detach()
    for bad, words in [
        ((features[:, :-1], labels), "expected real numbers"),
        ((features, labels[:-1]), "there are 16 embeddings"),
        ((features, labels.float()), "expected integers"),
        ((features, labels.clamp(min=C)), "is no class"),
        ((torch.cat([features, features]), torch.cat([labels, labels])), "more than its 16"),
    ]:
        with pytest.raises(ValueError, match=words):
            ours.head(*bad)
    with pytest.raises(ValueError, match="margin m1 of sample 0 is 0; it must be in"):
        ours.head(features, labels, margins=torch.zeros(B, 3))
    with pytest.raises(partialfc.PartialFCError, match="closure"):
        ours.head(ours.network(x), labels).backward()
        ours.optimizer.step(lambda: torch.zeros(()))
    ours.optimizer.zero_grad()
    with pytest.raises(ValueError, match="margins"):
        ours.head(features, labels, margins=torch.ones(B))
    ours.step(x, labels)


def test_decay_and_a_missing_group_are_refused_in_words(setup: Callable[..., Setup]) -> None:
    ours = setup()
    ours.optimizer.param_groups[1]["weight_decay"] = 0.1
    with pytest.raises(partialfc.WrongConfiguration, match=r"optimizer.weight_decay 0.0005"):
        ours.step(*ours.batch(0))
    ours.optimizer.param_groups.pop()
    with pytest.raises(partialfc.WrongConfiguration, match="does not have the head's parameter"):
        ours.step(*ours.batch(0))


class _Lister:
    """A client that knows one checkpoint."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *_: Any, **__: Any) -> _Lister:
        return self

    def __enter__(self) -> _Lister:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def checkpoints(self) -> list[dict[str, Any]]:
        return [{"directory": str(self.directory), "step": 3}]


def test_checkpoints_without_a_part_of_the_job_are_warned_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partialfc.job.Client", _Lister(tmp_path))
    job = partialfc.Job(partialfc.PartialFC(None, D, C, cluster="tcp://127.0.0.1:29999"), lambda _: None, lambda _: None)
    with pytest.warns(UserWarning, match="none with a directory job"):
        assert job.resume_newest() == 0


def test_a_job_of_a_head_that_has_joined_writes_its_part(setup: Callable[..., Setup]) -> None:
    ours = setup()
    ours.step(*ours.batch(0))
    partialfc.Job(ours.head, lambda _: None, lambda _: None)
    assert ours.head.session.saves_checkpoints


def test_nobody_there(tmp_path: Path) -> None:
    head = partialfc.PartialFC(None, D, C, cluster="tcp://127.0.0.1:29999", timeout=1)
    with pytest.raises(partialfc.NoAnswer, match=r"no answer from tcp://127\.0\.0\.1:29999 for 1 s"):
        head.join()


@pytest.mark.parametrize("address", ["host-a:7400", "tcp://host-a", "tcp://host-a:port", "tcp://host-a:99999", "http://host-a:7400"])
def test_what_is_no_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(partialfc.Unreachable, match="is no address of a server, which looks like tcp://host:port"):
        partialfc.PartialFC(None, D, C, cluster=address)
    with pytest.raises(partialfc.Unreachable, match="is no address of a server"):
        partialfc.Client(address)


def test_a_shard_server_is_no_coordinator(setup: Callable[..., Setup]) -> None:
    ours = setup()
    with partialfc.Client(ours.cluster.endpoint) as client:
        shard = client.status()["shards"][0]["endpoint"]
    head = partialfc.PartialFC(MARGINS, D, C, cluster=shard, timeout=PATIENCE)
    with pytest.raises(partialfc.PartialFCError, match="is no coordinator"):
        head.join()
    with pytest.raises(partialfc.PartialFCError, match="send it to the coordinator"), partialfc.Client(shard, deadline=PATIENCE) as client:
        client.status()


def test_bad_states_are_refused_in_words() -> None:
    head = partialfc.PartialFC(None, D, C, cluster="tcp://127.0.0.1:29999")
    for state in (None, {}, {"step": "3", "past": 0, "cluster": "", "hash": ""}):
        with pytest.raises(partialfc.PartialFCError, match="no state of a PartialFC head"):
            head.set_extra_state(state)


def test_the_number_of_classes_may_be_that_of_now(setup: Callable[..., Setup]) -> None:
    ours = setup()
    ours.step(*ours.batch(0))
    with partialfc.Client(ours.cluster.endpoint) as client:
        client.add_classes(3)
    ours.step(*ours.batch(1))
    head = partialfc.PartialFC(MARGINS, D, C + 4, 1.0, cluster=ours.cluster.endpoint, timeout=PATIENCE)
    head.load_state_dict(ours.head.state_dict())
    with pytest.raises(partialfc.WrongConfiguration, match="has 64 classes, the cluster 60 at the start of its run and 63 now"):
        head.join()


def test_the_state_holds_no_weights_and_travels(setup: Callable[..., Setup]) -> None:
    ours = setup()
    ours.step(*ours.batch(0))
    ours.step(*ours.batch(1))
    file = io.BytesIO()
    torch.save(ours.head.state_dict(), file)
    assert len(file.getvalue()) < 4000
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert state["_extra_state"]["step"] == 1
    assert state["weight"].numel() == 0
    other = partialfc.PartialFC(MARGINS, D, C, 1.0, cluster=ours.cluster.endpoint)
    other.load_state_dict(state)
    assert other.step == 1
    copied = copy.deepcopy(ours.head)
    assert copied.step == 1
    assert not copied.has_joined


def test_margins_are_read_from_what_users_have() -> None:
    class Combined:
        s, m1, m2, m3, interclass_filtering_threshold = 64.0, 1.0, 0.5, 0.1, 0

    class ArcFace:
        s, margin = 64.0, 0.5

    of = Margins.of
    assert of(Combined()) == of({"s": 64, "m1": 1, "m2": 0.5, "m3": 0.1, "filter": 0})
    assert of(ArcFace()).m2 == 0.5
    with pytest.raises(partialfc.WrongConfiguration, match="says no margins"):
        of(object())


@pytest.mark.parametrize(("rows", "gradients"), [("f32", "f32"), ("bf16", "bf16"), ("int8", "f32")])
def test_rows_in_fewer_bits(setup: Callable[..., Setup], rows: str, gradients: str) -> None:
    ours = setup(head={"exchange": "rows", "exchange_rows": rows, "exchange_gradients": gradients})
    plain = ours.plain()
    tolerance = 1e-4 if rows == "f32" else 3e-2
    for step in range(5):
        x, labels = ours.batch(step, 16 if step != 2 else 9)
        labels[0] = -1
        loss = ours.step(x, labels)
        expected = plain.step(x, labels)
        assert abs(loss - expected) < tolerance * abs(expected)
    ours.assert_centers(plain, tolerance)
