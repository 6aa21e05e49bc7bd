"""One attempt of a step, from the view of a rank: which request goes to which shard, and when again.

A value that takes replies and times, and says what is to be sent; it does no input or output itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch

from .errors import ABANDONED, UNRESPONSIVE, MalformedMessage
from .exact import F32
from .frames import Tensor
from .messages import BACKWARD, BEGIN, FORWARD, ROWS, HeadValues, Member, Plan, Range, StepReply
from .rows import RowsExchange, RowsSettings
from .softmax import FeaturesExchange, Result, joined
from .turn import I64, Turn

QUERY_SECONDS = 2.0
"""A request that is not answered for so long is asked about."""
DEADLINE_SECONDS = 120.0
"""A shard that does not say anything for so long is reported, and again after each further such time."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.5


@dataclass(slots=True)
class Send:
    """A request that is to be sent: to a shard, of a phase, or a query about it (1: is it there? 2: the answer again)."""

    shard: int
    phase: int
    query: int = 0


@dataclass(slots=True)
class Failure:
    """Why an attempt cannot go on, and the shard that refused it, if one did."""

    code: int
    message: str
    shard: int | None = None


@dataclass(slots=True)
class _Progress:
    name: str
    waits_for: int = 0
    answered: int = 0
    query_at: float = 0.0
    again_at: float = 0.0
    pause: float = _FIRST_PAUSE
    heard_at: float = 0.0
    began_at: float = 0.0
    seconds: float = 0.0
    replies: list[list[Tensor]] = field(default_factory=list)
    """To *forward*: of each part, or the rows."""


@dataclass(frozen=True, slots=True)
class StepSetup:
    """What of the run's configuration a step depends on: its sections `head` and `batch`."""

    head: dict[str, Any]
    batch: int
    micro_batch: int

    @property
    def slices(self) -> int:
        """Number of slices of the class centers."""
        return int(self.head["slices"])

    @property
    def scale(self) -> float:
        """s."""
        return float(self.head["scale"])

    def at(self, values: HeadValues | None) -> StepSetup:
        """With the values of the head of a step; None: those of the configuration."""
        if values is None:
            return self
        return replace(self, head={**self.head, **{one.name: getattr(values, one.name) for one in fields(values)}})

    def rows(self, device: torch.device) -> RowsSettings:
        """For the exchange `rows`."""
        margins = float(self.head["m1"]), float(self.head["m2"]), float(self.head["m3"])
        threshold, half = float(self.head.get("interclass_filter", 0)), self.head.get("exchange_gradients") == "bf16"
        return RowsSettings(self.scale, margins, threshold, self.batch, self.micro_batch, half, device)


class Attempt:
    """An attempt at `plan.id`.

    Args:
        plan: which trains.
        rank: of this process in it.
        turn: what the trainer gave.
        labels: i64 [n], those of the turn after operations on the classes.
        setup: what of the configuration the computation depends on.
        now: seconds of a clock that does not go back.
    """

    def __init__(self, plan: Plan, rank: int, turn: Turn, labels: I64, setup: StepSetup, now: float) -> None:
        assert plan.id is not None
        self.plan, self.id, self.rank, self.turn, self.labels = plan, plan.id, rank, turn, labels
        self._setup, self._has_rows = setup.at(plan.head), plan.exchange == ROWS
        self._pushes: dict[int, list[Tensor]] = {}
        self._rows: RowsExchange | None = None
        self.results: list[Result] = []
        """Of the parts that every shard has answered."""
        self.outbox: list[Send] = []
        self.failure: Failure | None = None
        self.complaint: Failure | None = None
        """A shard that does not answer; the attempt goes on."""
        self.is_stale = False
        self.is_prepared = False
        self.result: Result | None = None
        self.progress = 0
        turn.used = plan.id
        self._shards = {
            shard.shard.number: _Progress(f"shard-{shard.shard.number} at {shard.endpoint}")
            for shard in plan.shards
            if isinstance(shard.shard, Member)
        }
        for number in self._shards:
            self._ask(number, BEGIN, now)

    @property
    def is_over(self) -> bool:
        """Nothing more is sent of it."""
        return self.is_stale or self.failure is not None

    @property
    def waits_for(self) -> list[int]:
        """The numbers of the shards whose answer is missing."""
        return [number for number, shard in self._shards.items() if shard.waits_for]

    @property
    def seconds(self) -> list[float]:
        """For each shard of the plan, how long its answers took in all."""
        return [shard.seconds for shard in self._shards.values()]

    def describe(self) -> str:
        """Who is waited for."""
        names = {BEGIN: "begin", FORWARD: "forward", BACKWARD: "backward"}
        waiting = [f"{shard.name} ({names[shard.waits_for]})" for shard in self._shards.values() if shard.waits_for]
        return ", ".join(waiting)

    def payload(self, phase: int, shard: int) -> list[Tensor]:
        """The tensors of a request to a shard."""
        if phase == BEGIN:
            return [self.labels]
        if self._has_rows:
            return [] if phase == FORWARD else self._pushes[shard]
        if phase == FORWARD:
            lower, upper = self.turn.parts[len(self._shards[shard].replies)]
            assert self.turn.features is not None
            tensors = [self.turn.features] if self.turn.margins is None else [self.turn.features, self.turn.margins]
            return [tensor[lower:upper] for tensor in tensors]
        assert self.result is not None
        return [self.result.log_z] if self.turn.weights is None else [self.result.log_z, self.turn.weights]

    def part(self, phase: int, shard: int) -> Range | None:
        """The micro-batches that a request is about, if they are not all of the rank."""
        if phase != FORWARD or self._has_rows:
            return None
        (lower, upper), size = self.turn.parts[len(self._shards[shard].replies)], self._setup.micro_batch
        first = self._micro_batches.lower
        return None if (lower, upper) == (0, len(self.labels)) else Range(first + lower // size, first + upper // size)

    @property
    def _micro_batches(self) -> Range:
        return self.plan.ranks[self.rank].micro_batches or Range()

    def go_on(self, now: float) -> None:
        """After the trainer has given features."""
        for number, shard in self._shards.items():
            # Rows come while the network computes.
            ready = self._has_rows or len(shard.replies) < len(self.turn.parts)
            if ready and shard.answered == BEGIN and not shard.waits_for and not self.is_over:
                self._ask(number, FORWARD, now)
        self._finish(now)

    def take(self, number: int, reply: StepReply, tensors: Sequence[Tensor], now: float) -> None:
        """What a shard answered."""
        shard = self._shards.get(number)
        if shard is None or reply.id != self.id or self.is_over:
            return
        shard.heard_at = now
        if reply.phase != shard.waits_for or reply.part != self.part(reply.phase, number):
            return
        if reply.done is not None:
            self._done(number, shard, tensors, now)
        elif reply.stale is not None:
            self.is_stale = True
        elif reply.refused is not None:
            self.failure = Failure(reply.refused.code, f"{shard.name}: {reply.refused.message}", number)
        elif reply.not_ready is not None:
            if shard.answered >= BEGIN:
                self.failure = Failure(UNRESPONSIVE, f"{shard.name} has forgotten the attempt")
            else:
                shard.again_at = now + shard.pause
                shard.query_at = 0.0
                shard.pause = min(2 * shard.pause, _LONGEST_PAUSE)
        elif reply.missing is not None:
            self._send(number, shard, now)
        elif reply.answered is not None:
            self.outbox.append(Send(number, shard.waits_for, 2))
            shard.query_at = now + QUERY_SECONDS
        elif reply.received is not None:
            shard.query_at = now + QUERY_SECONDS

    def connected(self, number: int, now: float) -> None:
        """A shard has welcomed this rank (again): what is open goes there (again)."""
        shard = self._shards.get(number)
        if shard is not None and shard.waits_for and not self.is_over:
            self._send(number, shard, now)

    def tick(self, now: float, moving: Sequence[int] = ()) -> None:
        """Asks again where it is time.

        Args:
            moving: the shards from which bytes are just coming in, which are not asked.
        """
        if self.is_over:
            return
        for number, shard in self._shards.items():
            if not shard.waits_for:
                continue
            if number in moving:
                shard.query_at = now + QUERY_SECONDS
            elif shard.again_at and now >= shard.again_at:
                self._send(number, shard, now)
            elif shard.query_at and now >= shard.query_at:
                self.outbox.append(Send(number, shard.waits_for, 1))
                shard.query_at = now + QUERY_SECONDS
            if now - shard.heard_at >= DEADLINE_SECONDS:
                shard.heard_at = now
                self.complaint = Failure(UNRESPONSIVE, f"{shard.name} has not answered for {DEADLINE_SECONDS:g} s")

    def next_time(self) -> float:
        """When `tick` is due."""
        times = [t for s in self._shards.values() if s.waits_for for t in (s.again_at, s.query_at) if t]
        return min(times, default=float("inf"))

    def abandon(self) -> None:
        """The trainer does not want it."""
        self.failure = Failure(ABANDONED, "the trainer has thrown the step away")

    def _ask(self, number: int, phase: int, now: float) -> None:
        shard = self._shards[number]
        shard.waits_for, shard.began_at, shard.heard_at = phase, now, now
        shard.pause = _FIRST_PAUSE
        self._send(number, shard, now)

    def _send(self, number: int, shard: _Progress, now: float) -> None:
        self.outbox.append(Send(number, shard.waits_for))
        shard.again_at, shard.query_at = 0.0, now + QUERY_SECONDS

    def _done(self, number: int, shard: _Progress, tensors: Sequence[Tensor], now: float) -> None:
        phase = shard.waits_for
        shard.waits_for = 0
        shard.seconds += now - shard.began_at
        self.progress += 1
        if phase == FORWARD:
            shard.replies.append(list(tensors))
            if self._has_rows or (self.turn.is_whole and len(shard.replies) == len(self.turn.parts)):
                shard.answered = FORWARD
        else:
            shard.answered = phase
        if phase != BACKWARD:
            self.go_on(now)
        elif all(one.answered >= BACKWARD for one in self._shards.values()):
            self.is_prepared = True

    def _finish(self, now: float) -> None:
        """Computes the parts that every shard has answered and whose features are there, and after the last sends the rest."""
        turn, shards = self.turn, self._shards.values()
        while len(self.results) < len(turn.parts) and not self.is_over:
            index = len(self.results)
            if any(not one.replies or (len(one.replies) <= index and not self._has_rows) for one in shards):
                return
            try:
                # What shards send may be of any size; the result is looked at.
                with np.errstate(all="ignore"):
                    result = self._compute(index)
            except MalformedMessage as error:
                self.failure = Failure(1, str(error))
                return
            if not (np.isfinite(result.losses).all() and np.isfinite(result.gradient).all()):
                self.failure = Failure(8, "the loss or the gradient of a sample is not finite")
                return
            self.results.append(result)
        if self.result is not None or self.is_over or not turn.is_whole:
            return
        self.result = joined(self.results)
        if self._rows is not None and not self._pushes:
            # All parts at once, so that what the centers learn does not depend on the parts.
            assert turn.features is not None
            self.result = self._push(self._rows, self.labels, turn.features, turn.margins, turn.weights)
        for number in self._shards:
            self._ask(number, BACKWARD, now)

    def _compute(self, index: int) -> Result:
        """What comes of one part."""
        turn, setup = self.turn, self._setup
        (lower, upper), here = turn.parts[index], slice(*turn.parts[index])
        assert turn.features is not None
        labels, features, weights = self.labels[here], turn.features[here], None if turn.weights is None else turn.weights[here]
        if not self._has_rows:
            exchange = FeaturesExchange(setup.slices, labels, features)
            for shard in self._shards.values():
                exchange.take(shard.name, shard.replies[index])
                shard.replies[index] = []
            return exchange.finish(setup.scale / setup.batch, weights)
        if self._rows is None:
            self._rows = RowsExchange(setup.rows(turn.device), features.shape[1])
            for shard in self._shards.values():
                self._rows.take(shard.name, shard.replies[0])
                shard.replies[0] = []
        margins = None if turn.margins is None else turn.margins[here]
        if (lower, upper) == (0, len(self.labels)):
            return self._push(self._rows, labels, features, margins, weights)
        return self._rows.finish(labels, features, margins, weights, None)[0]

    def _push(self, rows: RowsExchange, labels: I64, features: F32, margins: F32 | None, weights: F32 | None) -> Result:
        """The softmax of all samples of the rank, with the row gradients for the shards."""
        own = self._micro_batches
        result, pushes = rows.finish(labels, features, margins, weights, (own.lower, own.upper))
        self._pushes = dict(zip(self._shards, pushes, strict=True))
        return result
