"""Connections that a server ends, or on which it sends without end."""

from __future__ import annotations

import itertools
import struct
import threading
from types import SimpleNamespace

import pytest
import zmq
from conftest import wait_until

from partialfc import messages as m
from partialfc.connection import Connection
from partialfc.errors import MalformedMessage, NoAnswer, Unreachable
from partialfc.frames import frames
from partialfc.messages import Header, Hello, Member, Plan, PlanShard, StepID
from partialfc.packets import MESSAGE, PacketStream
from partialfc.shards import ShardConnections


def test_what_is_sent_after_a_refused_handshake_is_lost_and_does_not_wait() -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as server:
        server.setsockopt(zmq.LINGER, 0)
        server.curve_publickey, server.curve_secretkey = zmq.curve_keypair()
        server.curve_server = True
        port = server.bind_to_random_port("tcp://127.0.0.1")
        connection = Connection(context, f"tcp://127.0.0.1:{port}", "the server")

        def send() -> None:
            for _ in range(5):
                connection.send(m.ReadClasses())
                connection.socket.poll(100)

        wait_until(lambda: bool(connection.look_after() or connection.trouble))
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        sender.join(10)
        assert not sender.is_alive()
        assert "wants keys" in connection.trouble
        connection.close()


class Endless:
    """A socket on which the same message arrives for ever."""

    def __init__(self, parts: list[bytes]) -> None:
        self.parts = [zmq.Frame(part) for part in parts]
        self.closed = False
        self.taken = 0

    def recv_multipart(self, **_: object) -> list[zmq.Frame]:
        self.taken += 1
        assert self.taken < 1_000_000, "it reads without end"
        return self.parts

    def send_multipart(self, *_: object, **__: object) -> None: ...

    def poll(self, _: int) -> None: ...


def test_who_sends_without_end_keeps_nobody_from_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    fragment = Header(body=m.Fragment(1, 0), tensors=[m.TensorInfo(4, [1])]).encode()
    (unasked,) = frames(Header(request=99, body=m.Empty()), [], 1)
    with zmq.Context() as context:
        connection = Connection(context, "tcp://127.0.0.1:9", "the server")
        kept = connection.socket
        for parts in ([fragment, b"x"], [bytes(part) for part in unasked]):
            connection.socket = Endless(parts)  # type: ignore[assignment]
            clock = itertools.count()
            monkeypatch.setattr("partialfc.connection.time.monotonic", lambda clock=clock: next(clock) / 100)
            with pytest.raises(NoAnswer):
                connection.ask(m.ReadClasses(), deadline=5, again=1)
            monkeypatch.undo()
        connection.socket = kept
        connection.close()


def test_a_packet_stream_reads_a_part_of_much_at_a_time() -> None:
    packet = struct.pack("<I", (1 << 16) - 5) + MESSAGE + bytes((1 << 16) - 5)
    end = SimpleNamespace(settimeout=lambda _: None, recv=lambda _, left=[packet] * 5000: left.pop() if left else b"")
    stream = PacketStream(end)  # type: ignore[arg-type]
    assert 0 < len(list(stream.receive())) < 1000
    assert stream.is_open
    while stream.is_open:
        assert list(stream.receive()) or not stream.is_open


@pytest.mark.parametrize("endpoint", ["", "nowhere", "tcp://a:1,tcp://b:2", "inproc://x", "tcp://127.0.0.1:99999", "tcp://127.0.0.1:٣"])
def test_a_plan_with_a_shard_at_an_impossible_place(endpoint: str) -> None:
    shards = ShardConnections(None, Hello)
    with pytest.raises(MalformedMessage, match="shard-1 at an impossible place"):
        shards.follow(Plan(id=StepID(), shards=[PlanShard(Member(1, 1), endpoint)]))
    shards.close()


def test_a_connection_that_cannot_be_made_leaves_no_socket_open() -> None:
    # An open one would make the end of the context wait for ever; the exception's frames keep it alive.
    context = zmq.Context()
    with pytest.raises(Unreachable) as kept:
        Connection(context, "nonsense", "the server")
    ended = threading.Thread(target=context.term, daemon=True)
    ended.start()
    ended.join(10)
    assert not ended.is_alive(), kept
