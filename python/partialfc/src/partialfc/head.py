"""The head: a drop-in for InsightFace's `PartialFC_V2` whose class centers live on the shards of a cluster."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from . import autograd
from .accumulation import Batch, accumulated, second
from .connection import checked_endpoints
from .errors import NotFinite, PartialFCError, WrongConfiguration
from .fit import check_fit
from .inputs import labels_of
from .keys import Keys, keys_of
from .lifetime import sessions
from .margins import Margins
from .messages import JobID
from .protobuf import NUMBER, WHOLE
from .rates import OptimizerLink
from .session import Session
from .steps import Steps, as_loss
from .world import World


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
        cluster: endpoint of the coordinator, with a standby both with a comma between them; None: the environment's `PARTIALFC_CLUSTER`.
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
        checked_endpoints(endpoint)
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
        self._steps: Steps | None = None
        self._optimizer = OptimizerLink(self.weight)
        self._number = autograd.register(self)

    def __getstate__(self) -> dict[str, Any]:
        gone = ("_session", "_world", "_steps", "_optimizer", "_number", "_group")
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
            check_fit(
                session,
                session.join(),
                embedding_size=self.embedding_size,
                num_classes=self.num_classes,
                sample_rate=self.sample_rate,
                margins=self.margins,
                world_size=world.size,
                start=self._start,
            )
        except BaseException:
            session.close("the head does not fit the cluster", 78)
            raise
        self._session = session
        # A head that is not there any more has left.
        weakref.finalize(self, session.close, "the head was deleted").atexit = False

    @property
    def _open_steps(self) -> Steps:
        session = self.session
        if self._steps is None:
            link, this = self._optimizer, weakref.ref(self)
            self._steps = Steps(session, self.world, self._mean, lambda: link.rate(session.join(), this))
        return self._steps

    @property
    def local_batch_size(self) -> int:
        """The most samples that this rank can give in a step: B / world size."""
        return self._open_steps.count

    # The optimiser.

    def attach(self, optimizer: Optimizer) -> None:
        """Says which optimiser's steps keep the head's. Without it the head looks for the one that has its parameter.

        Raises:
            WrongConfiguration: it has not, or decays otherwise than the cluster.
        """
        self._optimizer.attach(optimizer, weakref.ref(self))

    def before_step(self, optimizer: Optimizer) -> None:
        """Before a step of the optimiser: keeps the step of the cluster, or undoes it if the step is to be skipped.

        Raises:
            AccumulationError: parts of the batch are missing.
            NotFinite: features were not finite; or the centers would not have been, so that the step is over, without effect.
        """
        steps = self._steps
        if steps is None or steps.turn is None:
            return
        found = getattr(optimizer, "found_inf", None)
        if found is not None and float(found) > 0:
            self.abandon()
            return
        turn = steps.keep()
        self._start = {**self._start, **self.session.identity(), "step": turn.step}
        if turn.is_skipped:
            raise NotFinite(
                f"step {turn.step}: what the centers would have learned is not finite, so the shards have left the step out; the network "
                "has not changed either. Is a loss_weight or a margin of a sample out of all proportion? The next call goes on"
            )

    def abandon(self) -> None:
        """Undoes the step that `forward` has begun. A collective: every rank calls it, or none.

        A `forward` that follows without a step of the optimiser does the same.
        """
        if self._steps is not None:
            self._steps.abandon()

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
            f32 [], Σ w·loss over the samples with a class, divided by their number (or B, see `mean`). Of a part of a batch whose labels
            `prefetch` or `accumulate` has told: what it adds to that.

        Raises:
            ValueError: a shape, type or label is wrong.
            PartialFCError: the cluster does not answer, has gone back, or is over.
        """
        weights = loss_weight if isinstance(loss_weight, Tensor) or loss_weight is None else torch.tensor(float(loss_weight))
        loss: Tensor
        loss, _, _ = autograd.exchange(local_embeddings, local_labels, self.weight, margins, weights, self._number)
        return loss

    def prefetch(self, local_labels: Tensor) -> None:
        """Tells the shards the labels of the next step, so that they can draw their sample while the network computes.

        The calls of the head that follow give the samples of these labels, in their order: all of them at once, or in parts, whose
        gradients add up to that of the whole batch. Parts are whole micro-batches (`batch.micro_batch`), but for the last one. All
        ranks give as many parts.
        """
        self._open_steps.begin(labels_of(local_labels), self.weight.grad)

    def accumulate(
        self, batches: Iterable[Batch], parts: int, *, labels: Callable[[Batch], Tensor] = second, drop_last: bool = True
    ) -> Iterator[Batch]:
        """The batches of a loader, of which `parts` make up one step: the optimiser steps after every `parts` of them.

        Reads so many batches ahead, because the shards draw their sample for the labels of a whole step. The losses of the parts, and
        their gradients, are summands of those of the whole batch: do not divide them by `parts`.

        Args:
            batches: a loader.
            parts: how many of its batches are a step; together they have up to `local_batch_size` samples.
            labels: takes them from a batch, which otherwise is (images, labels, …).
            drop_last: leaves batches out that are too few for a step at the end.
        """
        return accumulated(self, batches, parts, labels, drop_last)

    def exchange(
        self, features: Tensor, labels: Tensor, margins: Tensor | None, loss_weight: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the operator does: loss f32 [], gradient f32 [n, D], and the number of this call i64 []."""
        if features.ndim != 2 or features.shape[1] != self.embedding_size or not features.is_floating_point():
            raise ValueError(
                f"the embeddings are {features.dtype} {list(features.shape)}, expected real numbers [n, {self.embedding_size}]"
            )
        loss, gradient, call = self._open_steps.exchange(features, labels, margins, loss_weight, self.weight.grad)
        return as_loss(loss, features.device), gradient, torch.tensor(call, dtype=torch.int64)

    def check_backward(self, call: int) -> None:
        """Before a gradient is added: that it is of the step that the cluster has open, and is added once.

        Raises:
            AccumulationError: see `Ledger.check`.
        """
        if self._steps is not None:
            self._steps.ledger.check(call, self.weight.grad)

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
        if (
            not isinstance(state, dict)
            or any(not isinstance(state.get(name), kind) for name, kind in names.items())
            or not (-1 <= state["step"] <= NUMBER and 0 <= state["past"] <= WHOLE)
        ):
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
