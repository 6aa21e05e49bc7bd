"""A rank's membership of a cluster, from the view of the trainer: it gives inputs, waits for results, and decides what counts."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from .engine import Engine
from .errors import ForkedError, NoAnswer, PartialFCError
from .keys import Keys
from .messages import TRAIN, JobID, Plan, ReadClasses, Task
from .turn import Turn

log = logging.getLogger("partialfc")
_WARN_SECONDS = 30.0


class Session(Engine):
    """Membership of a cluster as one rank of a job. The methods are for the trainer's thread.

    Args:
        endpoint: of the coordinator.
        keys: of a worker, or None.
        job: which start of the job this is, its rank, and the step that it starts from.
        embedding_size: D, compared with the cluster's.
        name: of the process, for people.
        timeout: seconds after which a wait ends with `NoAnswer`.
    """

    def __init__(
        self, endpoint: str, keys: Keys | None, job: JobID, *, embedding_size: int, name: str = "pytorch", timeout: float = 1800
    ) -> None:
        self.timeout = timeout
        self._pid = os.getpid()
        super().__init__(endpoint, keys, job, embedding_size, name)

    def join(self) -> dict[str, Any]:
        """Waits for the welcome; the run's configuration."""
        self._wait(lambda: self.configuration is not None, "the welcome")
        assert self.configuration is not None
        return self.configuration

    def place(self) -> Plan:
        """Waits until the cluster trains with this rank; its plan."""
        self._wait(self._has_place, f"the plan of step {self._next_step}")
        assert self.plan is not None
        return self.plan

    def identity(self) -> dict[str, Any]:
        """The names of the cluster, of its configuration, and of the history that it is on."""
        with self._lock:
            welcome, plan = self._welcome, self.plan
            found: dict[str, Any] = {"past": plan.past if plan else 0}
            if welcome:
                found |= {"cluster": welcome.cluster_id, "hash": welcome.configuration_hash}
            return found

    def class_count(self) -> int:
        """Classes that there are, retired ones included."""
        registry = self._registry
        return registry.count if registry else int(self.join()["data"]["classes"])

    def class_count_now(self) -> int:
        """Asks the coordinator how many classes there are, also those that were added after the newest plan."""

        def work() -> None:
            self._link.send(ReadClasses())

        self._order(work)
        self._wait(lambda: self._count_now is not None, "the number of classes")
        assert self._count_now is not None
        return self._count_now

    @property
    def next_step(self) -> int:
        """The step whose inputs the trainer is to give next."""
        return self._next_step

    def submit(self, turn: Turn) -> None:
        """Gives the labels of the next step, and its features if they are there."""

        def work() -> None:
            self._turns.put(turn)
            self._follow()

        self._order(work)

    def give_features(self) -> None:
        """After the features of the turn were set."""

        def work() -> None:
            if self._attempt:
                self._attempt.go_on(time.monotonic())
                self._flush()

        self._order(work)

    def result(self, turn: Turn) -> None:
        """Waits until every part that the turn has has its result."""
        self._wait(lambda: len(turn.results) >= len(turn.parts), f"the loss of step {turn.step}")

    def keep(self, turn: Turn) -> None:
        """Decides that the step counts, and waits until it is committed, whatever attempts that takes."""

        def work() -> None:
            turn.is_kept = True
            self._report_done()

        self._order(work)
        self._wait(lambda: turn.is_committed, f"the commit of step {turn.step}")
        with self._lock:
            self._next_step = turn.step + 1

    def throw_away(self, turn: Turn) -> tuple[int, int, int]:
        """Undoes a step that was not kept; the newest attempt that got its inputs, as (term, step, attempt)."""
        done = threading.Event()

        def work() -> None:
            self._turns.drop(turn)
            if turn.used:
                self._thrown_away = max(self._thrown_away, turn.used.order)
            if self._attempt and self._attempt.turn is turn:
                self._attempt.abandon()
                self._report_failure()
            done.set()

        self._order(work)
        self._wait(done.is_set, f"the end of step {turn.step}")
        return turn.used.order if turn.used else (0, 0, 0)

    def begin_after(self, newest: tuple[int, int, int]) -> None:
        """New inputs go into attempts after this one only."""
        with self._lock:
            self._thrown_away = max(self._thrown_away, newest)

    def pending_checkpoint(self) -> Task | None:
        """The checkpoint that waits for this rank's part."""
        with self._lock:
            return None if self._task_answer else self._task

    def answer_checkpoint(self, task: Task, detail: str | None, problem: str | None) -> None:
        """Says that this rank's part of a checkpoint is written, or why not."""

        def work() -> None:
            if self._task and self._task.number == task.number:
                self._task_answer = self._speaker.task_done(task.number, detail, problem)
                self._answer_task(time.monotonic())

        self._order(work)

    def close(self, reason: str, exit_code: int = 0) -> None:
        """Leaves the cluster. Never raises."""
        if self._stopping or os.getpid() != self._pid:
            return
        self._stopping = True
        self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(5)
        try:
            self._link.close(self._speaker.farewell(reason, exit_code) if self._speaker.member else None)
        except OSError as error:
            log.warning("the link process did not end cleanly: %s", error)
        self._wake_end.close()
        self._woken_end.close()

    def forget(self) -> None:
        """In a forked process: lets go of what belongs to the parent."""
        self._stopping = True
        self._link.forget()
        self._wake_end.close()
        self._woken_end.close()

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedError("this process was forked from the one that made the head; only that one can use it")
        if self.error is not None:
            raise self.error
        if self._stopping:
            raise PartialFCError("the head was closed")

    def _order(self, work: Callable[[], None]) -> None:
        if os.getpid() != self._pid:
            self._check()
        with self._lock:
            self._check()
            self._orders.append(work)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_end.send(b"w")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        if os.getpid() != self._pid:
            self._check()
        start = time.monotonic()
        warn = start + _WARN_SECONDS
        with self._lock:
            while not condition():
                self._check()
                now = time.monotonic()
                if now - start > self.timeout:
                    if self._welcome is None:
                        trouble = f"; it {self._link.trouble}" if self._link.trouble else ""
                        raise NoAnswer(
                            f"no answer from {self.endpoint} for {self.timeout:g} s: is the coordinator running there, and does it want "
                            f"keys?{trouble}"
                        )
                    raise NoAnswer(f"{what} did not come for {self.timeout:g} s; waiting: {self._whom()}")
                if now > warn:
                    log.warning("%s: waiting (%.0f s): %s", what, now - start, self._whom())
                    warn = now + _WARN_SECONDS
                self._lock.wait(0.5)

    def _whom(self) -> str:
        if self._welcome is None:
            return f"the coordinator at {self.endpoint}" + (f", which {self._link.trouble}" if self._link.trouble else "")
        plan, attempt = self.plan, self._attempt
        if plan is None:
            return "the coordinator's plan"
        if plan.activity != TRAIN:
            return plan.reason if plan.reason else "the cluster, which does a task between two steps"
        if self._rank(plan) is None:
            return "the coordinator, whose plan goes on without this rank"
        if attempt is None or attempt.is_over:
            return "another attempt of the coordinator"
        unreachable = [f"shard-{number} at {endpoint}" for number, endpoint in self._shards.unreachable.items()]
        if unreachable:
            return f"a welcome from {', '.join(unreachable)}"
        whom = attempt.describe() if attempt.waits_for else "the other ranks and the coordinator's commit"
        return f"{whom}; the coordinator says: {self._with_ranks(self._state, plan)}" if self._state else whom

    @staticmethod
    def _with_ranks(text: str, plan: Plan) -> str:
        """What the coordinator says of its workers, with their ranks."""
        ranks = {one.worker.number: rank for rank, one in enumerate(plan.ranks) if one.worker}

        def name(found: re.Match[str]) -> str:
            rank = ranks.get(int(found.group(1)))
            return found.group() if rank is None else f"rank {rank} ({found.group()})"

        return re.sub(r"worker-(\d+)", name, text)
