"""What a rank says to coordinator and shards about itself and a step."""

from __future__ import annotations

import os
import socket

import numpy as np

from .attempt import Attempt, Failure, Send
from .errors import INTERNAL, REFUSALS
from .exact import F64
from .messages import (
    PROTOCOL_VERSION,
    SHARD,
    WORKER,
    Activity,
    Heartbeat,
    Hello,
    JobID,
    Leave,
    Member,
    Plan,
    StepDone,
    StepFailed,
    StepRequest,
    TaskDone,
    Welcome,
)


def micro_batch_sums(losses: F64, size: int) -> F64:
    """The sum of the losses [n] of each micro-batch of `size` samples, sample by sample."""
    sums: F64 = np.zeros(len(losses) // size)
    for column in losses.reshape(-1, size).T:
        sums += column
    return sums


class Speaker:
    """Makes the messages of one member.

    Args:
        incarnation: drawn by the process.
        job: which start of which job it belongs to.
        name: for people.
        embedding_size: D.
    """

    def __init__(self, incarnation: int, job: JobID, name: str, embedding_size: int) -> None:
        self.incarnation, self.job, self._name, self._size = incarnation, job, name, embedding_size
        self.member: Member | None = None

    def hello(self, plan: Plan | None) -> Hello:
        """To the coordinator; `plan` is the newest known."""
        return Hello(
            role=WORKER,
            protocol_version=PROTOCOL_VERSION,
            name=self._name,
            incarnation=self.incarnation,
            embedding_size=self._size,
            threads=1,
            process_id=os.getpid(),
            host=socket.gethostname()[:255],
            previous_number=self.member.number if self.member else -1,
            term=plan.id.term if plan and plan.id else 0,
            coordinator=plan.coordinator if plan else 0,
            job=self.job,
        )

    def shard_hello(self, welcome: Welcome, classes: int) -> Hello:
        """To a shard, after the coordinator's welcome."""
        return Hello(
            role=WORKER,
            protocol_version=PROTOCOL_VERSION,
            cluster_id=welcome.cluster_id,
            name=self._name,
            incarnation=self.incarnation,
            embedding_size=self._size,
            class_count=classes,
            configuration_hash=welcome.configuration_hash,
            threads=1,
            process_id=os.getpid(),
            previous_number=self.member.number if self.member else -1,
        )

    def heartbeat(self, plan: Plan | None, attempt: Attempt | None, progress: int, unreachable: list[int]) -> Heartbeat:
        """What the rank is doing."""
        activity = Activity(
            id=attempt.id if attempt else None,
            computes=attempt is None or not attempt.waits_for,
            progress=progress,
            waits_for=attempt.waits_for if attempt else unreachable,
        )
        term = plan.id.term if plan and plan.id else 0
        return Heartbeat(self.member, self.incarnation, activity, term, plan.coordinator if plan else 0)

    def farewell(self, reason: str, exit_code: int) -> Leave:
        """That the process leaves."""
        return Leave(self.member, self.incarnation, reason[:1000], exit_code & 255)

    def request(self, attempt: Attempt, one: Send, with_queries: bool) -> StepRequest:
        """A request of a step, or a query about it. A shard without queries gets the request again."""
        plan = attempt.plan
        return StepRequest(
            incarnation=self.incarnation,
            id=attempt.id,
            rank=attempt.rank,
            world_size=len(plan.ranks),
            map_version=plan.map_version,
            phase=one.phase,
            committed=plan.committed,
            exchange=plan.exchange,
            learning_rate=self.rate(attempt),
            micro_batches=plan.ranks[attempt.rank].micro_batches,
            query=one.query if with_queries else 0,
            part=attempt.part(one.phase, one.shard),
        )

    @staticmethod
    def rate(attempt: Attempt) -> float:
        """The learning rate of an attempt: the job's, or the plan's."""
        plan = attempt.plan
        return attempt.turn.rate if plan.job is not None and plan.job.sets_rate else plan.learning_rate

    def done(self, attempt: Attempt, micro_batch: int) -> StepDone:
        """That every shard is prepared; with the loss sum of each micro-batch of `micro_batch` samples, in order."""
        assert attempt.result is not None
        sums = micro_batch_sums(attempt.result.losses, micro_batch)
        slowest = max(attempt.seconds, default=0.0)
        return StepDone(
            member=self.member,
            incarnation=self.incarnation,
            id=attempt.id,
            micro_batches=attempt.plan.ranks[attempt.rank].micro_batches,
            loss_sums=sums.tolist(),
            exchange_seconds=slowest,
            shard_seconds=attempt.seconds,
            total_seconds=slowest,
            learning_rate=self.rate(attempt),
        )

    def failed(self, attempt: Attempt, failure: Failure) -> StepFailed:
        """That an attempt cannot go on."""
        by = Member(SHARD, failure.shard) if failure.shard is not None else None
        # A code that a shard made up would make the coordinator refuse the message.
        code = failure.code if failure.code in REFUSALS else INTERNAL
        return StepFailed(self.member, self.incarnation, attempt.id, code, failure.message[:1000], by)

    def task_done(self, number: int, detail: str | None, problem: str | None) -> TaskDone:
        """That this rank's part of a boundary task is finished, or why it is not."""
        return TaskDone(self.member, self.incarnation, number, detail, problem[:1000] if problem else problem)
