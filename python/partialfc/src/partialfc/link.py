"""The trainer's end of its link process."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from .connection import routing_id
from .errors import PartialFCError
from .keys import SocketKeys
from .messages import Header
from .packets import BEAT, LEAVE, MESSAGE, START, TROUBLE, WILL, PacketStream


class Link:
    """A connection to the coordinator through a process that keeps heartbeats going.

    Args:
        endpoint: of the coordinator.
        keys: what is shown to it.
    """

    def __init__(self, endpoint: str, keys: SocketKeys | None) -> None:
        self.endpoint, self._keys, self._identity = endpoint, keys, routing_id()
        self._request = 0
        self._restarts: list[float] = []
        self.trouble = ""
        """Why the coordinator does not let this process in, as far as that is known."""
        self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        # With the paths of this process, and without a look at the working directory, in which there may be anything.
        paths = json.dumps([os.path.abspath(path) for path in sys.path if path])
        program = "import json, sys; sys.path[:] = json.loads(sys.argv[2]); from partialfc._link import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", program, str(theirs.fileno()), paths],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._stream = PacketStream(ours)
        start: dict[str, Any] = {
            "endpoint": self.endpoint,
            "identity": self._identity.hex(),
            "keys": asdict(self._keys) if self._keys else None,
            "parent": os.getpid(),
        }
        self._stream.send(START, json.dumps(start).encode())

    @property
    def descriptor(self) -> socket.socket:
        """What to poll for arriving messages."""
        return self._stream.end

    @property
    def process_id(self) -> int:
        """Of the link process."""
        return self._process.pid

    def send(self, body: Any) -> int:
        """Sends a message to the coordinator; its number."""
        self._request += 1
        self._stream.send(MESSAGE, Header(request=self._request, body=body).encode())
        return self._request

    def beat(self, body: Any | None, milliseconds: int) -> None:
        """Sends this heartbeat from now on; None: none."""
        header = Header(request=1 << 40, body=body).encode() if body else b""
        self._stream.send(BEAT, struct.pack("<I", milliseconds) + header)

    def will(self, body: Any) -> None:
        """What is said if this process ends without a word."""
        self._stream.send(WILL, Header(request=1 << 41, body=body).encode())

    def receive(self) -> Iterator[Header]:
        """The messages that have arrived; starts the process anew if it has ended.

        Raises:
            MalformedMessage: one is none.
        """
        for kind, content in self._stream.receive():
            if kind == TROUBLE:
                self.trouble = content.decode(errors="replace")
            elif kind == MESSAGE:
                yield Header.decode(content)

    @property
    def is_open(self) -> bool:
        """Whether the process is there."""
        return self._stream.is_open

    def restart(self) -> None:
        """Starts the process anew, for the same member.

        Raises:
            PartialFCError: it has ended too often.
        """
        now = time.monotonic()
        self._restarts = [at for at in self._restarts if now - at < 60] + [now]
        if len(self._restarts) > 5:
            raise PartialFCError("the link process, which talks to the coordinator, ends again and again; what it says is above")
        self._stream.end.close()
        self._process.wait()
        self._start()

    def close(self, farewell: Any | None) -> None:
        """Says farewell to the coordinator and ends the process."""
        self._stream.send(LEAVE, Header(request=1 << 41, body=farewell).encode() if farewell else b"")
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stream.end.close()

    def forget(self) -> None:
        """In a forked process: closes its copy of the socket."""
        self._stream.end.close()
