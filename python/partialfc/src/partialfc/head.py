"""The head: a drop-in for InsightFace's `PartialFC_V2` whose class centers live on the shards of a cluster."""

from __future__ import annotations

import logging
import os
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from . import autograd
from .connection import checked_endpoint
from .errors import AccumulationError, NotFinite, PartialFCError, WrongConfiguration
from .inputs import labels_of, margins_of, weights_of
from .keys import Keys, keys_of
from .lifetime import sessions
from .margins import Margins
from .messages import JobID
from .rates import before_optimizer_steps, check_group, check_rates, find_optimizer, group_of
from .requests import micro_batch_sums
from .session import Session
from .staging import Staging
from .turn import I64, Turn
from .world import World

log = logging.getLogger("partialfc")


class PartialFC(nn.Module):
    """Margin softmax over all classes of a cluster, of which a part takes part in each step (arXiv 2010.05222).

    Every rank of a job has one. It has one parameter, of no elements: put it into the optimiser, as the last group. The group's learning
    rate is that of the centers (with `schedule.rate: job`), its weight decay and momentum must be the cluster's. A step of this optimiser
    keeps what `forward` has begun; what is not followed by one (a GradScaler that skips) is undone.

    Args:
        margin_loss: InsightFace's `CombinedMarginLoss` (its s, m1, m2, m3 and filter are read), a mapping with these names, or None:
            whatever the cluster has. Values that differ from the cluster's are refused.
        embedding_size: D, as in the cluster's configuration.
        num_classes: C, likewise.
        sample_rate: r, likewise.
        fp16: accepted for InsightFace's sake. Features of every floating-point type are taken.
        cluster: endpoint of the coordinator; None: the environment's `PARTIALFC_CLUSTER`.
        keys: a directory of keys, or None: `PARTIALFC_KEYS`, or no keys.
        encrypt: `all` or `control`, as the cluster's processes were started with.
        group: the process group of `torch.distributed`; None: the default one, or a single process.
        mean: what the loss is the mean over: `valid`, the samples with a class of all ranks, or `batch`, always B.
        timeout: seconds after which a wait ends with `NoAnswer`, which says who is waited for.
        name: of this process, for people.
    """

    def __init__(
        self,
        margin_loss: object,
        embedding_size: int,
        num_classes: int,
        sample_rate: float | None = None,
        fp16: bool = False,
        *,
        cluster: str | None = None,
        keys: Keys | str | os.PathLike[str] | None = None,
        encrypt: str | None = None,
        group: torch.distributed.ProcessGroup | None = None,
        mean: str = "valid",
        timeout: float = 1800,
        name: str = "pytorch",
    ) -> None:
        super().__init__()
        endpoint = cluster or os.environ.get("PARTIALFC_CLUSTER", "")
        if not endpoint:
            raise WrongConfiguration("which cluster? cluster='tcp://host:port', or PARTIALFC_CLUSTER")
        checked_endpoint(endpoint)
        if mean not in ("valid", "batch"):
            raise WrongConfiguration(f'mean is "{mean}"; it is valid or batch')
        self.weight = nn.Parameter(torch.empty(0))
        self.embedding_size, self.num_classes, self.sample_rate, self.fp16 = embedding_size, num_classes, sample_rate, fp16
        self.margins = Margins.of(margin_loss)
        self.cluster, self._mean, self._timeout, self._name = endpoint, mean, timeout, name
        self._keys = keys_of(keys, encrypt)
        self._group = group
        self._saves_checkpoints = False
        self._start: dict[str, Any] = {"step": -1, "past": 0, "cluster": "", "hash": ""}
        self._clear()

    def _clear(self) -> None:
        self._session: Session | None = None
        self._world: World | None = None
        self._turn: Turn | None = None
        self._doubtful: Any = None
        self._optimizer: weakref.ref[Optimizer] | None = None
        self._hook: Any = None
        self._grad: tuple[Tensor, int] | None = None
        self._calls = self._open_call = self._propagated_call = 0
        self._staging = Staging()
        self._number = autograd.register(self)

    def __getstate__(self) -> dict[str, Any]:
        gone = (
            "_session",
            "_world",
            "_turn",
            "_doubtful",
            "_optimizer",
            "_hook",
            "_grad",
            "_calls",
            "_open_call",
            "_propagated_call",
            "_staging",
            "_number",
            "_group",
        )
        return {name: value for name, value in self.__dict__.items() if name not in gone}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._group = None
        self._clear()

    # Joining.

    @property
    def session(self) -> Session:
        """The membership of the cluster; joins it if that has not happened yet.

        Raises:
            PartialFCError: the cluster does not let this job in, or is another one than the head was made for.
        """
        if self._session is None:
            self.join()
        assert self._session is not None
        return self._session

    @property
    def has_joined(self) -> bool:
        """Whether it has joined the cluster."""
        return self._session is not None

    @property
    def saves_checkpoints(self) -> bool:
        """Whether this rank writes a part of checkpoints; a `Job` sets it."""
        return self._saves_checkpoints

    @saves_checkpoints.setter
    def saves_checkpoints(self, value: bool) -> None:
        self._saves_checkpoints = value
        if self._session is not None:
            self._session.saves_checkpoints = value

    @property
    def world(self) -> World:
        """The ranks."""
        if self._world is None:
            self._world = World(self._group)
        return self._world

    def join(self) -> None:
        """Joins the cluster, as a new start of the job that begins after the loaded step. The first `forward` does so by itself.

        A collective: every rank calls it.

        Raises:
            WrongConfiguration: sizes, margins or the sample rate differ from the cluster's.
            StepGone: the cluster cannot go back to the loaded step.
            PartialFCError: it does not answer, or refuses for another reason.
        """
        if self._session is not None:
            return
        world = self.world
        job = JobID(world.job_id(), world.rank, world.size, int(self._start["step"]), int(self._start["past"]))
        session = Session(self.cluster, self._keys, job, embedding_size=self.embedding_size, name=self._name, timeout=self._timeout)
        session.saves_checkpoints = self.saves_checkpoints
        sessions.add(session)
        try:
            configuration = session.join()
            self._check(configuration, session)
        except BaseException:
            session.close("the head does not fit the cluster", 78)
            raise
        self._session = session

    def _check(self, configuration: dict[str, Any], session: Session) -> None:
        head, classes = configuration["head"], int(configuration["data"]["classes"])
        size = int(configuration["backbone"]["embedding_size"])
        if self.embedding_size != size:
            raise WrongConfiguration(f"the head has an embedding size of {self.embedding_size}, the cluster of {size}")
        if self.num_classes != classes:
            now = session.class_count_now()
            if self.num_classes != now:
                grown = f" at the start of its run and {now} now" if now != classes else ""
                raise WrongConfiguration(f"the head has {self.num_classes} classes, the cluster {classes}{grown}")
        self.margins.check(head)
        if self.sample_rate is not None and abs(self.sample_rate - float(head["sample_rate"])) > 1e-9:
            raise WrongConfiguration(
                f"the head has a sample rate of {self.sample_rate:g}, the cluster's configuration head.sample_rate {head['sample_rate']:g}"
            )
        batch, micro = int(configuration["batch"]["size"]), int(configuration["batch"]["micro_batch"])
        if (batch // micro) % self.world.size:
            raise WrongConfiguration(
                f"{self.world.size} ranks do not divide the {batch // micro} micro-batches of the cluster's batch of {batch} samples"
            )
        started, welcome = self._start, session.identity()
        for name, what in (("cluster", "cluster"), ("hash", "configuration")):
            if started[name] and started[name] != welcome[name]:
                raise WrongConfiguration(
                    f"the loaded state is of the {what} {started[name]}, and {self.cluster} is of the {what} {welcome[name]}"
                )

    @property
    def local_batch_size(self) -> int:
        """The most samples that this rank can give in a step: B / world size."""
        return int(self.session.join()["batch"]["size"]) // self.world.size

    # The optimiser.

    def attach(self, optimizer: Optimizer) -> None:
        """Says which optimiser's steps keep the head's. Without it the head looks for the one that has its parameter.

        Raises:
            WrongConfiguration: it has not, or decays otherwise than the cluster.
        """
        group = group_of(optimizer, self.weight)
        if group is None:
            raise WrongConfiguration("this optimiser does not have the head's parameter: give it {'params': head.parameters()}")
        if self._hook is not None and hasattr(self._hook, "remove"):
            self._hook.remove()
        this = weakref.ref(self)

        def before_step(optimizer: Optimizer, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            head = this()
            if head is not None:
                if named.get("closure") is not None or any(one is not None for one in arguments[1:]):
                    raise PartialFCError(
                        "optimizer.step(closure) does not work with the head: a step is kept before the closure would compute it; call the "
                        "head and backward first, then step() without a closure"
                    )
                head._step(optimizer)

        self._hook = before_optimizer_steps(optimizer, before_step)
        self._optimizer = weakref.ref(optimizer)

    def _rate(self) -> float:
        optimizer = self._optimizer() if self._optimizer else None
        if optimizer is None:
            optimizer = find_optimizer(self.weight)
            if optimizer is None:
                raise WrongConfiguration(
                    "no optimiser has the head's parameter: add {'params': head.parameters()} to its groups before the first step"
                )
            self.attach(optimizer)
        group = group_of(optimizer, self.weight)
        if group is None:
            raise WrongConfiguration("the optimiser does not have the head's parameter any more")
        check_group(group, self.session.join())
        return float(group["lr"])

    def _step(self, optimizer: Optimizer) -> None:
        """Before a step of the optimiser: keeps the step of the cluster."""
        if self._turn is None:
            return
        found = getattr(optimizer, "found_inf", None)
        if found is not None and float(found) > 0:
            self.abandon()
            return
        if self._doubtful is not None:
            raise NotFinite(
                f"step {self._turn.step}: {int(self._doubtful.sum())} features of this rank are not finite, and the optimiser is about to "
                "step; use a GradScaler, which leaves such a step out, or call head.abandon() and skip the optimiser's step"
            )
        turn = self._turn
        self.session.keep(turn)
        self._turn, self._open_call = None, 0
        self._start = {**self._start, **self.session.identity(), "step": turn.step}

    def abandon(self) -> None:
        """Undoes the step that `forward` has begun. A collective: every rank calls it, or none.

        A `forward` that follows without a step of the optimiser does the same.
        """
        if self._turn is None:
            return
        turn, self._turn, self._doubtful, self._open_call = self._turn, None, None, 0
        newest = self.session.throw_away(turn)
        self.session.begin_after(self.world.newest(newest))

    # Forward.

    def forward(
        self,
        local_embeddings: Tensor,
        local_labels: Tensor,
        *,
        margins: Tensor | None = None,
        loss_weight: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of the whole batch of all ranks, the same at each.

        Args:
            local_embeddings: features [n, D] of this rank, not normalised, of any floating-point type; n up to `local_batch_size`.
            local_labels: classes [n] or [n, 1], integers; −1: the sample takes no part.
            margins: [n, 3], m1, m2 and m3 of each sample instead of the cluster's.
            loss_weight: a factor of the loss, or one [n] for each sample, ≥ 0. Unlike `factor * loss` it reaches the centers, too.

        Returns:
            f32 [], Σ w·loss over the samples with a class, divided by their number (or B, see `mean`).

        Raises:
            ValueError: a shape, type or label is wrong.
            PartialFCError: the cluster does not answer, has gone back, or is over.
        """
        weights = loss_weight if isinstance(loss_weight, Tensor) or loss_weight is None else torch.tensor(float(loss_weight))
        loss: Tensor
        loss, _, _ = autograd.exchange(local_embeddings, local_labels, self.weight, margins, weights, self._number)
        return loss

    def prefetch(self, local_labels: Tensor) -> None:
        """Tells the shards the labels of the next `forward`, so that they can draw their sample while the network computes."""
        labels = labels_of(local_labels)
        self._begin()
        self._open(labels)

    def exchange(
        self, features: Tensor, labels: Tensor, margins: Tensor | None, loss_weight: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the operator does: loss f32 [], gradient f32 [n, D], and the number of this call i64 []."""
        if features.ndim != 2 or features.shape[1] != self.embedding_size or not features.is_floating_point():
            raise ValueError(
                f"the embeddings are {features.dtype} {list(features.shape)}, expected real numbers [n, {self.embedding_size}]"
            )
        n, classes = features.shape[0], labels_of(labels)
        if classes.shape != (n,):
            raise ValueError(f"there are {n} embeddings and labels {list(labels.shape)}")
        session = self.session
        count = self.local_batch_size
        if n > count:
            raise ValueError(f"this rank has {n} samples, more than its {count} of the cluster's batch: make batch.size or the batch fit")
        given_margins, given_weights = margins_of(margins, n, count), weights_of(loss_weight, n, count)
        if self._turn is None or self._turn.features is not None:
            self._begin()
        host = self._staging.to_host(features, count)
        finite: Any = np.isfinite(host).all(axis=1)
        turn = self._turn
        if turn is None:
            turn = self._open(np.where(finite[:n], classes, -1))
        elif not np.array_equal(turn.labels[:n], classes) or (turn.labels[n:] >= 0).any():
            raise ValueError("the labels are not those that prefetch was told")
        self._doubtful = ~finite if not finite.all() else None
        # A sample without class must have some features.
        host[~finite | ((turn.labels < 0) & ~host.any(axis=1))] = 1.0
        if given_weights is not None:
            turn.weights = given_weights if turn.weights is None else turn.weights * given_weights
        turn.margins, turn.features, turn.device = given_margins, host, features.device
        session.give_features()
        session.result(turn)
        result = turn.result
        assert result is not None
        sums = micro_batch_sums(result.losses, int(session.join()["batch"]["micro_batch"])).tolist()
        if self._doubtful is not None:
            sums[0] = float("nan")
        total = 0.0
        # In the order of the micro-batches, so that the number of ranks does not matter.
        for one in self.world.gather(sums):
            for value in one:
                total += value
        batch = int(session.join()["batch"]["size"])
        gradient = result.gradient[:n] * np.float32(self.world.size)
        if self._doubtful is not None:
            gradient[self._doubtful[:n]] = np.nan
        loss = torch.tensor(total / batch, dtype=torch.float32, device=features.device)
        self._calls += 1
        self._open_call = self._calls
        return loss, self._staging.to_device(gradient, features.device), torch.tensor(self._calls, dtype=torch.int64)

    def _begin(self) -> None:
        """Ends what was begun and not kept."""
        if self._turn is None:
            return
        grad = self.weight.grad
        if grad is not None and self._turn.features is not None:
            self._grad = (grad, grad._version)
        log.info("step %d was not followed by a step of the optimiser: it is undone", self._turn.step)
        self.abandon()

    def check_backward(self, call: int) -> None:
        """Before a gradient is added: that it is of the step that the cluster has open, and is added once.

        Args:
            call: the number of the call of the head whose loss goes backward.

        Raises:
            AccumulationError: the step of that call was undone or is kept already, it went backward before, or there was no step of the
                optimiser and no zero_grad since the loss of an undone step went backward.
        """
        if call != self._open_call:
            why = (
                "another call of the head or abandon() has undone its step, or the optimiser has stepped"
                if self._open_call
                else ("its step is kept already, or was undone")
            )
            raise AccumulationError(
                f"backward was called for a loss of the head whose step is not open any more: {why}; call the head once for each step of "
                "the optimiser, with the whole batch, and backward before the next call"
            )
        if call == self._propagated_call:
            raise AccumulationError(
                "backward was called twice for one loss of the head, so its gradient would count twice: call it once for each call of the "
                "head, on the sum of all losses"
            )
        before, self._grad, grad = self._grad, None, self.weight.grad
        if before is not None and before[0] is grad and grad._version == before[1]:
            raise AccumulationError(
                "backward was called for two losses of the head without a step of the optimiser or a zero_grad between: gradients are "
                "not accumulated over several steps of the cluster; give the whole batch at once (batch.size)"
            )
        self._propagated_call = call

    def _open(self, labels: I64) -> Turn:
        session, count = self.session, self.local_batch_size
        if len(labels) > count:
            raise ValueError(
                f"this rank has {len(labels)} samples, more than its {count} of the cluster's batch: make batch.size or the batch fit"
            )
        last = session.class_count() - 1
        if len(labels) and labels.max() > last:
            # Of classes that were added a rank learns with the plan.
            session.place()
            last = session.class_count() - 1
        if len(labels) and (labels.max() > last or labels.min() < -1):
            bad = int(np.flatnonzero((labels > last) | (labels < -1))[0])
            raise ValueError(f"label {labels[bad]} of sample {bad} is no class: classes are 0 to {last}, and −1 is none")
        rate = self._rate()
        padded = np.full(count, -1, np.int64)
        padded[: len(labels)] = labels
        weights = None
        told = self.world.gather([float((padded >= 0).sum()), rate])
        if session.join().get("schedule", {}).get("rate") == "job":
            check_rates([one[1] for one in told])
        if self._mean == "valid":
            valid = sum(one[0] for one in told)
            batch = count * self.world.size
            if valid != batch:
                weights = np.full(count, batch / valid if valid else 0.0, np.float32)
        self._turn = Turn(session.next_step, padded, rate, weights=weights)
        session.submit(self._turn)
        return self._turn

    # State.

    def get_extra_state(self) -> dict[str, Any]:
        """The last kept step, the name of its past, the cluster and the hash of its configuration: never the centers."""
        return dict(self._start)

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Begins after the step of this state.

        Raises:
            PartialFCError: the head has joined the cluster already, or this is no state of a head.
        """
        names = {"step": int, "past": int, "cluster": str, "hash": str}
        if not isinstance(state, dict) or any(not isinstance(state.get(name), kind) for name, kind in names.items()) or state["step"] < -1:
            raise PartialFCError(
                "this is no state of a PartialFC head, which has step, past, cluster and hash: was it saved by another class?"
            )
        if self._session is not None:
            raise PartialFCError("load the head's state before its first step: it has joined the cluster already")
        self._start = {name: state[name] for name in ("step", "past", "cluster", "hash")}

    @property
    def step(self) -> int:
        """The last step that was kept, −1 for none."""
        return int(self._start["step"])

    def close(self, reason: str = "the training has ended", exit_code: int = 0) -> None:
        """Leaves the cluster. The head cannot be used any more."""
        if self._session is not None:
            self._session.close(reason, exit_code)

    def extra_repr(self) -> str:
        """For `print(head)`."""
        return f"{self.num_classes} classes of {self.embedding_size} at {self.cluster}, step {self.step}"
