"""The link process of a rank.

It holds the connection to the coordinator and sends the heartbeats, which therefore go on whatever Python's lock does in the trainer's
process. All else it passes on. It ends with the trainer's process, and says farewell for it. It needs no torch.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import time
from typing import Any

import zmq

from .connection import Connection
from .errors import MalformedMessage
from .keys import SocketKeys
from .messages import Header, StandingBy
from .packets import BEAT, LEAVE, MESSAGE, START, TROUBLE, WILL, PacketStream

_LOOK_MILLISECONDS = 200
"""How often it looks whether the trainer's process is there."""
_SILENCE_SECONDS = 5.0
"""How long a coordinator may be silent before its standby is asked."""
_STANDBY_SECONDS = 0.3
"""How long one that stands by is given before the next is asked."""
_MESSAGES = 64
"""That are passed on at a time, so that heartbeats go out whatever arrives."""


class _Link:
    def __init__(self, stream: PacketStream, start: dict[str, Any]) -> None:
        self.stream, self.parent = stream, start["parent"]
        keys = SocketKeys(**start["keys"]) if start["keys"] else None
        self.context: zmq.Context[Any] = zmq.Context()
        self.connection = Connection(self.context, start["endpoint"], "the coordinator", keys, bytes.fromhex(start["identity"]))
        self.beat, self.interval, self.next_beat = b"", 1.0, 0.0
        self.will = b""
        self.trouble = ""
        self.move_at = time.monotonic() + _SILENCE_SECONDS

    def run(self) -> None:
        poller = zmq.Poller()
        while True:
            poller.register(self.stream.end, zmq.POLLIN)
            poller.register(self.connection.socket, zmq.POLLIN)
            wait = _LOOK_MILLISECONDS
            if self.beat:
                wait = max(0, min(wait, int(1000 * (self.next_beat - time.monotonic())) + 1))
            poller.poll(wait)
            for kind, content in self.stream.receive():
                if kind == LEAVE:
                    return self.leave(content)
                self.obey(kind, content)
            if not self.stream.is_open or os.getppid() != self.parent:
                return self.leave(self.will)
            self.pass_on()
            if self.beat and time.monotonic() >= self.next_beat:
                self.next_beat = time.monotonic() + self.interval
                self.send(self.beat)
            used = self.connection.socket
            if self.connection.has_others and time.monotonic() >= self.move_at:
                self.connection.move_on()
                self.move_at = time.monotonic() + _SILENCE_SECONDS
            self.connection.look_after()
            if self.connection.socket is not used:
                poller.unregister(used)
            if self.connection.trouble != self.trouble:
                self.trouble = self.connection.trouble
                self.stream.send(TROUBLE, self.trouble.encode())

    def obey(self, kind: bytes, content: bytes) -> None:
        if kind == MESSAGE:
            self.send(content)
        elif kind == BEAT:
            (milliseconds,) = struct.unpack_from("<I", content)
            if content[4:] and not self.beat:
                self.next_beat = 0.0
            self.beat, self.interval = content[4:], milliseconds / 1000
        elif kind == WILL:
            self.will = content

    def send(self, header: bytes) -> None:
        self.connection.post([header])

    def pass_on(self) -> None:
        for _ in range(_MESSAGES):
            try:
                parts = self.connection.socket.recv_multipart(flags=zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(parts) != 1:
                continue
            self.move_at = time.monotonic() + _SILENCE_SECONDS
            if self.connection.has_others and isinstance(Header.decode(parts[0]).body, StandingBy):
                # The trainer says hello again when the other one does not know it.
                self.move_at = time.monotonic() + _STANDBY_SECONDS
                continue
            self.stream.send(MESSAGE, parts[0])

    def leave(self, farewell: bytes) -> None:
        if farewell:
            self.send(farewell)
        self.connection.close(linger=1000)
        self.context.term()


def main() -> None:
    """Serves the trainer's process at the other end of the socket whose number is the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stream = PacketStream(socket.socket(fileno=int(sys.argv[1])))
    while stream.is_open:
        for kind, content in stream.receive():
            if kind == START:
                try:
                    _Link(stream, json.loads(content)).run()
                except (MalformedMessage, zmq.ZMQError) as error:
                    stream.send(TROUBLE, str(error).encode())
                return
        time.sleep(0.005)


if __name__ == "__main__":
    main()
