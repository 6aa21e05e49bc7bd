"""What a rank knows of its cluster, and what it says to the coordinator."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any

from . import messages
from .attempt import Attempt
from .classes import ClassRegistry
from .configuration import configuration_of
from .errors import BUSY, INCARNATION, NOT_WELCOMED, STEP_GONE, MalformedMessage, RunFailed, RunFinished, WrongConfiguration, refusal
from .kept import KeptTurns
from .keys import Keys
from .link import Link
from .messages import TASK, TRAIN, JobID, Plan, Task, TaskDone
from .requests import Speaker
from .shards import ShardConnections

log = logging.getLogger("partialfc")
REPEAT_SECONDS = 2.0
_IN_PYTHON = " (in Python, Job.resume_newest() before the first step begins from the newest checkpoint)"


class Membership:
    """Welcome, plan, task and classes, as the coordinator told them last."""

    def __init__(self, endpoint: str, keys: Keys | None, job: JobID, embedding_size: int, name: str) -> None:
        self.endpoint, self.job = endpoint, job
        self.configuration: dict[str, Any] | None = None
        self.checkpoint = ""
        """The directory of the newest checkpoint when this process joined."""
        self.plan: Plan | None = None
        self.saves_checkpoints = False
        """Whether this rank writes a part of checkpoints."""
        self._speaker = Speaker(secrets.randbits(47) | 1, job, name, embedding_size)
        self._welcome: messages.Welcome | None = None
        self._registry: ClassRegistry | None = None
        self._attempt: Attempt | None = None
        self._turns = KeptTurns()
        self._next_step = job.step + 1
        self._task: Task | None = None
        self._task_answer: TaskDone | None = None
        self._progress = 0
        self._beat_is_due = False
        self._hello_at = self._report_at = 0.0
        self._ready_pause = 0.5
        self._asked = ""
        """The reason of a plan that waits for a person, when it was told."""
        self._count_now: int | None = None
        self._state = ""
        """What the coordinator said last of the run, for people."""
        self._shards = ShardConnections(keys.shards if keys else None, self._shard_hello)
        self._link = Link(endpoint, keys.coordinator if keys else None)

    def _follow(self) -> None:
        """Acts on plan and classes, which may be new."""
        raise NotImplementedError

    def _read_coordinator(self) -> None:
        for header in self._link.receive():
            body = header.body
            if isinstance(body, messages.Welcome):
                self._take_welcome(body)
            elif isinstance(body, Plan):
                self._take_plan(body)
            elif isinstance(body, messages.HeartbeatReply):
                self._state = body.state
            elif isinstance(body, messages.Refusal):
                self._take_refusal(body)
            elif isinstance(body, messages.Classes):
                self._take_classes(body)

    def _say_hello(self, now: float) -> None:
        self._hello_at = now + REPEAT_SECONDS
        self._link.send(self._speaker.hello(self.plan))

    def _shard_hello(self) -> messages.Hello:
        assert self._welcome is not None and self.configuration is not None
        return self._speaker.shard_hello(self._welcome, int(self.configuration["data"]["classes"]))

    def _take_welcome(self, welcome: messages.Welcome) -> None:
        if not welcome.configuration:
            raise WrongConfiguration(f"{self.endpoint} is no coordinator of a cluster: a shard server answers there")
        if welcome.member is None:
            raise MalformedMessage("the coordinator's welcome names no member")
        configuration = configuration_of(welcome.configuration)
        if self._speaker.member is not None and welcome.member != self._speaker.member:
            # Shards knew this rank under its old number.
            self._shards.disconnect()
            self._attempt = None
        self._speaker.member, self._welcome, self.checkpoint = welcome.member, welcome, welcome.checkpoint
        self.configuration = configuration
        if self._shards.outdated and not self._shards.unreachable:
            self._shards.outdated = 0
        self._link.will(self._speaker.farewell("the trainer's process has ended without a word", 1))
        self._beat_is_due = True

    def _take_refusal(self, refused: messages.Refusal) -> None:
        now = time.monotonic()
        if refused.code in (NOT_WELCOMED, INCARNATION):
            if now >= self._hello_at - REPEAT_SECONDS + 0.2:
                self._say_hello(now)
        elif refused.code == BUSY:
            log.warning("the coordinator refused a message: %s", refused.message)
        else:
            # 21 to 23 end this start of the job, and so does what is wrong with the input of one of its ranks.
            hint = _IN_PYTHON if refused.code == STEP_GONE and "coordinator restore" in refused.message else ""
            raise refusal(refused.code, refused.message + hint)

    def _take_plan(self, plan: Plan) -> None:
        if plan.id is None:
            raise MalformedMessage("the coordinator's plan has no id")
        if self.plan is not None and self.plan.id is not None:
            ours, theirs = (self.plan.id.term, self.plan.revision), (plan.id.term, plan.revision)
            if theirs < ours:
                return
            if theirs != ours:
                self._ready_pause, self._report_at = 0.5, 0.0
        self.plan = plan
        self._progress += 1
        self._turns.follow(plan)
        if plan.activity == messages.FINISHED:
            raise RunFinished(f"the run is over after step {plan.committed}")
        if plan.activity == messages.FAILED:
            raise RunFailed(f"the run has failed: {plan.reason}")
        if plan.activity != TRAIN and "coordinator restore" in plan.reason and plan.reason != self._asked:
            log.warning("waiting for somebody to decide: %s%s", plan.reason, _IN_PYTHON)
            self._asked = plan.reason
        self._take_task(plan)
        self._shards.follow(plan)
        self._follow()

    def _take_task(self, plan: Plan) -> None:
        task = plan.task if plan.activity == TASK and self._is_ours(plan) and self.job.rank == 0 else None
        if task is None or task.checkpoint is None:
            self._task = None
            return
        if self._task_answer is None or self._task_answer.number != task.number:
            self._task_answer = None
            if not self.saves_checkpoints:
                self._task_answer = self._speaker.task_done(task.number, "[]", None)
            elif any(not turn.is_kept for turn in self._turns):
                problem = f"the trainer has gone on to step {self._next_step} already"
                self._task_answer = self._speaker.task_done(task.number, None, problem)
        self._task = task
        self._answer_task(time.monotonic())

    def _answer_task(self, now: float) -> None:
        if self._task is not None and self._task_answer is not None:
            self._task_answer.member = self._speaker.member
            self._link.send(self._task_answer)
            self._report_at = now + REPEAT_SECONDS

    def _take_classes(self, classes: messages.Classes) -> None:
        if self.configuration is None:
            return
        initial, version = int(self.configuration["data"]["classes"]), self.plan.class_version if self.plan else 0
        self._count_now = ClassRegistry(initial, classes.operations).count
        if classes.version >= version:
            self._registry = ClassRegistry(initial, classes.operations, version)
            self._follow()

    def _is_ours(self, plan: Plan) -> bool:
        return plan.job is not None and plan.job.id == self.job.id

    def _rank(self, plan: Plan) -> int | None:
        return next((rank for rank, one in enumerate(plan.ranks) if one.worker == self._speaker.member), None)

    def _has_classes(self, plan: Plan) -> bool:
        return plan.class_version == (self._registry.version if self._registry else 0)

    def _has_place(self) -> bool:
        """Whether the newest plan trains with this rank."""
        plan = self.plan
        if plan is None or plan.activity != TRAIN or not self._is_ours(plan):
            return False
        return self._rank(plan) is not None and self._has_classes(plan)
