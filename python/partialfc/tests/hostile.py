"""A rank and an operator whose coordinator and shards are lists of frames: no socket, no process, no thread."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake import BATCH, CLASSES, JOB, SIZE, SLICES

from partialfc import client, engine, membership, shards
from partialfc import messages as m
from partialfc.client import Client
from partialfc.connection import Connection
from partialfc.errors import NoAnswer, refusal
from partialfc.fit import check_fit
from partialfc.frames import frames
from partialfc.margins import Margins
from partialfc.messages import Header, JobID, Member, Plan, PlanJob, PlanRank, PlanShard, Position, Range, StepID, StepReply
from partialfc.rates import check_group
from partialfc.session import Session
from partialfc.turn import Turn

ID = StepID(0, 0, 1)
CONFIGURATION = {
    "data": {"classes": CLASSES},
    "backbone": {"embedding_size": SIZE},
    "head": {"scale": 8, "m1": 1, "m2": 0, "m3": 0, "slices": SLICES, "sample_rate": 1, "interclass_filter": 0},
    "batch": {"size": BATCH, "micro_batch": 2},
    "schedule": {"rate": "job"},
    "optimizer": {"name": "sgd", "momentum": 0.9, "weight_decay": 5e-4},
}
OPERATIONS = [
    {"add": {"count": 5, "path": ""}},
    {"retire": {"_0": [3]}},
    {"retire": {"ranges": [[6, 8]]}},
    {"merge": {"from": 8, "into": 7}},
]
LABELS = np.asarray([0, 1, 2, -1])
STATUS = {
    "state": "training", "reason": "", "classes": CLASSES, "embeddingSize": SIZE, "committed": 4,
    "shards": [{"name": "shard-1", "endpoint": "tcp://127.0.0.1:7001"}],
}  # fmt: skip
ANSWERS: dict[str, Any] = {
    "status": STATUS,
    "slices": [{"slice": 0, "owner": "shard-1", "classes": [[0, 6]]}, {"slice": 1, "owner": "shard-1", "classes": [[6, CLASSES]]}],
    "classes": {"version": 1, "classes": CLASSES, "retiredClasses": [[3, 5]], "operations": []},
    "checkpoints": [{"directory": "/tmp/none", "step": 4}],
    "events": [{"id": 1, "time": 2, "level": "info", "text": "t"}],
}


def _frames(body: Any, tensors: Any = (), request: int = 1) -> list[bytes]:
    (parts,) = frames(Header(request=request, body=body), tensors, 1)
    return [bytes(part) for part in parts]


def _plan(exchange: int) -> Plan:
    return Plan(
        id=ID, committed=-1, map_version=1, exchange=exchange, learning_rate=0.5, ranks=[PlanRank(Member(0, 7), Range(0, 2))],
        shards=[PlanShard(Member(1, 1), "tcp://127.0.0.1:7001", [Range(0, SLICES)])], revision=2, class_version=3, safe=-1, past=5,
        job=PlanJob(JOB, 1, True), head=m.HeadValues(0.5, 1, 0.1, 0, 8, 0.5),
    )  # fmt: skip


def step(exchange: int) -> list[tuple[bool, list[bytes]]]:
    """What a rank gets in a step, and whether from a shard."""
    one = np.ones
    forward = [np.asarray([[2, 0]], "<i4"), np.zeros((1, 4), "<f4"), one((1, 4), "<f4"), np.zeros((1, 4, SIZE), "<f4")]
    forward += [np.asarray([0, 1, 2], "<i4"), one(3, "<f4"), one((3, SIZE), "<f4")]
    if exchange == m.ROWS:
        forward = [np.full(SLICES, 2, "<i4"), np.arange(CLASSES), one((CLASSES, SIZE), "<f4")]
    welcome = m.Welcome(4, "fake", Member(0, 7), json.dumps(CONFIGURATION), "hash", 200, 2000, -1)
    return [
        (False, _frames(welcome)),
        (False, _frames(_plan(exchange))),
        (False, _frames(m.Classes(4, json.dumps(OPERATIONS)))),
        (False, _frames(m.HeartbeatReply(-1, 1, "waits for worker-7"))),
        (True, _frames(m.Welcome(4, "fake", Member(1, 1), answers_queries=True))),
        (True, _frames(StepReply(ID, 0, m.BEGIN, done=m.Empty()), [np.full(SLICES, 2, "<i4")])),
        (True, _frames(StepReply(ID, 0, m.FORWARD, done=m.Empty()), forward)),
        (True, _frames(StepReply(ID, 0, m.BACKWARD, done=m.Empty()))),
    ]


def others() -> list[tuple[bool, list[bytes]]]:
    """What a rank gets on other days."""
    outcomes: list[dict[str, Any]] = [
        {"stale": Position(StepID(0, 1, 1), -1)}, {"not_ready": Position(ID, -1)}, {"refused": m.Refusal(17, "no")},
        {"received": m.Empty()}, {"missing": m.Empty()}, {"answered": m.Empty()},
    ]  # fmt: skip
    replies = [(True, _frames(StepReply(ID, 0, phase, **one))) for one in outcomes for phase in (m.BEGIN, m.FORWARD)]
    wait = Plan(id=ID, activity=m.TASK, reason="r", revision=9, job=PlanJob(JOB, 1), task=m.Task(1, 0, "/tmp/none"))
    refusals = [(shard, _frames(m.Refusal(code, "no"))) for shard in (False, True) for code in (6, 10, 12, 20, 23)]
    return [*replies, *refusals, (False, _frames(wait)), (False, _frames(m.StandingBy("another"))), (False, _frames(m.Empty()))]


class _Link:
    def __init__(self, *_: Any) -> None:
        self.arrived: list[list[bytes]] = []
        self.is_open, self.trouble = True, ""

    def send(self, body: Any) -> int:
        return len(Header(request=1, body=body).encode())

    def will(self, body: Any) -> None:
        self.send(body)

    def beat(self, body: Any, milliseconds: int) -> None:
        struct.pack("<I", milliseconds)
        self.send(body)

    def receive(self) -> Iterator[Header]:
        while self.arrived:
            yield Header.decode(self.arrived.pop(0)[0])


class _Connection(Connection):
    def _open(self) -> None:
        self.arrived: list[list[bytes]] = []
        self.answers: dict[str, list[bytes]] = {}

    def close(self, linger: int = 0) -> None:
        pass

    def post(self, parts: Any) -> None:
        pass

    def look_after(self) -> bool:
        return False

    def receive(self) -> Any:
        while self.arrived:
            if message := self._assembler.take(self.arrived.pop(0)):
                return message
        return None

    def ask(self, body: Any, tensors: Any = (), **_: Any) -> Any:
        name = body.command if isinstance(body, m.OperatorRequest) else type(body).__name__
        message = self._assembler.take(answers[name])
        if message is None:
            raise NoAnswer("the answer is announced in fragments, and none comes")
        if isinstance(message[0].body, m.Refusal):
            raise refusal(message[0].body.code, message[0].body.message)
        return message[0].body, message[1]


answers: dict[str, list[bytes]] = {}
"""To an operator, by the command or the class of the question."""


def good_answers() -> dict[str, list[bytes]]:
    """What an operator gets."""
    rows = [np.ones((CLASSES, SIZE), "<f4"), np.ones((CLASSES, SIZE), "<f4"), np.ones((CLASSES, 2), "<i8")]
    return {
        "Hello": _frames(m.Welcome(4, "fake", Member(2, 1))),
        "ReadRows": _frames(m.Rows(), rows),
        "ReadSliceHashes": _frames(m.SliceHashes(3, [m.SliceHash(0, "a"), m.SliceHash(1, "b")])),
        **{name: _frames(m.OperatorReply(0, json.dumps(value))) for name, value in ANSWERS.items()},
    }


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts lists of frames in the place of sockets."""
    monkeypatch.setattr(membership, "Link", _Link)
    monkeypatch.setattr(shards, "Connection", _Connection)
    monkeypatch.setattr(client, "Connection", _Connection)
    monkeypatch.setattr(client, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: None))
    monkeypatch.setattr(engine.threading, "Thread", lambda **_: SimpleNamespace(start=lambda: None))


def as_rank(script: list[tuple[bool, list[bytes]]]) -> Session:
    """What a rank does with these messages: raises what it would tell its trainer."""
    session = Session("tcp://127.0.0.1:7000", None, JobID(JOB, 0, 1, -1, 0), embedding_size=SIZE, timeout=0)
    turn = Turn(0, LABELS, 0.1)
    turn.give(np.ones((BATCH, SIZE), np.float32), None, None, 0, BATCH)
    session._turns.put(turn)
    turn.is_kept = True
    try:
        for of_shard, parts in script:
            connected = [one.connection for one in session._shards._shards.values()]
            (connected[0] if of_shard and connected else session._link).arrived.append(parts)
            session._work()
            session._whom()
        session.identity()
        if session.configuration is not None:
            session.class_count()
            check_group({"momentum": 0.9, "weight_decay": 5e-4}, session.configuration)
            sizes = {"embedding_size": SIZE, "num_classes": CLASSES, "sample_rate": 1, "margins": Margins.of({"s": 8}), "world_size": 1}
            check_fit(session, session.configuration, start={"cluster": "", "hash": ""}, **sizes)
        return session
    finally:
        session._shards.close()
        session._wake_end.close()
        session._woken_end.close()


def as_operator(changed: dict[str, list[bytes]]) -> None:
    """What an operator does with these answers."""
    answers.clear()
    answers.update(good_answers() | changed)
    with Client("tcp://127.0.0.1:7000", deadline=0) as one:
        one.status()
        one.events()
        one.checkpoints()
        one.classes()
        one.hashes()
        one.centers(range(CLASSES))
        one.neighbors(np.ones((1, SIZE), np.float32), 2)
