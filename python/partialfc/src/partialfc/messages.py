"""The messages of the protocol that a client sends or reads (`wire.proto`), as dataclasses."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from . import protobuf
from .errors import MalformedMessage
from .protobuf import BOOL, DOUBLE, FIXED64, FLOAT, HEADER_BYTES, SINT, SMALL, TEXT, UINT, WHOLE, Room, wire

PROTOCOL_VERSION = 4
WORKER, SHARD, OPERATOR = 0, 1, 2
"""Roles."""
BEGIN, FORWARD, BACKWARD = 1, 2, 3
"""Phases of a step."""
ROWS, FEATURES = 0, 1
"""Exchanges."""
TRAIN, WAIT, FINISHED, FAILED, TASK = 0, 1, 2, 3, 4
"""Activities of a plan."""
MEMBERS = 4096
"""The most ranks and shards of a plan."""
TENSORS = 64
"""The most tensors of a message."""
_CONFIGURATION_BYTES, _DETAIL_BYTES, _JSON_BYTES = 1 << 20, 1 << 20, 16 << 20
_LARGEST_FLOAT = 3.5e38


@dataclass(slots=True)
class TensorInfo:
    dtype: int = wire(1, UINT)
    shape: list[int] = wire(2, UINT, repeated=True)
    in_fragments: bool = wire(3, BOOL)


@dataclass(slots=True)
class Fragment:
    series: int = wire(1, UINT, upper=WHOLE)
    offset: int = wire(2, UINT)


@dataclass(slots=True)
class Member:
    role: int = wire(1, UINT, upper=OPERATOR)
    number: int = wire(2, UINT, upper=SMALL)


@dataclass(slots=True)
class StepID:
    step: int = wire(1, UINT)
    attempt: int = wire(2, UINT)
    term: int = wire(3, UINT)

    @property
    def order(self) -> tuple[int, int, int]:
        """Ids are ordered by term, then step, then attempt."""
        return self.term, self.step, self.attempt


@dataclass(slots=True)
class Range:
    lower: int = wire(1, UINT, upper=SMALL)
    upper: int = wire(2, UINT, upper=SMALL)

    def check(self) -> None:
        """Raises MalformedMessage for a range that runs backwards."""
        if self.lower > self.upper:
            raise MalformedMessage(f"a range in the header runs from {self.lower} down to {self.upper}")


@dataclass(slots=True)
class Named:
    name: str = wire(1, TEXT)
    value: str = wire(2, TEXT)


@dataclass(slots=True)
class JobID:
    """Which start of which job a worker belongs to, and the state that it starts from."""

    id: int = wire(1, FIXED64)
    rank: int = wire(2, UINT, upper=SMALL)
    world_size: int = wire(3, UINT, upper=SMALL)
    step: int = wire(4, SINT)
    past: int = wire(5, FIXED64)


@dataclass(slots=True)
class Hello:
    role: int = wire(1, UINT)
    protocol_version: int = wire(2, UINT)
    cluster_id: str = wire(3, TEXT)
    name: str = wire(4, TEXT)
    incarnation: int = wire(5, UINT, upper=WHOLE)
    endpoint: str = wire(6, TEXT)
    embedding_size: int = wire(7, UINT)
    class_count: int = wire(8, UINT)
    configuration_hash: str = wire(9, TEXT)
    instruction_set: str = wire(10, TEXT)
    threads: int = wire(11, UINT)
    process_id: int = wire(12, UINT)
    host: str = wire(13, TEXT)
    previous_number: int = wire(14, SINT)
    term: int = wire(20, UINT)
    coordinator: int = wire(21, FIXED64)
    job: JobID | None = wire(25, JobID)


@dataclass(slots=True)
class Welcome:
    protocol_version: int = wire(1, UINT)
    cluster_id: str = wire(2, TEXT)
    member: Member | None = wire(3, Member)
    configuration: str = wire(4, TEXT, upper=_CONFIGURATION_BYTES)
    configuration_hash: str = wire(5, TEXT)
    heartbeat_milliseconds: int = wire(6, UINT, upper=SMALL)
    lease_milliseconds: int = wire(7, UINT, upper=SMALL)
    committed: int = wire(8, SINT)
    checkpoint: str = wire(9, TEXT)
    answers_queries: bool = wire(12, BOOL)


@dataclass(slots=True)
class Refusal:
    code: int = wire(1, UINT, upper=SMALL)
    message: str = wire(2, TEXT)


@dataclass(slots=True)
class Empty:
    """A message without fields."""


@dataclass(slots=True)
class Activity:
    id: StepID | None = wire(1, StepID)
    computes: bool = wire(2, BOOL)
    progress: int = wire(3, UINT)
    waits_for: list[int] = wire(4, UINT, repeated=True)


@dataclass(slots=True)
class Heartbeat:
    member: Member | None = wire(1, Member)
    incarnation: int = wire(2, UINT, upper=WHOLE)
    activity: Activity | None = wire(8, Activity)
    term: int = wire(10, UINT)
    coordinator: int = wire(11, FIXED64)


@dataclass(slots=True)
class HeartbeatReply:
    committed: int = wire(1, SINT)
    map_version: int = wire(2, UINT)
    state: str = wire(3, TEXT)


@dataclass(slots=True)
class Ready:
    member: Member | None = wire(1, Member)
    incarnation: int = wire(2, UINT, upper=WHOLE)
    held: StepID | None = wire(3, StepID)


@dataclass(slots=True)
class PlanRank:
    worker: Member | None = wire(1, Member)
    micro_batches: Range | None = wire(2, Range)
    incarnation: int = wire(3, UINT, upper=WHOLE)

    def check(self) -> None:
        """Raises MalformedMessage if it does not say whose samples which are."""
        if self.worker is None or self.micro_batches is None:
            raise MalformedMessage("a rank of the plan has no worker or no micro-batches")


@dataclass(slots=True)
class PlanShard:
    shard: Member | None = wire(1, Member)
    endpoint: str = wire(2, TEXT)
    slices: list[Range] = wire(3, Range, repeated=True)
    dense_slices: list[Range] = wire(4, Range, repeated=True)

    def check(self) -> None:
        """Raises MalformedMessage if it does not say which shard it is."""
        if self.shard is None:
            raise MalformedMessage("a shard of the plan has no number")


@dataclass(slots=True)
class PlanJob:
    id: int = wire(1, FIXED64)
    world_size: int = wire(2, UINT, upper=SMALL)
    sets_rate: bool = wire(3, BOOL)


@dataclass(slots=True)
class HeadValues:
    """Values of the head that may be others in another step."""

    sample_rate: float = wire(1, DOUBLE, lower=0, upper=1)
    m1: float = wire(2, DOUBLE, lower=0.01, upper=100)
    m2: float = wire(3, DOUBLE, lower=-100, upper=100)
    m3: float = wire(4, DOUBLE, lower=-100, upper=100)
    scale: float = wire(5, DOUBLE, lower=sys.float_info.min, upper=300)
    interclass_filter: float = wire(6, DOUBLE, lower=0, upper=1)

    def check(self) -> None:
        """Raises MalformedMessage if m1 or the scale is absent, which stands for 0 and is out of their domains."""
        if not self.m1 or not self.scale:
            raise MalformedMessage("the plan's values of the head have an m1 or a scale of 0")


@dataclass(slots=True)
class Task:
    """A boundary task; of its kinds only the checkpoint concerns a job."""

    number: int = wire(1, UINT)
    step: int = wire(2, SINT)
    checkpoint: str | None = wire(4, TEXT, oneof=True)


@dataclass(slots=True)
class Plan:
    id: StepID | None = wire(1, StepID)
    committed: int = wire(2, SINT)
    map_version: int = wire(3, UINT)
    exchange: int = wire(4, UINT, upper=FEATURES)
    learning_rate: float = wire(5, FLOAT, lower=0, upper=_LARGEST_FLOAT)
    ranks: list[PlanRank] = wire(6, PlanRank, repeated=True)
    shards: list[PlanShard] = wire(7, PlanShard, repeated=True)
    activity: int = wire(8, UINT, upper=TASK)
    reason: str = wire(9, TEXT)
    revision: int = wire(10, UINT)
    class_version: int = wire(11, UINT)
    safe: int = wire(12, SINT)
    task: Task | None = wire(14, Task)
    past: int = wire(20, FIXED64)
    coordinator: int = wire(21, FIXED64)
    committed_id: StepID | None = wire(24, StepID)
    job: PlanJob | None = wire(25, PlanJob)
    head: HeadValues | None = wire(26, HeadValues)

    def check(self) -> None:
        """Raises MalformedMessage if the step is not named, or a member comes twice, or there are too many."""
        if self.id is None:
            raise MalformedMessage("the plan has no id")
        if len(self.ranks) > MEMBERS or len(self.shards) > MEMBERS:
            raise MalformedMessage(f"the plan has {len(self.ranks)} ranks and {len(self.shards)} shards; at most {MEMBERS} are allowed")
        numbers = [one.shard.number for one in self.shards if one.shard]
        if len(set(numbers)) != len(numbers):
            raise MalformedMessage("a shard comes twice in the plan")


@dataclass(slots=True)
class StepDone:
    member: Member | None = wire(1, Member)
    incarnation: int = wire(2, UINT, upper=WHOLE)
    id: StepID | None = wire(3, StepID)
    micro_batches: Range | None = wire(4, Range)
    loss_sums: list[float] = wire(5, DOUBLE, repeated=True)
    gradient_norm: float = wire(6, DOUBLE)
    backbone_seconds: float = wire(7, DOUBLE)
    exchange_seconds: float = wire(8, DOUBLE)
    total_seconds: float = wire(9, DOUBLE)
    shard_seconds: list[float] = wire(10, DOUBLE, repeated=True)
    update_seconds: float = wire(11, DOUBLE)
    learning_rate: float | None = wire(20, FLOAT, optional=True)


@dataclass(slots=True)
class StepFailed:
    member: Member | None = wire(1, Member)
    incarnation: int = wire(2, UINT, upper=WHOLE)
    id: StepID | None = wire(3, StepID)
    code: int = wire(4, UINT, upper=SMALL)
    message: str = wire(5, TEXT)
    refused_by: Member | None = wire(6, Member)


@dataclass(slots=True)
class Leave:
    member: Member | None = wire(1, Member)
    incarnation: int = wire(2, UINT, upper=WHOLE)
    reason: str = wire(3, TEXT)
    exit_code: int = wire(4, UINT, upper=255)


@dataclass(slots=True)
class TaskDone:
    member: Member | None = wire(1, Member)
    incarnation: int = wire(2, UINT, upper=WHOLE)
    number: int = wire(3, UINT)
    detail: str | None = wire(4, TEXT, oneof=True, upper=_DETAIL_BYTES)
    problem: str | None = wire(5, TEXT, oneof=True)


@dataclass(slots=True)
class StepRequest:
    incarnation: int = wire(1, UINT, upper=WHOLE)
    id: StepID | None = wire(2, StepID)
    rank: int = wire(3, UINT)
    world_size: int = wire(4, UINT)
    map_version: int = wire(5, UINT)
    phase: int = wire(6, UINT)
    committed: int = wire(7, SINT)
    exchange: int = wire(8, UINT)
    learning_rate: float = wire(9, FLOAT)
    micro_batches: Range | None = wire(10, Range)
    query: int = wire(12, UINT)
    committed_id: StepID | None = wire(14, StepID)
    part: Range | None = wire(15, Range)


@dataclass(slots=True)
class Position:
    current: StepID | None = wire(1, StepID)
    committed: int = wire(2, SINT)


@dataclass(slots=True)
class StepReply:
    id: StepID | None = wire(1, StepID)
    rank: int = wire(2, UINT)
    phase: int = wire(3, UINT)
    done: Empty | None = wire(4, Empty)
    stale: Position | None = wire(5, Position)
    not_ready: Position | None = wire(6, Position)
    refused: Refusal | None = wire(7, Refusal)
    received: Empty | None = wire(10, Empty)
    missing: Empty | None = wire(11, Empty)
    answered: Empty | None = wire(12, Empty)
    part: Range | None = wire(13, Range)


@dataclass(slots=True)
class OperatorRequest:
    command: str = wire(1, TEXT)
    arguments: list[Named] = wire(2, Named, repeated=True)


@dataclass(slots=True)
class OperatorReply:
    exit_code: int = wire(1, UINT, upper=255)
    json: str = wire(2, TEXT, upper=_JSON_BYTES)


@dataclass(slots=True)
class ReadRows:
    """Asks for the rows of classes."""


@dataclass(slots=True)
class Rows:
    """Rows of classes, in the tensors."""


@dataclass(slots=True)
class ReadSliceHashes:
    """Asks for the hashes of slices."""


@dataclass(slots=True)
class SliceHash:
    slice: int = wire(1, UINT)
    hash: str = wire(2, TEXT)


@dataclass(slots=True)
class SliceHashes:
    step: int = wire(1, SINT)
    slices: list[SliceHash] = wire(2, SliceHash, repeated=True)


@dataclass(slots=True)
class ReadClasses:
    """Asks for the operations on the classes."""


@dataclass(slots=True)
class Classes:
    version: int = wire(1, UINT)
    operations: str = wire(2, TEXT, upper=_JSON_BYTES)


@dataclass(slots=True)
class StandingBy:
    """A coordinator does not decide: the next one is to be asked."""

    message: str = wire(1, TEXT)


BODIES: dict[int, type] = {
    16: Hello, 17: Welcome, 18: Refusal, 19: Empty, 20: Heartbeat, 21: HeartbeatReply, 22: Ready, 23: Plan, 24: StepDone,
    25: StepFailed, 27: Leave, 28: TaskDone, 31: StandingBy, 32: StepRequest, 33: StepReply, 40: OperatorRequest, 41: OperatorReply,
    42: ReadRows, 43: Rows, 44: ReadSliceHashes, 45: SliceHashes, 46: ReadClasses, 47: Classes, 48: Fragment,
}  # fmt: skip
_NUMBERS = {cls: number for number, cls in BODIES.items()}


@dataclass(slots=True)
class Header:
    """The first frame of every message.

    Attributes:
        request: the sender's number; an answer repeats it; 0 where nobody asked.
        tensors: one description for each further frame.
        series: numbers a message of which tensors follow in fragments.
        body: one of the messages of this module.
    """

    request: int = 0
    tensors: list[TensorInfo] | None = None
    series: int = 0
    body: Any = None

    def encode(self) -> bytes:
        """The bytes of the frame."""
        out = b"" if self.request == 0 else protobuf.varint(1 << 3) + protobuf.varint(self.request)
        for info in self.tensors or ():
            encoded = protobuf.encode(info)
            out += protobuf.varint(2 << 3 | 2) + protobuf.varint(len(encoded)) + encoded
        if self.series:
            out += protobuf.varint(3 << 3) + protobuf.varint(self.series)
        body = protobuf.encode(self.body)
        return out + protobuf.varint(_NUMBERS[type(self.body)] << 3 | 2) + protobuf.varint(len(body)) + body

    @staticmethod
    def decode(data: bytes | memoryview) -> Header:
        """The header of these bytes.

        Raises:
            MalformedMessage: they are none, or a message that a client does not get.
        """
        if len(data) > HEADER_BYTES:
            raise MalformedMessage(f"the header has {len(data)} bytes; at most {HEADER_BYTES} are allowed")
        header, room = Header(tensors=[]), Room()
        assert header.tensors is not None
        for number, wire_type, value in protobuf.fields(memoryview(data), room):
            if number in (1, 3):
                if wire_type != 0:
                    raise MalformedMessage("a number in the header has another type")
                if number == 1:
                    header.request = value
                else:
                    header.series = value
            elif wire_type != 2:
                continue
            elif number == 2:
                if len(header.tensors) == TENSORS:
                    raise MalformedMessage(f"the header describes more than {TENSORS} tensors")
                header.tensors.append(protobuf.decode(TensorInfo, value, room))
            elif number in BODIES:
                header.body = protobuf.decode(BODIES[number], value, room)
        if header.body is None:
            raise MalformedMessage("the message has a content that this client does not know")
        return header
