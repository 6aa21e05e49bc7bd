"""A coordinator and a shard that do what a test tells them: nothing of the project's programs runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import zmq

from partialfc import messages as m
from partialfc.frames import Assembler, frames
from partialfc.messages import Header, Member, Plan, PlanJob, PlanRank, PlanShard, Range, StepID, StepReply

SLICES, BATCH, SIZE, CLASSES, JOB = 4, 4, 3, 10, 77


class FakeCluster:
    """One rank, one shard. `refuse` may answer a request in the place of the usual answer."""

    def __init__(self) -> None:
        self.requests: list[tuple[m.StepRequest, list[Any]]] = []
        self.told: list[Any] = []
        self.labels: dict[tuple[int, int, int], Any] = {}
        self.answer: Callable[[m.StepRequest], StepReply | m.Refusal | None] = lambda request: self.usual(request)
        self.commits = True
        self.hash = self.shard_hash = "hash"
        self._context = zmq.Context()
        self._coordinator, self._shard = (self._context.socket(zmq.ROUTER) for _ in range(2))
        ports = [one.bind_to_random_port("tcp://127.0.0.1") for one in (self._coordinator, self._shard)]
        self.endpoint, self._shard_endpoint = (f"tcp://127.0.0.1:{port}" for port in ports)
        self.plan = self.train(0, -1)
        self._peer = b""
        self._orders: list[Callable[[], None]] = []
        self._stop = False
        self._assembler = Assembler()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def train(self, step: int, committed: int, *, term: int = 1, attempt: int = 0, safe: int = -1, revision: int | None = None) -> Plan:
        """A plan that trains a step."""
        self.revision = getattr(self, "revision", 0) + 1
        return Plan(
            id=StepID(step, attempt, term),
            committed=committed,
            map_version=1,
            exchange=m.FEATURES,
            learning_rate=0.5,
            ranks=[PlanRank(Member(0, 7), Range(0, 2))],
            shards=[PlanShard(Member(1, 0), self._shard_endpoint, [Range(0, SLICES)])],
            revision=self.revision if revision is None else revision,
            safe=safe,
            past=5,
            job=PlanJob(JOB, 1, True),
        )

    def tell(self, plan: Plan) -> None:
        """Sends a plan without being asked."""

        def work() -> None:
            self.plan = plan
            self._send(self._coordinator, self._peer, Header(body=plan))

        self._orders.append(work)

    def refuse(self, code: int, message: str) -> None:
        """Refuses the rank without being asked."""
        self._orders.append(lambda: self._send(self._coordinator, self._peer, Header(request=1, body=m.Refusal(code, message))))

    def close(self) -> None:
        self._stop = True
        self._thread.join(5)
        self._coordinator.close(0)
        self._shard.close(0)
        self._context.term()

    def of(self, step: int, phase: int, query: int = 0) -> list[tuple[m.StepRequest, list[Any]]]:
        """The requests of a step and phase."""
        return [one for one in self.requests if (one[0].id.step, one[0].phase, one[0].query) == (step, phase, query)]

    def usual(self, request: m.StepRequest) -> StepReply:
        """That it is done."""
        return StepReply(request.id, request.rank, request.phase, done=m.Empty(), part=request.part)

    def _send(self, socket: Any, peer: bytes, header: Header, tensors: Any = ()) -> None:
        for parts in frames(header, tensors, 1):
            socket.send_multipart([peer, *parts])

    def _run(self) -> None:
        poller = zmq.Poller()
        for socket in (self._coordinator, self._shard):
            poller.register(socket, zmq.POLLIN)
        while not self._stop:
            while self._orders:
                self._orders.pop(0)()
            for socket, _ in poller.poll(10):
                peer, *parts = socket.recv_multipart()
                message = self._assembler.take(parts)
                if message:
                    (self._coordinate if socket is self._coordinator else self._serve)(peer, *message)

    def _coordinate(self, peer: bytes, header: Header, _: Any) -> None:
        body, self._peer = header.body, peer
        if isinstance(body, m.Hello):
            head = {"scale": 8, "m1": 1, "m2": 0, "m3": 0, "slices": SLICES, "sample_rate": 1}
            configuration = {
                "data": {"classes": CLASSES},
                "backbone": {"embedding_size": SIZE},
                "head": head,
                "batch": {"size": BATCH, "micro_batch": 2},
            }
            welcome = m.Welcome(4, "fake", Member(0, 7), json.dumps(configuration), self.hash, 200, 2000, -1)
            self._send(self._coordinator, peer, Header(request=header.request, body=welcome))
            self._send(self._coordinator, peer, Header(request=header.request, body=self.plan))
            return
        if isinstance(body, m.Heartbeat):
            self._send(self._coordinator, peer, Header(request=header.request, body=m.HeartbeatReply(state="training")))
            return
        self.told.append(body)
        if isinstance(body, m.StepDone) and self.commits and body.id == self.plan.id:
            old = self.plan
            self.plan = self.train(old.id.step + 1, old.id.step, term=old.id.term, safe=old.safe)
        answer = m.Empty() if isinstance(body, m.Leave) else self.plan
        self._send(self._coordinator, peer, Header(request=header.request, body=answer))

    def _serve(self, peer: bytes, header: Header, tensors: list[Any]) -> None:
        body = header.body
        if isinstance(body, m.Hello):
            if body.configuration_hash != self.shard_hash:
                self.hash = self.shard_hash
                self._send(self._shard, peer, Header(request=header.request, body=m.Refusal(6, "another configuration")))
                return
            welcome = m.Welcome(4, "fake", Member(1, 0), answers_queries=True)
            self._send(self._shard, peer, Header(request=header.request, body=welcome))
            return
        self.requests.append((body, [tensor.copy() for tensor in tensors]))
        if body.phase == m.BEGIN and tensors:
            self.labels[body.id.order] = tensors[0].copy()
        answer = self.answer(body)
        if answer is not None:
            done = isinstance(answer, StepReply) and answer.done is not None
            self._send(self._shard, peer, Header(request=header.request, body=answer), self._tensors(body) if done else ())

    def _tensors(self, request: m.StepRequest) -> list[Any]:
        if request.phase == m.BEGIN:
            return [np.full(SLICES, 2, "<i4")]
        if request.phase == m.BACKWARD:
            return []
        here = slice(2 * request.part.lower, 2 * request.part.upper) if request.part else slice(0, BATCH)
        there = np.flatnonzero(self.labels[request.id.order][here] >= 0).astype("<i4")
        n = here.stop - here.start
        softmax = [np.zeros((1, n), "<f4"), np.ones((1, n), "<f4"), np.zeros((1, n, SIZE), "<f4")]
        targets = [there, np.ones(len(there), "<f4"), np.ones((len(there), SIZE), "<f4")]
        return [np.asarray([[2, 0]], "<i4"), *softmax, *targets]
