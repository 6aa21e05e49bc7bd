"""The steps of a head with its cluster, from the labels to the commit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import AccumulationError, NotFinite
from .inputs import labels_of, margins_of, weights_of
from .ledger import Ledger
from .rates import check_rates
from .requests import micro_batch_sums
from .session import Session
from .staging import Staging
from .turn import I64, Turn
from .world import World

log = logging.getLogger("partialfc")


class Steps:
    """The step that a rank has under way, of which all ranks do the same.

    Args:
        session: which has joined.
        world: the ranks.
        mean: of what the loss is the mean: `valid` or `batch`.
        rate: the centers' learning rate of the step that begins.
    """

    def __init__(self, session: Session, world: World, mean: str, rate: Callable[[], float]) -> None:
        configuration = session.join()
        self.batch, self.micro_batch = int(configuration["batch"]["size"]), int(configuration["batch"]["micro_batch"])
        self.count = self.batch // world.size
        """The most samples that this rank can give in a step."""
        self.ledger = Ledger()
        self.turn: Turn | None = None
        """The step under way, between its labels and its end."""
        self._session, self._world, self._mean, self._rate = session, world, mean, rate
        self._sets_rate = configuration.get("schedule", {}).get("rate") == "job"
        self._staging = Staging()
        self._announced = self._doubtful = 0

    def begin(self, labels: I64, gradient: Tensor | None) -> None:
        """Begins a step with all labels of the rank, −1 for none, and undoes the one that was not kept. A collective.

        Args:
            labels: i64 [n], n up to `count`.
            gradient: that of the head's parameter.

        Raises:
            ValueError: there are too many labels, or one is no class.
        """
        self._check_count(len(labels))
        self._undo(gradient)
        last = self._session.class_count() - 1
        if len(labels) and labels.max() > last:
            # Of classes that were added a rank learns with the plan.
            self._session.place()
            last = self._session.class_count() - 1
        if len(labels) and (labels.max() > last or labels.min() < -1):
            bad = int(np.flatnonzero((labels > last) | (labels < -1))[0])
            raise ValueError(f"label {labels[bad]} of sample {bad} is no class: classes are 0 to {last}, and −1 is none")
        rate = self._rate()
        padded = np.full(self.count, -1, np.int64)
        padded[: len(labels)] = labels
        told = self._world.gather([float((padded >= 0).sum()), rate])
        if self._sets_rate:
            check_rates([one[1] for one in told])
        weights = None
        if self._mean == "valid":
            valid = sum(one[0] for one in told)
            if valid != self.batch:
                weights = np.full(self.count, self.batch / valid if valid else 0.0, np.float32)
        self.turn, self._announced, self._doubtful = Turn(self._session.next_step, padded, rate, weights=weights), len(labels), 0
        self._session.submit(self.turn)

    def exchange(
        self, features: Tensor, labels: Tensor, margins: Tensor | None, loss_weight: Tensor | None, gradient: Tensor | None
    ) -> tuple[float, Tensor, int]:
        """Loss, its gradient f32 [n, D] by the features, and the number of the call. A collective.

        The samples are those of a step, or of the next part of the step whose labels `begin` was given. `gradient` is that of the head's
        parameter.

        Raises:
            ValueError: a shape, type or label is wrong.
            AccumulationError: other ranks give another number of parts.
        """
        n, classes = features.shape[0], labels_of(labels)
        if classes.shape != (n,):
            raise ValueError(f"there are {n} embeddings and labels {list(labels.shape)}")
        self._check_count(n)
        is_new = self.turn is None or self.turn.is_whole
        lower, upper = (0, self.count) if is_new else self._next_part(classes, margins)
        given_margins, given_weights = margins_of(margins, n, upper - lower), weights_of(loss_weight, n, upper - lower)
        host = self._staging.to_host(features, upper - lower)
        bad: Any = ~np.isfinite(host).all(axis=1)
        if is_new:
            self.begin(np.where(bad[:n], -1, classes), gradient)
        turn = self.turn
        assert turn is not None
        # A sample without class must have some features.
        host[bad | ((turn.labels[lower:upper] < 0) & ~host.any(axis=1))] = 1.0
        turn.device = features.device
        turn.give(host, given_margins, given_weights, lower, upper)
        self._doubtful += int(bad.sum())
        self._session.give_features()
        self._session.result(turn)
        result = turn.results[-1]
        sums = np.zeros(self.count // self.micro_batch)
        sums[lower // self.micro_batch : upper // self.micro_batch] = micro_batch_sums(result.losses, self.micro_batch)
        if bad.any():
            sums[0] = np.nan
        told = self._world.gather([float(turn.is_whole), *sums])
        self._check_parts([one[0] for one in told])
        total = 0.0
        # In the order of the micro-batches, so that the number of ranks does not matter.
        for one in told:
            for value in one[1:]:
                total += value
        direction = result.gradient[:n] * np.float32(self._world.size)
        direction[bad[:n]] = np.nan
        return total / self.batch, self._staging.to_device(direction, features.device), self.ledger.call()

    def keep(self) -> Turn:
        """Waits until the step under way is committed, with or without effect.

        Raises:
            AccumulationError: parts of it are missing.
            NotFinite: features were not finite.
        """
        turn = self.turn
        assert turn is not None
        if not turn.is_whole:
            raise AccumulationError(
                f"step {turn.step}: the optimiser is about to step, and the head was called for {turn.end} of the {self._announced} "
                "samples whose labels it was told: step after the last part"
            )
        if self._doubtful:
            raise NotFinite(
                f"step {turn.step}: {self._doubtful} features of this rank are not finite, and the optimiser is about to step; use a "
                "GradScaler, which leaves such a step out, or call head.abandon() and skip the optimiser's step"
            )
        self._session.keep(turn)
        self._close()
        return turn

    def abandon(self) -> None:
        """Undoes the step under way. A collective."""
        turn = self.turn
        if turn is None:
            return
        self._close()
        newest = self._session.throw_away(turn)
        self._session.begin_after(self._world.newest(newest))

    def _close(self) -> None:
        self.turn, self._doubtful = None, 0
        self.ledger.close()

    def _undo(self, gradient: Tensor | None) -> None:
        """Ends what was begun and not kept."""
        if self.turn is not None:
            log.info("step %d was not followed by a step of the optimiser: it is undone", self.turn.step)
            self.ledger.undo(gradient)
            self.abandon()

    def _next_part(self, classes: I64, margins: Tensor | None) -> tuple[int, int]:
        """Which samples of the step under way come next, with these labels [n]."""
        assert self.turn is not None
        n, lower, micro = len(classes), self.turn.end, self.micro_batch
        if lower + n > self._announced or not np.array_equal(self.turn.labels[lower : lower + n], classes):
            raise ValueError(f"the labels are not those that prefetch was told, from sample {lower} of {self._announced} on")
        if lower and (margins is None) != (self.turn.margins is None):
            raise ValueError("either all parts of a step have margins of their own, or none has")
        if lower + n == self._announced:
            return lower, self.count
        if n == 0 or n % micro:
            raise ValueError(
                f"a part has {n} samples: parts are whole micro-batches of {micro} (batch.micro_batch), but for the last one of a step"
            )
        return lower, lower + n

    def _check_parts(self, ended: list[float]) -> None:
        """Checks that all ranks have given their last part, or none: the others would wait for them in the next one."""
        if len(set(ended)) > 1:
            raise AccumulationError(
                f"rank {ended.index(1.0)} has given all samples whose labels it was told, and rank {ended.index(0.0)} has not: every rank "
                "gives as many parts of a step"
            )

    def _check_count(self, n: int) -> None:
        if n > self.count:
            raise ValueError(
                f"this rank has {n} samples, more than its {self.count} of the cluster's batch: make batch.size or the batch fit"
            )


def as_loss(value: float, device: torch.device) -> Tensor:
    """f32 [] on the device of the features."""
    return torch.tensor(value, dtype=torch.float32, device=device)
