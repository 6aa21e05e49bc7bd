"""The side of a membership that runs on a thread of its own: follows plans, sends requests, repeats what was not answered."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import zmq

from . import exact, messages
from .attempt import Attempt, Failure, StepSetup
from .errors import ABANDONED, MalformedMessage, StepFailed, WentBack
from .keys import Keys
from .membership import REPEAT_SECONDS, Membership
from .messages import TRAIN, JobID, Plan, Range, Ready
from .turn import Turn

log = logging.getLogger("partialfc")


class Engine(Membership):
    """What happens on the thread. Everything here is guarded by `_lock`, which the trainer's side takes, too."""

    def __init__(self, endpoint: str, keys: Keys | None, job: JobID, embedding_size: int, name: str) -> None:
        super().__init__(endpoint, keys, job, embedding_size, name)
        self.error: BaseException | None = None
        self._lock = threading.Condition()
        self._orders: deque[Callable[[], None]] = deque()
        self._wake_end, self._woken_end = socket.socketpair()
        self._wake_end.setblocking(False)
        self._woken_end.setblocking(False)
        self._thrown_away = (0, 0, 0)
        self._trained = False
        self._ready_at = self._operations_at = 0.0
        self._reported: tuple[tuple[int, int, int], int] | None = None
        """The attempt that was reported last, and as what: 0, done, or the code of its failure."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="partialfc", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        exact.flush_denormals()
        poller, known = zmq.Poller(), set[Any]()
        try:
            while not self._stopping:
                wanted = {self._woken_end, self._link.descriptor, *self._shards.sockets}
                for gone in known - wanted:
                    poller.unregister(gone)
                for new in wanted - known:
                    poller.register(new, zmq.POLLIN)
                known = wanted
                poller.poll(self._pause())
                self._work()
        except BaseException as error:
            with self._lock:
                self.error = self.error or error
                self._lock.notify_all()
        finally:
            self._shards.close()

    def _pause(self) -> int:
        """Milliseconds until something is due."""
        due = [self._attempt.next_time()] if self._attempt else []
        due += [self._report_at] if self._report_at else []
        if self._shards.unreachable:
            due.append(time.monotonic() + 0.1)
        wait = min(due, default=float("inf")) - time.monotonic()
        return max(1, int(1000 * min(0.25, wait)) + 1)

    def _work(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            while self._woken_end.recv(4096):
                pass
        with self._lock:
            before = self._progress
            while self._orders:
                self._orders.popleft()()
            self._read_coordinator()
            self._restart_link()
            self._read_shards()
            self._tick(time.monotonic())
            if self._speaker.member and (self._beat_is_due or before != self._progress) and self._welcome:
                self._beat_is_due = False
                beat = self._speaker.heartbeat(self.plan, self._attempt, self._progress, list(self._shards.unreachable))
                self._link.beat(beat, self._welcome.heartbeat_milliseconds or 1000)
            self._lock.notify_all()

    def _restart_link(self) -> None:
        if not self._link.is_open and not self._stopping:
            log.warning("the link process has ended; it is started again")
            self._link.restart()
            self._welcome, self._hello_at = None, 0.0

    def _follow(self) -> None:
        """Makes the attempt that the plan and the turns ask for."""
        plan, now = self.plan, time.monotonic()
        if plan is None or plan.id is None or self._welcome is None:
            return
        if self._trained and plan.job is not None and not self._is_ours(plan):
            raise WentBack(plan.committed, f"another job trains now, after step {plan.committed}")
        rank = self._rank(plan) if plan.activity == TRAIN and self._is_ours(plan) else None
        if rank is None:
            self._attempt = None
            return
        self._trained = True
        if not self._has_classes(plan):
            if now >= self._operations_at:
                self._operations_at = now + REPEAT_SECONDS
                self._link.send(messages.ReadClasses())
            return
        turn = self._turns.get(plan.id.step)
        if turn is None and plan.id.step < self._next_step:
            raise WentBack(
                plan.committed,
                f"the cluster has gone back to step {plan.committed}, before what this process keeps; load the checkpoint of that step "
                "or an older one, and start the job again",
            )
        last = self._attempt
        if last and last.id == plan.id and last.turn is turn and last.plan.ranks == plan.ranks and last.plan.shards == plan.shards:
            self._report_done()
            return
        self._attempt = None
        if turn is None or (turn.used is None and plan.id.order <= self._thrown_away):
            return
        self._begin(plan, rank, turn, now)

    def _begin(self, plan: Plan, rank: int, turn: Turn, now: float) -> None:
        assert self.configuration is not None
        batch = self.configuration["batch"]
        setup = StepSetup(self.configuration["head"], int(batch["size"]), int(batch["micro_batch"]))
        labels = self._registry.labels(turn.labels) if self._registry else turn.labels
        own = plan.ranks[rank].micro_batches or Range()
        if (own.upper - own.lower) * setup.micro_batch != len(labels) or own.upper * setup.micro_batch > setup.batch:
            raise MalformedMessage(
                f"the coordinator's plan gives rank {rank} the micro-batches {own.lower} to {own.upper} of {setup.micro_batch} samples "
                f"each in a batch of {setup.batch}, and the rank has {len(labels)} samples"
            )
        self._attempt = Attempt(plan, rank, turn, labels, setup, now)
        self._flush()

    def _flush(self) -> None:
        """Sends what the attempt wants sent, and acts on what has come of it."""
        attempt = self._attempt
        if attempt is None:
            return
        outbox, attempt.outbox = attempt.outbox, []
        for one in outbox:
            shard = self._shards.welcomed(one.shard)
            if shard is not None:
                request = self._speaker.request(attempt, one, shard.answers_queries)
                shard.connection.send(request, () if request.query else attempt.payload(one.phase, one.shard))
        turn = attempt.turn
        turn.results += attempt.results[len(turn.results) :]
        turn.result = turn.result or attempt.result
        if attempt.is_stale:
            self._attempt, self._ready_at = None, 0.0
        elif attempt.failure:
            self._report_failure()
        elif attempt.complaint:
            self._link.send(self._speaker.failed(attempt, attempt.complaint))
            attempt.complaint = None
        else:
            self._report_done()

    def _is_reported(self, attempt: Attempt, now: float) -> bool:
        """Whether the attempt was reported, and it is too soon to do so again."""
        report = attempt.id.order, attempt.failure.code if attempt.failure else 0
        if self._reported == report and now < self._report_at:
            return True
        self._reported, self._report_at = report, now + REPEAT_SECONDS
        return False

    def _report_done(self) -> None:
        """Reports an attempt that is prepared and wanted."""
        attempt = self._attempt
        if attempt is None or not attempt.is_prepared or not attempt.turn.is_kept or self._is_reported(attempt, time.monotonic()):
            return
        assert self.configuration is not None
        self._link.send(self._speaker.done(attempt, int(self.configuration["batch"]["micro_batch"])))

    def _report_failure(self) -> None:
        attempt = self._attempt
        if attempt is None or attempt.failure is None or self._is_reported(attempt, time.monotonic()):
            return
        level = logging.DEBUG if attempt.failure.code == ABANDONED else logging.INFO
        log.log(level, "attempt %s failed: %s", attempt.id.order, attempt.failure.message)
        self._link.send(self._speaker.failed(attempt, attempt.failure))
        if attempt.failure.code in (7, 8) and attempt.turn.result is None:
            raise StepFailed(f"step {attempt.id.step}: {attempt.failure.message}")

    def _read_shards(self) -> None:
        now = time.monotonic()
        for number, body, tensors in self._shards.receive(now):
            self._progress += 1
            if isinstance(body, messages.Welcome):
                if self._attempt:
                    self._attempt.connected(number, now)
            elif isinstance(body, messages.Refusal):
                if self._attempt and not self._attempt.is_over:
                    self._attempt.failure = Failure(body.code, f"{self._shards.who(number)}: {body.message}", number)
                else:
                    log.warning("%s refused a message: %s", self._shards.who(number), body.message)
            elif self._attempt:
                self._attempt.take(number, body, tensors, now)
            self._flush()

    def _tick(self, now: float) -> None:
        if self._welcome is None:
            if now >= self._hello_at:
                self._say_hello(now)
            return
        if self._shards.outdated and now >= self._hello_at:
            self._say_hello(now)
        self._shards.tick(now)
        if self._attempt:
            self._attempt.tick(now, self._shards.moving)
            self._flush()
        if self._report_at and now >= self._report_at:
            self._report_at = 0.0
            self._answer_task(now)
        waits_for_trainer = self._has_place() and self._turns.get(self._next_step) is None
        if self._attempt is None and now >= self._ready_at and not waits_for_trainer:
            self._link.send(Ready(self._speaker.member, self._speaker.incarnation))
            self._ready_at = now + self._ready_pause
            self._ready_pause = min(2 * self._ready_pause, 5.0)
            self._follow()
